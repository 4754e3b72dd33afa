"""What a batch of stored rows implies for the tables beside `samples`: pure reductions over sorted rows."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from timeseries.rows import Rows
from vitals.quality import Flag

_HOUR_US: Final = 3_600_000_000
_SERIES: Final = ("patient_key", "metric_key", "origin_key")


def newest_of_each_series(rows: Rows) -> Rows:
    """Return the last row of every (patient, metric, origin) that is no tombstone; `rows` sorted by identity."""
    rows = rows[rows["flags"] & int(Flag.TOMBSTONE) == 0]
    if not len(rows):
        return rows
    changes = np.logical_or.reduce([rows[name][1:] != rows[name][:-1] for name in _SERIES])
    newest: Rows = rows[np.append(changes, np.True_)]
    return newest


def dirty_hours(rows: Rows) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return (patient keys, hours, first time, last time) of the stretches that rollups must look at again.

    `rows` are sorted by identity and not empty. Times in microseconds UTC; sorted by patient and hour, which is the
    order in which the table's rows are locked.
    """
    hour = rows["time"] - rows["time"] % _HOUR_US
    another = [rows[name][1:] != rows[name][:-1] for name in _SERIES] + [hour[1:] != hour[:-1]]
    starts = np.flatnonzero(np.append(np.True_, np.logical_or.reduce(another)))
    ends = np.append(starts[1:], len(rows)) - 1
    # A run is one series in one hour, in order of time; runs are few, so they can be sorted again.
    order = np.lexsort((hour[starts], rows["patient_key"][starts]))
    starts, ends = starts[order], ends[order]
    patient, at = rows["patient_key"][starts], hour[starts]
    groups = np.flatnonzero(np.append(np.True_, (patient[1:] != patient[:-1]) | (at[1:] != at[:-1])))
    first = np.minimum.reduceat(rows["time"][starts], groups)
    last = np.maximum.reduceat(rows["time"][ends], groups)
    return patient[groups], at[groups], first, last
