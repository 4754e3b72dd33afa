"""Who is simulated: a person's physiology and habits, and the deteriorations scripted for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np

from devices.simulator import noise
from vitals.clock import US_PER_S
from vitals.ids import DeviceId, PatientId, device_id, patient_id

CADENCES_S: Final[Mapping[str, float]] = MappingProxyType(
    {
        "heart_rate": 1.0,
        "spo2": 5.0,
        "respiratory_rate": 15.0,
        "body_temperature": 60.0,
        "hrv_rmssd": 300.0,
        "steps": 60.0,
    }
)
"""Seconds between samples by metric code; `rr_interval` has none of its own: it comes beat by beat."""


@dataclass(frozen=True, slots=True)
class Deterioration:
    """From `start_us` the wearer gets worse for `rise_s`, stays so for `hold_s` and recovers over `recover_s`."""

    start_us: int
    rise_s: float = 600.0
    hold_s: float = 1_800.0
    recover_s: float = 1_800.0

    @property
    def worst_us(self) -> int:
        """When the vitals have reached their worst."""
        return self.start_us + round(self.rise_s * US_PER_S)

    @property
    def relief_us(self) -> int:
        """When they begin to recover."""
        return self.worst_us + round(self.hold_s * US_PER_S)

    def severity(self, time_us: noise.Ints) -> noise.Floats:
        """Return how far each time is into it, 0 (well) to 1 (worst)."""
        rise = np.clip((time_us - self.start_us) / (max(self.rise_s, 1e-3) * US_PER_S), 0.0, 1.0)
        fall = np.clip((time_us - self.relief_us) / (max(self.recover_s, 1e-3) * US_PER_S), 0.0, 1.0)
        return np.minimum(_ease(rise), 1.0 - _ease(fall))


def _ease(x: noise.Floats) -> noise.Floats:
    return x * x * (3.0 - 2.0 * x)


@dataclass(frozen=True, slots=True)
class Wearer:
    """One person with one device. Everything random about them follows from `seed`."""

    seed: int
    patient_id: PatientId
    device_id: DeviceId
    zone_offset_min: int = 0
    resting_heart_rate: float = 62.0
    spo2: float = 97.0
    respiratory_rate: float = 15.0
    temperature: float = 36.7
    rmssd_ms: float = 38.0
    bed_h: float = 23.0  # local hours; sleep lies between one noon and the next
    wake_h: float = 7.0
    liveliness: float = 0.35  # the share of waking half hours with a bout of activity
    deteriorations: tuple[Deterioration, ...] = ()
    cadences_s: Mapping[str, float] = field(default_factory=lambda: CADENCES_S)
    beats: bool = True  # whether RR intervals are told as well


def wearer(
    seed: int,
    *,
    patient: str | None = None,
    device: str | None = None,
    zone_offset_min: int = 0,
    deteriorations: tuple[Deterioration, ...] = (),
    cadences_s: Mapping[str, float] = CADENCES_S,
    beats: bool = True,
) -> Wearer:
    """Make a healthy adult whose constitution follows from `seed`. Raises `InvalidId` for ids that are not opaque."""
    n = noise.normal(seed, 0, np.arange(8, dtype=np.int64)).clip(-2.0, 2.0).tolist()
    return Wearer(
        seed=seed,
        patient_id=patient_id(patient or f"sim-{seed:05d}"),
        device_id=device_id(device or f"sim-device-{seed:05d}"),
        zone_offset_min=zone_offset_min,
        resting_heart_rate=62.0 + 5.0 * n[0],
        spo2=97.2 + 0.5 * n[1],
        respiratory_rate=14.5 + 1.0 * n[2],
        temperature=36.7 + 0.15 * n[3],
        rmssd_ms=38.0 * float(np.exp(0.3 * n[4])),
        bed_h=23.0 + 0.6 * n[5],
        wake_h=7.0 + 0.6 * n[6],
        liveliness=0.35 + 0.1 * n[7],
        deteriorations=deteriorations,
        cadences_s=cadences_s,
        beats=beats,
    )
