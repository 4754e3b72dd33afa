"""A broker that stalls, answers in part or late, and a group that forms anew in the middle: nothing lost or doubled."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from alerts.event import AlertEvent, State
from stream.kafka import send_until_taken
from stream.recorder import Partition
from stream.watch.crowd import Crowd, Everyone
from stream.watch.log_end import beginnings, reader, to_the_end
from stream.watch.plan import Plan
from stream.watch.pulse import Pulse
from stream.watch.restore import Restorer, TakenOver
from stream.watch.state_record import MARKER, unpack
from stream.watch.told import Told
from tests.stream.making import T0, S
from tests.stream.watch.fake_engine import event
from tests.stream.watch.world import PATIENTS, World, counts, make_topics, read_all, send, until
from vigil.embedded.broker import EmbeddedBroker


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.kafka.MAX_BACKOFF_S", 0.2)


async def test_a_broker_that_stalls_while_a_state_is_read_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read by then must not pass for all there is: baselines and open episodes would be lost for good."""
    monkeypatch.setattr("stream.watch.log_end._EMPTY_ANSWERS", 3)
    with EmbeddedBroker(log=tmp_path / "broker.log") as own:
        await make_topics(own.bootstrap, "t")
        number = 40
        async with AIOKafkaProducer(bootstrap_servers=own.bootstrap, max_batch_size=2**20) as producer:
            for _ in range(number):
                await producer.send_and_wait("t.state", os.urandom(300_000), partition=0)
        tp = TopicPartition("t.state", 0)
        stalls: list[asyncio.Task[None]] = []
        assert own.pid is not None
        found = 0
        async with reader(own.bootstrap) as consumer:
            consumer.assign([tp])
            async for _, records in to_the_end(consumer, await beginnings(consumer, [tp])):
                found += len(records)
                if found and not stalls:
                    os.kill(own.pid, signal.SIGSTOP)
                    stalls.append(asyncio.create_task(_goes_on(own.pid, 1.5)))
        await stalls[0]
    assert found == number


async def _goes_on(pid: int, after_s: float) -> None:
    await asyncio.sleep(after_s)  # the stall itself
    os.kill(pid, signal.SIGCONT)


class Flaky:
    """A producer that has the real one send, and fails what `fails` says, by how many were asked before."""

    def __init__(self, real: AIOKafkaProducer, fails: set[int], *, takes: bool = False) -> None:
        self.real, self.fails, self.takes, self.asked = real, fails, takes, 0

    async def send(self, topic: str, **what: Any) -> asyncio.Future[Any]:
        number, self.asked = self.asked, self.asked + 1
        if number not in self.fails:
            return await self.real.send(topic, **what)  # type: ignore[no-any-return]
        if self.takes:
            await self.real.send_and_wait(topic, **what)
        lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        lost.set_exception(KafkaTimeoutError())
        return lost


async def _sent(broker: EmbeddedBroker, name: str, fails: set[int], events: Sequence[AlertEvent]) -> list[AlertEvent]:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as real:
        await send_until_taken(
            Flaky(real, fails), "test", f"{name}.alerts", [(one.patient_id, one) for one in events]
        )  # fmt: skip
    return await World(broker.bootstrap, name).alerts()


def _episodes() -> list[AlertEvent]:
    """One raised and cleared of each of six patients, in the order of time."""
    return [
        event(f"p{number}", T0, state, T0 + at * S)
        for at, state in enumerate((State.RAISED, State.CLEARED))
        for number in range(6)
    ]


async def test_what_one_partition_refused_is_sent_again_and_what_others_took_is_not(
    broker: EmbeddedBroker, name: str
) -> None:
    told = await _sent(broker, name, {2, 9}, _episodes())
    again = {key for key, times in counts(told).items() if times > 1}
    assert len(counts(told)) == 12, "nothing is missing"
    assert again <= {key for key in counts(told) if key[0] == _episodes()[2].alert_id}, "p2's clearance alone"


