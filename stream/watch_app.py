"""Edge: Faust app 2, the watch. Its own consumer group, no database, no waiting for more records.

What it knows it learned from the log: after each assignment it reads the last `warm_up_s` again. Alert ids are a
function of what was measured, so what it raises again on the way has the id that it had, and nobody is told twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from prometheus_client import Counter, Histogram

from alerts.event import AlertEvent
from ingest.record import MalformedRecord, decode
from ingest.topics import ALERTS, SAMPLES
from stream.assemble import RawRecord
from stream.detectors.policy import ADULT, WatchPolicy
from stream.faust_app import build_app, raw_records
from stream.kafka import safe_producer, send_until_taken
from stream.recorder import Partition
from stream.watch_core import step
from stream.watch_state import WatchState
from vitals.clock import Clock, system_clock

log = structlog.get_logger(__name__)

GROUP: Final = "vigil-watch"
RECORDS: Final = Counter("vigil_watch_records", "Records watched", ["outcome"])
EVENTS: Final = Counter("vigil_watch_alert_events", "Alert events emitted", ["kind", "state"])
LATENCY: Final = Histogram(
    "vigil_watch_latency_seconds",
    "From the record's timestamp to its alert event being acknowledged",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)


class Watch:
    """One worker's watch over the partitions that are assigned to it."""

    def __init__(self, policy: WatchPolicy, clock: Clock = system_clock) -> None:
        self._policy = policy
        self._clock = clock
        self._state = WatchState()

    def see(self, record: RawRecord) -> list[AlertEvent]:
        """Return what a record raises or clears. A record that cannot be read is the recorder's to quarantine."""
        try:
            header, columns = decode(record.key, record.value, record.headers)
        except MalformedRecord:
            RECORDS.labels("unreadable").inc()
            return []
        RECORDS.labels("seen").inc()
        return step(self._state, self._policy, header, columns, self._clock())


def watch_app(
    bootstrap_servers: str,
    *,
    policy: WatchPolicy = ADULT,
    warm_up_s: float = 1_800.0,
    session_s: float = 6.0,
    clock: Clock = system_clock,
) -> Any:
    """Return the Faust app that watches the live lane; history on the backfill lane raises nothing."""

    async def where_to_read(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        since_ms = clock() // 1_000 - round(warm_up_s * 1_000)
        return await offsets_since(bootstrap_servers, partitions, since_ms)

    app, raw = build_app(GROUP, bootstrap_servers, SAMPLES, where_to_read, session_s=session_s)
    watch = Watch(policy, clock)
    sender = _AlertSender(bootstrap_servers)
    app.closing.append(sender.stop)

    async def tell(record: RawRecord) -> None:
        events = watch.see(record)
        if events:
            await sender.send(events)
            LATENCY.observe(max(0.0, clock() / 1e6 - record.timestamp_ms / 1e3))

    @app.agent(raw, name="watch")  # type: ignore[untyped-decorator]
    async def see(stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                for record in raw_records(event):
                    await tell(record)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                log.exception("watch_broken")
                await app.crash(error)
                raise
            event.ack()

    return app


class _AlertSender:
    """Puts alert events onto the alert topic; an event counts as told when all in-sync replicas have it."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._open = AsyncExitStack()
        self._producer: AIOKafkaProducer | None = None

    async def send(self, events: Sequence[AlertEvent]) -> None:
        if self._producer is None:
            self._producer = await self._open.enter_async_context(safe_producer(self._bootstrap_servers, "watch"))
        await send_until_taken(self._producer, "watch", ALERTS, [(event.patient_id, event) for event in events])
        for event in events:
            EVENTS.labels(event.kind, event.state).inc()

    async def stop(self) -> None:
        self._producer = None
        await self._open.aclose()


async def offsets_since(bootstrap_servers: str, partitions: Sequence[Partition], since_ms: int) -> dict[Partition, int]:
    """Return, for each partition, the first offset whose record is not older than `since_ms`, or the log's end."""
    tps = [TopicPartition(*partition) for partition in partitions]
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap_servers) as consumer:
        consumer.assign(tps)
        found = await consumer.offsets_for_times(dict.fromkeys(tps, since_ms))
        return {
            (tp.topic, tp.partition): await consumer.position(tp) if found.get(tp) is None else found[tp].offset
            for tp in tps
        }
