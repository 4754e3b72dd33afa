"""Who is simulated: a person's physiology and habits, what befalls them, and what their device does wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np

from devices.simulator import noise
from devices.simulator.fault import Fault
from devices.simulator.scenario import Scenario
from vitals.ids import DeviceId, PatientId, device_id, patient_id

CADENCES_S: Final[Mapping[str, float]] = MappingProxyType(
    {
        "heart_rate": 1.0,
        "spo2": 5.0,
        "respiratory_rate": 15.0,
        "body_temperature": 60.0,
        "hrv_rmssd": 300.0,
        "steps": 60.0,
        "sleep_stage": 30.0,
        "in_bed": 30.0,
    }
)
"""Seconds between samples by metric code; of sleep the length of an epoch, as its samples are whole stretches.

`rr_interval` has none of its own: it comes beat by beat.
"""
ALL_CADENCES_S: Final[Mapping[str, float]] = MappingProxyType(
    {
        **CADENCES_S,
        "pulse_rate": 5.0,
        "enmo": 5.0,
        "wrist_temperature": 60.0,
        "hrv_sdnn": 300.0,
        "active_energy": 60.0,
        "glucose": 300.0,
        "bp_systolic": 3_600.0,
        "bp_diastolic": 3_600.0,
        "battery": 600.0,
    }
)
"""Every channel that is simulated, as somebody has it who wears a strap, a watch, a cuff and a glucose sensor."""


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
    systolic: float = 122.0
    glucose: float = 92.0  # mg/dL, before meals
    bed_h: float = 23.0  # local hours; sleep lies between one noon and the next
    wake_h: float = 7.0
    liveliness: float = 0.35  # the share of waking half hours with a bout of activity
    scenarios: tuple[Scenario, ...] = ()
    faults: tuple[Fault, ...] = ()
    cadences_s: Mapping[str, float] = field(default_factory=lambda: CADENCES_S)
    beats: bool = True  # whether RR intervals are told as well


def wearer(
    seed: int,
    *,
    patient: str | None = None,
    device: str | None = None,
    zone_offset_min: int = 0,
    scenarios: tuple[Scenario, ...] = (),
    faults: tuple[Fault, ...] = (),
    cadences_s: Mapping[str, float] = CADENCES_S,
    beats: bool = True,
) -> Wearer:
    """Make a healthy adult whose constitution follows from `seed`. Raises `InvalidId` for ids that are not opaque."""
    n = noise.normal(seed, 0, np.arange(10, dtype=np.int64)).clip(-2.0, 2.0).tolist()
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
        systolic=122.0 + 5.0 * n[8],
        glucose=92.0 + 5.0 * n[9],
        scenarios=scenarios,
        faults=faults,
        cadences_s=cadences_s,
        beats=beats,
    )
