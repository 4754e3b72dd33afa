"""History is judged in order however it was sent, in small pieces, and leaves nothing open behind it."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from aiokafka import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import AlertEvent, Priority, State
from stream.watch import watch_metrics
from stream.watch.backfill import Backfill, in_order
from stream.watch.crowd import Everyone
from stream.watch.engine import Engine
from stream.watch.outbox import Outbox
from stream.watch.plan import default_plan
from tests.stream.making import T0, S, samples
from tests.stream.watch.fake_engine import FakeEngine
from vitals.batch import BatchHeader, SampleColumns
from vitals.ids import device_id, patient_id

HOUR = 3_600
NOW_US = T0 + 24 * HOUR * S
Told = tuple[BatchHeader, SampleColumns]


def header(patient: str = "p1", device: str = "d1") -> BatchHeader:
    return BatchHeader(patient_id(patient), device_id(device), "app", "adapter")


def lane(engine: Any) -> tuple[Backfill, list[AlertEvent]]:
    outbox = Outbox("127.0.0.1:1")
    told: list[AlertEvent] = []

    def put(events: Iterable[AlertEvent], *_: object) -> list[str]:
        told.extend(events)
        return []

    outbox.put = put  # type: ignore[method-assign, assignment]
    return Backfill("127.0.0.1:1", lambda: engine, outbox, lambda: True, clock=lambda: NOW_US), told


def hours(number: int = 4) -> list[SampleColumns]:
    """Return records of ten minutes each; the heart rate is high for 40 minutes of the third hour."""
    at = np.arange(0, number * HOUR, 5.0)
    value = np.where((at > 2 * HOUR) & (at < 2 * HOUR + 2_400), 150, 70) + np.arange(len(at)) % 5
    return [samples("heart_rate", at[part], value[part]) for part in np.array_split(np.arange(len(at)), 6 * number)]


async def raised(records: list[SampleColumns]) -> tuple[set[str], float, Engine]:
    engine = Engine(Everyone(default_plan()), live=False, strict=True)
    backfill, told = lane(engine)
    before = watch_metrics.IGNORED.labels("backfill")._value.get()
    await backfill._see(engine, [(header(), one) for one in records])
    assert all(one.retrospective for one in told)
    return {one.alert_id for one in told}, watch_metrics.IGNORED.labels("backfill")._value.get() - before, engine


async def test_an_upload_that_begins_with_its_newest_record_finds_what_the_oldest_first_finds() -> None:
    forward, ignored, _ = await raised(hours())
    backward, none_ignored, _ = await raised(hours()[::-1])
    assert forward
    assert backward == forward
    assert (ignored, none_ignored) == (0, 0)


async def test_what_came_before_and_comes_again_is_counted() -> None:
    _, ignored, engine = await raised([*hours(1), *hours(1)])
    assert ignored == engine.ignored > 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1_000), records=st.integers(1, 30))
def test_pieces_hold_every_sample_once_in_order_and_are_small(seed: int, records: int) -> None:
    rng = np.random.default_rng(seed)
    told: list[Told] = []
    for number in range(records):
        at = rng.integers(0, 10**6, rng.integers(1, 400)) * rng.choice([0.001, 1.0])
        one = samples("heart_rate", at, np.arange(len(at)) + 400 * number)
        told.append((header(f"p{rng.integers(3)}", f"d{rng.integers(2)}"), one))
    pieces = list(in_order(told))
    assert {key for key, _ in pieces} == {key for key, _ in told}
    for key in {key for key, _ in told}:
        own = SampleColumns.concat([one for whose, one in pieces if whose == key])
        assert sorted(own.value.tolist()) == sorted(np.concatenate([one.value for h, one in told if h == key]).tolist())
        assert (np.diff(own.start_us) >= 0).all()
    for (whose, piece), (next_one, later) in pairwise(pieces):
        if whose.patient_id == next_one.patient_id:
            assert piece.start_us[0] <= later.start_us[0]
    assert max(len(one) for _, one in pieces) <= 250
    assert max(len(np.unique(one.start_us // (15 * S))) for _, one in pieces) <= 25


async def test_nothing_stays_open_when_the_lane_forgets() -> None:
    engine = FakeEngine()
    backfill, told = lane(engine)
    backfill.engines[TopicPartition("t", 0)] = engine
    await backfill._see(engine, [(header(), samples("heart_rate", [0], [150.0]))])
    assert [one.state for one in told] == [State.RAISED]
    await backfill._idle(31.0)
    await backfill._idle(3_599.0)
    assert backfill.engines, "a device that speaks here every minute keeps its memory"
    await backfill._idle(3_601.0)
    assert not backfill.engines
    assert [one.state for one in told] == [State.RAISED, State.CLEARED]
    assert len({one.alert_id for one in told}) == 1


async def test_the_engine_ends_each_open_episode_once() -> None:
    engine = Engine(Everyone(default_plan()), live=False, strict=True)
    backfill, _ = lane(engine)
    await backfill._see(engine, [(header(), samples("heart_rate", np.arange(0, 600.0, 5), 150 + np.arange(120) % 5))])
    opened = set(engine.open_alerts("p1"))
    assert opened
    ended = engine.end(NOW_US)
    assert {one.alert_id for one in ended} == opened
    assert {one.state for one in ended} == {State.CLEARED}
    assert engine.open_alerts("p1") == {}
    assert engine.end(NOW_US) == []


async def test_a_clock_so_slow_that_all_looks_like_history_is_told_live_from_the_lane_of_history() -> None:
    engine = Engine(Everyone(default_plan()), live=False, strict=True)
    events: list[AlertEvent] = []
    for at in range(0, 3 * HOUR, 15):
        behind = samples("heart_rate", np.arange(at, at + 15.0) - 1_200, 150 + np.arange(15) % 5, received_s=at + 15)
        events += engine.see([header()], np.array([15]), behind, T0 + (at + 16) * S)
        for told in engine.settle(T0 + (at + 16) * S):
            events += told
    assert {(one.rule, one.priority, one.retrospective) for one in events if one.state is State.RAISED} >= {
        ("clock_off", Priority.MEDIUM, False), ("heart_rate_high", Priority.MEDIUM, True),
    }  # fmt: skip


async def test_a_sparse_year_gives_the_loop_back_often() -> None:
    engine = Engine(Everyone(default_plan()), live=False, strict=True)
    backfill, _ = lane(engine)
    at = np.arange(0, 2_000) * 300.0
    turns = 0

    async def beside() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.0005)
            turns += 1

    other = asyncio.create_task(beside())
    await backfill._see(engine, [(header(), samples("heart_rate", at, 70 + np.arange(2_000) % 7))])
    other.cancel()
    assert turns >= 2_000 / 25


@pytest.mark.parametrize("may", [False, True])
async def test_pieces_wait_while_something_live_is_behind(monkeypatch: pytest.MonkeyPatch, may: bool) -> None:
    monkeypatch.setattr("stream.watch.backfill._PAUSE_S", 0.001)
    engine = FakeEngine()
    backfill, told = lane(engine)
    backfill._may = lambda: may
    seen = asyncio.create_task(backfill._see(engine, [(header(), samples("heart_rate", [0], [150.0]))]))
    done, _ = await asyncio.wait([seen], timeout=5 if may else 0.1)
    assert bool(done) is bool(told) is may
    seen.cancel()
