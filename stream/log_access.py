"""Edge: what the recorder asks of the broker beside the stream itself."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from faust.types import TP

from stream.recorder import Partition, crc_of

_READ_TIMEOUT_S: Final = 30.0
_POLL_MS: Final = 100


class FaustLog:
    """Seeks in the running Faust consumer; looks into the log with a short-lived consumer of its own."""

    def __init__(self, bootstrap_servers: str, app: Any) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._app = app

    async def seek(self, partition: Partition, offset: int) -> None:
        """Deliver from `offset` on, unless the partition has meanwhile gone to another worker."""
        tp = TP(*partition)
        if tp in self._app.consumer.assignment():
            await self._app.consumer.seek_wait({tp: offset})

    async def holds(self, partition: Partition, offset: int, crc: int | None) -> bool:
        """Tell whether the record at `offset` has this CRC-32; False where the log has no such record."""
        tp = TopicPartition(*partition)
        async with self._consumer() as consumer:
            consumer.assign([tp])
            if offset < (await consumer.beginning_offsets([tp]))[tp]:
                return True  # beyond retention: the log goes on where it was, as far as can be seen
            record = await _first_from(consumer, tp, offset)
        return record is not None and record.offset == offset and _crc(record) == crc

    async def next_after(self, partition: Partition, offset: int) -> int | None:
        """Return the first offset from `offset` on that the log has a record at, None where it ends before."""
        tp = TopicPartition(*partition)
        async with self._consumer() as consumer:
            consumer.assign([tp])
            first = int((await consumer.beginning_offsets([tp]))[tp])
            record = await _first_from(consumer, tp, max(offset, first))
        return None if record is None else int(record.offset)

    async def earliest(self, partition: Partition) -> int:
        """Return the first offset that the log has."""
        tp = TopicPartition(*partition)
        async with self._consumer() as consumer:
            return int((await consumer.beginning_offsets([tp]))[tp])

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(bootstrap_servers=self._bootstrap_servers, auto_offset_reset="none")


def _crc(record: Any) -> int:
    return crc_of(record.key, record.value, record.timestamp)


async def _first_from(consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> Any | None:
    """Return the first record from `offset` on, None where the log ends before. Raises TimeoutError."""
    consumer.seek(tp, offset)
    async with asyncio.timeout(_READ_TIMEOUT_S):
        while True:
            try:
                found = await consumer.getmany(tp, timeout_ms=_POLL_MS, max_records=1)
            except OffsetOutOfRangeError:
                return None
            if found.get(tp):
                return found[tp][0]
            end = consumer.highwater(tp)  # known once a fetch was answered
            if end is not None and end <= offset:
                return None
