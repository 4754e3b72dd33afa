"""Deletions by sample id: whatever comes first, whatever dies, what was deleted is gone and nothing else is."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ingest.deletion_record import encode_deletions
from ingest.publisher import BrokerUnreachable, Publisher
from ingest.record import Record, decode, encode
from stream import deleter
from stream.assemble import RawRecord
from stream.deleter import Patience, mark_of, note, settle, tombstones
from stream.recorder import Recorder
from tests.conftest import REPO
from tests.services.topics import new_topic
from tests.stream.fakes import FakeLog
from tests.timeseries.making import query
from timeseries.consent import Consents, Purpose
from timeseries.deletion_store import DeletionStore, Mark, Open, Outcome, Standing, Told
from timeseries.model import StoreRefused, StoreUnavailable
from timeseries.rollup import refresh
from timeseries.store import SampleStore
from vigil.embedded.broker import EmbeddedBroker
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.gate import CATEGORIES, DeviceRule, DeviceState, Gate
from vitals.ids import device_id, patient_id

S = 1_000_000
T0 = 1_795_000_020_000_000  # a whole minute
HEART, SYSTOLIC = BY_CODE["heart_rate"].number, BY_CODE["bp_systolic"].number
PHONE = BatchHeader(patient_id("p1"), device_id("watch"), "vigil-ios", "gateway")
A, B, C = (UUID(int=number) for number in (1, 2, 3))
AT_ONCE = Patience(first_s=0.0)
LANE = "lane"


def raw(*ids: UUID) -> np.ndarray:
    return np.frombuffer(b"".join(one.bytes for one in ids), np.uint8).reshape(-1, 16)


def told(*ids: UUID, at_s: float = 60, patient: str = "p1") -> Told:
    at_us = T0 + round(at_s * S)
    return Told(patient, "phone", "vigil-ios", "gateway", raw(*ids), at_us, at_us)


def beats(ids: Sequence[UUID], *, first_s: int = 0, written_s: float = 50, value: float = 60.0) -> SampleColumns:
    """A heart rate a second, each under its id."""
    start_us = T0 + (first_s + np.arange(len(ids))) * S
    written_us = T0 + round(written_s * S)
    return sample_columns(
        start_us, np.full(len(ids), HEART, np.int16), value + np.arange(len(ids), dtype=np.float64) % 100,
        received_us=np.maximum(written_us, start_us), written_us=written_us, sample_id=raw(*ids),
    )  # fmt: skip


@dataclass
class Taken:
    """A lane that keeps what it takes, or takes nothing while it is `away`."""

    records: list[Record] = field(default_factory=list)
    away: bool = False

    async def send(self, record: Record, *, topic: str) -> Record:
        assert topic == LANE
        if self.away:
            raise BrokerUnreachable("away")
        self.records.append(record)
        return record

    async def confirm(self, acks: list[Any]) -> None:
        assert len(acks) <= len(self.records)


@dataclass
class World:
    """The recorder and the deleter on one database, and what is seen of it."""

    url: str
    recorder: Recorder
    deletions: DeletionStore
    lane: Taken = field(default_factory=Taken)
    offset: int = 0

    async def store(self, *records: Record) -> None:
        for one in records:
            await self.recorder.take(
                [RawRecord("vigil.samples", 0, self.offset, 1_795_000_000_000, one.key, one.value, one.headers)]
            )
            self.offset += 1

    async def samples(self, columns: SampleColumns, header: BatchHeader = PHONE) -> None:
        await self.store(encode(header, columns))

    async def delete(self, *ids: UUID, **more: Any) -> None:
        await self.deletions.note(told(*ids, **more))

    async def settle(self, patience: Patience = AT_ONCE) -> int:
        """Look once and store the tombstones; return how many records they were."""
        self.lane.records.clear()
        await settle(self.deletions, self.lane, LANE, patience)
        published = list(self.lane.records)
        await self.store(*published)
        return len(published)

    def values(self, patient: str = "p1") -> list[float]:
        statement = "SELECT value FROM current_samples WHERE patient_id = %s ORDER BY time"
        return [value for (value,) in query(self.url, statement, (patient,))]

    def outcomes(self) -> dict[UUID, str | None]:
        return dict(query(self.url, "SELECT sample_id, outcome FROM deletions_told"))

    def minute(self) -> list[tuple[int, float]]:
        refresh(self.url)
        return query(self.url, "SELECT n, sum FROM vitals_1m ORDER BY bucket")


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with SampleStore(database) as store, DeletionStore(database) as deletions:
        recorder = Recorder(store, FakeLog())
        await recorder.assigned([("vigil.samples", 0)])
        yield World(database, recorder, deletions)


# What a deletion does


async def test_a_sample_leaves_what_people_see_its_rollup_and_the_latest(world: World) -> None:
    await world.samples(beats([A, B, C]))
    assert world.minute() == [(3, 60 + 61 + 62)]
    await world.delete(C)
    assert await world.settle() == 1
    assert world.values() == [60, 61]
    assert world.minute() == [(2, 60 + 61)]
    assert query(world.url, "SELECT value FROM latest") == [(61.0,)]
    assert query(world.url, "SELECT value FROM sample_revisions") == [(62.0,)], "erasing is another thing"
    assert await world.settle() == 0
    assert world.outcomes() == {C: "done"}
    assert await world.settle() == 0


async def test_a_deletion_that_overtook_its_sample_waits_for_it(world: World) -> None:
    await world.delete(A, B)
    assert await world.settle() == 0
    assert await world.settle(Patience(first_s=3_600)) == 0
    await world.samples(beats([A]))
    assert world.values() == [60]
    assert await world.settle() == 1, "the recorder made it due at once"
    assert world.values() == []
    await world.settle()
    assert world.outcomes() == {A: "done", B: None}


async def test_told_twice_it_is_done_once(world: World) -> None:
    await world.samples(beats([A]))
    await world.delete(A)
    await world.delete(A)
    assert await world.settle() == 1
    assert await world.settle() == 0
    await world.delete(A)
    assert await world.settle() == 0
    await world.delete(A, at_s=120)
    assert await world.settle() == 0
    assert world.outcomes() == {A: "done"}
    assert query(world.url, "SELECT count(*) FROM samples") == [(1,)]


async def test_nobody_deletes_what_is_somebody_elses(world: World) -> None:
    await world.samples(beats([A]))
    await world.samples(beats([A], value=80), BatchHeader(patient_id("p2"), device_id("w2"), "app", "gateway"))
    await world.delete(A, patient="p3")
    assert await world.settle() == 0
    await world.delete(A, patient="p2")
    assert await world.settle() == 1
    assert (world.values(), world.values("p2")) == ([60], [])


async def test_one_id_deletes_every_sample_that_it_named(world: World) -> None:
    await world.samples(beats([A, A, A, B]))
    pressure = replace(beats([C]), metric=np.array([SYSTOLIC], np.int16), value=np.array([120.0]))
    await world.samples(pressure)
    await world.delete(A, C)
    assert await world.settle() == 1
    assert world.values() == [63]


async def test_it_takes_as_many_turns_as_there_are_samples(world: World) -> None:
    await world.samples(beats([A] * 5))
    await world.delete(A)
    few = Patience(first_s=0.0, samples=2, looks=2)
    turns = [await world.settle(few) for _ in range(4)]
    assert (turns, world.values()) == ([1, 1, 1, 0], [])
    assert world.outcomes() == {A: "done"}, "and is not given up meanwhile"


async def test_of_whom_nothing_may_be_kept_not_even_the_ids_are(world: World) -> None:
    await world.delete(A, patient="p3")  # nobody ever asked p3
    await world.samples(beats([B]))
    for patient, stored in (("p1", 1), ("p2", 0)):
        with psycopg.connect(world.url, autocommit=True) as connection:
            consents = Consents(connection, "nurse-1")
            every = [one.value for one in CATEGORIES]
            consents.grant(patient, every, Purpose.CARE, document="c-1")
            await world.delete(A, patient=patient)
            consents.withdraw(patient, document="w-1")
        await world.delete(B, C, patient=patient)
        told = query(world.url, "SELECT count(*) FROM deletions_told JOIN patients USING (patient_key)"
                                " WHERE patient_id = %s", (patient,))  # fmt: skip
        assert told == [(3 if stored else 1,)]
    await world.settle()
    assert world.values() == [], "what is stored can be deleted all the same"


# Versions


@pytest.mark.parametrize(("written_s", "lives"), [(50, False), (55, False), (60, False), (61, True)])
async def test_a_sample_sent_again_stays_deleted_unless_it_was_written_later(
    world: World, written_s: int, lives: bool
) -> None:
    await world.samples(beats([A]))
    await world.delete(A, at_s=60)
    await world.settle()
    await world.settle()
    await world.samples(beats([A], written_s=written_s, value=61))
    for _ in range(3):
        await world.settle()
    assert world.values() == ([61] if lives else [])
    await world.delete(A, at_s=60)
    await world.settle()
    assert world.values() == ([61] if lives else []), "the old telling once more takes nothing away"


async def test_a_deletion_older_than_its_sample_is_not_called_done(world: World) -> None:
    await world.samples(beats([A, B], written_s=3_600))
    await world.samples(beats([C], first_s=9, written_s=50))
    await world.samples(beats([C], first_s=10, written_s=3_600))
    await world.delete(A, C)
    assert await world.settle() == 1, "what is older goes all the same"
    assert world.values() == [60, 61, 60]
    await world.settle()
    assert world.outcomes() == {A: "refused", C: "refused"}
    await world.delete(A, C, at_s=3_601)
    assert await world.settle() == 1
    await world.settle()
    assert (world.values(), world.outcomes()) == ([61], {A: "done", C: "done"})


@pytest.mark.parametrize("first", ["sample", "deletion"])
@pytest.mark.parametrize("written_s", [55, 60])
async def test_what_took_the_place_of_a_deleted_sample_stands(world: World, first: str, written_s: float) -> None:
    """HealthKit replaces an object by another with a new UUID, often at the very same time, and tells both at once."""
    await world.samples(beats([A]))

    async def successor() -> None:
        await world.samples(beats([B], written_s=written_s, value=75))

    await world.delete(A, at_s=60)
    if first == "sample":
        await successor()
        assert await world.settle() == 0
    else:
        assert await world.settle() == 1
        await successor()
    await world.settle()
    assert world.values() == [75]
    assert world.outcomes() == {A: "done"}
    assert query(world.url, "SELECT count(*) FROM quarantine") == [(0,)]
    await world.delete(B, at_s=61)
    assert await world.settle() == 1
    assert world.values() == []


async def test_a_phone_whose_clock_is_behind_deletes_all_the_same(world: World) -> None:
    await world.samples(beats([A], written_s=50))
    behind = Told("p1", "phone", "vigil-ios", "gateway", raw(A), T0 - 3_600 * S, T0 + 60 * S)
    await world.deletions.note(behind)
    await world.settle()
    assert world.values() == []


async def test_a_tombstone_that_the_sender_told_itself_is_enough(world: World) -> None:
    await world.samples(beats([A]))
    await world.samples(replace(beats([A], written_s=55), deleted=np.array([True])))
    await world.delete(A)
    assert await world.settle() == 0
    assert (world.values(), world.outcomes()) == ([], {A: "done"})


# Failures


async def test_while_the_broker_is_away_nothing_is_settled(world: World) -> None:
    await world.samples(beats([A]))
    await world.delete(A)
    world.lane.away = True
    for _ in range(2):
        with pytest.raises(BrokerUnreachable):
            await settle(world.deletions, world.lane, LANE, AT_ONCE)
    world.lane.away = False
    assert await world.settle() == 1
    assert world.values() == []


async def test_whoever_dies_before_it_is_marked_does_it_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.samples(beats([A]))
    await world.delete(A)

    async def dies(_: Sequence[Mark]) -> list[Outcome]:
        raise StoreUnavailable("killed")

    with monkeypatch.context() as patched:
        patched.setattr(world.deletions, "mark", dies)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await settle(world.deletions, world.lane, LANE, AT_ONCE)
    once, again = world.lane.records
    assert once == again
    await world.store(once, again)
    assert await world.settle() == 0
    assert (world.values(), world.outcomes()) == ([], {A: "done"})
    assert query(world.url, "SELECT count(*) FROM sample_revisions") == [(1,)]


async def test_a_tombstone_that_is_not_stored_is_told_again_and_given_up_in_the_end(world: World) -> None:
    await world.samples(beats([A]))
    await world.delete(A, B)
    unresolved = settled()
    for _ in range(3):
        assert await settle(world.deletions, world.lane, LANE, Patience(first_s=0.0, looks=3)) is False
    assert len(world.lane.records) == 3
    assert world.outcomes() == {A: "refused", B: "unknown"}
    assert {name: count - unresolved[name] for name, count in settled().items()} == {
        "done": 0, "refused": 1, "unknown": 1,
    }  # fmt: skip
    await world.store(world.lane.records[-1])
    await world.samples(beats([B], first_s=1))
    assert await world.settle() == 1, "a sample that comes after all is deleted after all"
    assert world.values() == []


def settled() -> dict[str, float]:
    return {one.value: deleter.SETTLED.labels(one.value)._value.get() for one in Outcome}


class Stubborn:
    """Away at first, then refuses."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.noted: list[Told] = []

    async def note(self, one: Told) -> None:
        if self.answers:
            raise self.answers.pop(0)
        self.noted.append(one)


