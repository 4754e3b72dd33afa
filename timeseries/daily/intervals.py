"""Sets of time stretches, for many groups at once: union, difference, how much is covered, and telling nothing twice.

A stretch is half open, [start, end), and at least a microsecond long. All groups are laid one behind the other on a
single axis, so that sorting and running maxima serve them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timeseries.daily.groups import Ints


@dataclass(frozen=True, slots=True)
class Runs:
    """Stretches that neither overlap nor touch within their group, sorted by group and start."""

    group: Ints
    start: Ints
    end: Ints


NO_RUNS = Runs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class _Axis:
    base: Ints
    width: int

    def of(self, group: Ints, time_us: Ints) -> Ints:
        """Return where on the axis a time of a group lies; times outside the group's extent at its nearest end."""
        place: Ints = group * self.width + np.clip(time_us - self.base[group], 0, self.width - 1)
        return place


def _axis(group: Ints, start: Ints, end: Ints, count: int) -> _Axis:
    base = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(base, group, start)
    return _Axis(base, int((end - base[group]).max()) + 2)


def union(group: Ints, start: Ints, end: Ints, gap_us: int = 0) -> tuple[Runs, Ints]:
    """Join stretches that overlap or touch; return (the runs, which run each stretch is in).

    With `gap_us` those less than that apart are joined too.
    """
    if not len(group):
        return NO_RUNS, group
    order = np.lexsort((start, group))
    g, s = group[order], start[order]
    axis = _axis(group, start, end, int(g[-1]) + 1)
    reached = np.maximum.accumulate(axis.of(g, end[order]))
    apart = axis.of(g[1:], s[1:]) - reached[:-1]
    first = np.flatnonzero(np.append(True, (g[1:] != g[:-1]) | (apart > 0) & (apart >= gap_us)))
    label = np.empty(len(group), np.int64)
    label[order] = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(g))))
    ends = reached[np.append(first[1:], len(g)) - 1] - g[first] * axis.width + axis.base[g[first]]
    return Runs(g[first], s[first], ends), label


def joined(*parts: Runs) -> Runs:
    """Return the union of several sets of runs (or of stretches that may overlap)."""
    return union(
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.end for part in parts]),
    )[0]


def lengths(runs: Runs, count: int) -> NDArray[np.float64]:
    """Return how many microseconds the runs of each of `count` groups cover together."""
    return np.bincount(runs.group, weights=runs.end - runs.start, minlength=count).astype(np.float64)


def covered(runs: Runs, group: Ints, start: Ints, end: Ints) -> Ints:
    """Return how many microseconds of each stretch [start, end) the runs of its group cover."""
    if not len(runs.group) or not len(group):
        return np.zeros(len(group), np.int64)
    count = int(max(runs.group[-1], group.max())) + 1
    axis = _axis(np.append(runs.group, group), np.append(runs.start, start), np.append(runs.end, end), count)
    at, size = axis.of(runs.group, runs.start), runs.end - runs.start
    before = np.cumsum(size) - size

    def up_to(time_us: Ints) -> Ints:
        place = axis.of(group, time_us)
        index = np.maximum(np.searchsorted(at, place, "right") - 1, 0)
        reached: Ints = before[index] + np.clip(place - at[index], 0, size[index])
        return reached

    return up_to(end) - up_to(start)


def without(runs: Runs, taken: Runs) -> Runs:
    """Return what of `runs` is left where `taken` is taken out, group by group."""
    if not len(runs.group) or not len(taken.group):
        return runs
    group = np.concatenate([runs.group, runs.group, taken.group, taken.group])
    time = np.concatenate([runs.start, runs.end, taken.start, taken.end])
    inside = np.repeat([1, -1, 0, 0], [len(runs.group)] * 2 + [len(taken.group)] * 2)
    outside = np.repeat([0, 0, 1, -1], [len(runs.group)] * 2 + [len(taken.group)] * 2)
    order = np.lexsort((time, group))
    group, time = group[order], time[order]
    left = (np.cumsum(inside[order]) > 0) & (np.cumsum(outside[order]) == 0)
    kept = np.flatnonzero(left[:-1] & (time[1:] > time[:-1]) & (group[1:] == group[:-1]))
    return union(group[kept], time[kept], time[kept + 1])[0]


def once(group: Ints, start: Ints, end: Ints) -> Ints:
    """Return how much of each stretch counts if no moment of a group may count twice.

    A moment counts for the stretch that begins first; of two that begin together for the shorter one.
    """
    if not len(group):
        return group
    order = np.lexsort((end, start, group))
    g = group[order]
    axis = _axis(group, start, end, int(g[-1]) + 1)
    at, until = axis.of(g, start[order]), axis.of(g, end[order])
    reached = np.append(0, np.maximum.accumulate(until)[:-1])
    counted = np.empty(len(group), np.int64)
    counted[order] = np.maximum(until - np.maximum(at, reached), 0)
    return counted


def once_by_rank(group: Ints, rank: Ints, start: Ints, end: Ints) -> NDArray[np.float64]:
    """Return which share (0 to 1) of each stretch counts if no moment may count twice and the lower rank is believed.

    Within a rank the rule of `once` holds. Shares say how much of a value that accumulated evenly over its stretch
    belongs to the group: the sum over a group never exceeds the time that its stretches cover together.
    """
    size = (end - start).astype(np.float64)
    share = once(group, start, end) / size
    if (share == 1).all():  # nothing overlaps, whoever is believed
        return share
    known = NO_RUNS
    for level in np.unique(rank):
        rows = np.flatnonzero(rank == level)
        share[rows] = _free(known, group[rows], start[rows], end[rows]) / size[rows]
        known = joined(known, Runs(group[rows], start[rows], end[rows]))
    return share


def _free(known: Runs, group: Ints, start: Ints, end: Ints) -> Ints:
    # The part that counts within the rank is the end of the stretch: what came before was told by an earlier one.
    counted = once(group, start, end)
    free: Ints = counted - covered(known, group, end - counted, end)
    return free


def inside(runs: Runs, group: Ints, start: Ints, end: Ints) -> tuple[NDArray[np.intp], Ints, Ints]:
    """Return (index of the window, start, end) of what of its group's runs lies in each window [start, end)."""
    if not len(runs.group) or not len(group):
        return np.zeros(0, np.intp), np.zeros(0, np.int64), np.zeros(0, np.int64)
    count = int(max(runs.group[-1], group.max())) + 1
    axis = _axis(np.append(runs.group, group), np.append(runs.start, start), np.append(runs.end, end), count)
    first = np.searchsorted(axis.of(runs.group, runs.end), axis.of(group, start), "right")
    last = np.searchsorted(axis.of(runs.group, runs.start), axis.of(group, end), "left")
    counts = np.maximum(last - first, 0)
    index = np.repeat(np.arange(len(group)), counts)
    at = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts) + first[index]
    return index, np.maximum(runs.start[at], start[index]), np.minimum(runs.end[at], end[index])
