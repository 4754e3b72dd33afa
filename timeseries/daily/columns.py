"""Arrays as PostgreSQL sends them in binary, as numpy arrays: `array_agg` of a column costs no Python per element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from timeseries.rows import PG_EPOCH_US

# Element type as pg_type has it for ever -> its wire form. The header is five integers (arrayfuncs.c, array_recv).
_WIRE: Final = {21: ">i2", 23: ">i4", 20: ">i8", 700: ">f4", 701: ">f8", 1184: ">i8"}
_TIMESTAMPTZ: Final = 1184
_HEADER_BYTES: Final = 20


def from_binary_array(data: bytes | bytearray | memoryview) -> NDArray[Any]:
    """Return a one-dimensional array without NULLs: integers as int64, floats as float64, times as us UTC (int64).

    Raises ValueError for another shape and KeyError for another element type.
    """
    header = np.frombuffer(data, ">i4", 3)
    dimensions, has_nulls, element = (int(word) for word in header)
    wire = np.dtype(_WIRE[element])
    if dimensions == 0:
        return np.zeros(0, np.float64 if wire.kind == "f" else np.int64)
    if dimensions > 1 or has_nulls:
        raise ValueError("an array with NULLs or of several dimensions is no column")
    cells = np.frombuffer(data, np.dtype([("length", ">i4"), ("value", wire)]), offset=_HEADER_BYTES)
    values = cells["value"].astype(np.float64 if wire.kind == "f" else np.int64)
    return values + PG_EPOCH_US if element == _TIMESTAMPTZ else values


def columns(row: Sequence[Any], floats: frozenset[int] = frozenset()) -> list[NDArray[Any]]:
    """Return a row of array_agg columns, empty ones where nothing was aggregated; `floats` says which are floats."""
    return [
        np.zeros(0, np.float64 if at in floats else np.int64) if column is None else column
        for at, column in enumerate(row)
    ]
