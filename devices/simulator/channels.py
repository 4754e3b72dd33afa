"""What a device makes of the truth: each channel's due times, noise and rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.simulator.beats import rr_intervals
from devices.simulator.noise import Floats, Ints, normal, uniform
from devices.simulator.physiology import Course
from devices.simulator.sleep import nights
from devices.simulator.wearer import Wearer
from vitals.catalogue import BY_CODE, Metric
from vitals.clock import US_PER_S

STEPS_A_MINUTE: Final = 110.0
"""An ordinary walk. In effort people take longer steps rather than many more."""
_BATTERY_US: Final = 100 * 3_600 * US_PER_S
"""A charge lasts so long; the wearer plugs it in when it is due."""


class _Reading(NamedTuple):
    """How a device reads a true value: of which name, with how much noise, to how many decimals."""

    of: str
    noise_sd: float
    decimals: int


_POINTS: Final = {
    "heart_rate": _Reading("heart_rate", 0.8, 0),
    "pulse_rate": _Reading("heart_rate", 1.6, 0),
    "spo2": _Reading("spo2", 0.35, 0),
    "respiratory_rate": _Reading("respiratory_rate", 0.5, 0),
    "body_temperature": _Reading("body_temperature", 0.04, 1),
    "wrist_temperature": _Reading("wrist_temperature", 0.08, 2),
    "bp_systolic": _Reading("bp_systolic", 4.0, 0),
    "bp_diastolic": _Reading("bp_diastolic", 3.0, 0),
    "glucose": _Reading("glucose", 3.0, 0),
}
_TOTALS: Final = ("steps", "active_energy")
_VARIABILITY: Final = ("hrv_rmssd", "hrv_sdnn")
_SLEEP: Final = ("sleep_stage", "in_bed")
CHANNELS: Final = (*_POINTS, "enmo", "battery", *_TOTALS, *_VARIABILITY, *_SLEEP)
_SPANNING: Final = frozenset({*_TOTALS, *_VARIABILITY, *_SLEEP, "enmo"})
"""Channels whose value is made over the whole cadence before it, as `duration` then says."""


@dataclass(frozen=True, slots=True)
class Due:
    """One channel's measurements: when they end and begin (us), and their number on the time axis."""

    metric: Metric
    ends: Ints
    begins: Ints
    index: Ints


def due(who: Wearer, code: str, cadence_s: float, start_us: int, end_us: int) -> Due:
    """Return what of a channel ends within [start_us, end_us). Raises ValueError for one that is not simulated."""
    if code not in CHANNELS:
        raise ValueError(f"the simulator has no channel {code}; it has {', '.join(CHANNELS)}")
    metric, cadence_us = BY_CODE[code], round(cadence_s * US_PER_S)
    # Intervals keep to the clock; points are spread, so that a thousand wearers do not all speak at once.
    spans = code in _SPANNING
    phase_us = 0 if spans else int(uniform(who.seed, metric.number, np.array([-1]))[0] * cadence_us)
    index = np.arange(-((phase_us - start_us) // cadence_us), -((phase_us - end_us) // cadence_us), dtype=np.int64)
    ends = index * cadence_us + phase_us
    return Due(metric, ends, ends - (cadence_us if spans else 0), index)


def read(who: Wearer, what: Due, truth: Course, beats: tuple[Ints, Ints]) -> Floats:
    """Return a channel's values; `beats` are RR intervals that cover the windows of variability."""
    code = what.metric.code
    if code in _POINTS:
        return _point(who, what, truth, _POINTS[code])
    if code in _TOTALS or code == "enmo":
        return _moving(who, what, truth)
    if code == "battery":
        phase = uniform(who.seed, what.metric.number, np.array([-2]))[0]
        left: Floats = np.ceil(100.0 - 95.0 * ((what.ends / _BATTERY_US + phase) % 1.0))
        return left
    return _variability(what, *beats)


def _point(who: Wearer, what: Due, truth: Course, how: _Reading) -> Floats:
    values = truth.value(how.of, *truth.place(what.ends))
    values = values + how.noise_sd * normal(who.seed, 100 + what.metric.number, what.index)
    values = np.round(values, how.decimals) if how.decimals else np.rint(values)
    return np.clip(values, what.metric.low, what.metric.high, out=values)


def _moving(who: Wearer, what: Due, truth: Course) -> Floats:
    """Return what follows from motion over an interval, by how the wearer moved at four moments of it."""
    span_us = what.ends - what.begins
    parts = [truth.value("moving", *truth.place(what.begins + span_us * eighth // 8)) for eighth in (1, 3, 5, 7)]
    mean = (parts[0] + parts[1] + parts[2] + parts[3]) / 4.0
    varied = 0.9 + 0.2 * uniform(who.seed, 100 + what.metric.number, what.index)
    minutes = span_us / (60 * US_PER_S)
    if what.metric.code == "steps":
        return np.floor(mean * STEPS_A_MINUTE * minutes * varied)
    if what.metric.code == "active_energy":
        return np.round((0.1 + 7.0 * mean) * minutes * varied, 2)
    return np.round((3.0 + 320.0 * mean) * varied, 1)


def _variability(what: Due, ends: Ints, ticks: Ints) -> Floats:
    """Return RMSSD or SDNN of the beats in each window, in ms; sums of whole ticks, so exact however time is cut."""
    if len(what.ends) == 0:
        return np.zeros(0)
    first, last = np.searchsorted(ends, what.begins), np.searchsorted(ends, what.ends)
    squares = np.append(0, np.cumsum(np.diff(ticks, prepend=ticks[:1]) ** 2))
    if what.metric.code == "hrv_rmssd":
        mean = (squares[last] - squares[first + 1]) / np.maximum(last - first - 1, 1)
    else:
        total, square = np.append(0, np.cumsum(ticks)), np.append(0, np.cumsum(ticks**2))
        n = np.maximum(last - first, 1)
        mean = (square[last] - square[first]) / n - ((total[last] - total[first]) / n) ** 2
    variability: Floats = np.round(np.sqrt(np.maximum(mean, 0.0)) * (1_000 / 1_024), 1)
    return variability


def windows_from(dues: list[Due], start_us: int) -> int:
    """Return from when on beats must be known: the beginning of the first window of variability that is due."""
    begins = [int(one.begins[0]) for one in dues if one.metric.code in _VARIABILITY and len(one.begins)]
    return min([start_us, *begins])


def beats_of(who: Wearer, dues: list[Due], start_us: int, end_us: int, truth: Course) -> tuple[Ints, Ints]:
    """Return RR intervals as far back as the channels that are due need them; none where no channel does."""
    first = windows_from(dues, start_us)
    if not who.beats and first == start_us:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return rr_intervals(who, first, end_us, truth)


def sleep_of(who: Wearer, code: str, start_us: int, end_us: int) -> tuple[Due, Floats]:
    """Return stretches of sleep that end within [start_us, end_us): stages, or the time in bed, and their values."""
    parts = []
    for night in nights(who, start_us - 1, end_us):
        if code == "in_bed":
            parts.append(np.array([[night.bed_us, night.up_us, 1]], np.int64))
        else:
            parts.append(np.stack((night.edges_us[:-1], night.edges_us[1:], night.stages.astype(np.int64)), axis=1))
    rows: NDArray[np.int64] = np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)
    rows = rows[(rows[:, 1] >= start_us) & (rows[:, 1] < end_us)]
    return Due(BY_CODE[code], rows[:, 1], rows[:, 0], rows[:, 1]), rows[:, 2].astype(np.float64)
