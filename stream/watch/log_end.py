"""Edge: reads partitions from somewhere to their end, with a consumer of its own that commits nothing.

The end is what the fetches say (`highwater`): what a broker says when it is asked for the latest offset is not always
true (FACTS, Kafka). A log whose last records were compacted away may not let the position come to its end: a broker
that answered again and again and had nothing more is taken at its word. One that does not answer is waited for: what
was read by then would pass for all there is, and states, or what was told, would be lost.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream import header_names
from stream.recorder import Partition

_POLL_MS: Final = 100
_EMPTY_ANSWERS: Final = 30
_WITHIN_S: Final = 60.0
"""Without a record or an answer for so long the reading is given up, however much came before."""


@asynccontextmanager
async def reader(bootstrap_servers: str, *topics: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a consumer without a group; with `topics` it has all of their partitions."""
    header_names.tolerate()
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=20,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def to_the_end(
    consumer: AIOKafkaConsumer, since: Mapping[TopicPartition, int]
) -> AsyncIterator[tuple[TopicPartition, list[Any]]]:
    """Yield the records from `since` to where the log ended when it was asked. Raises TimeoutError."""
    for tp, offset in since.items():
        consumer.seek(tp, offset)
    ends: dict[TopicPartition, int] = {}
    answered_ms: dict[TopicPartition, int | None] = {}
    moved, empty = time.monotonic(), 0
    waiting = set(since)
    while waiting:
        found = await consumer.getmany(*waiting, timeout_ms=_POLL_MS)
        for tp, records in found.items():
            yield tp, [record for record in records if tp not in ends or record.offset < ends[tp]]
        ends = _ends(consumer, waiting) | ends
        waiting = {tp for tp in waiting if tp not in ends or await consumer.position(tp) < ends[tp]}
        now_ms = {tp: consumer.last_poll_timestamp(tp) for tp in waiting}
        if found:
            moved, empty = time.monotonic(), 0
        elif waiting <= ends.keys() and not now_ms.items() & answered_ms.items():
            empty += 1
            if empty >= _EMPTY_ANSWERS:
                return
        elif time.monotonic() - moved > _WITHIN_S:
            raise TimeoutError("the broker does not let a partition be read to its end")
        answered_ms = now_ms


def _ends(consumer: AIOKafkaConsumer, tps: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """Return where the partitions end of which a fetch has told."""
    told = {tp: consumer.highwater(tp) for tp in tps}
    return {tp: int(end) for tp, end in told.items() if end is not None}


async def beginnings(consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the first offset of each partition."""
    found = await consumer.beginning_offsets(tps)
    return {tp: int(found[tp]) for tp in tps}


async def log_begins(bootstrap_servers: str, partitions: Sequence[Partition]) -> dict[Partition, int]:
    """Return the first offset that the log of each partition has."""
    async with reader(bootstrap_servers) as consumer:
        found = await beginnings(consumer, [TopicPartition(*partition) for partition in partitions])
    return {(tp.topic, tp.partition): offset for tp, offset in found.items()}


async def offsets_since(bootstrap_servers: str, partitions: Sequence[Partition], since_ms: int) -> dict[Partition, int]:
    """Return, for each partition, the first offset whose record is not older than `since_ms`, or the log's end.

    Where a broker tells that end too low, a few old records are read again.
    """
    tps = [TopicPartition(*partition) for partition in partitions]
    async with reader(bootstrap_servers) as consumer:
        consumer.assign(tps)
        found = await consumer.offsets_for_times(dict.fromkeys(tps, since_ms))
        ends = await consumer.end_offsets(tps)
    return {(tp.topic, tp.partition): int(ends[tp] if found.get(tp) is None else found[tp].offset) for tp in tps}
