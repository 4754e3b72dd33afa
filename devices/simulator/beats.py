"""Heartbeats that follow the true heart rate, made a minute at a time so that any piece can be made by itself.

Every minute of the time axis holds a whole number of beats, its first at the minute's start: minutes join without a
seam, and the mean rate is off by half a beat a minute at most. Within the minute each interval has a weight: 1 in sinus
rhythm, random in atrial fibrillation, short and then long around an ectopic beat. Around the times that follow from the
weights sinus beats are moved by breathing (respiratory sinus arrhythmia, at the true respiratory rate), by the waves of
about 0.1 Hz that blood pressure has, and by a little white jitter, in such measure that RMSSD is the true one. What is
slower is in the true heart rate itself, which wanders like 1/f.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from devices.simulator.noise import Floats, Ints, normal, smooth, uniform
from devices.simulator.physiology import KNOT_US, Course, course
from devices.simulator.wearer import Wearer
from vitals.clock import US_PER_S

MINUTE_US: Final = 60 * US_PER_S
_KNOTS: Final = MINUTE_US // KNOT_US
_JITTER, _WAVE, _WEIGHT, _EARLY = 40, 41, 42, 43
_MOST_BEATS: Final = 512
"""More than any minute has: what separates the minutes' random numbers."""
_UNIT: Final = 1 << 20
"""Weights are whole numbers of this share of a mean interval: sums of integers do not depend on where one starts."""
_WAVE_US: Final = 10 * US_PER_S
# How the squared RMSSD is shared out between breathing, the 0.1 Hz waves and jitter.
_BY_BREATH, _BY_WAVE, _BY_JITTER = 0.6, 0.15, 0.25
_FARTHEST: Final = 0.2
"""No beat is moved by more than this share of an interval, so that their order stands."""
_TAIL: Final = 2.2
_EARLY_AT: Final = 0.65


@dataclass(frozen=True, slots=True)
class Beats:
    """Heartbeats in order: when (us), and whether each came in fibrillation or early (ectopic)."""

    at_us: Ints
    fibrillation: NDArray[np.bool_]
    early: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Minutes:
    """Whole minutes: how many beats and breaths each has, and where in them each knot stands (0 to 1)."""

    first: int
    beats: Ints
    breaths: Floats
    heart_before: Floats  # at the beginning and the end of each stretch between knots, flat over all minutes
    heart_after: Floats
    breath_before: Floats
    breath_after: Floats


def rr_intervals(who: Wearer, start_us: int, end_us: int, known: Course | None = None) -> tuple[Ints, Ints]:
    """Return (the beats that end an RR interval within [start_us, end_us) in us, those intervals in 1/1024 s)."""
    beats = beats_around(who, start_us, end_us, known).at_us
    ends = beats[1:]
    ticks = np.round(np.diff(beats) * (1_024 / US_PER_S)).astype(np.int64)
    a, b = np.searchsorted(ends, (start_us, end_us))
    return ends[a:b], ticks[a:b]


def span(start_us: int, end_us: int) -> tuple[int, int]:
    """Return the whole minutes that the beats of [start_us, end_us) are made in: the first, and the one after."""
    return start_us // MINUTE_US - 1, (end_us - 1) // MINUTE_US + 2


def beats_around(who: Wearer, start_us: int, end_us: int, known: Course | None = None) -> Beats:
    """Return all beats from a minute or more before `start_us` until a minute or more after `end_us`."""
    first, last = span(start_us, end_us)
    truth = course(who, first * MINUTE_US, last * MINUTE_US) if known is None else known
    minutes = _minutes(truth, first, last)
    number = np.repeat(np.arange(first, last, dtype=np.int64), minutes.beats)
    within = np.arange(len(number), dtype=np.int64) - np.repeat(np.cumsum(minutes.beats) - minutes.beats, minutes.beats)
    nominal_us = _times(minutes, number, within / minutes.beats[number - first])
    knot, share = truth.place(nominal_us)
    cv, ectopy = truth.value("irregularity", knot, share), truth.value("ectopy", knot, share)
    early = np.zeros(len(number), np.bool_)
    if cv.any() or ectopy.any():
        last_one = within == minutes.beats[number - first] - 1
        early = (uniform(who.seed, _EARLY, number * _MOST_BEATS + within) < ectopy) & (cv == 0) & ~last_one
        phase = _weighted(who, minutes, number, within, cv, early)
        nominal_us = _times(minutes, number, phase)
        knot, share = truth.place(nominal_us)
    moved = np.where(cv > 0, 0.0, _moved(who, truth, minutes, number * _MOST_BEATS + within, nominal_us, knot, share))
    at_us = nominal_us + np.round(moved).astype(np.int64)
    # `early` says that the interval after a beat is short: it is the next beat that comes early.
    return Beats(at_us, cv > 0, np.concatenate((np.zeros(1, np.bool_), early[:-1])))


def _minutes(truth: Course, first: int, last: int) -> _Minutes:
    begin = first * _KNOTS - truth.first
    knots = slice(begin, begin + (last - first) * _KNOTS + 1)
    heart = _phases(truth.at_knots.heart_rate[knots])
    breath = _phases(truth.at_knots.respiratory_rate[knots])
    beats = np.maximum(1, np.round(heart[:, -1] / _KNOTS)).astype(np.int64)
    breaths = np.maximum(1.0, np.round(breath[:, -1] / _KNOTS))
    heart, breath = heart / heart[:, -1:], breath / breath[:, -1:]
    ends = (heart[:, :-1], heart[:, 1:], breath[:, :-1], breath[:, 1:])
    return _Minutes(first, beats, breaths, *(one.ravel() for one in ends))


