"""State that cannot be read, written or found, and people of whom no consent stands: what is known of them then."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import ValidationError

from alerts.episode import fold_all
from alerts.event import AlertEvent, State
from ingest.publisher import Publisher
from stream.watch.adoption import NOT_MONITORED
from stream.watch.backfill import Backfill, _Lanes
from stream.watch.crowd import Crowd, Everyone, remembering
from stream.watch.engine import Engine
from stream.watch.outbox import Outbox
from stream.watch.people import PeopleSource
from stream.watch.plan import default_plan
from stream.watch.state_record import LOST, MARKER, unpack
from tests.stream.making import HEADER, T0, S, samples
from tests.stream.test_watch_people import Database, consent
from tests.stream.watch.fake_engine import FakeEngine, event
from tests.stream.watch.world import PATIENTS, World, read_all, send, until
from vigil.embedded.broker import EmbeddedBroker
from vitals.clock import system_clock
from vitals.gate import Gate

BOTH = (0, 1)
AGO = (system_clock() - T0) // S - 3_600
"""An hour ago, in seconds since T0."""


async def _newest(world: World) -> dict[bytes, bytes | None]:
    """The last record of each key on the state topic, markers apart."""
    found: dict[bytes, bytes | None] = {}
    for number in BOTH:
        found |= {one.key: one.value for one in await read_all(world.bootstrap, f"{world.name}.state", number)}
    found.pop(MARKER, None)
    return found


async def _damage(broker: EmbeddedBroker, name: str, patient: str) -> None:
    """Leave nothing readable of a patient's state, as a worker of two hours ago wrote it."""
    async with World(broker.bootstrap, name, clock=lambda: system_clock() - 7_200 * S) as first:
        await first.take_over(*BOTH)
        await first.all_is_written()
        producer = await first.keeper.start()
        for number in BOTH:
            if patient.encode() in {one.key for one in await read_all(broker.bootstrap, f"{name}.state", number)}:
                await producer.send_and_wait(f"{name}.state", b"damaged", key=patient.encode(), partition=number)


async def test_strays_are_found_again_by_whoever_comes_after_a_crash(broker: EmbeddedBroker, name: str) -> None:
    """Written down meanwhile, the new state of the patient would hide that an alert of the old one stands open."""
    await send(broker.bootstrap, name, AGO, 150, PATIENTS[:1])
    await _damage(broker, name, "p0")
    partitions = [(f"{name}.samples", number) for number in BOTH]
    async with World(broker.bootstrap, name, period_s=0.2) as second:
        where = await second.live.where_to_read(partitions)
        await send(broker.bootstrap, name, AGO + 9, 70, PATIENTS[:2])
        for partition in partitions:
            records = [one for one in await second.records(partition) if one.offset >= max(where[partition], 1)]
            if records:
                second.live.held[partition].watched.position = records[0].offset
                await second.live.see(records)
        await second.all_is_written()
        assert (await _newest(second))[b"p0"] == b"damaged", "though p0 has changed"
    async with World(broker.bootstrap, name, period_s=0.2) as third:
        await third.live.where_to_read(partitions)
        assert [one.patient_id for held in third.live.held.values() for one in held.strays] == ["p0"]
        for held in third.live.held.values():
            held.watched.position = held.watched.floor  # as if the log were read
            held.taken_us -= 600 * S
            third.live.end_strays(held)
        await third.outbox.acknowledged(third.outbox.so_far)
        await until(lambda: _is_replaced(third))
        told = await third.alerts()
    assert [one.state for one in told if one.patient_id == "p0"] == [State.RAISED, State.CLEARED]


async def _is_replaced(world: World) -> bool:
    return (await _newest(world))[b"p0"] != b"damaged"


