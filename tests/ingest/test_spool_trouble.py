"""A disk that is full to the last byte, and a broker that is there and refuses some of what waits."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import structlog

from ingest.publisher import BrokerUnreachable, RecordRefused
from ingest.record import Record
from ingest.spool import Arrival, Place, Spool, SpoolError, SpoolFull
from ingest.spool.arrival import ArrivalPolicy
from ingest.spool.reserve import BYTES, Reserve, free_bytes
from ingest.topics import DELETIONS, SAMPLES, SAMPLES_BACKFILL, WAVEFORMS
from tests.chaos.gateway import small_disk

T0 = 1_790_000_000_000_000
QUICK = ArrivalPolicy(first_s=0.01, longest_s=0.05, look_every_s=0.05)


def record(patient: str = "p1", size: int = 100_000) -> Record:
    return Record(patient.encode(), b"v" * size, ())


def fill(spool: Spool) -> None:
    while True:
        spool.put([record()], now_us=T0)


def test_a_spool_on_a_full_disk_opens_after_a_kill_and_can_be_emptied(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as mounted:
        if not mounted:
            pytest.skip("this machine does not let a test mount a small disk")
        folder = tmp_path / "disk" / "spool"
        spool = Spool(folder)
        spool.open()
        with pytest.raises(SpoolFull, match="disk is full"):
            fill(spool)
        kept = spool.state(T0).count
        assert kept > 50
        with contextlib.suppress(OSError), (tmp_path / "disk" / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4_096)
        assert free_bytes(folder) < 4_096
        assert spool._db is not None
        spool._db.close()  # as a kill leaves it: nothing was brought in order

        again = Spool(folder)
        again.open()
        assert again.state(T0).count == kept
        while waiting := again.take(10):
            again.drop(waiting)
        assert again.state(T0).count == 0
        with pytest.raises(SpoolFull):
            again.put([record()], now_us=T0)
        (tmp_path / "disk" / "ballast").unlink()
        again.put([record()], now_us=T0)
        again.drop(again.take(1))
        assert (folder / "spool.reserve").stat().st_size == BYTES, "the reserve is there for the next time"
        again.close()


def test_no_reserve_is_taken_where_it_would_be_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.spool.reserve.free_bytes", lambda _: BYTES)
    Reserve(tmp_path).keep()
    assert list(tmp_path.iterdir()) == []


class Choosy:
    """A broker that is there and refuses some topics or records; with `away` nobody is."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.patients: set[bytes] = set()
        self.away = False
        self.took: list[tuple[str, bytes, bytes]] = []

    async def start(self) -> None:
        if self.away:
            raise BrokerUnreachable("away")

    async def stop(self) -> None:
        pass

    async def send(self, one: Record, *, topic: str) -> asyncio.Future[Any]:
        if topic in self.topics:
            raise RecordRefused("no such topic", whole_topic=True)
        ack: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.away:
            ack.set_exception(BrokerUnreachable("away"))
        elif one.key in self.patients:
            ack.set_exception(RecordRefused("too large", whole_topic=False))
        else:
            self.took.append((topic, one.key, one.value))
            ack.set_result(None)
        return ack

    async def confirm(self, acks: list[asyncio.Future[Any]]) -> None:
        for ack in acks:
            await ack


async def settled(arrival: Arrival, spool: Spool, count: int) -> None:
    async with asyncio.timeout(10):
        while spool.state(T0).count != count or not arrival.broker_up:  # noqa: ASYNC110  of a thread's making
            await asyncio.sleep(0.01)


async def test_one_refused_topic_stops_nothing_else_and_is_the_senders_still(tmp_path: Path) -> None:
    broker, spool = Choosy(), Spool(tmp_path)
    broker.topics = {DELETIONS}
    async with Arrival(broker, spool, policy=QUICK) as arrival:
        await settled(arrival, spool, 0)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                with pytest.raises(SpoolError):
                    await arrival.accept(record(), topic=DELETIONS, later=DELETIONS)
        assert [one["event"] for one in logs] == ["broker_refuses_record"], "once a minute"
        for _ in range(20):
            assert await arrival.accept(record()) is Place.BROKER
        assert spool.state(T0).count == 0


async def test_what_waits_and_is_refused_holds_up_its_own_topic_or_patient_only(tmp_path: Path) -> None:
    broker, spool = Choosy(), Spool(tmp_path)
    broker.away = True
    async with Arrival(broker, spool, policy=QUICK) as arrival:
        kept = [(DELETIONS, "p1"), (SAMPLES_BACKFILL, "p1"), (SAMPLES_BACKFILL, "p2"), (WAVEFORMS, "p1")]
        for turn in range(40):
            for topic, patient in kept:
                one = Record(patient.encode(), str(turn).encode(), ())
                assert await arrival.accept(one, topic=SAMPLES, later=topic) is Place.SPOOL
        broker.topics, broker.patients, broker.away = {DELETIONS}, {b"p2"}, False
        await settled(arrival, spool, 80)
        assert Counter(topic for topic, _, _ in broker.took) == {SAMPLES_BACKFILL: 40, WAVEFORMS: 40}
        assert [value for topic, _, value in broker.took if topic == WAVEFORMS] == [str(n).encode() for n in range(40)]
        assert await arrival.accept(record("p3")) is Place.BROKER
        broker.topics, broker.patients = set(), set()
        await settled(arrival, spool, 0)
        for topic, patient in kept:
            mine = [int(value) for where, key, value in broker.took if (where, key.decode()) == (topic, patient)]
            assert list(dict.fromkeys(mine)) == list(range(40)), "in order"
