"""Time cut into slots of one length: one sample of each, or exact sums over each.

A detector that keeps a slot and not every sample is bounded whatever a device sends. Sums are of whole numbers, so that
it makes no difference where the samples were cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stream.detectors.observation import Observations
from stream.detectors.sustain import NEVER
from vitals.quality import TRUSTWORTHY, Context

Ints = NDArray[np.int64]


def trusted(seen: Observations, metric: int, *, without: int = 0, longest_s: float | None = None) -> Observations:
    """Return the samples of a metric that are worth their value: trustworthy, by a sensor on the body.

    Those with a context bit of `without` are left out, and means over more than `longest_s`.
    """
    keep = (seen["metric"] == metric) & (seen["quality"] >= TRUSTWORTHY)
    keep &= (seen["context"] & (int(Context.NO_CONTACT) | without)) == 0
    if longest_s is not None:
        keep &= seen["duration_ms"] <= round(longest_s * 1_000)
    return seen if keep.all() else seen[keep]


def ended_us(seen: Observations) -> Ints:
    """Return when each measurement ended, which is the order that settled samples come in."""
    start: Ints = seen["start_us"]
    duration = seen["duration_ms"]
    return start + duration.astype(np.int64) * 1_000 if duration.any() else start


def first_of_each(time_us: Ints, slot_us: int, after_us: int = NEVER) -> NDArray[np.bool_]:
    """Mark the first of ascending times in each slot, leaving aside the slot of `after_us` and all before it."""
    slot = time_us // slot_us
    first: NDArray[np.bool_] = np.diff(slot, prepend=slot[:1] - 1) > 0
    return first if after_us == NEVER else first & (slot > after_us // slot_us)


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
        """Return these and `rows` (m, k), each added to the slot of its `number` (ascending, not before the last)."""
        if len(self) and len(number) and number[-1] == self.number[-1]:
            sums = self.sums.copy()  # only the last grows, as it mostly does
            sums[-1] += rows.sum(axis=0)
            return type(self)(self.number, sums)
        numbers = np.concatenate((self.number, number))
        if len(numbers) == 0:
            return self
        begins = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
        return type(self)(numbers[begins], np.add.reduceat(np.concatenate((self.sums, rows)), begins, axis=0))

    def since(self, number: int) -> Self:
        """Return the slots from `number` on."""
        first = int(np.searchsorted(self.number, number))
        return type(self)(self.number[first:], self.sums[first:])
