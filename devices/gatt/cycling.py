"""Cycling Speed and Cadence Service 1.0: CSC Measurement 0x2A5B (§3.1).

Flags: bit 0 wheel (cumulative revolutions, uint32, and the last one's time, uint16 of 1/1024 s); bit 1 crank (uint16
and uint16 of 1/1024 s). One notification says no speed: `advance` compares it with the one before. Times wrap every
64 s and crank revolutions at 65,536; where arrivals are further apart, they say how often the time went round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.gatt.characteristic import Characteristic
from devices.gatt.clock import US_PER_MIN, ticks_between, wraps_between
from devices.gatt.frame import Frame
from devices.gatt.report import Row, report, rows_to_samples
from vitals.batch import SampleColumns
from vitals.clock import US_PER_S

NAME: Final = "CSC Measurement"
DEFAULT_CIRCUMFERENCE_M: Final = 2.105
"""Of a 700 x 25C wheel."""
STOPPED_US: Final = 4 * US_PER_S
"""Without a new revolution for so long, wheel or crank stands still."""
MAX_GAP_US: Final = 5 * US_PER_MIN
"""After a longer gap the sensor may have started anew: counting begins again."""
MAX_SPEED_M_S: Final = 60.0
MAX_CADENCE_PER_MIN: Final = 400.0
"""Beyond both a counter was set back, or an event time is wrong: nothing is told."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A wheel's or crank's counter: how often it went round, and when it last did, in 1/1024 s."""

    revolutions: int
    event_ticks: int


@dataclass(frozen=True, slots=True)
class Cycling:
    """One notification; None where the frame does not carry the field."""

    wheel: Turn | None
    crank: Turn | None


def decode(payload: bytes) -> Cycling:
    """Decode one notification. Raises `MalformedFrame`."""
    frame = Frame(f"{NAME} (2A5B)", payload)
    flags = frame.flags()
    return Cycling(
        _turn(frame, 4, "wheel") if flags & 0x01 else None,
        _turn(frame, 2, "crank") if flags & 0x02 else None,
    )


def _turn(frame: Frame, size: int, what: str) -> Turn:
    return Turn(frame.uint(size, f"the {what} revolutions"), frame.uint(2, f"the last {what} event's time"))


def to_json(cycling: Cycling) -> dict[str, object]:
    """Return the counters for people to read."""
    fields: dict[str, object] = {}
    for name, turn in (("wheel", cycling.wheel), ("crank", cycling.crank)):
        fields[f"{name}_revolutions"] = None if turn is None else turn.revolutions
        fields[f"last_{name}_event_s"] = None if turn is None else turn.event_ticks / 1_024
    return report("2A5B", NAME, **fields)


@dataclass(frozen=True, slots=True)
class Seen:
    """A counter as it was last seen: `turned_us` when a revolution was last told of."""

    turn: Turn
    received_us: int
    turned_us: int


@dataclass(frozen=True, slots=True)
class CyclingState:
    """Both counters as they were last seen."""

    wheel: Seen | None = None
    crank: Seen | None = None


@dataclass(frozen=True, slots=True)
class _Turned:
    per_s: float | None
    revolutions: int


_NOTHING: Final = _Turned(None, 0)


def advance(
    state: CyclingState, cycling: Cycling, received_us: int, *, circumference_m: float = DEFAULT_CIRCUMFERENCE_M
) -> tuple[CyclingState, SampleColumns]:
    """Return the state after a notification, and speed, distance and cadence since the one before."""
    wheel = _turned(state.wheel, cycling.wheel, received_us, 32, MAX_SPEED_M_S / circumference_m)
    crank = _turned(state.crank, cycling.crank, received_us, 16, MAX_CADENCE_PER_MIN / 60)
    rows = []
    if wheel.per_s is not None:
        rows.append(Row("speed", wheel.per_s * circumference_m, received_us))
    if wheel.revolutions and state.wheel is not None:
        since_us = state.wheel.received_us
        span_ms = max((received_us - since_us) // 1_000, 1)
        rows.append(Row("distance", wheel.revolutions * circumference_m, since_us, duration_ms=span_ms))
    if crank.per_s is not None:
        rows.append(Row("cadence", crank.per_s * 60, received_us))
    seen = CyclingState(_seen(state.wheel, cycling.wheel, received_us), _seen(state.crank, cycling.crank, received_us))
    return seen, rows_to_samples(rows, received_us)


def _seen(before: Seen | None, turn: Turn | None, received_us: int) -> Seen | None:
    if turn is None:
        return before
    still = before is not None and before.turn == turn
    return Seen(turn, received_us, before.turned_us if still and before is not None else received_us)


def _turned(before: Seen | None, turn: Turn | None, received_us: int, bits: int, max_per_s: float) -> _Turned:
    if before is None or turn is None or not 0 < received_us - before.received_us <= MAX_GAP_US:
        return _NOTHING
    revolutions = ticks_between(before.turn.revolutions, turn.revolutions, bits)
    if revolutions == 0:
        return _Turned(0.0, 0) if received_us - before.turned_us >= STOPPED_US else _NOTHING
    ticks = wraps_between(
        before.turn.event_ticks, turn.event_ticks, 16, (received_us - before.turned_us) * 1_024 // US_PER_S
    )
    if ticks == 0 or revolutions * 1_024 / ticks > max_per_s:
        return _NOTHING
    return _Turned(revolutions * 1_024 / ticks, revolutions)


CHARACTERISTICS: Final = (Characteristic("2A5B", NAME, decode, to_json, service_uuid16="1816", how="notify"),)