async def test_a_state_topic_that_was_made_anew_leaves_nothing_open_for_ever(broker: EmbeddedBroker, name: str) -> None:
    await send(broker.bootstrap, name, AGO, 150, PATIENTS)
    async with World(broker.bootstrap, name) as first:
        await first.take_over(*BOTH)
        await first.outbox.acknowledged(first.outbox.so_far)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(f"{name}.anew.state", 2, 1)])
    await admin.close()
    async with World(broker.bootstrap, name, period_s=0.2) as second:
        second.name = f"{name}.anew"
        object.__setattr__(second.live._restorer, "topic", f"{name}.anew.state")
        second.keeper._topic = f"{name}.anew.state"
        await second.live.where_to_read([(f"{name}.samples", number) for number in BOTH])
        for held in second.live.held.values():
            assert {one.patient_id for one in held.strays} == {header.patient_id for header in PATIENTS}
            held.watched.position, held.watched.kept = 99, {f"p{n}" for n in range(4)}
            await second.keeper.keep(held.watched, lambda: True, lambda: None)
            assert not await _markers(second), "else nothing would say that the state was lost"
        for held in second.live.held.values():  # only now: a partition without strays may have its marker at any time
            held.taken_us -= 600 * S
            second.live.end_strays(held)
            held.watched.engine.changed.clear()  # type: ignore[attr-defined]
        second.name = name
        await second.outbox.acknowledged(second.outbox.so_far)
        told = await second.alerts()
    assert {one.patient_id for one in told if one.state is State.CLEARED} == {f"p{n}" for n in range(4)}


async def _markers(world: World) -> list[Any]:
    found = [one for number in BOTH for one in await read_all(world.bootstrap, f"{world.name}.state", number)]
    return [one for one in found if one.key == MARKER]


async def test_a_state_that_cannot_be_written_is_learned_from_the_log_and_holds_up_nobody(
    broker: EmbeddedBroker, name: str
) -> None:
    class Broken(FakeEngine):
        def snapshot(self, patient_id: str) -> bytes:
            if patient_id == "p3":
                raise ArithmeticError("what was measured")
            return super().snapshot(patient_id)

    class BrokenWorld(World):
        def _engine(self) -> FakeEngine:
            self.engines.append(Broken())
            return self.engines[-1]

    await send(broker.bootstrap, name, 0, 150, PATIENTS)
    async with BrokenWorld(broker.bootstrap, name) as first:
        await first.take_over(*BOTH)
        await first.all_is_written()
        newest = await _newest(first)
    assert newest.pop(b"p3") == LOST
    assert len([unpack(value) for value in newest.values() if value is not None]) == 7
    async with World(broker.bootstrap, name) as second:
        await second.take_over(*BOTH)
        seen = {p: one["seen"] for engine in second.engines for p, one in engine.patients.items()}
        await second.outbox.acknowledged(second.outbox.so_far)
        told = await second.alerts()
    assert seen == dict.fromkeys((f"p{n}" for n in range(8)), 1)
    assert len(told) == 8, "found again of p3, and not told again"


async def test_whoever_has_something_open_is_not_forgotten(broker: EmbeddedBroker, name: str) -> None:
    await send(broker.bootstrap, name, 0, 150, PATIENTS[:1])
    await send(broker.bootstrap, name, 0, 70, PATIENTS[1:2])
    async with World(broker.bootstrap, name, clock=lambda: system_clock() - 120 * 86_400 * S) as first:
        await first.take_over(*BOTH)
        await first.all_is_written()
    async with World(broker.bootstrap, name) as second:
        await second.live.where_to_read([(f"{name}.samples", number) for number in BOTH])
        held = {p for one in second.live.held.values() for p in one.watched.engine.patients}  # type: ignore[attr-defined]
    assert held == {"p0"}


class RealWorld(World):
    """With the real engine."""

    def _engine(self) -> FakeEngine:
        return Engine(self.live.crowd)  # type: ignore[return-value]


async def _watched(broker: EmbeddedBroker, name: str, *crowds: Crowd) -> list[AlertEvent]:
    """Start a watch by the first crowd, then let it adopt the others; return all that stands on the topic."""
    async with RealWorld(broker.bootstrap, name) as world:
        await _begin_by(world, crowds[0])
        for crowd in crowds[1:]:
            await world.live.adopt(crowd)
        await world.all_is_written()
        return await world.alerts()