async def test_what_the_database_refuses_is_left_out_and_what_it_cannot_take_now_waits() -> None:
    store = Stubborn(StoreUnavailable("away"), StoreUnavailable("away"), StoreRefused("no"))
    await note(store, told(A), 0.01)  # type: ignore[arg-type]
    assert store.noted == []
    await note(store, told(B), 0.01)  # type: ignore[arg-type]
    await note(store, told(), 0.01)  # type: ignore[arg-type]
    assert [one.sample_ids.tobytes() for one in store.noted] == [B.bytes]


# Decisions


def test_pauses_grow_from_seconds_to_a_day_and_end_after_a_month() -> None:
    patience = Patience()
    pauses = [patience.pause_s(looks) for looks in range(patience.looks)]
    assert pauses[:3] == [5.0, 7.5, 11.25]
    assert all(before <= after for before, after in pairwise(pauses))
    assert max(pauses) == 86_400
    assert 29 <= sum(pauses[:-1]) / 86_400 <= 31
    assert patience.pause_s(10**9) == 86_400


@pytest.mark.parametrize(
    ("known", "stands", "looks", "cut", "outcome", "next_looks"),
    [
        (True, False, 0, False, Outcome.DONE, 1), (True, False, 52, True, Outcome.DONE, 53),
        (True, True, 3, False, None, 4), (True, True, 3, True, None, 0), (False, False, 3, True, None, 4),
        (True, True, 52, False, Outcome.REFUSED, 53), (False, False, 52, False, Outcome.UNKNOWN, 53),
        (True, True, 52, True, None, 0),
    ],
)  # fmt: skip
def test_what_becomes_of_a_deletion_that_was_looked_at(
    known: bool, stands: bool, looks: int, cut: bool, outcome: Outcome | None, next_looks: int
) -> None:
    found = mark_of(Open(1, A, None, looks, known, stands), Patience(), is_cut=cut)
    assert (found.outcome, found.looks) == (outcome, next_looks)
    assert (found.pause_s > 0) is (outcome is None)


