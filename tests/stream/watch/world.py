"""A worker's edge without Faust: fetches are read by hand, everything else is the real thing on a real broker."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Self

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from alerts.event import AlertEvent
from ingest.publisher import Publisher
from stream.assemble import RawRecord
from stream.recorder import Partition, crc_of
from stream.watch import beside
from stream.watch.crowd import Crowd, Everyone
from stream.watch.keeper import Keeper
from stream.watch.live import Live
from stream.watch.log_end import beginnings, reader, to_the_end
from stream.watch.outbox import Outbox
from stream.watch.pipeline import Pipeline
from stream.watch.plan import Plan
from stream.watch.restore import Restorer
from stream.watch.state_record import MARKER, unpack
from tests.stream.making import HEADER, samples
from tests.stream.watch.fake_engine import FakeEngine
from vitals.batch import BatchHeader
from vitals.clock import Clock, system_clock
from vitals.ids import patient_id

NOBODY_KNOWN: Crowd = Everyone(Plan("test", "1"))
PATIENTS = [BatchHeader(patient_id(f"p{n}"), HEADER.device_id, "app", "test") for n in range(8)]


async def make_topics(bootstrap: str, name: str, *, state: dict[str, str] | None = None) -> None:
    """Make three topics; `state` is the configuration of the one that keeps it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        topics = [
            NewTopic(f"{name}.samples", 2, 1),
            NewTopic(f"{name}.state", 2, 1, topic_configs=state),
            NewTopic(f"{name}.alerts", 3, 1),
        ]
        await admin.create_topics(topics)
    finally:
        await admin.close()


async def send(bootstrap: str, name: str, second: int, value: float, patients: Sequence[BatchHeader]) -> None:
    """Publish one heart rate of each of these patients."""
    async with Publisher(bootstrap) as publisher:
        for header in patients:
            await publisher.publish(header, samples("heart_rate", [second], [value]), topic=f"{name}.samples")


class World:
    """One worker. `log` is what its partitions hold; `crash` ends it as SIGKILL would: nothing is flushed."""

    def __init__(self, bootstrap: str, name: str, *, period_s: float = 0.5, clock: Clock = system_clock) -> None:
        self.bootstrap, self.name, self._clock = bootstrap, name, clock
        self.engines: list[FakeEngine] = []
        self.outbox = Outbox(bootstrap, clock=clock, topic=f"{name}.alerts")
        self.keeper = Keeper(bootstrap, self.outbox, period_s=period_s, clock=clock, topic=f"{name}.state")
        self.pipeline = Pipeline(after_s=30.0)
        restorer = Restorer(
            bootstrap, self._engine, self.holds, 1_800.0,
            clock=clock, topic=f"{name}.state", alerts_topic=f"{name}.alerts",
        )  # fmt: skip
        self.live = Live(restorer, self.outbox, self.keeper, self, crowd=_known, pipeline=self.pipeline, clock=clock)
        self.log: dict[Partition, list[RawRecord]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.seeks: list[tuple[Partition, int]] = []

    def _engine(self) -> FakeEngine:
        self.engines.append(FakeEngine())
        return self.engines[-1]

    async def holds(self, partition: Partition, offset: int, crc: int | None) -> bool:
        held = {one.offset: one for one in await self.records(partition)}
        one = held.get(offset)
        return one is not None and crc_of(one.key, one.value, one.timestamp_ms) == crc

    async def next_after(self, partition: Partition, offset: int) -> int | None:
        return min((one.offset for one in await self.records(partition) if one.offset >= offset), default=None)

    async def seek(self, partition: Partition, offset: int) -> None:
        self.seeks.append((partition, offset))

    async def records(self, partition: Partition) -> list[RawRecord]:
        """What the log holds: the broker's, or what a test put into `log` in its place."""
        if partition in self.log:
            return self.log[partition]
        return [
            RawRecord(one.topic, one.partition, one.offset, one.timestamp, one.key, one.value, one.headers)
            for one in await read_all(self.bootstrap, partition[0], partition[1])
        ]

    async def __aenter__(self) -> Self:
        await self.outbox.start()  # cancelled while it connects, the client would leave a socket open
        await self.keeper.start()
        self._tasks = [asyncio.create_task(self.outbox.run()), asyncio.create_task(beside.keep(self.live))]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.keeper.stop()
        await self.outbox.stop()

    async def take_over(self, *numbers: int) -> None:
        """Be assigned these partitions, and read them to their end as one fetch each."""
        partitions = [(f"{self.name}.samples", number) for number in numbers]
        where = await self.live.where_to_read(partitions)
        for partition, offset in where.items():
            fetch = [one for one in await self.records(partition) if one.offset >= offset]
            if fetch:
                await self.live.see(fetch)

    async def all_is_written(self, within_s: float = 10.0) -> None:
        """Return when every change is in a snapshot below a marker."""
        now_ms = self._clock() // 1_000
        for _, number in self.live.held:
            await until(partial(self._is_marked, number, now_ms), within_s)

    async def _is_marked(self, number: int, since_ms: int) -> bool:
        """Whether a round that began since then is complete."""
        held = [one.value for one in await read_all(self.bootstrap, f"{self.name}.state", number) if one.key == MARKER]
        return bool(held) and unpack(held[-1]).taken_ms > since_ms

    async def alerts(self) -> list[AlertEvent]:
        found = []
        for number in range(3):
            found += await read_all(self.bootstrap, f"{self.name}.alerts", number)
        return [AlertEvent.model_validate_json(one.value) for one in found]


async def _known() -> Crowd:
    return NOBODY_KNOWN


async def read_all(bootstrap: str, topic: str, number: int) -> list[Any]:
    """Return every record of a partition."""
    tp = TopicPartition(topic, number)
    found: list[Any] = []
    async with reader(bootstrap) as consumer:
        consumer.assign([tp])
        async for _, records in to_the_end(consumer, await beginnings(consumer, [tp])):
            found += records
    return found


async def until(true: Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not await true():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.05)


def counts(events: Iterable[AlertEvent]) -> dict[tuple[str, str], int]:
    """How often each change of each alert stands there."""
    found: dict[tuple[str, str], int] = {}
    for event in events:
        key = (event.alert_id, event.state.value)
        found[key] = found.get(key, 0) + 1
    return found
