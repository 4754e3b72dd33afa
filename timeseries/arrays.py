"""numpy arrays as PostgreSQL arrays in binary form, so that `unnest(%s)` costs no Python per element.

Layout (PostgreSQL, src/backend/utils/adt/arrayfuncs.c, array_recv): dimensions, has-nulls, element type, length, lower
bound, then four bytes of length and the big-endian value for each element.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format

from timeseries.rows import PG_EPOCH_US

# numpy kind and size -> (element type, array type) as pg_type has them for ever.
_TYPES: Final = {
    "i2": (21, 1005), "i4": (23, 1007), "i8": (20, 1016), "f4": (700, 1021), "f8": (701, 1022),
    "M8": (1184, 1185),  # datetime64, taken as UTC -> timestamptz
    "V16": (2950, 2951),  # 16 raw bytes -> uuid
}  # fmt: skip


class NumpyArrayDumper(Dumper):
    """Dumps a one-dimensional array of int16/32/64, float32/64, datetime64 (as timestamptz) or V16 (as uuid).

    Without nulls.
    """

    format = Format.BINARY

    def __init__(self, cls: type, context: AdaptContext | None = None, code: str = "") -> None:
        super().__init__(cls, context)
        self._code = code
        if code:
            self._element, self.oid = _TYPES[code]

    def get_key(self, obj: np.ndarray[Any, Any], format: PyFormat) -> tuple[type, ...]:  # noqa: A002, ARG002
        """Return a key that tells dtypes apart, so that psycopg keeps one dumper for each."""
        return (np.ndarray, type(obj.dtype))

    def upgrade(self, obj: np.ndarray[Any, Any], format: PyFormat) -> NumpyArrayDumper:  # noqa: A002, ARG002
        """Return the dumper of this dtype. Raises KeyError for a dtype that no column of ours has."""
        return NumpyArrayDumper(np.ndarray, None, f"{obj.dtype.kind}{obj.dtype.itemsize}")

    def dump(self, obj: np.ndarray[Any, Any]) -> bytes:
        """Return the array's binary form."""
        values = obj.astype("M8[us]").view("i8") - PG_EPOCH_US if self._code == "M8" else obj
        wire = np.empty(len(values), [("length", ">i4"), ("value", values.dtype.newbyteorder(">"))])
        wire["length"], wire["value"] = values.dtype.itemsize, values
        return struct.pack(">5i", 1, 0, self._element, len(values), 1) + wire.tobytes()
