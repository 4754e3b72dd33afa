"""What a wearer's device tells: the true values at each channel's cadence, with noise and rounding as devices have.

A sample belongs to the piece of time in which its measurement ends: making [a, b) and [b, c) gives the same samples as
making [a, c). That is how a live wearer, second by second, and a year of history are one series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.simulator.beats import rr_intervals
from devices.simulator.noise import Floats, Ints, normal, uniform
from devices.simulator.physiology import Physiology, physiology
from devices.simulator.wearer import Wearer
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE, Kind, Metric
from vitals.clock import US_PER_S
from vitals.quality import Context

_NOISE_SD: Final = {
    "heart_rate": 0.8, "spo2": 0.35, "respiratory_rate": 0.5, "body_temperature": 0.04, "hrv_rmssd": 2.0
}  # fmt: skip
_DECIMALS: Final = {"heart_rate": 0, "spo2": 0, "respiratory_rate": 0, "body_temperature": 1, "hrv_rmssd": 1}
_WINDOWED: Final = frozenset({"hrv_rmssd"})
"""Channels whose value is made over the whole cadence before it, as `duration` then says."""
_STEPS_A_MINUTE: Final = 110.0
_SIMULATED: Final = (*_DECIMALS, "steps")
_RR_INTERVAL: Final = BY_CODE["rr_interval"]
_SPO2: Final = BY_CODE["spo2"].number


def simulate(who: Wearer, start_us: int, end_us: int, *, latency_us: int = 300_000) -> SampleColumns:
    """Return all samples whose measurement ends within [start_us, end_us), in that order (then by metric).

    Written at that end, received `latency_us` later; `zone_offset_min` is the wearer's. Raises ValueError for a
    channel that is not simulated.
    """
    parts = [_due(who, code, cadence_s, start_us, end_us) for code, cadence_s in who.cadences_s.items()]
    if who.beats:
        parts.append(_beats(who, start_us, end_us))
    ends = np.concatenate([part.ends for part in parts])
    begins = np.concatenate([part.begins for part in parts])
    metric = np.concatenate([np.full(len(part.ends), part.metric.number, np.int16) for part in parts])
    true = physiology(who, ends)
    columns = sample_columns(
        begins,
        metric,
        _values(who, parts, true),
        received_us=ends + latency_us,
        written_us=ends,
        # An RR interval's length is its value; the catalogue gives the sample itself none.
        duration_ms=np.where(metric == _RR_INTERVAL.number, 0, (ends - begins) // 1_000).astype(np.int64),
        zone_offset_min=who.zone_offset_min,
        quality=np.where(metric == _SPO2, 1.0 - 0.4 * true.moving, 1.0).astype(np.float32),
        context=_context(true),
    )
    return columns.take(np.lexsort((metric, begins, ends)))


@dataclass(frozen=True, slots=True)
class _Part:
    """One channel's measurements: when they end and begin, and their number on the time axis (RR: 1/1024 s)."""

    metric: Metric
    ends: Ints
    begins: Ints
    index: Ints


def _due(who: Wearer, code: str, cadence_s: float, start_us: int, end_us: int) -> _Part:
    if code not in _SIMULATED:
        raise ValueError(f"the simulator has no channel {code}; it has {', '.join(_SIMULATED)}")
    metric, cadence_us = BY_CODE[code], round(cadence_s * US_PER_S)
    spans = metric.kind is Kind.INTERVAL or code in _WINDOWED
    # Intervals keep to the clock; points are spread, so that a thousand wearers do not all speak at once.
    phase_us = 0 if spans else int(uniform(who.seed, metric.number, np.array([-1]))[0] * cadence_us)
    index = np.arange(-((phase_us - start_us) // cadence_us), -((phase_us - end_us) // cadence_us), dtype=np.int64)
    ends = index * cadence_us + phase_us
    return _Part(metric, ends, ends - (cadence_us if spans else 0), index)


def _beats(who: Wearer, start_us: int, end_us: int) -> _Part:
    ends, ticks = rr_intervals(who, start_us, end_us)
    return _Part(_RR_INTERVAL, ends, ends - np.round(ticks * (1e6 / 1_024)).astype(np.int64), ticks)


def _values(who: Wearer, parts: list[_Part], true: Physiology) -> Floats:
    values, first = [], 0
    for part in parts:
        values.append(_value(who, part, true, slice(first, first + len(part.ends))))
        first += len(part.ends)
    return np.concatenate(values)


def _value(who: Wearer, part: _Part, true: Physiology, where: slice) -> Floats:
    code, metric = part.metric.code, part.metric
    if code == "rr_interval":
        return part.index.astype(np.float64) * (1_000 / 1_024)
    if code == "steps":
        return _steps(who, part)
    noisy = getattr(true, code)[where] + _NOISE_SD[code] * normal(who.seed, 100 + metric.number, part.index)
    rounded: Floats = np.clip(np.round(noisy, _DECIMALS[code]), metric.low, metric.high)
    return rounded


def _steps(who: Wearer, part: _Part) -> Floats:
    """Return whole steps taken in each interval, from how the wearer moved at four moments of it."""
    span_us = part.ends - part.begins
    moments = np.concatenate([part.begins + span_us * eighth // 8 for eighth in (1, 3, 5, 7)])
    moving = physiology(who, moments).moving.reshape(4, -1)
    mean = (moving[0] + moving[1] + moving[2] + moving[3]) / 4.0
    expected = mean * _STEPS_A_MINUTE * span_us / (60 * US_PER_S)
    steps: Floats = np.floor(expected * (0.9 + 0.2 * uniform(who.seed, 150, part.index)))
    return steps


def _context(true: Physiology) -> NDArray[np.int16]:
    active = np.where(true.moving > 0.2, int(Context.MOTION_ACTIVE), int(Context.MOTION_SEDENTARY))
    asleep = np.where(true.asleep > 0.5, int(Context.ASLEEP), 0)
    return (active | asleep).astype(np.int16)