def test_a_tombstone_is_the_identity_and_the_version_that_the_id_told() -> None:
    one = Standing("p1", "watch", "app", "gateway", HEART, T0, 250, T0 + S, T0 + 9 * S)
    other = Standing("p2", "watch", "app", "gateway", SYSTOLIC, T0 + 99 * S, 0, T0, T0 + 9 * S)
    records = tombstones([one, other, one])
    assert [record.key for record in records] == [b"p1", b"p2"]
    header, columns = decode(records[0].key, records[0].value, records[0].headers)
    assert header == BatchHeader(patient_id("p1"), device_id("watch"), "app", "gateway")
    assert columns.start_us.tolist() == [T0, T0]
    assert (columns.metric[0], columns.duration_ms[0], columns.written_us[0]) == (HEART, 250, T0 + S)
    assert columns.received_us[0] == T0 + 9 * S
    assert columns.deleted.all()
    _, columns = decode(records[1].key, records[1].value, records[1].headers)
    assert columns.received_us[0] == T0 + 99 * S, "nothing is received before it was measured"


# Through a broker, killed on the way

_PROCESS = """
import asyncio, sys
from stream import deleter
from timeseries.deletion_store import DeletionStore

async def main(bootstrap, url, topic, lane):
    async with DeletionStore(url) as store:
        await deleter.run(bootstrap, store, topic=topic, lane=lane, group_id=topic, session_timeout_ms=6_000,
                          patience=deleter.Patience(first_s=1.0, due=700))

asyncio.run(main(*sys.argv[1:]))
"""


