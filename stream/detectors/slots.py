"""Time cut into slots of one length: one sample of each, or exact sums over each.

A detector that keeps a slot and not every sample is bounded whatever a device sends. Sums are of whole numbers, so that
it makes no difference where the samples were cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stream.detectors.by_metric import Series, by_metric
from stream.detectors.observation import Observations
from stream.detectors.sustain import NEVER

Ints = NDArray[np.int64]


def trusted(seen: Observations, metric: int, *, without: int = 0, longest_s: float | None = None) -> Series | None:
    """Return the samples of a metric that are worth their value: trustworthy, by a sensor on the body; None without.

    Those with a context bit of `without` are left out, and means over more than `longest_s`.
    """
    stretch = by_metric(seen)
    series = stretch.trusted(metric)
    if series is None:
        return None
    bad = without & stretch.any_context
    if longest_s is not None and stretch.longest_of(metric) > longest_s * 1_000:
        keep = series.duration_ms <= round(longest_s * 1_000)
        if bad:
            keep &= (series.context & bad) == 0
    elif bad:
        keep = (series.context & bad) == 0
    else:
        return series
    count = np.count_nonzero(keep)
    if count == len(keep):
        return series
    return series.pick(keep) if count else None


def first_of_each(time_us: Ints, slot_us: int, after_us: int = NEVER) -> NDArray[np.bool_]:
    """Mark the first of ascending times in each slot, leaving aside the slot of `after_us` and all before it."""
    slot = time_us // slot_us
    first = np.ones(len(slot), np.bool_)
    np.greater(slot[1:], slot[:-1], out=first[1:])
    if after_us == NEVER:
        return first
    first &= slot > after_us // slot_us
    return first


@dataclass(frozen=True, slots=True)
class Slots:
    """Sums by slot: `number` (n,) ascending, `sums` (n, k) int64. The last may still grow; the others are whole."""

    number: Ints
    sums: Ints

    @classmethod
    def none(cls, columns: int) -> Self:
        """Return no slots, for so many columns."""
        return cls(np.empty(0, np.int64), np.empty((0, columns), np.int64))

    def __len__(self) -> int:
        return len(self.number)

    def add(self, number: Ints, rows: Ints) -> Self:
        """Return these and `rows` (m, k), each added to the slot of its `number` (ascending).

        Nearly always none is before the last; one that is (a metric that came later than others) takes its place.
        """
        if not len(number):
            return self
        last = len(self) - 1
        if last >= 0 and number[0] < self.number[last]:
            return self._merged(np.concatenate((self.number, number)), np.concatenate((self.sums, rows)))
        if last >= 0 and number[-1] == self.number[last]:
            sums = self.sums.copy()  # only the last grows, as it mostly does
            sums[-1] += rows[0] if len(rows) == 1 else np.add.reduce(rows)
            return type(self)(self.number, sums)
        if last >= 0 and np.count_nonzero(number[1:] > number[:-1]) == len(number) - 1:
            again = int(number[0] == self.number[last])
            numbers, sums = np.concatenate((self.number, number[again:])), np.concatenate((self.sums, rows[again:]))
            if again:
                sums[last] += rows[0]
            return type(self)(numbers, sums)
        numbers = np.concatenate((self.number, number))
        begins = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
        return type(self)(numbers[begins], np.add.reduceat(np.concatenate((self.sums, rows)), begins, axis=0))

    def _merged(self, numbers: Ints, sums: Ints) -> Self:
        order = numbers.argsort(kind="stable")
        numbers = numbers[order]
        begins = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
        return type(self)(numbers[begins], np.add.reduceat(sums[order], begins, axis=0))

    def since(self, number: int) -> Self:
        """Return the slots from `number` on."""
        first = int(self.number.searchsorted(number))
        return type(self)(self.number[first:], self.sums[first:])
