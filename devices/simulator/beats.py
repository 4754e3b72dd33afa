"""Heartbeats that follow the true heart rate, made a minute at a time so that any piece can be made by itself.

Every minute of the time axis holds a whole number of beats, its first at the minute's start: minutes join without a
seam, and the mean rate is off by half a beat a minute at most.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from devices.simulator.noise import Floats, Ints, normal
from devices.simulator.physiology import physiology
from devices.simulator.wearer import Wearer
from vitals.clock import US_PER_S

_MINUTE_US: Final = 60 * US_PER_S
_KNOT_US: Final = 5 * US_PER_S
_KNOTS: Final = _MINUTE_US // _KNOT_US
_JITTER: Final = 30
_MOST_BEATS: Final = 512
"""More than any minute has: what separates the minutes' random numbers."""
# White jitter of SD s on the beats gives RR differences of SD s * sqrt(6), which is their RMSSD.
_RMSSD_OF_JITTER: Final = 6.0**0.5


def rr_intervals(who: Wearer, start_us: int, end_us: int) -> tuple[Ints, Ints]:
    """Return (the beats that end an RR interval within [start_us, end_us) in us, those intervals in 1/1024 s)."""
    first, last = start_us // _MINUTE_US - 1, (end_us - 1) // _MINUTE_US + 1
    knots = np.arange(first * _KNOTS, (last + 1) * _KNOTS + 1, dtype=np.int64) * _KNOT_US
    true = physiology(who, knots)
    beats = np.concatenate(
        [_minute(who, minute, *_knots_of(minute - first, true.heart_rate, true.hrv_rmssd))
         for minute in range(first, last + 1)]
    )  # fmt: skip
    ends = beats[1:]
    ticks = np.round(np.diff(beats) * 1_024 / US_PER_S).astype(np.int64)
    within = (ends >= start_us) & (ends < end_us)
    return ends[within], ticks[within]


def _knots_of(index: int, *series: Floats) -> list[Floats]:
    return [one[index * _KNOTS : (index + 1) * _KNOTS + 1] for one in series]


def _minute(who: Wearer, minute: int, heart_rate: Floats, rmssd_ms: Floats) -> Ints:
    """Return the beats of one minute in us; `heart_rate` and `rmssd_ms` stand at its 13 knots."""
    phase = np.concatenate(([0.0], np.cumsum((heart_rate[1:] + heart_rate[:-1]) / 2)))
    count = max(1, round(float(phase[-1]) * _KNOT_US / _MINUTE_US))
    number = np.arange(count, dtype=np.int64)
    # Through the inverse of the phase: where the rate is high the beats are close.
    at_us = np.interp(number * (phase[-1] / count), phase, np.arange(_KNOTS + 1) * float(_KNOT_US))
    spread_us = np.interp(at_us, np.arange(_KNOTS + 1) * float(_KNOT_US), rmssd_ms) * 1_000 / _RMSSD_OF_JITTER
    spread_us = np.minimum(spread_us, 0.1 * _MINUTE_US / count)
    jitter = normal(who.seed, _JITTER, minute * _MOST_BEATS + number).clip(-3.0, 3.0) * spread_us
    beats: Ints = minute * _MINUTE_US + np.round(at_us + jitter).astype(np.int64)
    return beats
