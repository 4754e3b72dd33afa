"""Edge: reads partitions from somewhere to their end, with a consumer of its own that commits nothing.

The end is what the fetches say (`highwater`): what a broker says when it is asked for the latest offset is not always
true (FACTS, Kafka). A log whose last records were compacted away may not let the position come to its end: a broker
that answered for a while and had nothing more is taken at its word.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream import header_names
from stream.recorder import Partition

_POLL_MS: Final = 100
_NOTHING_FOR_S: Final = 3.0
_WITHIN_S: Final = 60.0


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
    begun = moved = time.monotonic()
    waiting = set(since)
    while waiting:
        found = await consumer.getmany(*waiting, timeout_ms=_POLL_MS)
        now = time.monotonic()
        for tp, records in found.items():
            yield tp, [record for record in records if tp not in ends or record.offset < ends[tp]]
        for tp in list(waiting):
            end = consumer.highwater(tp)
            if end is not None:
                ends.setdefault(tp, end)
            if tp in ends and await consumer.position(tp) >= ends[tp]:
                waiting.discard(tp)
        if found:
            moved = now
        elif now - moved > _NOTHING_FOR_S and all(tp in ends for tp in waiting):
            return
        if now - begun > _WITHIN_S:
            raise TimeoutError("the broker does not let a partition be read to its end")


async def beginnings(consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the first offset of each partition."""
    found = await consumer.beginning_offsets(tps)
    return {tp: int(found[tp]) for tp in tps}


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
