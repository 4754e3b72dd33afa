"""Edge: history under watch. A consumer of its own beside the live one, and never before it.

What it finds is old: retrospective episodes, reviewed and never paged. It stands still while a live partition is
behind, takes one record at a time, and keeps of the patients only those that it saw last: history of a patient whose
state was forgotten, or that a restart fell into, is judged on from there, as if it began there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from alerts.event import AlertEvent
from ingest.record import MalformedRecord, decode, split
from ingest.topics import SAMPLES_BACKFILL
from stream.kafka import commit, group_consumer
from stream.watch import watch_metrics as metrics
from stream.watch.outbox import Outbox
from stream.watch.ports import Watching
from vitals.clock import Clock, system_clock

GROUP: Final = "vigil-watch-backfill"
_PIECE: Final = 1_000
"""Samples judged before the loop is given back."""
_AT_ONCE: Final = 10
PATIENTS: Final = 500
"""Patients remembered a partition: some 30 MB at most."""
_IDLE_S: Final = 30.0
_PAUSE_S: Final = 0.5
_YIELD_S: Final = 0.001


class _Lanes(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, engines: dict[TopicPartition, Watching]) -> None:
        self._engines = engines

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for tp in revoked:
            self._engines.pop(tp, None)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """An engine is made with its first record."""


class Backfill:
    """Watches `vigil.samples.backfill` while `may` says that nothing more urgent waits."""

    def __init__(
        self,
        bootstrap_servers: str,
        engine: Callable[[], Watching],
        outbox: Outbox,
        may: Callable[[], bool],
        *,
        session_s: float = 6.0,
        clock: Clock = system_clock,
    ) -> None:
        self._bootstrap_servers, self._engine, self._outbox, self._may = bootstrap_servers, engine, outbox, may
        self._session_ms, self._clock = round(session_s * 1_000), clock
        self.engines: dict[TopicPartition, Watching] = {}
        self._busy_s = time.monotonic()

    async def run(self) -> None:
        """Watch until cancelled; waits for a broker that is away."""
        async with group_consumer(
            self._bootstrap_servers,
            GROUP,
            [SAMPLES_BACKFILL],
            session_timeout_ms=self._session_ms,
            listener=_Lanes(self.engines),
        ) as consumer:
            while True:
                await self._turn(consumer)

    async def _turn(self, consumer: AIOKafkaConsumer) -> None:
        if not self._may():
            await asyncio.sleep(_PAUSE_S)
            return
        found = await consumer.getmany(timeout_ms=200, max_records=_AT_ONCE)
        for tp, records in found.items():
            await self._take_in(consumer, tp, records)
        if found:
            self._busy_s = time.monotonic()
        elif self.engines and time.monotonic() - self._busy_s > _IDLE_S:
            await self._finish()

    async def _take_in(self, consumer: AIOKafkaConsumer, tp: TopicPartition, records: list[Any]) -> None:
        engine = self.engines.setdefault(tp, self._engine())
        for record in records:
            await self._see(engine, record)
        await self._outbox.acknowledged(self._outbox.so_far)
        if tp in consumer.assignment() and self.engines.get(tp) is engine:
            await commit(consumer, GROUP, {tp: records[-1].offset + 1})

    async def _see(self, engine: Watching, record: Any) -> None:
        try:
            header, columns = decode(record.key, record.value, record.headers)
        except MalformedRecord:
            metrics.RECORDS.labels("unreadable").inc()
            return
        metrics.RECORDS.labels("history").inc()
        metrics.SAMPLES.labels("backfill").inc(len(columns))
        for piece in split(columns, _PIECE):
            await self._tell(engine.see([header], np.array([len(piece)]), piece, self._clock()))
            for events in engine.settle(self._clock()):
                await self._tell(events)

    async def _finish(self) -> None:
        """Nothing came for a while: what waits for company is judged as it is."""
        for engine in list(self.engines.values()):
            await self._tell(engine.finish(self._clock()))
        self.engines.clear()

    async def _tell(self, events: list[AlertEvent]) -> None:
        self._outbox.put(events)
        await self._outbox.room()
        await asyncio.sleep(_YIELD_S)
