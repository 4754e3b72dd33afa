"""Edge: what the recorder asks of the broker beside the stream itself."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from stream.recorder import Partition, crc_of

_READ_TIMEOUT_S: Final = 10.0


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
            first = (await consumer.beginning_offsets([tp]))[tp]
            if offset < first:
                return True  # beyond retention: the log goes on where it was, as far as can be seen
            consumer.seek(tp, offset)
            try:
                record = await asyncio.wait_for(consumer.getone(tp), _READ_TIMEOUT_S)
            except TimeoutError:
                return False
            return record.offset == offset and crc_of(record.value) == crc

    async def earliest(self, partition: Partition) -> int:
        """Return the first offset that the log has."""
        tp = TopicPartition(*partition)
        async with self._consumer() as consumer:
            return int((await consumer.beginning_offsets([tp]))[tp])

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(bootstrap_servers=self._bootstrap_servers, auto_offset_reset="earliest")
