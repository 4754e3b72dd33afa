"""What a recording of saturation comes to: time that could be analysed, desaturations in it, and how bad they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from stream.detectors.desaturation_events import Event
from stream.detectors.slots import Ints
from vitals.clock import US_PER_S

SLOT_US: Final = 300 * US_PER_S
KNOWN, BELOW_90, ASLEEP, SAMPLES, EVENTS_3, EVENTS_4 = range(6)
"""Columns that add up: analysable, below 90 % and asleep (us of analysable time), samples, and events by depth."""
_HOUR_US: Final = 3_600 * US_PER_S
_FOUR: Final = 40


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums (see the columns), and of the events the lowest nadir (tenths of a per cent; 1,000: none) and the longest
    (us)."""

    sums: tuple[int, ...] = (0,) * 6
    lowest: int = 1_000
    longest_us: int = 0

    def plus(self, other: Tally) -> Tally:
        """Return both together."""
        sums = tuple(a + b for a, b in zip(self.sums, other.sums, strict=True))
        return Tally(sums, min(self.lowest, other.lowest), max(self.longest_us, other.longest_us))

    @property
    def hours(self) -> float:
        """Analysable hours."""
        return self.sums[KNOWN] / _HOUR_US

    def per_h(self, events: int) -> float:
        """Return the events of a column in an analysable hour, to a tenth; 0 where nothing could be analysed."""
        return round(self.sums[events] / self.hours, 1) if self.sums[KNOWN] else 0.0

    def figures(self) -> dict[str, float | str]:
        """Return it as an alert's figures."""
        known = max(self.sums[KNOWN], 1)
        return {
            "events_3": float(self.sums[EVENTS_3]),
            "events_4": float(self.sums[EVENTS_4]),
            "odi3_per_h": self.per_h(EVENTS_3),
            "odi4_per_h": self.per_h(EVENTS_4),
            "lowest_nadir_pct": self.lowest / 10,
            "longest_s": round(self.longest_us / US_PER_S, 1),
            "below_90_share": round(self.sums[BELOW_90] / known, 3),
            "analysable_h": round(self.hours, 2),
            "known_asleep_share": round(self.sums[ASLEEP] / known, 2),
            "mean_cadence_s": round(known / US_PER_S / max(self.sums[SAMPLES], 1), 1),
        }


@dataclass(frozen=True, slots=True)
class Tallies:
    """Five minutes each, in order: `number` (n,), `sums` (n, 6), `worst` (n, 2): 1,000 less the nadir, the length."""

    number: Ints
    sums: Ints
    worst: Ints

    @classmethod
    def none(cls) -> Self:
        """Return no slots."""
        return cls(np.empty(0, np.int64), np.empty((0, 6), np.int64), np.empty((0, 2), np.int64))

    def __len__(self) -> int:
        return len(self.number)

    def add(self, time_us: Ints, sums: Ints, worst: Ints) -> Self:
        """Return these and rows at ascending times, none in a slot before the last."""
        number = np.concatenate((self.number, time_us // SLOT_US))
        if not len(number):
            return self
        begins = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
        added = np.add.reduceat(np.concatenate((self.sums, sums)), begins, axis=0)
        most = np.maximum.reduceat(np.concatenate((self.worst, worst)), begins, axis=0)
        return type(self)(number[begins], added, most)

    def within(self, first: int, end: int) -> Self:
        """Return the slots with numbers in [first, end)."""
        a, b = np.searchsorted(self.number, (first, end))
        return type(self)(self.number[a:b], self.sums[a:b], self.worst[a:b])

    def together(self) -> Tally:
        """Return what they come to."""
        if not len(self):
            return Tally()
        lowest, longest_us = self.worst.max(axis=0).tolist()
        return Tally(tuple(self.sums.sum(axis=0).tolist()), 1_000 - lowest, longest_us)


def time_rows(span_us: Ints, value: Ints, asleep: NDArray[np.bool_]) -> Ints:
    """Return rows of sums (n, 6) for samples that each stand for `span_us`, `value` in tenths of a per cent."""
    rows = np.zeros((len(span_us), 6), np.int64)
    rows[:, KNOWN], rows[:, SAMPLES] = span_us, span_us > 0
    rows[:, BELOW_90], rows[:, ASLEEP] = np.where(value < 900, span_us, 0), np.where(asleep, span_us, 0)
    return rows


def event_rows(events: list[Event]) -> tuple[Ints, Ints, Ints]:
    """Return (when each ended (n,), sums (n, 6), worst (n, 2))."""
    ends = np.array([one.end_us for one in events], np.int64)
    sums, worst = np.zeros((len(events), 6), np.int64), np.zeros((len(events), 2), np.int64)
    sums[:, EVENTS_3] = 1
    sums[:, EVENTS_4] = [one.depth >= _FOUR for one in events]
    worst[:, 0] = [1_000 - one.nadir for one in events]
    worst[:, 1] = [one.end_us - one.start_us for one in events]
    return ends, sums, worst
