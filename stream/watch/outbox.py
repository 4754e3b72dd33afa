"""Edge: alert events on their way to the topic, in order, each change once.

Putting never waits: an alert leaves as soon as it is found, and the next fetch is judged while the broker answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer

from alerts.event import AlertEvent
from ingest.topics import ALERTS
from stream.kafka import safe_producer, send_until_taken
from stream.watch import watch_metrics as metrics
from stream.watch.told import Told
from vitals.clock import Clock, system_clock
from vitals.synthetic import PATIENT as SYNTHETIC

SERVICE: Final = "watch"
MOST_WAITING: Final = 5_000
"""Past this a fetch waits for room before it is judged: 20 MB of events."""
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: AlertEvent
    partition: int | None  # of the samples; None: the worker's own
    came_ms: int | None


class Outbox:
    """Events wait here for the broker; `run` is the one task that sends them."""

    def __init__(self, bootstrap_servers: str, *, clock: Clock = system_clock, topic: str = ALERTS) -> None:
        self._bootstrap_servers, self._topic, self._clock = bootstrap_servers, topic, clock
        self.told = Told()
        self._waiting: deque[_Waiting] = deque()
        self._put = self._acked = 0
        self._changed = asyncio.Condition()
        self._open = AsyncExitStack()
        self._wake = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None

    def put(
        self, events: Iterable[AlertEvent], partition: int | None = None, came_ms: int | None = None
    ) -> list[AlertEvent]:
        """Take in what is not on the topic, and return that. `came_ms`: the timestamp of the records it came with."""
        given = list(events)
        fresh = self.told.fresh(given)
        if len(fresh) < len(given):
            metrics.REPEATS.inc(len(given) - len(fresh))
        if fresh:
            self._waiting.extend(_Waiting(event, partition, came_ms) for event in fresh)
            self._put += len(fresh)
            self._wake.set()
        return fresh

    @property
    def so_far(self) -> int:
        """How many events were put: what `acknowledged` is to be asked for."""
        return self._put

    async def acknowledged(self, number: int) -> None:
        """Return when the broker has the first `number` events (or they were forgotten)."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._acked >= number)

    async def room(self) -> None:
        """Return when there is room for more events."""
        if self._put - self._acked > MOST_WAITING:
            await self.acknowledged(self._put - MOST_WAITING)

    async def forget(self, partitions: Iterable[int]) -> None:
        """Drop what waits of these partitions: whoever has them finds it again, and would tell it twice."""
        gone = set(partitions)
        stays = deque(one for one in self._waiting if one.partition not in gone)
        async with self._changed:
            self._acked += len(self._waiting) - len(stays)
            self._waiting = stays
            self._changed.notify_all()

    async def start(self) -> AIOKafkaProducer:
        """Connect, where that is not done; waits for a broker that is away."""
        if self._producer is None:
            self._producer = await self._open.enter_async_context(safe_producer(self._bootstrap_servers, SERVICE))
        return self._producer

    async def run(self) -> None:
        """Send until cancelled. Raises what is no fault of the broker's."""
        producer = await self.start()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._send(producer)

    async def _send(self, producer: AIOKafkaProducer) -> None:
        sending = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
        metrics.WAITING.set(self._put - self._acked)
        pairs = [(one.event.patient_id, one.event) for one in sending]
        await send_until_taken(producer, SERVICE, self._topic, pairs)
        now_ms = self._clock() / 1_000
        for one in sending:
            if one.event.patient_id != SYNTHETIC:  # it is the alarm burden of people
                metrics.EVENTS.labels(one.event.kind, one.event.state).inc()
            if one.came_ms is not None:
                metrics.LATENCY.observe(max(0.0, now_ms - one.came_ms) / 1_000)
        async with self._changed:
            self._acked += len(sending)
            self._changed.notify_all()
        metrics.WAITING.set(self._put - self._acked)

    async def stop(self) -> None:
        """Disconnect; what is still under way is given the chance to arrive."""
        self._producer = None
        await self._open.aclose()
