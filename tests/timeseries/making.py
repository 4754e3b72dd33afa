"""Short ways to make rows and write batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg

from timeseries.model import Advance, Rejected, SourceRecord, WriteBatch
from timeseries.rows import ROW, Rows

T0 = 1_717_243_200_000_000
S = 1_000_000


def rows(count: int, **columns: Any) -> Rows:
    """`count` rows of one series, a second apart, value 60, written and received when measured; columns may differ."""
    made = np.zeros(count, ROW)
    made["time"] = T0 + np.arange(count) * S
    made["value"], made["quality"], made["metric_key"], made["patient_key"], made["origin_key"] = 60, 1, 1, 1, 1
    made["zone_offset_min"] = -32_768
    for name, values in columns.items():
        made[name] = values
    for name in {"written_at", "received_at"} - columns.keys():
        made[name] = made["time"]
    return made


@dataclass
class Partition:
    """Hands out write batches that follow one another in one partition."""

    topic: str = "vigil.samples"
    partition: int = 0
    epoch: int = 0
    next_offset: int = 0
    duplicates: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def batch(self, samples: Rows, rejected: Sequence[Rejected] = (), *, records: int = 1, **source: Any) -> WriteBatch:
        """The samples as `records` Kafka records; `next_offset` moves on when `stored` says so."""
        first = self.next_offset
        n = len(samples)
        record = np.minimum(np.arange(n, dtype=np.int32) * records // max(n, 1), records - 1).astype(np.int32)
        index = (np.arange(n) - np.searchsorted(record, record)).astype(np.int32)

        def describe(position: int) -> SourceRecord:
            given = {"patient_id": "p1", "device_id": "d1", "adapter": "ble", "key": b"p1", "value": b"raw",
                     "headers": [("vigil-schema", b"1"), ("empty", None)], **source}  # fmt: skip
            return SourceRecord(self.topic, self.partition, self.epoch, first + position, 1_717_243_200_000, **given)

        return WriteBatch(
            rows=samples,
            record=record,
            index=index,
            adapters=[source.get("adapter", "ble")] * records,
            advances=[self.advance(records)],
            describe=describe,
            rejected=rejected,
            duplicates=self.duplicates,
        )

    def advance(self, records: int = 1) -> Advance:
        last = self.next_offset + records - 1
        return Advance(self.topic, self.partition, self.epoch, self.next_offset, last, 1_717_243_200_000, 2**32 - 1)

    def stored(self, records: int = 1) -> None:
        self.next_offset += records


def query(url: str, statement: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
    """Run one statement in a connection of its own and return its rows."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        cursor = connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []
