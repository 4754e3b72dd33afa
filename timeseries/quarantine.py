"""Edge: keeps what was rejected, why, and the raw record it came in, so that it can have a second chance."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from timeseries.model import Rejected, SourceRecord, WriteBatch
from timeseries.queries import load

_SQL: Final = load("store")


async def put(connection: psycopg.AsyncConnection[Any], batch: WriteBatch, rejected: Sequence[Rejected]) -> None:
    """Write rejected samples and their records, in the caller's transaction. Writing them again changes nothing."""
    by_record: dict[int, list[Rejected]] = defaultdict(list)
    for one in rejected:
        by_record[one.record].append(one)
    for position, samples in sorted(by_record.items()):
        record = batch.describe(position)
        await connection.execute(_SQL["put_quarantine_records"], _record(record))
        await connection.execute(_SQL["put_quarantine"], _samples(record, samples))


def _place(record: SourceRecord) -> dict[str, Any]:
    return {
        "topic": record.topic, "partition": record.partition, "epoch": record.epoch, "offset": record.offset,
    }  # fmt: skip


def _record(record: SourceRecord) -> dict[str, Any]:
    headers = [
        [_without_nul(name), None if raw is None else base64.b64encode(raw).decode()] for name, raw in record.headers
    ]
    return {
        **_place(record), "timestamp_ms": record.timestamp_ms, "patient_id": record.patient_id,
        "device_id": record.device_id, "adapter": record.adapter, "key": record.key,
        "headers": json.dumps(headers), "value": record.value, "withheld": record.withheld,
    }  # fmt: skip


def _without_nul(name: str) -> str:
    r"""Write a NUL as `\0` and a backslash as two: jsonb cannot hold a NUL, and a foreign header's name may."""
    return name.replace("\\", "\\\\").replace("\0", "\\0")


def _samples(record: SourceRecord, samples: Sequence[Rejected]) -> dict[str, Any]:
    return {
        **_place(record), "indices": [one.index for one in samples], "reasons": [one.reason for one in samples],
        "metrics": [one.metric for one in samples],
    }  # fmt: skip
