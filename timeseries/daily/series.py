"""A series' day from its rollups: each stretch goes to the local day it lies in, and days add up from stretches.

Hours and quarters of an hour carry the offset of their last sample only. Those in which the local day could change
unseen are `doubtful` and are to be replaced by finer ones, down to minutes: so the result is that of minutes at a small
part of their cost.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from timeseries.daily.groups import Floats, Ints, starts_of
from timeseries.daily.zones import MINUTE_US, QUARTER_US, local_day

_SUMMED: Final = ("n", "sum", "sum_sq", "minutes", "minute_mean_sum")


@dataclass(frozen=True, slots=True)
class Stretches:
    """Rows of rollups (`bucket` the start, `width_us` the length), or of days' totals; sorted by series and time."""

    width_us: Ints
    patient: Ints
    metric: Ints
    origin: Ints
    bucket: Ints
    n: Ints
    sum: Floats
    min: Floats
    max: Floats
    first: Floats
    last: Floats
    sum_sq: Floats
    minutes: Ints
    minute_mean_sum: Floats
    zone_offset_min: Ints

    def __len__(self) -> int:
        return len(self.bucket)

    def take(self, rows: NDArray[Any]) -> Stretches:
        """Return these rows."""
        return Stretches(*(getattr(self, field.name)[rows] for field in fields(self)))

    def joined(self, *others: Stretches) -> Stretches:
        """Return these rows and those of others, sorted."""
        parts = (self, *others)
        both = Stretches(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(self)))
        # Each part comes in order as a rule, so joining runs does: sorting by all keys costs four times as much.
        order = np.argsort((both.patient << 16) + both.metric, kind="stable")
        rows = both if (np.diff(order) == 1).all() else both.take(order)
        return rows if rows.in_order() else rows.take(np.lexsort((rows.bucket, rows.origin, rows.metric, rows.patient)))

    def in_order(self) -> bool:
        """Tell whether rows of a series stand together and in order of time."""
        same = (np.diff(self.patient) == 0) & (np.diff(self.metric) == 0)
        origin, bucket = np.diff(self.origin), np.diff(self.bucket)
        return bool((~same | (origin > 0) | ((origin == 0) & (bucket >= 0))).all())


def doubtful(rows: Stretches, offset_us: Ints, steady: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which rows may hold minutes of another local day than their last one's.

    A row is beyond doubt if it has a single minute, or if local midnight does not fall into it and its offset is
    `steady` (one entry a row): all minutes around it told the same.
    """
    whole = local_day(rows.bucket, offset_us) == local_day(rows.bucket + rows.width_us - MINUTE_US, offset_us)
    found: NDArray[np.bool_] = (rows.minutes > 1) & (rows.width_us > MINUTE_US) & ~(steady & whole)
    return found


def merged(rows: Stretches, starts: NDArray[np.intp]) -> Stretches:
    """Add up rows from each of `starts` to the next; they are in order of time within each."""
    if not len(starts):
        return rows.take(starts)
    ends = np.append(starts[1:], len(rows)) - 1
    columns = {
        name: getattr(rows, name)[starts] for name in ("width_us", "patient", "metric", "origin", "bucket", "first")
    }
    columns |= {name: np.add.reduceat(getattr(rows, name), starts) for name in _SUMMED}
    columns["min"], columns["max"] = np.minimum.reduceat(rows.min, starts), np.maximum.reduceat(rows.max, starts)
    columns["last"], columns["zone_offset_min"] = rows.last[ends], rows.zone_offset_min[ends]
    return Stretches(**columns)


def by_day(rows: Stretches, day: Ints) -> tuple[Stretches, Ints]:
    """Return (one row a series and day, its day index); `day` numbers patients' days, -1 is left out."""
    kept = np.flatnonzero(day >= 0)
    order = kept[np.lexsort((rows.bucket[kept], rows.origin[kept], rows.metric[kept], day[kept]))]
    sorted_rows, days = rows.take(order), day[order]
    starts = starts_of(days, sorted_rows.metric, sorted_rows.origin)
    return merged(sorted_rows, starts), days[starts]


def by_quarter(rows: Stretches, day: Ints) -> tuple[Stretches, Ints]:
    """Return (one row a day, series and quarter of an hour, its day index): minutes become quarters again.

    A quarter through which local midnight runs stays in two rows, one for each day.
    """
    kept = np.flatnonzero(day >= 0)
    quarter = rows.bucket // QUARTER_US
    order = kept[np.lexsort((rows.bucket[kept], rows.origin[kept], rows.metric[kept], day[kept]))]
    sorted_rows, days = rows.take(order), day[order]
    starts = starts_of(days, sorted_rows.metric, sorted_rows.origin, quarter[order])
    return merged(sorted_rows, starts), days[starts]
