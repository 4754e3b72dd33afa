"""Edge: history under watch. A consumer of its own beside the live one, and never before it.

What it finds is old: retrospective episodes, reviewed and never paged. It stands still while a live partition is
behind, takes one record at a time, and keeps of the patients only those that it saw last: history of a patient whose
state was forgotten, or that a restart fell into, is judged on from there, as if it began there. What breaks here is
left out and counted: history must never stop the live watch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final

import numpy as np
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from numpy.typing import NDArray

from alerts.event import AlertEvent
from ingest.record import decode, split
from ingest.record_arrow import MalformedRecord
from ingest.topics import SAMPLES_BACKFILL
from stream.kafka import commit, forever, group_consumer
from stream.watch import watch_metrics as metrics
from stream.watch.adoption import NOT_MONITORED
from stream.watch.broken import what_broke
from stream.watch.crowd import Crowd
from stream.watch.outbox import Outbox
from stream.watch.ports import Watching
from vitals.batch import BatchHeader, SampleColumns
from vitals.clock import Clock, system_clock

log = structlog.get_logger(__name__)

GROUP: Final = "vigil-watch-backfill"
_PIECE: Final = 250
_STRETCHES: Final = 25
_STRETCH_US: Final = 15_000_000
"""Samples, and settled stretches, judged before the loop is given back: a live alert waits for no more (some 7 ms)."""
_AT_ONCE: Final = 40
_TOGETHER: Final = 200_000
"""Records of one poll, and samples, that are put in order together."""
PATIENTS: Final = 500
"""Patients remembered a partition: some 30 MB at most."""
_IDLE_S: Final = 30.0
_FORGET_S: Final = 3_600.0
"""Without any history for so long the lane's memory goes. A device whose clock is slow speaks here for hours."""
_PAUSE_S: Final = 0.5
_YIELD_S: Final = 0.001


class _Lanes(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, give_up: Callable[[Iterable[TopicPartition]], None]) -> None:
        self._give_up = give_up

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._give_up(revoked)

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
        self._judging: Watching | None = None
        self._busy_s = time.monotonic()
        self._is_settled = True

    async def run(self) -> None:
        """Watch until cancelled; waits for a broker that is away, or that gives out what nobody can read."""
        await forever(GROUP, "history", KafkaError, OSError)(self._watch)

    async def _watch(self) -> None:
        async with group_consumer(
            self._bootstrap_servers,
            GROUP,
            [SAMPLES_BACKFILL],
            session_timeout_ms=self._session_ms,
            listener=_Lanes(self.give_up),
        ) as consumer:
            try:
                while True:
                    await self._turn(consumer)
            finally:
                self.give_up()

    def give_up(self, partitions: Iterable[TopicPartition] | None = None) -> None:
        """Forget partitions (None: all); whoever has them next knows nothing of them, so nothing stays open."""
        for tp in list(self.engines if partitions is None else partitions):
            engine = self.engines.pop(tp, None)
            if engine is not None:
                self._put(engine.end(self._clock()))
                self._judging = None if self._judging is engine else self._judging

    async def adopt(self, crowd: Crowd) -> None:
        """Judge by these profiles, policies and consents from now on."""
        for engine in list(self.engines.values()):
            if engine in self.engines.values():
                await self._tell(engine.adopt(crowd, self._clock()))

    async def _turn(self, consumer: AIOKafkaConsumer) -> None:
        await self._turn_comes()
        found = await consumer.getmany(timeout_ms=200, max_records=_AT_ONCE)
        for tp, records in found.items():
            await self._take_in(consumer, tp, records)
        if found:
            self._busy_s, self._is_settled = time.monotonic(), False
        elif self.engines:
            await self._idle(time.monotonic() - self._busy_s)

    async def _take_in(self, consumer: AIOKafkaConsumer, tp: TopicPartition, records: list[Any]) -> None:
        engine = self.engines.get(tp)
        if engine is None:
            engine = self.engines[tp] = self._engine()
        waiting: list[tuple[BatchHeader, SampleColumns]] = []
        for record in records:
            waiting += _decoded(record)
            await asyncio.sleep(0)
            if sum(len(columns) for _, columns in waiting) >= _TOGETHER:
                await self._see(engine, waiting)
                waiting = []
            if self.engines.get(tp) is not engine:
                return  # another has it now
        await self._see(engine, waiting)
        await self._outbox.acknowledged(self._outbox.so_far)
        if tp in consumer.assignment() and self.engines.get(tp) is engine:
            await commit(consumer, GROUP, {tp: records[-1].offset + 1})

    async def _see(self, engine: Watching, told: list[tuple[BatchHeader, SampleColumns]]) -> None:
        before, self._judging = engine.ignored, engine
        for header, piece in await asyncio.to_thread(lambda: list(in_order(told))):
            await self._turn_comes()
            await self._judge(engine, header, piece)
        metrics.IGNORED.labels("backfill").inc(engine.ignored - before)

    async def _judge(self, engine: Watching, header: BatchHeader, piece: SampleColumns) -> None:
        if self._judging is not engine:
            return  # it was given up, and is to open nothing more
        with _left_out():
            await self._tell(engine.see([header], np.array([len(piece)]), piece, self._clock()))
            await self._settle(engine)

    async def _settle(self, engine: Watching, *, all_due: bool = False) -> None:
        for events in engine.settle(self._clock(), all_due=all_due):
            await self._tell(events)
            if self._judging is not engine:
                return

    async def _turn_comes(self) -> None:
        while not self._may():  # noqa: ASYNC110 - nobody tells; it is asked
            await asyncio.sleep(_PAUSE_S)

    async def _idle(self, idle_s: float) -> None:
        """Nothing came for a while: what waits for company is judged as it is; in the end nothing stays open."""
        if idle_s > _IDLE_S and not self._is_settled:
            self._is_settled = True
            for engine in list(self.engines.values()):
                self._judging = engine
                with _left_out():
                    await self._settle(engine, all_due=True)
        elif idle_s > _FORGET_S:
            self.give_up()

    def _put(self, events: Iterable[AlertEvent]) -> None:
        self._outbox.put([event for event in events if event.rule != NOT_MONITORED])  # of that the live lane tells

    async def _tell(self, events: list[AlertEvent]) -> None:
        self._put(events)
        await self._outbox.room()
        await asyncio.sleep(_YIELD_S)


