"""Edge: under which ids senders told the samples of a batch, within the recorder's transaction."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from timeseries.model import SampleIds, WriteBatch
from timeseries.one_connection import Connection
from timeseries.queries import load
from timeseries.rows import Rows

_PUT: Final = load("deletions")["put_sample_ids"]
UUID: Final = np.dtype("V16")


async def put_sample_ids(connection: Connection, batch: WriteBatch, conflicts: NDArray[np.intp]) -> None:
    """Store the ids of a batch's rows; `conflicts` are positions of rows that were not stored, nor are their ids.

    Those of duplicates and of older versions are: they, too, may be told to be no more.
    """
    if batch.ids is None:
        return
    ids = without(batch.ids, conflicts)
    if len(ids.at):
        await connection.execute(_PUT, columns_of(batch.rows[ids.at], ids.raw))


def without(ids: SampleIds, conflicts: NDArray[np.intp]) -> SampleIds:
    """Return the ids of rows other than these."""
    if not len(conflicts):
        return ids
    kept = ~np.isin(ids.at, conflicts)
    return SampleIds(ids.at[kept], ids.raw[kept])


def columns_of(rows: Rows, raw: NDArray[np.uint8]) -> dict[str, Any]:
    """Return rows and their ids, (n, 16) uint8, as the arrays of `put_sample_ids`."""
    return {
        "times": _times(rows["time"]), "written": _times(rows["written_at"]), "ids": as_uuids(raw),
        "patients": rows["patient_key"], "origins": rows["origin_key"], "durations": rows["duration_ms"],
        "metrics": rows["metric_key"],
    }  # fmt: skip


def as_uuids(raw: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return (n, 16) uint8 as (n,) values of 16 bytes, which psycopg sends as `uuid[]`."""
    return np.ascontiguousarray(raw).view(UUID).reshape(-1)


def _times(values: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return np.ascontiguousarray(values).view("M8[us]")
