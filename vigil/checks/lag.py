"""Edge: how many records of the log are not stored yet: the broker's ends against the database's watermarks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest.publisher import BrokerUnreachable
from ingest.topics import SAMPLES, SAMPLES_BACKFILL, WAVEFORMS
from timeseries.checkup import stored_offsets
from vigil.checks.database import DatabaseAway
from vigil.checks.finding import Finding, judged
from vigil.settings import Settings

_LANES: Final = {SAMPLES: "live", SAMPLES_BACKFILL: "backfill", WAVEFORMS: "waveforms"}
_MUCH: Final = {SAMPLES: 10_000, SAMPLES_BACKFILL: 1_000_000, WAVEFORMS: 10_000}
"""Records behind which somebody should look; history may take its time."""


async def check(config: Settings) -> Sequence[Finding]:
    """Compare both. Raises `MissingSetting`, `BrokerUnreachable`, `DatabaseAway`."""
    try:
        stored = await asyncio.to_thread(stored_offsets, config.database())
    except psycopg.Error:
        raise DatabaseAway("the database does not say how far it is") from None
    return findings(await _ends(config.broker()), stored)


async def _ends(address: str) -> dict[tuple[str, int], tuple[int, int]]:
    """Return (first, end) offsets of each partition of the recorded topics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, request_timeout_ms=5_000)
    try:
        await consumer.start()
        found = {topic: consumer.partitions_for_topic(topic) or set() for topic in await consumer.topics()}
        parts = [TopicPartition(topic, number) for topic in _LANES for number in sorted(found.get(topic, set()))]
        first, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
    except (KafkaError, OSError) as error:
        raise BrokerUnreachable(f"no Kafka broker answers at {address}") from error
    finally:
        await consumer.stop()
    return {(part.topic, part.partition): (first[part], ends[part]) for part in parts}


def findings(log: Mapping[tuple[str, int], tuple[int, int]], stored: Mapping[tuple[str, int], int]) -> list[Finding]:
    """Return a finding a lane. Pure."""
    found = []
    for topic, lane in _LANES.items():
        behind = sum(
            max(0, end - max(first, stored.get(where, 0))) for where, (first, end) in log.items() if where[0] == topic
        )
        found.append(
            judged(
                "recorder", lane, f"{behind:,} records wait" if behind else "all that is in the log is stored",
                fine=behind < _MUCH[topic], do=f"is `vigil recorder --lane {lane}` running? Its log says why",
            )
        )  # fmt: skip
    return found
