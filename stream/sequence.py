"""Doubts that need earlier samples: rate of change, order, unlikely sleep-stage sequences. They flag, never reject.

What came before is what this worker happens to remember (the newest sample of each series that it saw): after a
restart or a rebalance the first sample of a series has no predecessor and no such doubt. That is why these rules must
not decide about acceptance, and why their flags are no part of a sample's content.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from timeseries.rows import Rows, in_order
from vitals.catalogue import BY_CODE, MAX_RATE_PER_S
from vitals.quality import Flag

MAX_SERIES: Final = 100_000
"""Series remembered, some 25 MB; past that all are forgotten and learned anew."""

Series = tuple[int, int, int]
"""(patient key, metric key, origin key)."""

_SERIES: Final = ("patient_key", "metric_key", "origin_key")
_SLEEP_STAGE: Final = BY_CODE["sleep_stage"].number
_AWAKE, _DEEP, _REM = 2, 4, 5
# From waking one falls into light sleep first; straight into deep or REM sleep is rare (AASM Manual, sleep onset). The
# other way round happens every night: deep sleep to awake is no doubt at all.
_ADJOINING_US: Final = 60_000_000


Seen = tuple[int, float, int]
"""(time, value, duration in ms) of a series' newest sample."""


class Memory:
    """The newest sample of each series that was seen."""

    def __init__(self) -> None:
        self._newest: dict[Series, Seen] = {}

    def flags(self, rows: Rows) -> NDArray[np.int16]:
        """Return the doubts about `rows`, in their order, and remember their newest. Tombstones have none."""
        marks = np.zeros(len(rows), np.int16)
        told = np.flatnonzero(rows["flags"] & int(Flag.TOMBSTONE) == 0)
        if not len(told):
            return marks
        if len(told) == len(rows) and in_order(rows):  # the usual case: nothing is deleted, and a batch comes sorted
            return self._ranked(rows)
        order = told[np.lexsort(tuple(rows[name][told] for name in ("time", *reversed(_SERIES))))]
        ranked = rows[order]
        marks[order] = self._ranked(ranked)
        return marks

    def _ranked(self, rows: Rows) -> NDArray[np.int16]:
        starts = np.flatnonzero(np.append(np.True_, _another_series(rows)))
        keys: list[Series] = list(zip(*(rows[name][starts].tolist() for name in _SERIES), strict=True))
        known = [self._newest.get(key, _NOTHING) for key in keys]
        before = np.empty(len(rows), _SEEN)
        for name in _SEEN_NAMES:
            before[name][1:] = rows[name][:-1]
        before[starts] = known
        newest_known = np.repeat(before["time"][starts], np.diff(starts, append=len(rows)))
        self._remember(keys, known, rows, np.append(starts[1:], len(rows)) - 1)
        return _doubts(rows, before, newest_known)

    def _remember(self, keys: list[Series], known: list[Seen], rows: Rows, last: NDArray[np.intp]) -> None:
        if len(self._newest) > MAX_SERIES:
            self._newest.clear()
        newest = zip(*(rows[name][last].tolist() for name in _SEEN_NAMES), strict=True)
        for key, before, seen in zip(keys, known, newest, strict=True):
            if seen[0] >= before[0]:
                self._newest[key] = seen


_NEVER: Final = int(np.iinfo(np.int64).min)
_NOTHING: Final[Seen] = (_NEVER, 0.0, 0)
_SEEN: Final = np.dtype([("time", "i8"), ("value", "f8"), ("duration_ms", "i8")])
_SEEN_NAMES: Final = ("time", "value", "duration_ms")


def _another_series(rows: Rows) -> NDArray[np.bool_]:
    another: NDArray[np.bool_] = np.logical_or.reduce([rows[name][1:] != rows[name][:-1] for name in _SERIES])
    return another


def _doubts(rows: Rows, before: NDArray[np.void], newest_known: NDArray[np.int64]) -> NDArray[np.int16]:
    follows = (before["time"] != _NEVER) & (rows["time"] > before["time"])
    elapsed_us = np.where(follows, rows["time"] - np.where(follows, before["time"], 0), 1)
    change = np.abs(rows["value"] - before["value"])
    fast = follows & (change > MAX_RATE_PER_S[rows["metric_key"]] * elapsed_us / 1e6)
    from_waking = follows & (rows["metric_key"] == _SLEEP_STAGE) & (before["value"] == _AWAKE)
    adjoining = elapsed_us - before["duration_ms"] * 1_000 <= _ADJOINING_US
    unlikely = from_waking & adjoining & np.isin(rows["value"], (_DEEP, _REM))
    marks = np.where(fast, int(Flag.RATE_OF_CHANGE), 0) | np.where(unlikely, int(Flag.UNLIKELY_SEQUENCE), 0)
    late = (newest_known != _NEVER) & (rows["time"] < newest_known)
    return (marks | np.where(late, int(Flag.OUT_OF_ORDER), 0)).astype(np.int16)