async def test_a_start_without_the_database_watches_nobody_who_said_no(broker: EmbeddedBroker, name: str) -> None:
    database = Database(gate=Gate(people={"p1": consent(10**18)}))
    consented = await database.source().current()
    database.gate = Gate(people={"p1": consent()})
    withdrawn = await database.source().current()
    unknown = await PeopleSource().current()
    assert (withdrawn.knows_consents, unknown.knows_consents) == (True, False)

    async with Publisher(broker.bootstrap) as publisher:
        now_s = (system_clock() - T0) // S
        columns = samples("heart_rate", np.arange(now_s - 600, now_s, 5.0), 70 + np.arange(120) % 5)
        await publisher.publish(PATIENTS[1], columns, topic=f"{name}.samples")
    told = await _watched(broker, name, consented, withdrawn)
    assert [(one.rule, one.state) for one in told] == [(NOT_MONITORED, State.RAISED)]
    assert await _watched(broker, name, unknown) == told, "not 'monitored again', and no page"
    assert await _watched(broker, name, unknown, withdrawn) == told
    again = await _watched(broker, name, unknown, consented)
    assert [(one.rule, one.state) for one in again[1:]] == [(NOT_MONITORED, State.CLEARED)]


async def test_a_crash_in_the_moment_of_a_withdrawal_leaves_one_alert_open(broker: EmbeddedBroker, name: str) -> None:
    database = Database(gate=Gate(people={"p1": consent(10**18)}))
    consented = await database.source().current()
    database.gate = Gate(people={"p1": consent()})
    withdrawn = await database.source().current()
    now_s = (system_clock() - T0) // S
    async with Publisher(broker.bootstrap) as publisher:
        columns = samples("heart_rate", np.arange(now_s - 600, now_s, 5.0), 70 + np.arange(120) % 5)
        await publisher.publish(PATIENTS[1], columns, topic=f"{name}.samples")
    assert await _watched(broker, name, consented) == []
    ago_us = 900 * S
    async with RealWorld(broker.bootstrap, name, clock=lambda: system_clock() - ago_us) as world:
        world._tasks.pop().cancel()  # it dies before anything is written down
        await _begin_by(world, withdrawn)
        await world.outbox.acknowledged(world.outbox.so_far)
    async with RealWorld(broker.bootstrap, name) as world:
        await _begin_by(world, withdrawn)
        for held in world.live.held.values():
            held.taken_us -= 600 * S
            world.live.end_strays(held)
        await world.outbox.acknowledged(world.outbox.so_far)
        told = await world.alerts()
    assert {one.rule for one in told} == {NOT_MONITORED}
    assert sum(one.is_open for one in fold_all(told).values()) == 1


async def _begin_by(world: World, crowd: Crowd) -> None:
    async def first() -> Crowd:
        return crowd

    world.live._first_crowd = first
    await world.take_over(*BOTH)


async def test_what_stands_of_somebody_withdrawn_tells_nothing_of_them(broker: EmbeddedBroker, name: str) -> None:
    database = Database(gate=Gate(people={"p1": consent(10**18)}))
    consented = await database.source().current()
    database.gate = Gate(people={"p1": consent()})
    async with Publisher(broker.bootstrap) as publisher:
        now_s = (system_clock() - T0) // S
        columns = samples("heart_rate", np.arange(now_s - 600, now_s, 5.0), [150.0] * 120)
        await publisher.publish(PATIENTS[1], columns, topic=f"{name}.samples")
    told = await _watched(broker, name, consented, await database.source().current())
    assert [one.rule for one in told if one.state is State.RAISED][-1] == NOT_MONITORED
    value = (await _newest(World(broker.bootstrap, name)))[b"p1"]
    assert value is not None
    left = unpack(value).body
    assert b"heart_rate" not in left
    assert not re.search(rb"\b" + HEADER.device_id.encode() + rb"\b", left), "else than within an id of random digits"
    assert b'"origins":[]' in left
    assert len(left) < 2_000