@contextlib.contextmanager
def a_deleter(*where: str) -> Any:
    process = subprocess.Popen([sys.executable, "-c", _PROCESS, *where], cwd=REPO, env={**os.environ, "TZ": "UTC"})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def until(true: Callable[[], Any], what: str, timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        await asyncio.sleep(0.05)


async def _record(bootstrap: str, lane: str, url: str) -> None:
    """Store what comes on the lane, as the recorder does."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(lane, 0)])
        async with SampleStore(url) as store:
            recorder = Recorder(store, FakeLog())
            await recorder.assigned([(lane, 0)])
            async for one in consumer:
                record = RawRecord(lane, 0, one.offset, one.timestamp, one.key, one.value, one.headers)
                await recorder.take([record])
    finally:
        await consumer.stop()


@pytest.mark.slow
async def test_five_thousand_ids_in_one_record_survive_kills(world: World, broker: EmbeddedBroker) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    address = broker.bootstrap
    topic, lane = await new_topic(address), await new_topic(address)
    ids = [uuid4() for _ in range(5_200)]
    await world.samples(beats(ids[:5_100]))
    record = encode_deletions(PHONE, raw(*ids[:5_000]), told_us=T0 + 9_000 * S, received_us=T0 + 9_000 * S)
    late = encode_deletions(PHONE, raw(*ids[5_100:]), told_us=T0 + 9_000 * S, received_us=T0 + 9_000 * S)
    async with Publisher(address) as publisher:
        for one in (Record(b"p1", b"no deletion", ()), record, late):
            await publisher.confirm([await publisher.send(one, topic=topic)])
    where = (address, world.url, topic, lane)
    recording = asyncio.create_task(_record(address, lane, world.url))
    try:
        for at in (-1, 0, 2_000):
            with a_deleter(*where):
                await until(lambda: _told(world) > 0, "the first note")
                await until(partial(_more_than, world, at), f"deletion {at}")
                await asyncio.sleep(draw.uniform(0, 0.3))
        await world.samples(beats(ids[5_100:], first_s=5_100))
        with a_deleter(*where):
            await until(lambda: set(world.outcomes().values()) == {"done"}, "the last deletion")
            assert _told(world) == 5_100
    finally:
        recording.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await recording
    assert world.values() == [60.0 + number for number in range(100)], "those that nobody deleted"
    assert query(world.url, "SELECT count(*) FROM quarantine") == [(0,)]


def _told(world: World) -> int:
    return int(query(world.url, "SELECT count(*) FROM deletions_told")[0][0])


def _more_than(world: World, count: int) -> bool:
    return _gone(world) > count


def _gone(world: World) -> int:
    return int(query(world.url, "SELECT count(*) FROM samples WHERE flags & 128 <> 0")[0][0])


@pytest.mark.parametrize(
    "gate",
    [Gate(devices={"watch": DeviceRule(DeviceState.RETIRED)}), Gate(require_consent=True)],
    ids=["retired", "withdrawn"],
)
async def test_what_was_stored_can_be_deleted_whatever_the_gate_says_today(
    world: World, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.samples(beats([A, B]))

    async def today() -> Gate:
        return gate

    monkeypatch.setattr(world.recorder, "_gate", today)
    await world.delete(A)
    assert await world.settle() == 1
    await world.settle()
    assert (world.values(), world.outcomes()) == ([61], {A: "done"})
