"""The courier between a link and the way in: nothing waits for it, and what it took it delivers in order."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from ingest.ble import courier as module
from ingest.ble.courier import Courier
from ingest.ble.frames import Notification
from ingest.ble.policy import BatchPolicy
from ingest.ble.telling import Teller
from ingest.record import Record
from ingest.spool import SpoolFull
from ingest.topics import SAMPLES, SAMPLES_BACKFILL
from tests.ingest.ble.world import Arrived, measurement
from vitals.batch import BatchHeader
from vitals.ids import device_id, patient_id

T0 = 1_717_243_200_000_000
HEADER = BatchHeader(patient_id("p1"), device_id("dev-01"), "vigil-bridge", "ble")


@dataclass
class Moody(Arrived):
    """A way in that is shut until it is opened, and can refuse."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    refusals: int = 0
    calls: Counter[str] = field(default_factory=Counter)

    async def accept(self, record: Record, *, topic: str = SAMPLES, later: str = SAMPLES_BACKFILL) -> object:
        self.calls[topic] += 1
        await self.open.wait()
        if self.refusals:
            self.refusals -= 1
            raise SpoolFull("the spool has no room")
        return await super().accept(record, topic=topic, later=later)


@asynccontextmanager
async def at_work(way_in: Arrived, policy: BatchPolicy) -> AsyncIterator[tuple[Courier, list[Notification]]]:
    safe: list[Notification] = []
    courier = Courier(
        HEADER,
        way_in,
        Teller(HEADER.device_id),
        policy=policy,
        clock=lambda: T0,
        on_safe=safe.extend,
    )
    running = asyncio.create_task(courier.run())
    try:
        yield courier, safe
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def add(courier: Courier, *bpm: int) -> None:
    for one in bpm:
        courier.add(Notification("2A37", measurement(one), courier.stamp_us()))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_batch_goes_when_it_is_full_or_old() -> None:
    arrived = Arrived()
    async with at_work(arrived, BatchPolicy(within_s=0.1, frames=3)) as (courier, safe):
        add(courier, 60, 61, 62, 63)
        await until(lambda: len(safe) == 4)
        assert arrived.values("heart_rate") == [60, 61, 62, 63]
        assert [len(samples) for _, _, samples in arrived.records] == [3, 1]


async def test_what_comes_while_a_batch_is_under_way_waits_its_turn() -> None:
    way_in = Moody()
    async with at_work(way_in, BatchPolicy(within_s=0.01, frames=2)) as (courier, safe):
        add(courier, 60, 61)
        await until(lambda: way_in.calls[SAMPLES] == 1)
        add(courier, 62, 63, 64)
        await asyncio.sleep(0.05)
        assert (way_in.calls[SAMPLES], safe) == (1, [])
        way_in.open.set()
        await until(lambda: len(safe) == 5)
        assert way_in.values("heart_rate") == [60, 61, 62, 63, 64]


async def test_a_refusal_is_said_and_the_batch_is_offered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)
    way_in = Moody(refusals=3)
    way_in.open.set()
    with capture_logs() as logs:
        async with at_work(way_in, BatchPolicy(within_s=0.01)) as (courier, safe):
            add(courier, 60)
            await until(lambda: safe)
            assert way_in.values("heart_rate") == [60]
    told = [entry for entry in logs if entry["event"] == "ble_undelivered"]
    assert [entry["lost"] for entry in told] == [False] * 3


async def test_what_neither_broker_nor_spool_takes_is_bounded_and_the_loss_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)
    way_in = Moody(refusals=1_000_000)
    way_in.open.set()
    with capture_logs() as logs:
        async with at_work(way_in, BatchPolicy(within_s=0.01, frames=10, held_frames=20)) as (courier, safe):
            add(courier, *range(60, 70))
            await until(lambda: way_in.calls[SAMPLES] > 2)
            add(courier, *range(70, 100))
            way_in.refusals = 0
            await until(lambda: len(safe) == 30)
            assert way_in.values("heart_rate") == list(range(60, 90)), "the oldest are kept: they were taken first"
    assert [entry["notifications"] for entry in logs if entry["event"] == "ble_discarded"] == [10]


async def test_stopping_in_the_middle_of_a_batch_delivers_it_and_what_waits_behind_it() -> None:
    way_in = Moody()
    async with at_work(way_in, BatchPolicy(within_s=0.01, frames=2)) as (courier, _):
        add(courier, 60, 61)
        await until(lambda: way_in.calls[SAMPLES] == 1)
        add(courier, 62, 63, 64)
    way_in.open.set()
    await courier.finish()
    assert way_in.values("heart_rate") == [60, 61, 62, 63, 64]


async def test_stopping_where_nobody_takes_anything_says_what_is_lost() -> None:
    way_in = Moody(refusals=1_000)
    way_in.open.set()
    with capture_logs() as logs:
        async with at_work(way_in, BatchPolicy(within_s=60)) as (courier, _):
            add(courier, 60)
        await asyncio.wait_for(courier.finish(), 5)
    assert [entry["lost"] for entry in logs if entry["event"] == "ble_undelivered"] == [True]
