"""The samples that carry a window: its first, last, lowest and highest, with their own times and values.

Nothing is averaged, so a dip of two seconds stays exactly as deep as it was measured, and begins and ends within a
window's length of when it did. This is the min-max part of M4 (Jugel et al. 2014, "M4: a visualization-oriented time
series aggregation", PVLDB 7(10):797-808); deviation: windows are those of a clock, not the columns of a screen.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST: Final = 4
"""Samples that a window keeps at most; one that has no more is left as it is."""


def extremes(
    series: NDArray[np.int64], window: NDArray[np.int64], time: NDArray[np.int64], value: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which samples stay: all of a (series, window) with up to `MOST`, else first, last, lowest and highest.

    Arrays of one length in any order; `window` must not fall where `time` (any unit, no two alike in one series)
    rises, and `value` must be finite. Of equally low or high samples the earliest stays. What stays, stays again.
    """
    if not len(time):
        return np.zeros(0, np.bool_)
    order = np.lexsort((time, series))
    starts = _starts(series[order], window[order])
    sizes = np.diff(np.append(starts, len(order)))
    ranked = value[order]
    stays = np.repeat(sizes <= MOST, sizes)
    stays[starts] = stays[starts + sizes - 1] = True
    for lowest_or_highest in (np.minimum, np.maximum):
        reached = np.flatnonzero(ranked == np.repeat(lowest_or_highest.reduceat(ranked, starts), sizes))
        stays[reached[np.searchsorted(reached, starts)]] = True
    kept = np.empty(len(order), np.bool_)
    kept[order] = stays
    return kept


def _starts(series: NDArray[np.int64], window: NDArray[np.int64]) -> NDArray[np.intp]:
    changes = (series[1:] != series[:-1]) | (window[1:] != window[:-1])
    return np.flatnonzero(np.append(np.True_, changes))
