"""Rollups computed from rows in memory: what the history below a raw horizon is made of. Pure; numpy only.

The same numbers as the levels of the database (sql/migrations/0013_rollups): a sample stands in the bucket of its
start, takes part where it is trustworthy and no tombstone, and orders by (time, duration) for `first` and `last`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from timeseries.rows import Rows, sort_order
from vitals.quality import TRUSTWORTHY, Flag

Buckets = NDArray[np.void]
"""A structured array of dtype `BUCKET`, sorted by series and bucket."""

SERIES: Final = ("patient_key", "metric_key", "origin_key")
BUCKET: Final = np.dtype(
    [
        ("bucket", "i8"), ("patient_key", "i4"), ("metric_key", "i2"), ("origin_key", "i4"), ("n", "i8"), ("sum", "f8"),
        ("min", "f8"), ("max", "f8"), ("first", "f8"), ("last", "f8"), ("sum_sq", "f8"), ("minutes", "i4"),
        ("minute_mean_sum", "f8"), ("zone_offset_min", "i2"),
    ]
)  # fmt: skip
"""The columns of every level; `bucket` is its start in microseconds UTC, values are in the metric's unit."""

_MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * _MINUTE_US


def levels_of(rows: Rows) -> Mapping[str, Buckets]:
    """Return what each level (`vitals_1m`, `vitals_15m`, `vitals_1h`) says of these rows (dtype `ROW`, any order).

    The rows are whole hours of their series, at most one row an identity.
    """
    minutes = minutes_of(rows)
    quarters = coarser(minutes, 15 * _MINUTE_US)
    return {"vitals_1m": minutes, "vitals_15m": quarters, "vitals_1h": coarser(quarters, HOUR_US)}


def minutes_of(rows: Rows) -> Buckets:
    """Return the minutes of the trustworthy samples among `rows`."""
    rows = rows[(rows["quality"] >= TRUSTWORTHY) & (rows["flags"] & int(Flag.TOMBSTONE) == 0)]
    rows = rows[sort_order(rows)]
    each = np.zeros(len(rows), BUCKET)
    for name in (*SERIES, "zone_offset_min"):
        each[name] = rows[name]
    each["bucket"], each["n"] = rows["time"], 1
    for name in ("sum", "min", "max", "first", "last"):
        each[name] = rows["value"]
    each["sum_sq"] = rows["value"] ** 2
    minutes = coarser(each, _MINUTE_US)
    minutes["minutes"] = 1
    minutes["minute_mean_sum"] = minutes["sum"] / minutes["n"]
    return minutes


def coarser(buckets: Buckets, width_us: int) -> Buckets:
    """Return sorted buckets joined into those of `width_us`, a multiple of their own width."""
    if not len(buckets):
        return buckets
    start = buckets["bucket"] - buckets["bucket"] % width_us
    firsts = _starts([buckets[name] for name in SERIES] + [start])
    lasts = np.append(firsts[1:], len(buckets)) - 1
    joined = np.zeros(len(firsts), BUCKET)
    joined["bucket"] = start[firsts]
    for name in (*SERIES, "first"):
        joined[name] = buckets[name][firsts]
    for name in ("last", "zone_offset_min"):
        joined[name] = buckets[name][lasts]
    for name in ("n", "sum", "sum_sq", "minutes", "minute_mean_sum"):
        joined[name] = np.add.reduceat(buckets[name], firsts)
    joined["min"] = np.minimum.reduceat(buckets["min"], firsts)
    joined["max"] = np.maximum.reduceat(buckets["max"], firsts)
    return joined


def touched_hours(rows: Rows) -> list[tuple[int, int, int, NDArray[np.int64]]]:
    """Return (patient, metric, origin, the hours that have a row of it) of every series; `rows` are not empty.

    Hours in microseconds UTC, sorted.
    """
    rows = rows[sort_order(rows)]
    hours = rows["time"] - rows["time"] % HOUR_US
    starts = _starts([rows[name] for name in SERIES])
    patients, metrics, origins = (rows[name][starts].tolist() for name in SERIES)
    each = [np.unique(part) for part in np.split(hours, starts[1:])]
    return list(zip(patients, metrics, origins, each, strict=True))


def _starts(keys: list[NDArray[np.int64]]) -> NDArray[np.intp]:
    """Return the positions at which one of the sorted columns, which are not empty, changes; 0 is the first."""
    changes = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.flatnonzero(np.append(np.True_, changes))
