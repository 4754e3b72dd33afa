"""How something usually speaks: learned from its own arrivals, so that silence can be told from its habit.

A strap speaks every second, a phone uploads every hour, a scale once a day, and nobody writes that down. What counts is
the time between arrivals (`received`), or between measurements where that is longer; and the hours of the day in which
it is usually silent: a phone that sleeps, a watch that is charged. The usual gap is that in which half of the last
arrivals' time was spent (the N50 of gaps): ten uploads in one minute and then none for two hours are two hours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors.observation import Observations
from stream.detectors.sustain import NEVER
from vitals.clock import US_PER_S

KEPT_GAPS: Final = 64
_HOUR_US: Final = 3_600 * US_PER_S
_FORGET: Final = 0.25  # what one day weighs in the habit of an hour
_SILENT: Final = 0.34  # heard on so few days an hour counts as silent
_HABIT_DAYS: Final = 3  # not before


@dataclass(frozen=True, slots=True)
class Cadence:
    """Arrivals so far; times in us UTC (`NEVER` before the first).

    `end_us` is when the newest measurement ended, `arrival_us` when the last one came; `gaps_s` the last gaps, oldest
    first; `heard` by UTC hour the forgetting share of days on which there was something.
    """

    since_us: int = NEVER
    end_us: int = NEVER
    arrival_us: int = NEVER
    gaps_s: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    heard: NDArray[np.float64] = field(default_factory=lambda: np.zeros(24))

    @property
    def known_s(self) -> float:
        """For how long it has been heard."""
        return (self.arrival_us - self.since_us) / US_PER_S

    def expected(self, min_gaps: int, min_known_s: float) -> bool:
        """Tell whether it has been heard often enough to be missed."""
        return len(self.gaps_s) >= min_gaps and self.known_s >= min_known_s


def ends_us(seen: Observations) -> NDArray[np.int64]:
    """Return when each measurement ended, us UTC: what event order goes by."""
    ends: NDArray[np.int64] = seen["start_us"] + seen["duration_ms"].astype(np.int64) * 1_000
    return ends


def learn(
    cadence: Cadence,
    end_us: NDArray[np.int64],
    received_us: NDArray[np.int64],
    second: NDArray[np.int64],
    which: NDArray[np.intp] | None = None,
) -> Cadence:
    """Take in samples by when they ended (their order), and when they were received, in microseconds and in whole
    seconds; shape (n,), n >= 1. `which` picks samples by their places; without it all count."""
    if which is not None:
        end_us, received_us, second = end_us[which], received_us[which], second[which]
    is_first = cadence.arrival_us == NEVER
    before_us = int(received_us[0]) if is_first else cadence.arrival_us
    since_us = before_us if is_first else cadence.since_us
    newest_us, last_us = max(cadence.end_us, int(end_us[-1])), max(before_us, int(np.maximum.reduce(received_us)))
    if last_us // US_PER_S == before_us // US_PER_S:
        return Cadence(since_us, newest_us, last_us, cadence.gaps_s, cadence.heard)
    at = _places(second, before_us // US_PER_S)
    came_us = received_us[at]
    gaps_s = _gaps_s(came_us, end_us[at], before_us, int(end_us[0]) if is_first else cadence.end_us)
    keep = max(0, KEPT_GAPS - len(gaps_s))
    old = cadence.gaps_s[-keep:] if keep else cadence.gaps_s[:0]
    known = np.empty(len(old) + min(len(gaps_s), KEPT_GAPS), np.float32)
    known[: len(old)], known[len(old) :] = old, gaps_s[-KEPT_GAPS:]
    return Cadence(since_us, newest_us, last_us, known, _heard(cadence, came_us))


def _places(second: NDArray[np.int64], before_s: int) -> NDArray[np.intp]:
    """Return where something came in a later second than everything before it."""
    latest = np.empty(len(second) + 1, np.int64)
    latest[0], latest[1:] = before_s, second
    np.maximum.accumulate(latest, out=latest)
    return (latest[1:] > latest[:-1]).nonzero()[0]


def _gaps_s(
    came_us: NDArray[np.int64], ended_us: NDArray[np.int64], before_us: int, measured_us: int
) -> NDArray[np.float64]:
    """Return the gap before each: between arrivals, or between measurements where that is longer."""
    times_us = np.empty((2, len(came_us) + 1), np.int64)
    times_us[0, 0], times_us[0, 1:], times_us[1, 0] = before_us, came_us, measured_us
    np.maximum(ended_us, measured_us, out=times_us[1, 1:])
    apart_us = times_us[:, 1:] - times_us[:, :-1]
    gaps_s: NDArray[np.float64] = np.maximum(apart_us[0], apart_us[1]) / US_PER_S
    return gaps_s


def _heard(cadence: Cadence, came_us: NDArray[np.int64]) -> NDArray[np.float64]:
    last = cadence.arrival_us // _HOUR_US if cadence.arrival_us != NEVER else None
    if int(came_us[-1]) // _HOUR_US == last:
        return cadence.heard
    heard = cadence.heard.copy()
    for hour in np.unique(came_us // _HOUR_US).tolist():
        if last is None or hour > last:
            missed = np.arange(hour if last is None else max(last + 1, hour - 24 * 30), hour)
            np.multiply.at(heard, missed % 24, 1 - _FORGET)
            heard[hour % 24] += _FORGET * (1 - heard[hour % 24])
            last = hour
    return heard


def usual_gap_s(gaps_s: NDArray[np.float32]) -> float:
    """Return the gap so long that half of the time lies in gaps at least as long; 0 without any."""
    if not len(gaps_s):
        return 0.0
    longest = np.sort(gaps_s)[::-1].astype(np.float64)
    spent = np.cumsum(longest)
    return float(longest[int(np.searchsorted(spent, spent[-1] / 2))])


def allowance_s(gaps_s: NDArray[np.float32], least_s: float, most_s: float) -> float:
    """Return how long a silence may last: ten usual gaps if they are short, three if they are long."""
    gap = usual_gap_s(gaps_s)
    return min(max(least_s, min(10 * gap, max(3_000.0, 3 * gap))), most_s)


def deadline_us(cadence: Cadence, since_us: int, allowed_s: float) -> int:
    """Return when a silence since `since_us` has lasted `allowed_s`, hours that are usually silent left out.

    At most a day of such hours is left out.
    """
    allowed_us = round(allowed_s * US_PER_S)
    if cadence.known_s < _HABIT_DAYS * 86_400:
        return since_us + allowed_us
    quiet = cadence.heard < _SILENT
    at_us, left_us = since_us, allowed_us
    for _ in range(24):
        hour = at_us // _HOUR_US
        if not quiet[hour % 24]:
            step_us = min(left_us, (hour + 1) * _HOUR_US - at_us)
            at_us, left_us = at_us + step_us, left_us - step_us
            if left_us == 0:
                return at_us
        else:
            at_us = (hour + 1) * _HOUR_US
    return at_us + left_us