@contextmanager
def _left_out() -> Iterator[None]:
    """Leave out what breaks: read again after a start it would break once more."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a bug, of whatever kind
        metrics.BROKEN.labels("history").inc()
        log.error("watch_history_broken", **what_broke(error))  # noqa: TRY400 - a trace may quote what was measured


def _decoded(record: Any) -> list[tuple[BatchHeader, SampleColumns]]:
    """Return a record's samples; [] for one that is none of ours."""
    try:
        header, columns = decode(record.key, record.value, record.headers)
    except MalformedRecord:
        metrics.RECORDS.labels("unreadable").inc()
        return []
    metrics.RECORDS.labels("history").inc()
    metrics.SAMPLES.labels("backfill").inc(len(columns))
    return [(header, columns)]


def in_order(told: Sequence[tuple[BatchHeader, SampleColumns]]) -> Iterator[tuple[BatchHeader, SampleColumns]]:
    """Return records as pieces of at most `_PIECE` samples and `_STRETCHES` stretches: patient by patient, each
    origin's samples by the end of their measurement, and a patient's pieces by when they begin."""
    origins: dict[tuple[str, str, str], list[tuple[BatchHeader, SampleColumns]]] = {}
    for header, columns in told:
        if len(columns):
            origins.setdefault((header.patient_id, header.device_id, header.source_app), []).append((header, columns))
    cut: list[tuple[str, int, BatchHeader, SampleColumns]] = []
    for (patient, *_), records in origins.items():
        columns = SampleColumns.concat([one for _, one in records])
        ends_us = columns.start_us + np.maximum(columns.duration_ms, 0).astype(np.int64) * 1_000
        order = ends_us.argsort(kind="stable")
        for part in _parts(ends_us[order]):
            pieces = split(columns.take(order[part]), _PIECE)
            cut += [(patient, int(one.start_us[0]), records[0][0], one) for one in pieces]
    for _, _, header, piece in sorted(cut, key=lambda one: one[:2]):
        yield header, piece


def _parts(ends_us: NDArray[np.int64]) -> list[slice]:
    """Cut ascending times so that few settled stretches lie in each part: sparse samples cost most."""
    stretch = np.cumsum(np.diff(ends_us // _STRETCH_US, prepend=ends_us[0] // _STRETCH_US) > 0)
    cuts = [0, *(np.flatnonzero(np.diff(stretch // _STRETCHES)) + 1).tolist(), len(ends_us)]
    return [slice(first, last) for first, last in pairwise(cuts)]
