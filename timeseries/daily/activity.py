"""Activity of a day, from samples that cover intervals: each stretch of time counts once, whoever tells it.

Phone and watch both count the same steps. Their intervals are never summed: at every moment one origin is believed,
the one that covers more of that day (of two alike the one whose intervals are finer, then the older origin); another
one counts only where the believed one tells nothing. A sample that is believed in part counts in proportion, as if its
value had accumulated evenly; so it does, too, where an interval runs over local midnight. Within one origin a moment
counts for the interval that began first. HealthKit merges its sources in the same manner, by an order that the wearer
sets (HKStatisticsQuery); the order does not leave the phone, so coverage stands in for it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from timeseries.daily.groups import Floats, Ints, number, rank, total
from timeseries.daily.intervals import once, once_by_rank
from timeseries.daily.pieces import Told
from timeseries.daily.zones import MINUTE_US
from vitals.catalogue import BY_CODE

TOTALS: Final = {
    "steps": BY_CODE["steps"].number,
    "distance_m": BY_CODE["distance"].number,
    "active_energy_kcal": BY_CODE["active_energy"].number,
    "exercise_min": BY_CODE["exercise_time"].number,
    "stand_min": BY_CODE["stand_time"].number,
    "daylight_min": BY_CODE["time_in_daylight"].number,
}
"""Measure of the day -> metric whose intervals add up to it."""
BRISK_A_MINUTE: Final = 100.0
"""Steps a minute from which adults walk at moderate intensity (Tudor-Locke et al. 2018, Br J Sports Med 52:776)."""
_INTENSITY: Final = BY_CODE["activity_intensity"].number
_MODERATE: Final = 2
_USED: Final = (*TOTALS.values(), _INTENSITY)


def preferred(group: Ints, origin: Ints, start: Ints, end: Ints) -> Ints:
    """Return the rank of each stretch's origin in its group: 0 covers most of it, then finer, then older."""
    series, row = number(group, origin)
    count = len(row)
    covers = np.bincount(series, weights=once(series, start, end), minlength=count)
    stretches = np.bincount(series, minlength=count)
    finer = -np.bincount(series, weights=end - start, minlength=count) / stretches
    return rank(group[row], covers, finer, -origin[row])[series]


def activity(pieces: Told, day: Ints, days: int) -> dict[str, Floats]:
    """Return each measure of each of `days` days; NaN where nothing was told. `day` is the index of a piece's day."""
    used = np.flatnonzero(np.isin(pieces.metric, _USED))
    pieces, day = pieces.take(used), day[used]
    group, _ = number(day, pieces.metric)
    share = once_by_rank(group, preferred(group, pieces.origin, pieces.start, pieces.end), pieces.start, pieces.end)
    accumulated = pieces.value * pieces.share * share
    measures = {}
    for name, metric in TOTALS.items():
        of = np.flatnonzero(pieces.metric == metric)
        measures[name] = total(day[of], accumulated[of], days)
    minutes = share * (pieces.end - pieces.start) / MINUTE_US
    a_minute = pieces.value * pieces.share * MINUTE_US / np.maximum(pieces.end - pieces.start, 1)
    measures["brisk_min"] = _minutes(pieces, day, days, minutes, TOTALS["steps"], a_minute >= BRISK_A_MINUTE)
    told_moderate = pieces.value >= _MODERATE
    measures["moderate_vigorous_min"] = _minutes(pieces, day, days, minutes, _INTENSITY, told_moderate)
    return measures


def _minutes(pieces: Told, day: Ints, days: int, minutes: Floats, metric: int, counts: NDArray[np.bool_]) -> Floats:
    of = np.flatnonzero(pieces.metric == metric)
    return total(day[of], minutes[of] * counts[of], days)
