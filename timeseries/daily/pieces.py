"""Samples that cover an interval, cut at local midnight: each piece belongs to one day of its wearer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from timeseries.daily.groups import Floats, Ints, highest, lowest, number, total
from timeseries.daily.intervals import once
from timeseries.daily.zones import MINUTE_US, cut_at_days, split_at_changes
from vitals.catalogue import METRICS, Kind

INTERVAL_METRICS: Final = tuple(m.number for m in METRICS if m.kind is Kind.INTERVAL)
CATEGORY_METRICS: Final = tuple(m.number for m in METRICS if m.kind is Kind.CATEGORY)


@dataclass(frozen=True, slots=True)
class Told:
    """Trustworthy interval and category samples; `end` is at least a millisecond after `start`, `share` of a sample 1.

    What is cut at an hour of the day or where the clocks change has several rows of one `sample`: `share` says how much
    of it each of them is.
    """

    sample: Ints
    patient: Ints
    metric: Ints
    origin: Ints
    start: Ints
    end: Ints
    value: Floats
    share: Floats
    offset_us: Ints
    zone_offset_min: Ints

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: NDArray[Any]) -> Told:
        """Return these rows."""
        return Told(*(getattr(self, field.name)[rows] for field in fields(self)))

    def followed_by(self, other: Told) -> Told:
        """Return these rows and those of another, whose samples are others."""
        beyond = int(self.sample.max(initial=-1)) + 1
        columns = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        both = Told(*(np.append(mine, theirs) for mine, theirs in columns))
        both.sample[len(self) :] += beyond
        return both

    def cut(self, begins_us: int = 0) -> tuple[NDArray[np.intp], Told, Ints]:
        """Return (the row each piece is of, the pieces, the local day of each); `begins_us` as in `zones.local_day`."""
        index, start, end, day = cut_at_days(self.start, self.end, self.offset_us, begins_us)
        return index, self._pieces(index, start, end, self.offset_us[index]), day

    def _pieces(self, index: NDArray[np.intp], start: Ints, end: Ints, offset_us: Ints) -> Told:
        size = self.end[index] - self.start[index]
        share = self.share[index] * (end - start) / size
        whole = self.take(index)
        return replace(whole, start=start, end=end, share=share, offset_us=offset_us)


def told(
    zones: Sequence[str | None],
    patient: Ints,
    metric: Ints,
    origin: Ints,
    start: Ints,
    duration_ms: Ints,
    value: Floats,
    zone_offset_min: Ints,
) -> Told:
    """Make `Told` of samples: offsets resolved by `zones` (one a patient), cut where an untold offset changes."""
    end = start + np.maximum(duration_ms, 1) * 1_000
    one, no_offset = np.ones(len(start)), np.zeros(len(start), np.int64)
    whole = Told(np.arange(len(start)), patient, metric, origin, start, end, value, one, no_offset, zone_offset_min)
    return whole._pieces(*split_at_changes(start, end, zone_offset_min, patient, zones))  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class DayTotals:
    """One row a (day index, metric, origin): what `vitals_1d` holds of interval and category metrics."""

    day: Ints
    patient: Ints
    metric: Ints
    origin: Ints
    n: Ints
    sum: Floats
    min: Floats
    max: Floats
    first: Floats
    last: Floats
    total: Floats
    minutes: Floats
    zone_offset_min: Ints


def day_totals(pieces: Told, day: Ints) -> DayTotals:
    """Add up pieces by day, metric and origin; `day` is the index of each piece's day.

    `n` counts samples that touch the day; `sum` adds their shares, `total` counts no moment twice; `minutes` is the
    time that they cover together. Categories have no sum and no total, intervals no lowest, highest, first and last
    value: these would compare intervals of different lengths.
    """
    order = np.lexsort((pieces.end, pieces.start))
    pieces, day = pieces.take(order), day[order]
    group, row = number(day, pieces.metric, pieces.origin)
    count = len(row)
    counts = once(group, pieces.start, pieces.end)
    accumulated = pieces.value * pieces.share
    sums = total(group, accumulated, count)
    totals = total(group, accumulated * counts / np.maximum(pieces.end - pieces.start, 1), count)
    _, samples = number(group, pieces.sample)
    last = np.zeros(count, np.intp)
    last[group] = np.arange(len(group))
    category = np.isin(pieces.metric[row], CATEGORY_METRICS)

    def of_category(values: Floats) -> Floats:
        return np.where(category, values, np.nan)

    return DayTotals(
        day=day[row], patient=pieces.patient[row], metric=pieces.metric[row], origin=pieces.origin[row],
        n=np.bincount(group[samples], minlength=count),
        sum=np.where(category, np.nan, sums), total=np.where(category, np.nan, totals),
        min=of_category(lowest(group, pieces.value, count)), max=of_category(highest(group, pieces.value, count)),
        first=of_category(pieces.value[row]), last=of_category(pieces.value[last]),
        minutes=np.bincount(group, weights=counts, minlength=count) / MINUTE_US,
        zone_offset_min=pieces.zone_offset_min[last],
    )  # fmt: skip