async def test_the_last_word_about_an_alert_stays_the_last(broker: EmbeddedBroker, name: str) -> None:
    told = await _sent(broker, name, {0, 3, 5}, _episodes())
    last = {one.alert_id: one.state for one in told}
    assert set(last.values()) == {State.CLEARED}


async def test_a_producer_that_cannot_even_begin_loses_nothing(broker: EmbeddedBroker, name: str) -> None:
    class Full(Flaky):
        async def send(self, topic: str, **what: Any) -> asyncio.Future[Any]:
            if self.asked in self.fails:
                self.asked += 1
                raise KafkaTimeoutError
            return await super().send(topic, **what)

    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as real:
        pairs = [(one.patient_id, one) for one in _episodes()]
        await send_until_taken(Full(real, {4, 15}), "test", f"{name}.alerts", pairs)
    told = counts(await World(broker.bootstrap, name).alerts())
    assert len(told) == 12
    assert set(told.values()) == {1}


async def test_what_was_under_way_when_partitions_went_is_not_told_again_when_they_come_back(
    broker: EmbeddedBroker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage: the group forms anew before the producer has tried again."""
    monkeypatch.setattr("stream.watch.live._FLUSH_S", 0.1)
    await send(broker.bootstrap, name, 0, 150, PATIENTS)
    async with World(broker.bootstrap, name) as world:
        held_back = asyncio.Event()
        real = await world.outbox.start()

        class Late(Flaky):
            async def send(self, topic: str, **what: Any) -> asyncio.Future[Any]:
                await held_back.wait()
                return await super().send(topic, **what)

        world._tasks[0].cancel()
        world.outbox._producer = Late(real, set())
        world._tasks[0] = asyncio.create_task(world.outbox.run())
        await world.take_over(0)
        await until(lambda: _is(not world.outbox._waiting))
        await world.live.revoked()
        assert await world.alerts() == []
        again = asyncio.create_task(world.take_over(0))
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(again), 1.0)
        held_back.set()
        await again
        await world.outbox.acknowledged(world.outbox.so_far)
        told = counts(await world.alerts())
        records = await world.records((f"{name}.samples", 0))
    assert len(told) == len(records) > 0
    assert set(told.values()) == {1}


async def _is(value: bool) -> bool:
    return value


async def test_a_marker_is_not_ahead_of_what_the_pipeline_tells(broker: EmbeddedBroker, name: str) -> None:
    """Else the one who comes after a crash knows nothing of an alert that stands open, and it does for ever."""
    await send(broker.bootstrap, name, 0, 70, PATIENTS)
    async with World(broker.bootstrap, name) as world:
        await world.take_over(0, 1)
        (raised,) = world.pipeline.judge({0: 31.0, 1: 0.0}, world._clock())
        world.outbox.put([raised])
        await until(lambda: _markers_say(world, raised))
        world._tasks[0].cancel()  # the broker takes no alert from now on
        await asyncio.gather(world._tasks[0], return_exceptions=True)
        (cleared,) = world.pipeline.judge({0: 0.0, 1: 0.0}, world._clock())
        world.outbox.put([cleared])
        await asyncio.sleep(1.5)  # three rounds, in which no marker may come
        assert await _markers_say(world, raised), "it is open as far as the topic says"


async def _markers_say(world: World, opened: AlertEvent) -> bool:
    held = [one.value for one in await read_all(world.bootstrap, f"{world.name}.state", 0) if one.key == MARKER]
    return bool(held) and unpack(held[-1]).body == opened.to_bytes()


@dataclass(frozen=True, slots=True)
class Slow(Restorer):
    """Restores when it is let."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def take_over(self, partitions: Sequence[Partition], told: Told) -> dict[Partition, TakenOver]:
        await self.gate.wait()
        return await Restorer.take_over(self, partitions, told)


def _slowly(world: World) -> asyncio.Event:
    given = world.live._restorer
    slow = Slow(**{one.name: getattr(given, one.name) for one in fields(given)})
    world.live._restorer = slow
    return slow.gate


async def test_a_log_that_begins_anew_in_the_middle_of_a_rebalance_takes_no_partition_of_anothers(
    broker: EmbeddedBroker, name: str
) -> None:
    """A topic that is made anew makes the group form anew, too."""
    first, second = ((f"{name}.samples", number) for number in (0, 1))
    async with World(broker.bootstrap, name) as world:
        gate = _slowly(world)
        gate.set()
        await world.live.where_to_read([second])
        gate.clear()
        watched = world.live.held[second].watched
        anew = asyncio.create_task(world.live._begin_anew(watched))
        await asyncio.sleep(0.05)
        await world.live.revoked()
        moved = asyncio.create_task(world.live.where_to_read([first]))
        await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(moved, anew)
        assert world.live.held.keys() == {first}
        assert world.seeks == []


async def test_two_rebalances_in_quick_succession_leave_what_the_last_one_gave(
    broker: EmbeddedBroker, name: str
) -> None:
    await send(broker.bootstrap, name, 0, 150, PATIENTS)
    partitions = [(f"{name}.samples", number) for number in (0, 1)]
    async with World(broker.bootstrap, name) as world:
        gate = _slowly(world)
        one = asyncio.create_task(world.live.where_to_read(partitions))
        await asyncio.sleep(0.02)
        await world.live.revoked()
        two = asyncio.create_task(world.live.where_to_read(partitions[:1]))
        await asyncio.sleep(0.02)
        await world.live.revoked()
        three = asyncio.create_task(world.live.where_to_read(partitions[1:]))
        await asyncio.sleep(0.02)
        await world.live.adopt(Everyone(Plan("newer", "1")))
        gate.set()
        assert (await one, await two, await three) == ({}, {}, {partitions[1]: 0})
        assert world.live.held.keys() == {partitions[1]}
        assert world.live.held[partitions[1]].watched.engine.crowd is world.live.crowd  # type: ignore[attr-defined]
        await world.live.see(await world.records(partitions[1]))
        await world.outbox.acknowledged(world.outbox.so_far)
        assert set(counts(await world.alerts()).values()) <= {1}


async def test_profiles_that_come_while_the_first_are_waited_for_are_not_lost(
    broker: EmbeddedBroker, name: str
) -> None:
    async with World(broker.bootstrap, name) as world:
        newer = Everyone(Plan("newer", "1"))

        async def first() -> Crowd:
            await world.live.adopt(newer)
            return Everyone(Plan("default", "1"))

        world.live._first_crowd = first
        await world.take_over(0, 1)
        assert world.live.crowd is newer


def test_a_process_that_was_paused_is_in_doubt_for_a_session() -> None:
    times = iter([0.0, 1.0, 3.9, 7.0, 8.0, 10.0, 12.9, 13.0])
    pulse = Pulse(6.0, now_s=lambda: next(times))
    assert [pulse.beat() for _ in range(7)] == [True, True, False, False, False, False, True]


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_worker_that_wakes_up_writes_nothing_before_it_would_know_that_another_has_the_partition(
    broker: EmbeddedBroker, name: str, *, is_known: bool
) -> None:
    """Else its states, older than the other's, are doubted by whoever reads them, or compaction leaves those alone."""
    await send(broker.bootstrap, name, 0, 150, PATIENTS)
    async with World(broker.bootstrap, name, period_s=0.2) as paused, World(broker.bootstrap, name) as other:
        await paused.take_over(0, 1)
        await paused.all_is_written()
        if is_known:
            paused.keeper.pulse._beat_s -= 30.0
        await send(broker.bootstrap, name, 1, 151, PATIENTS)
        await other.take_over(0, 1)
        await other.all_is_written()
        for engine in paused.engines:
            engine.changed |= dict.fromkeys(engine.patients)
        await asyncio.sleep(1.0)  # some rounds of the one that was paused
        below = [unpack(one.value).below for one in await read_all(broker.bootstrap, f"{name}.state", 0)]
    farthest = below.index(max(below))
    assert (min(below[farthest:]) == max(below)) is is_known
