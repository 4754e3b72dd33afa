"""What runs beside the fetches: profiles that come late or never, history that waits, an outbox that is in order."""

import asyncio
from contextlib import suppress

import numpy as np
import pytest

from alerts.event import AlertEvent, State
from ingest.publisher import Publisher
from stream.watch.backfill import Backfill
from stream.watch.crowd import Crowd, Everyone
from stream.watch.crowd_source import Fixed, first, follow
from stream.watch.engine import Engine
from stream.watch.outbox import MOST_WAITING, Outbox
from stream.watch.plan import Plan, default_plan
from tests.stream.making import HEADER, T0, S, samples
from tests.stream.watch.fake_engine import FakeEngine, event
from tests.stream.watch.world import World, counts, read_all, until
from timeseries.model import StoreUnavailable
from vigil.embedded.broker import EmbeddedBroker

DEFAULT: Crowd = Everyone(Plan("default", "1"))
OTHER: Crowd = Everyone(Plan("other", "1"))


class Source:
    """Answers from a list: a crowd, or None for a database that is away; the last answer stays."""

    def __init__(self, *answers: Crowd | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def current(self) -> Crowd:
        self.asked += 1
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if answer is None:
            raise StoreUnavailable("away")
        return answer


async def test_without_profiles_it_begins_by_the_default() -> None:
    assert await first(Source(None), DEFAULT, 1.0) is DEFAULT
    assert await first(Fixed(OTHER), DEFAULT, 1.0) is OTHER

    class Never:
        async def current(self) -> Crowd:
            await asyncio.sleep(60)
            return OTHER

    assert await first(Never(), DEFAULT, 0.01) is DEFAULT


async def test_only_a_changed_crowd_is_told_and_an_outage_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.watch.crowd_source._MOST_BACKOFF_S", 0.01)
    told: list[Crowd] = []

    async def changed(crowd: Crowd) -> None:
        told.append(crowd)

    source = Source(DEFAULT, DEFAULT, None, DEFAULT, OTHER, OTHER, OTHER)
    task = asyncio.create_task(follow(source, changed, 0.001))
    await until(lambda: _asked(source, 7))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert told == [DEFAULT, OTHER]


async def _asked(source: Source, times: int) -> bool:
    return source.asked > times


async def test_what_breaks_in_the_source_is_not_swallowed() -> None:
    class Broken:
        async def current(self) -> Crowd:
            raise ValueError("a bug")

    async def changed(_: Crowd) -> None: ...

    with pytest.raises(ValueError, match="a bug"):
        await follow(Broken(), changed, 0.001)


async def test_every_engine_is_told_of_the_new_crowd(broker: EmbeddedBroker, name: str) -> None:
    async with World(broker.bootstrap, name) as world:
        await world.take_over(0, 1)
        await world.live.adopt(OTHER)
        assert [engine.crowd for engine in world.engines] == [OTHER, OTHER]


async def test_events_leave_in_order_and_each_once(broker: EmbeddedBroker, name: str) -> None:
    outbox = Outbox(broker.bootstrap, topic=f"{name}.alerts")
    events = [event("p1", T0 + at, state, T0 + at) for at in range(300) for state in (State.RAISED, State.CLEARED)]
    for one in events:
        outbox.put([one, one], 0)
    assert outbox.so_far == len(events)
    sending = asyncio.create_task(outbox.run())
    await asyncio.wait_for(outbox.acknowledged(outbox.so_far), 20)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await outbox.stop()
    found = [one for number in range(3) for one in await read_all(broker.bootstrap, f"{name}.alerts", number)]
    assert [AlertEvent.model_validate_json(one.value) for one in found] == events


async def test_a_full_outbox_makes_the_fetch_wait_and_what_is_forgotten_counts_as_gone() -> None:
    outbox = Outbox("127.0.0.1:1")
    outbox.put((event("p1", T0 + at, State.RAISED, T0 + at) for at in range(MOST_WAITING + 1)), 0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(outbox.room(), 0.05)
    outbox.put([event("p2", T0, State.RAISED, T0)], 1)
    await outbox.forget([0])
    await asyncio.wait_for(outbox.room(), 1)
    assert outbox.so_far == MOST_WAITING + 2
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(outbox.acknowledged(outbox.so_far), 0.05)


async def test_history_waits_while_the_live_lane_is_behind_and_is_committed_after_it_is_told(
    broker: EmbeddedBroker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.watch.backfill.SAMPLES_BACKFILL", f"{name}.samples")
    monkeypatch.setattr("stream.watch.backfill.GROUP", f"{name}.backfill")
    monkeypatch.setattr("stream.watch.backfill._PAUSE_S", 0.01)
    may = False
    outbox = Outbox(broker.bootstrap, topic=f"{name}.alerts")

    async def lane() -> Backfill:
        return Backfill(broker.bootstrap, FakeEngine, outbox, lambda: may, session_s=3.0)

    async with Publisher(broker.bootstrap) as publisher:
        await publisher.publish(HEADER, samples("heart_rate", range(3_000), [150.0] * 2_999 + [70.0]),
                                topic=f"{name}.samples")  # fmt: skip
    one = await lane()
    await outbox.start()
    tasks = [asyncio.create_task(outbox.run()), asyncio.create_task(one.run())]
    await asyncio.sleep(3.0)  # as long as joining takes here
    assert not one.engines
    may = True
    await until(lambda: _are(outbox, 2), 20)
    await asyncio.sleep(0.5)
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    again = await lane()
    tasks.append(asyncio.create_task(again.run()))
    await asyncio.sleep(4.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await outbox.stop()
    assert not again.engines, "it was committed"
    world = World(broker.bootstrap, name)
    assert len(counts(await world.alerts())) == 2


async def _are(outbox: Outbox, number: int) -> bool:
    return outbox.so_far == number


async def test_a_state_and_the_log_since_then_come_to_what_an_uninterrupted_watch_knows() -> None:
    """The real engine, cut at every record: what is open, and what was told."""
    crowd = Everyone(default_plan())
    columns = [samples("heart_rate", range(at, at + 10), [150.0 if 40 <= at < 200 else 70.0] * 10)
               for at in range(0, 400, 10)]  # fmt: skip

    def feed(engine: Engine, first: int, last: int) -> list[AlertEvent]:
        found = []
        for at in range(first, last):
            now_us = T0 + (at + 1) * 10 * S
            found += engine.see([HEADER], np.array([10]), columns[at], now_us)
            for events in engine.settle(now_us):
                found += events
        return found

    whole = Engine(crowd, strict=True)
    told = feed(whole, 0, len(columns))
    assert {one.rule for one in told} >= {"heart_rate_high"}
    for cut in range(1, len(columns)):
        before, after = Engine(crowd, strict=True), Engine(crowd, strict=True)
        first_half = feed(before, 0, cut)
        after.restore(HEADER.patient_id, before.snapshot(HEADER.patient_id))
        assert counts([*first_half, *feed(after, cut, len(columns))]) == counts(told), f"cut at {cut}"
        assert after.open_alerts(HEADER.patient_id).keys() == whole.open_alerts(HEADER.patient_id).keys()
