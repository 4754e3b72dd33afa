"""Rows that belong together: numbering groups, and reducing over them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Numbers = NDArray[np.number[Any]]
Floats = NDArray[np.float64]


def starts_of(*keys: NDArray[np.generic]) -> NDArray[np.intp]:
    """Return where in sorted rows a new combination of `keys` begins."""
    if not len(keys[0]):
        return np.zeros(0, np.intp)
    changed = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.flatnonzero(np.append(True, changed))


def number(*keys: NDArray[np.generic]) -> tuple[Ints, NDArray[np.intp]]:
    """Return (dense number of each row's combination of `keys`, one row of each combination), in the keys' order."""
    order = np.lexsort(keys[::-1])
    starts = starts_of(*(key[order] for key in keys))
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
    return numbers, order[starts]


def best(group: Ints, count: int, *preference: NDArray[np.generic]) -> NDArray[np.intp]:
    """Return the row of each of `count` groups with the greatest `preference` (the first key decides); -1: no row."""
    order = np.lexsort((*preference[::-1], group))
    found = np.full(count, -1, np.intp)
    found[group[order]] = order  # of several the last one stays
    return found


def rank(group: Ints, *preference: Numbers) -> Ints:
    """Return the place of each row in its group, 0 for the greatest `preference` (the first key decides)."""
    order = np.lexsort((*(-key for key in preference[::-1]), group))
    starts = starts_of(group[order])
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return places


def pick(values: Floats, rows: NDArray[np.intp]) -> Floats:
    """Return `values` at `rows`, NaN where the row is -1."""
    if not len(values):
        return np.full(len(rows), np.nan)
    return np.where(rows >= 0, values[rows], np.nan)


def total(group: Ints, values: NDArray[np.generic], count: int) -> Floats:
    """Return the sum of each of `count` groups, NaN for a group without rows."""
    sums = np.bincount(group, weights=values, minlength=count)
    return np.where(np.bincount(group, minlength=count) > 0, sums, np.nan)


def lowest(group: Ints, values: Numbers, count: int) -> Floats:
    """Return the smallest value of each group, NaN for a group without rows."""
    found = np.full(count, np.inf)
    np.minimum.at(found, group, values)
    return np.where(np.isinf(found), np.nan, found)


def highest(group: Ints, values: Numbers, count: int) -> Floats:
    """Return the greatest value of each group, NaN for a group without rows."""
    return -lowest(group, -values, count)


class PatientDays:
    """Which days of which patients are to be made: (dense patient number, day) pairs, each with an index from 0."""

    def __init__(self, patient: Ints, day: Ints) -> None:
        """Take pairs sorted by patient and day, each once."""
        self.patient, self.day = patient, day
        self._lowest = int(day.min(initial=0)) - 1
        self._width = int(day.max(initial=0)) + 1 - self._lowest + 1
        self._keys = self._key(patient, day)

    def __len__(self) -> int:
        return len(self.day)

    def index(self, patient: Ints, day: Ints) -> Ints:
        """Return the index of each (patient, day), -1 where it is not among the pairs."""
        if not len(self):
            return np.full(len(day), -1)
        key = self._key(patient, day)
        at = np.minimum(np.searchsorted(self._keys, key), len(self) - 1)
        return np.where(self._keys[at] == key, at, -1)

    def _key(self, patient: Ints, day: Ints) -> Ints:
        key: Ints = patient * self._width + np.clip(day - self._lowest, 0, self._width - 1)
        return key
