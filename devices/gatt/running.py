"""Running Speed and Cadence Service 1.0: RSC Measurement 0x2A53 (§3.1).

Flags: bit 0 stride length; bit 1 total distance; bit 2 running (else walking). Speed is in 1/256 m/s, cadence in steps
a minute, stride length in cm, total distance in dm: a counter of 32 bits that wraps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.gatt.characteristic import Characteristic
from devices.gatt.clock import US_PER_MIN, ticks_between
from devices.gatt.frame import Frame
from devices.gatt.report import Row, report, rows_to_samples
from vitals.batch import SampleColumns

NAME: Final = "RSC Measurement"
MAX_SPEED_M_S: Final = 15.0
"""Faster is no runner: the counter was set back."""
MAX_GAP_US: Final = 5 * US_PER_MIN
_WALKING, _RUNNING = 2.0, 3.0  # vitals.catalogue.ACTIVITIES


@dataclass(frozen=True, slots=True)
class Running:
    """One notification; None where the frame does not carry the field."""

    speed_ticks: int
    cadence_per_min: int
    stride_cm: int | None
    total_dm: int | None
    running: bool

    @property
    def speed_m_s(self) -> float:
        """The speed of the moment."""
        return self.speed_ticks / 256


def decode(payload: bytes) -> Running:
    """Decode one notification. Raises `MalformedFrame`."""
    frame = Frame(f"{NAME} (2A53)", payload)
    flags = frame.flags()
    return Running(
        frame.uint(2, "the speed"),
        frame.uint(1, "the cadence"),
        frame.uint(2, "the stride length") if flags & 0x01 else None,
        frame.uint(4, "the total distance") if flags & 0x02 else None,
        bool(flags & 0x04),
    )


def to_json(running: Running) -> dict[str, object]:
    """Return the value for people to read, in metres."""
    return report(
        "2A53",
        NAME,
        speed_m_s=running.speed_m_s,
        cadence_per_min=running.cadence_per_min,
        stride_length_m=None if running.stride_cm is None else running.stride_cm / 100,
        total_distance_m=None if running.total_dm is None else running.total_dm / 10,
        activity="running" if running.running else "walking",
    )


def to_samples(running: Running, received_us: int) -> SampleColumns:
    """Return speed, cadence and, while there is movement, whether it is walking or running."""
    rows = [
        Row("speed", running.speed_m_s, received_us),
        Row("cadence", float(running.cadence_per_min), received_us),
    ]
    if running.speed_ticks or running.cadence_per_min:
        rows.append(Row("activity_class", _RUNNING if running.running else _WALKING, received_us))
    return rows_to_samples(rows, received_us)


@dataclass(frozen=True, slots=True)
class DistanceState:
    """The distance counter as it was last seen."""

    total_dm: int
    received_us: int


def advance(
    state: DistanceState | None, running: Running, received_us: int
) -> tuple[DistanceState | None, SampleColumns]:
    """Return the state after a notification and the distance since the one before, as an interval.

    No distance is told after a gap of `MAX_GAP_US`, nor where the counter went faster than anyone runs.
    """
    if running.total_dm is None:
        return state, rows_to_samples([], received_us)
    now = DistanceState(running.total_dm, received_us)
    if state is None or not 0 < received_us - state.received_us <= MAX_GAP_US:
        return now, rows_to_samples([], received_us)
    metres = ticks_between(state.total_dm, running.total_dm, 32) / 10
    span_us = received_us - state.received_us
    believable = metres <= MAX_SPEED_M_S * (span_us / 1e6 + 1)
    row = Row("distance", metres, state.received_us, duration_ms=max(span_us // 1_000, 1))
    return now, rows_to_samples([row] if believable else [], received_us)


CHARACTERISTICS: Final = (
    Characteristic("2A53", NAME, decode, to_json, to_samples, service_uuid16="1814", how="notify"),
)
