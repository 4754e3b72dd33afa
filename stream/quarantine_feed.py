"""Edge: tells `vigil.quarantine` what was quarantined, from the table, at least once each.

The table is written in the recorder's transaction and is the truth; this service reads its outbox, so a broker that is
away holds up nobody but itself. It forgets a row after the broker has the message: killed in between, it sends the
message again, and readers tell repeats by `id`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError
from prometheus_client import Counter

from ingest.topics import QUARANTINE
from stream.kafka import forever, safe_producer
from timeseries.model import StoreUnavailable
from timeseries.quarantine_outbox import Unpublished

PUBLISHED: Final = Counter("vigil_quarantine_published", "Messages on vigil.quarantine that the broker has")

_SERVICE: Final = "quarantine-feed"
_ACK_TIMEOUT_S: Final = 30.0
"""The rows are locked for no longer than this; unacknowledged by then, they are given back and sent again."""


class Outbox(Protocol):
    """What the feed needs of `timeseries.quarantine_outbox.QuarantineOutbox`."""

    async def take(self, limit: int) -> list[Unpublished]:
        """Return the oldest unpublished rows, locked."""

    async def done(self, rows: list[Unpublished]) -> None:
        """Forget them: they are published."""

    async def give_back(self) -> None:
        """Leave them to the next turn."""


def message(row: Unpublished) -> tuple[bytes, bytes]:
    """Return key and JSON of a row. The key is the patient id, or the record's place where it told none."""
    place = f"{row.topic}/{row.partition}/{row.epoch}/{row.offset}"
    body = {
        "id": f"{place}/{row.index}", "topic": row.topic, "partition": row.partition, "epoch": row.epoch,
        "offset": row.offset, "index": row.index, "reason": row.reason, "metric": row.metric, "adapter": row.adapter,
        "device_id": row.device_id, "recorded_at": row.recorded_at.isoformat(),
    }  # fmt: skip
    return (row.patient_id or place).encode(), json.dumps(body).encode()


async def run(
    bootstrap_servers: str, outbox: Outbox, *, topic: str = QUARANTINE, batch: int = 1_000, idle_s: float = 1.0
) -> None:
    """Feed the topic until cancelled, waiting for a broker or database that is away. The outbox is the caller's."""
    async with safe_producer(bootstrap_servers, _SERVICE) as producer:

        async def turn() -> int:
            return await feed(outbox, producer, topic, batch)

        while True:
            if await forever(_SERVICE, "feed", StoreUnavailable, KafkaError, OSError)(turn) < batch:
                await asyncio.sleep(idle_s)


async def feed(outbox: Outbox, producer: Any, topic: str, batch: int) -> int:
    """Publish up to `batch` rows, then forget them, and return how many. After an error all of them come again."""
    try:
        rows = await outbox.take(batch)
        async with asyncio.timeout(_ACK_TIMEOUT_S):
            await _publish(producer, topic, rows)
        await outbox.done(rows)
    except BaseException:
        await outbox.give_back()
        raise
    PUBLISHED.inc(len(rows))
    return len(rows)


async def _publish(producer: Any, topic: str, rows: Sequence[Unpublished]) -> None:
    acks = [await producer.send(topic, key=key, value=value) for key, value in map(message, rows)]
    answers = await asyncio.gather(*acks, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