async def test_what_was_known_of_somebody_is_gone_at_once_when_they_withdraw(broker: EmbeddedBroker, name: str) -> None:
    database = Database(gate=Gate(people={"p1": consent(10**18)}))
    consented = await database.source().current()
    database.gate = Gate(people={"p1": consent()})
    withdrawn = await database.source().current()
    async with Publisher(broker.bootstrap) as publisher:
        now_s = (system_clock() - T0) // S
        columns = samples("heart_rate", np.arange(now_s - 600, now_s, 5.0), [70.0] * 120)
        await publisher.publish(PATIENTS[1], columns, topic=f"{name}.samples")

    async def told() -> bytes:
        value = (await _newest(world)).get(b"p1")
        return b"" if value is None else unpack(value).body

    async def is_known() -> bool:
        return HEADER.device_id.encode() in await told()

    async def is_gone() -> bool:
        return b'"origins":[]' in await told()

    async with RealWorld(broker.bootstrap, name, period_s=600.0) as world:  # no round comes to it meanwhile
        await _begin_by(world, consented)
        await until(is_known)
        await world.live.adopt(withdrawn)
        await until(is_gone)


def test_only_who_knows_no_consents_is_told_of_those_before() -> None:
    crowd = Everyone(default_plan())
    assert remembering(crowd, set()) is crowd
    kept = remembering(crowd, {"p1"})
    assert (kept.withdrawn("p1"), kept.withdrawn("p2")) == (True, False)
    assert kept.plan_of("p1") is crowd.plan
    assert kept.person("p1", "d1") is crowd.person_


def _lane(engine: Any) -> tuple[Backfill, list[AlertEvent]]:
    outbox, told = Outbox("127.0.0.1:1"), list[AlertEvent]()

    def put(events: Iterable[AlertEvent], *_: object) -> list[str]:
        told.extend(events)
        return []

    outbox.put = put  # type: ignore[method-assign, assignment]
    return Backfill("127.0.0.1:1", lambda: engine, outbox, lambda: True, clock=lambda: T0 + 86_400 * S), told


async def test_history_that_goes_to_another_worker_leaves_nothing_open() -> None:
    engine, tp = FakeEngine(), TopicPartition("t", 0)
    backfill, told = _lane(engine)
    backfill.engines[tp] = engine
    await backfill._see(engine, [(HEADER, samples("heart_rate", [0], [150.0]))])
    _Lanes(backfill.give_up).on_partitions_revoked({tp, TopicPartition("t", 1)})
    assert [one.state for one in told] == [State.RAISED, State.CLEARED]
    await backfill._judge(engine, HEADER, samples("heart_rate", [5], [150.0]))
    assert len(told) == 2, "what was under way opens nothing more"


async def test_history_that_breaks_the_engine_does_not_stop_the_live_watch() -> None:
    class Broken(FakeEngine):
        def see(self, headers: Any, counts: Any, columns: Any, now_us: int) -> list[AlertEvent]:
            if headers[0].patient_id == "p3":
                raise ArithmeticError("what was measured")
            return super().see(headers, counts, columns, now_us)

    engine = Broken()
    backfill, told = _lane(engine)
    await backfill._see(engine, [(header, samples("heart_rate", [0], [150.0])) for header in PATIENTS])
    assert {one.patient_id for one in told} == {f"p{n}" for n in range(8)} - {"p3"}


async def test_history_of_somebody_who_withdraws_is_watched_no_more_and_only_the_live_lane_says_so() -> None:
    database = Database(gate=Gate(people={"p1": consent(10**18)}))
    engine = Engine(await database.source().current(), live=False, strict=True)
    backfill, told = _lane(engine)
    backfill.engines[TopicPartition("t", 0)] = engine
    high = samples("heart_rate", np.arange(0, 600.0, 5), 150 + np.arange(120) % 5)
    await backfill._see(engine, [(HEADER, high)])
    opened = len(told)
    assert opened
    database.gate = Gate(people={"p1": consent()})
    await backfill.adopt(await database.source().current())
    assert [one.state for one in told[opened:]] == [State.CLEARED] * opened
    assert {one.rule for one in told}.isdisjoint({NOT_MONITORED})
    later = samples("heart_rate", np.arange(700, 1_300.0, 5), 150 + np.arange(120) % 5)
    await backfill._see(engine, [(HEADER, later)])
    assert len(told) == 2 * opened


def test_what_is_wrong_with_an_alert_is_told_without_its_content() -> None:
    wrong = {**event("p1", T0, State.RAISED, T0).model_dump(), "patient_id": "Anna Example", "sentence": 7}
    with pytest.raises(ValidationError) as told:
        AlertEvent.model_validate(wrong)
    assert "Anna" not in str(told.value)
