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

    Times in microseconds UTC; sorted by patient and hour, which is the order in which the table's rows are locked.
    """
    order = np.lexsort((rows["time"], rows["patient_key"]))
    patient, time = rows["patient_key"][order], rows["time"][order]
    hour = time - time % _HOUR_US
    starts = np.flatnonzero(np.append(np.True_, (patient[1:] != patient[:-1]) | (hour[1:] != hour[:-1])))
    ends = np.append(starts[1:], len(patient)) - 1
    return patient[starts], hour[starts], time[starts], time[ends]