def _phases(rate: Floats) -> Floats:
    """Return, a row a minute, the rate summed up from its beginning to each of its 13 knots."""
    steps = ((rate[1:] + rate[:-1]) / 2).reshape(-1, _KNOTS)
    return np.concatenate((np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)), axis=1)


def _times(minutes: _Minutes, number: Ints, phase: Floats) -> Ints:
    """Return when each minute has come so far in its beats: where the rate is high, they are close."""
    first = minutes.first
    # Numbers of minutes are absolute, so that rounding is the same wherever the time axis is cut.
    passed = np.repeat(np.arange(first, first + len(minutes.beats)), _KNOTS) + minutes.heart_before
    time_us = np.arange(first * _KNOTS, (first + len(minutes.beats)) * _KNOTS) * float(KNOT_US)
    after = (first + len(minutes.beats)) * float(MINUTE_US)
    times = np.interp(number + phase, np.append(passed, first + len(minutes.beats)), np.append(time_us, after))
    whole: Ints = np.round(times).astype(np.int64)
    return whole


def _weighted(
    who: Wearer, minutes: _Minutes, number: Ints, within: Ints, cv: Floats, early: NDArray[np.bool_]
) -> Floats:
    """Return the phase of each beat within its minute where intervals have weights."""
    weight = np.where(cv > 0, _irregular(uniform(who.seed, _WEIGHT, number * _MOST_BEATS + within), cv), 1.0)
    weight -= (1.0 - _EARLY_AT) * early
    weight[1:] += (1.0 - _EARLY_AT) * early[:-1]
    whole = np.round(weight * _UNIT).astype(np.int64)
    before = np.cumsum(whole) - whole
    starts = np.cumsum(minutes.beats) - minutes.beats
    total = np.add.reduceat(whole, starts)
    index = number - minutes.first
    phase: Floats = (before - before[starts][index]) / total[index]
    return phase


def _irregular(drawn: Floats, cv: Floats) -> Floats:
    """Return positive weights of mean 1 and coefficient of variation `cv`: log-normal, its tails cut off at 2.2 SD."""
    z = ndtri(ndtr(-_TAIL) + drawn * (1.0 - 2.0 * ndtr(-_TAIL)))
    sigma = np.sqrt(np.log1p(cv**2)) * _WIDER
    weights: Floats = np.exp(sigma * z)
    return weights / _cut_mean(sigma)


def _cut_mean(sigma: Floats) -> Floats:
    # E exp(sigma z) of a normal number z that lies within -_TAIL and _TAIL.
    share = (ndtr(_TAIL - sigma) - ndtr(-_TAIL - sigma)) / (1.0 - 2.0 * ndtr(-_TAIL))
    mean: Floats = np.exp(sigma**2 / 2) * share
    return mean


def _wider() -> float:
    """Return how much wider the log-normal must be for the cut one to have the variance asked for (for small ones)."""
    inside = 1.0 - 2.0 * ndtr(-_TAIL)
    density = np.exp(-(_TAIL**2) / 2) / np.sqrt(2 * np.pi)
    return float(1.0 / np.sqrt(1.0 - 2.0 * _TAIL * density / inside))


_WIDER: Final = _wider()


def _moved(
    who: Wearer, truth: Course, minutes: _Minutes, index: Ints, time_us: Ints, knot: Ints, share: Floats
) -> Floats:
    """Return by how many us each sinus beat is moved.

    A wave of amplitude A and frequency f in the times of beats T apart has second differences of amplitude
    4 A sin(pi f T)^2: that is its part in successive differences of RR. White jitter of SD s has s * sqrt(6).
    """
    interval_us = MINUTE_US / truth.value("heart_rate", knot, share)
    rmssd_us = truth.value("hrv_rmssd", knot, share) * 1_000.0
    at = time_us // KNOT_US - minutes.first * _KNOTS
    at = np.minimum(at, len(minutes.breath_before) - 1)
    breaths = minutes.breaths[at // _KNOTS]
    cycle = breaths * (minutes.breath_before[at] + share * (minutes.breath_after[at] - minutes.breath_before[at]))
    by_breath = _amplitude(_BY_BREATH, breaths * interval_us / MINUTE_US) * np.sin(2.0 * np.pi * cycle)
    turn = time_us % _WAVE_US / _WAVE_US + 0.6 * smooth(who.seed, _WAVE, time_us, 60 * US_PER_S)
    by_wave = _amplitude(_BY_WAVE, interval_us / _WAVE_US) * np.sin(2.0 * np.pi * turn)
    jitter = (_BY_JITTER / 6.0) ** 0.5 * normal(who.seed, _JITTER, index)
    farthest = _FARTHEST * interval_us
    moved: Floats = np.clip(rmssd_us * (by_breath + by_wave + jitter), -farthest, farthest)
    return moved


def _amplitude(part: float, cycles_a_beat: Floats) -> Floats:
    """Return the amplitude of a wave that makes up `part` of a squared RMSSD of 1."""
    amplitude: Floats = (2.0 * part) ** 0.5 / (4.0 * np.sin(np.pi * np.minimum(cycles_a_beat, 0.5)) ** 2)
    return amplitude
