"""What a worker knows after it took partitions over: as if nothing had happened, and nothing told twice."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from alerts.event import AlertEvent, State
from stream.recorder import Partition
from stream.watch.restore import TooFewPartitions
from stream.watch.state_record import MARKER, Kept, Place, pack, unpack
from tests.services.kafka import ApacheKafka
from tests.stream.making import T0, S
from tests.stream.watch.fake_engine import event
from tests.stream.watch.world import PATIENTS, World, counts, make_topics, read_all, send, until
from vigil.embedded.broker import EmbeddedBroker
from vitals.clock import system_clock


def _seen(world: World) -> dict[str, int]:
    return {patient: held["seen"] for engine in world.engines for patient, held in engine.patients.items()}


async def test_after_a_crash_it_goes_on_where_it_was_and_tells_nothing_twice(broker: EmbeddedBroker, name: str) -> None:
    await send(broker.bootstrap, name, 0, 70, PATIENTS)
    await send(broker.bootstrap, name, 1, 150, PATIENTS[:4])
    async with World(broker.bootstrap, name) as first:
        await first.take_over(0, 1)
        await first.all_is_written()
        await send(broker.bootstrap, name, 2, 150, PATIENTS[2:6])  # seen and told, and written down perhaps
        await first.take_over(0, 1)
        for held in first.live.held.values():
            records = list(await first.records(held.watched.partition))
            await first.live.see(records)
        await first.outbox.acknowledged(first.outbox.so_far)
    await send(broker.bootstrap, name, 3, 70, PATIENTS)
    async with World(broker.bootstrap, name) as second:
        await second.take_over(0, 1)
        await second.outbox.acknowledged(second.outbox.so_far)
        told = await second.alerts()
        begins = {held.watched.floor for held in second.live.held.values()}
    assert all(times == 1 for times in counts(told).values()), "each change stands once"
    assert {one.patient_id for one in told if one.state is State.CLEARED} == {f"p{n}" for n in range(6)}
    assert _seen(second) == {f"p{n}": 2 + (n < 4) + (2 <= n < 6) for n in range(8)}, "every sample counts once"
    assert max(begins) > 0, "it did not read the whole log"


async def test_without_the_state_it_knows_what_the_last_half_hour_says(broker: EmbeddedBroker, name: str) -> None:
    await send(broker.bootstrap, name, 0, 150, PATIENTS)
    async with World(broker.bootstrap, name, period_s=3_600.0) as first:
        await first.take_over(0, 1)
        await first.outbox.acknowledged(first.outbox.so_far)
        first.live.held.clear()  # before anything is written down
    async with World(broker.bootstrap, name) as second:
        await second.take_over(0, 1)
        await send(broker.bootstrap, name, 9, 70, PATIENTS)
        for number in (0, 1):
            await second.live.see(await second.records((f"{name}.samples", number)))
        await second.outbox.acknowledged(second.outbox.so_far)
        told = await second.alerts()
    assert len(told) == 2 * len(PATIENTS)
    assert set(counts(told).values()) == {1}


async def test_a_log_that_began_anew_keeps_the_state_and_forgets_the_offsets(broker: EmbeddedBroker, name: str) -> None:
    await send(broker.bootstrap, name, 0, 150, PATIENTS)
    async with World(broker.bootstrap, name) as first:
        await first.take_over(0, 1)
        await first.all_is_written()

    other = f"{name}x"
    await make_topics(broker.bootstrap, other)
    await send(broker.bootstrap, other, 5, 70, PATIENTS)
    async with World(broker.bootstrap, name) as second:
        partitions = [(f"{other}.samples", number) for number in (0, 1)]
        where = await second.live.where_to_read(partitions)
        assert set(where.values()) == {0}, "the first young record, not where the marker stood"
        for partition in partitions:
            if records := await second.records(partition):
                await second.live.see(records)
        await second.outbox.acknowledged(second.outbox.so_far)
        told = await second.alerts()
    assert sorted(one.state for one in told) == [State.CLEARED] * 8 + [State.RAISED] * 8
    assert len({one.alert_id for one in told}) == 8, "the open episodes were not forgotten"


async def test_a_damaged_snapshot_is_learned_from_the_log_and_others_are_not_touched(
    broker: EmbeddedBroker, name: str
) -> None:
    await send(broker.bootstrap, name, 0, 70, PATIENTS)
    async with World(broker.bootstrap, name) as first:
        await first.take_over(0, 1)
        await first.all_is_written()
        producer = await first.keeper.start()
        for number in (0, 1):
            held = [one for one in await read_all(broker.bootstrap, f"{name}.state", number) if one.key != MARKER]
            newest = {one.key: one.value for one in held}
            damaged = next(iter(newest))
            place = unpack(newest[damaged]).place
            worse = pack(Kept(place, place.offset, 0, b"nonsense")) if number else b"nonsense"
            worse = worse.replace(b'"taken":0', b'"taken":%d' % (time.time_ns() // 1_000_000))
            await producer.send_and_wait(f"{name}.state", worse, key=damaged, partition=number)
    async with World(broker.bootstrap, name) as second:
        await second.take_over(0, 1)
    assert _seen(second) == dict.fromkeys((f"p{n}" for n in range(8)), 1)


async def test_what_was_open_of_a_damaged_snapshot_and_is_not_in_the_log_is_known_as_stray(
    broker: EmbeddedBroker, name: str
) -> None:
    await send(broker.bootstrap, name, 0, 150, PATIENTS[:1])
    ago_us = 2 * 3_600 * S
    async with World(broker.bootstrap, name, clock=lambda: system_clock() - ago_us) as first:
        await first.take_over(0, 1)
        await first.all_is_written()
        producer = await first.keeper.start()
        for number in (0, 1):
            for one in await read_all(broker.bootstrap, f"{name}.state", number):
                if one.key != MARKER:
                    await producer.send_and_wait(f"{name}.state", b"nonsense", key=one.key, partition=number)
    async with World(broker.bootstrap, name) as second:
        await second.live.where_to_read([(f"{name}.samples", number) for number in (0, 1)])
        strays = [one for held in second.live.held.values() for one in held.strays]
        (told,) = await second.alerts()
    assert strays == [told]


async def test_who_was_not_heard_of_for_months_is_forgotten(broker: EmbeddedBroker, name: str) -> None:
    await send(broker.bootstrap, name, 0, 70, PATIENTS[:1])
    ago_us = 120 * 86_400 * S
    async with World(broker.bootstrap, name, clock=lambda: system_clock() - ago_us) as first:
        await first.take_over(0, 1)
        await first.all_is_written()
    async with World(broker.bootstrap, name) as second:
        await second.take_over(0, 1)
        await until(lambda: _last_is_tombstone(broker, name))
        watched = [held.watched.engine for held in second.live.held.values()]
    assert [one.patients for one in watched] == [{}, {}]  # type: ignore[attr-defined]


async def _last_is_tombstone(broker: EmbeddedBroker, name: str) -> bool:
    for number in (0, 1):
        held = [one for one in await read_all(broker.bootstrap, f"{name}.state", number) if one.key == b"p0"]
        if held and held[-1].value is None:
            return True
    return False


async def test_what_is_given_up_is_told_before_and_found_by_the_next(broker: EmbeddedBroker, name: str) -> None:
    await send(broker.bootstrap, name, 0, 150, PATIENTS)
    async with World(broker.bootstrap, name) as one, World(broker.bootstrap, name) as other:
        await one.take_over(0, 1)
        await one.live.revoked()
        assert not one.live.held
        assert len(await one.alerts()) == len(PATIENTS), "told before the next worker looks"
        await asyncio.gather(one.take_over(0), other.take_over(1))
        await send(broker.bootstrap, name, 1, 70, PATIENTS)
        await one.live.see(await one.records((f"{name}.samples", 0)))
        await other.live.see(await other.records((f"{name}.samples", 1)))
        for world in (one, other):
            await world.outbox.acknowledged(world.outbox.so_far)
        told = counts(await one.alerts())
    assert len(told) == 2 * len(PATIENTS)
    assert set(told.values()) == {1}


async def test_a_state_topic_with_too_few_partitions_is_named(broker: EmbeddedBroker, name: str) -> None:
    async with World(broker.bootstrap, name) as world:
        with pytest.raises(TooFewPartitions, match=f"{name}.state has 2 partitions and needs 6"):
            await world.live.where_to_read([(f"{name}.samples", 5)])


async def test_partitions_that_are_taken_away_while_they_are_restored_are_not_kept(
    broker: EmbeddedBroker, name: str
) -> None:
    async with World(broker.bootstrap, name) as world:
        restoring = asyncio.create_task(world.live.where_to_read([(f"{name}.samples", 0)]))
        await asyncio.sleep(0.01)
        await world.live.revoked()
        assert await restoring == {}
        assert not world.live.held


async def test_a_fetch_from_before_a_seek_is_read_again(broker: EmbeddedBroker, name: str) -> None:
    for second in range(3):
        await send(broker.bootstrap, name, second, 70, PATIENTS)
    async with World(broker.bootstrap, name) as world:
        partition = (f"{name}.samples", 0)
        await world.live.where_to_read([partition])
        records = await world.records(partition)
        await world.live.see(records[2:])
        assert world.seeks == [(partition, 0)]
        assert _seen(world) == {}
        await world.live.see(records)
        await world.live.see(records[1:])
    assert set(_seen(world).values()) == {3}


async def test_a_log_that_begins_anew_under_the_worker_is_noticed(broker: EmbeddedBroker, name: str) -> None:
    for second in range(3):
        await send(broker.bootstrap, name, second, 150, PATIENTS)
    async with World(broker.bootstrap, name) as world:
        partition = (f"{name}.samples", 0)
        await world.take_over(0)
        await world.all_is_written()
        (held,) = world.live.held.values()
        before = await world.records(partition)
        await world.live.see(before[:2])
        assert world.live.has(held.watched), "only a fetch that comes again"
        world.log[partition] = []
        other = f"{name}x"
        await make_topics(broker.bootstrap, other)
        await send(broker.bootstrap, other, 9, 70, PATIENTS)
        world.log[partition] = anew = [
            replace(one, topic=partition[0]) for one in await world.records((f"{other}.samples", 0))
        ]
        await world.live.see(anew)
        assert not world.live.has(held.watched)
        assert world.seeks == [(partition, 0)]
        await world.live.see(anew)
        told = await _told(world)
    assert sorted(one.state for one in told) == sorted([State.RAISED, State.CLEARED] * (len(told) // 2))
    assert told, "what was open is closed by the new log"


@pytest.mark.kafka
async def test_what_retention_took_meanwhile_is_not_waited_for(kafka: ApacheKafka) -> None:
    """Where no record has come since, position and end would never meet: behind for ever, and no history watched."""
    name = f"t{uuid4().hex[:8]}"
    await make_topics(kafka.bootstrap, name)
    await send(kafka.bootstrap, name, 0, 150, PATIENTS)
    async with World(kafka.bootstrap, name) as first:
        await first.take_over(0, 1)
        await first.all_is_written()
        before = {held.watched.partition: held.watched.position for held in first.live.held.values()}
    await send(kafka.bootstrap, name, 1, 150, PATIENTS)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(*one): RecordsToDelete(2 * at) for one, at in before.items()})
    await admin.close()

    class Beyond(World):
        async def holds(self, partition: Partition, offset: int, crc: int | None) -> bool:
            return True  # as FaustLog says of an offset before the log's first

    async with Beyond(kafka.bootstrap, name) as second:
        where = await second.live.where_to_read(list(before))
        assert where == {one: 2 * at for one, at in before.items()}
        await send(kafka.bootstrap, name, 2, 70, PATIENTS)
        for number in (0, 1):
            await second.live.see(await second.records((f"{name}.samples", number)))
        told = await _told(second)
    assert sorted(one.state for one in told) == [State.CLEARED] * 8 + [State.RAISED] * 8
    assert second.seeks == []


async def _told(world: World) -> list[AlertEvent]:
    await world.outbox.acknowledged(world.outbox.so_far)
    return await world.alerts()


async def test_a_state_is_not_written_before_its_alerts_stand_on_the_topic(broker: EmbeddedBroker, name: str) -> None:
    await send(broker.bootstrap, name, 0, 150, PATIENTS[:1])
    world = World(broker.bootstrap, name)
    await world.live.where_to_read([(f"{name}.samples", number) for number in (0, 1)])
    for number in (0, 1):
        if records := await world.records((f"{name}.samples", number)):
            await world.live.see(records)
    async with world:
        await until(lambda: _has_snapshot(world))
    told, kept = (
        await world.alerts(),
        [
            one
            for number in (0, 1)
            for one in await read_all(broker.bootstrap, f"{name}.state", number)
            if one.key == b"p0"
        ],
    )
    assert len(told) == 1
    assert kept


async def _has_snapshot(world: World) -> bool:
    found = [one for number in (0, 1) for one in await read_all(world.bootstrap, f"{world.name}.state", number)]
    if any(one.key == b"p0" for one in found):
        assert await world.alerts(), "the state came first"
        return True
    return False


async def test_the_pipelines_alert_outlives_its_worker(broker: EmbeddedBroker, name: str) -> None:
    await send(broker.bootstrap, name, 0, 70, PATIENTS)
    async with World(broker.bootstrap, name) as first:
        await first.take_over(0, 1)
        (raised,) = first.pipeline.judge({0: 31.0, 1: 0.0}, time.time_ns() // 1_000)
        first.outbox.put([raised])
        await first.outbox.acknowledged(first.outbox.so_far)
    async with World(broker.bootstrap, name) as second:
        await second.take_over(0, 1)
        assert second.pipeline.open == [raised]
        (cleared,) = second.pipeline.judge({0: 0.0, 1: 0.0}, time.time_ns() // 1_000)
        second.outbox.put([cleared])
        await second.outbox.acknowledged(second.outbox.so_far)
    async with World(broker.bootstrap, name) as third:
        await third.take_over(0, 1)
        assert third.pipeline.open == []


def test_an_event_that_is_too_old_by_now_has_the_id_it_had() -> None:
    live = event("p1", T0, State.RAISED, T0)
    assert live.alert_id == event("p1", T0, State.RAISED, T0, retrospective=True).alert_id
    assert Place("e", 1).is_recognisable is False


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(120)
async def test_what_compaction_leaves_is_enough(kafka: ApacheKafka, tmp_path: Path) -> None:
    """A broker of its own, whose cleaner is in a hurry; `kafka` says whether there can be one."""
    hurried = {"log.cleaner.backoff.ms": "200", "log.segment.delete.delay.ms": "500"}
    with ApacheKafka(tmp_path / "kafka", settings=hurried) as own:
        name = "compacted"
        config = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
        await make_topics(own.bootstrap, name, state=config)
        async with World(own.bootstrap, name, period_s=0.3) as first:
            for second in range(12):
                await send(own.bootstrap, name, second, 150 if second == 11 else 70, PATIENTS)
                await first.take_over(0, 1)
                for number in (0, 1):
                    await first.live.see(await first.records((f"{name}.samples", number)))
                await first.all_is_written()
            written = sum(await _offsets(own.bootstrap, f"{name}.state"))
        await until(lambda: _is_compacted(own.bootstrap, f"{name}.state", written), 60.0)
        async with World(own.bootstrap, name) as second_worker:
            await second_worker.take_over(0, 1)
            assert len(await _told(second_worker)) == len(PATIENTS), "told once, by the first"
    assert _seen(second_worker) == dict.fromkeys((f"p{n}" for n in range(8)), 12)


async def _offsets(bootstrap: str, topic: str) -> list[int]:
    """How many records were ever written to each partition."""
    return [(found[-1].offset + 1 if (found := await read_all(bootstrap, topic, number)) else 0) for number in (0, 1)]


async def _is_compacted(bootstrap: str, topic: str, written: int) -> bool:
    left = sum([len(await read_all(bootstrap, topic, number)) for number in (0, 1)])
    return left < 0.5 * written
