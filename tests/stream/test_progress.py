"""How far a partition is read: whatever the consumer delivers, each record of the log is taken once and in order."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream.progress import LOOK_AGAIN_US, SEEK_AGAIN_US, PartitionProgress, Verdict
from stream.recorder import Backoff, Recorder
from tests.stream.fakes import PARTITION, FakeLog, FakeStore, raw

NOW = 1_000_000_000


def progress(expected: int = 10, **more: object) -> PartitionProgress:
    return PartitionProgress(0, expected, **more)  # type: ignore[arg-type]


def judge(of: PartitionProgress, offset: int, at: int = NOW, crc: int | None = None) -> Verdict:
    verdict = of.admit(offset, crc, at)
    if verdict is Verdict.TAKE:
        of.taken(offset)
    return verdict


def test_what_comes_next_is_taken_and_only_once() -> None:
    reading = progress()
    assert [judge(reading, offset) for offset in (10, 11, 12)] == [Verdict.TAKE] * 3
    assert judge(reading, 12) is Verdict.OLD_NEWS
    assert judge(reading, 0, NOW + LOOK_AGAIN_US - 1) is Verdict.REDELIVERED
    assert judge(reading, 0, NOW + LOOK_AGAIN_US) is Verdict.OLD_NEWS
    assert reading.expected == 13


def test_old_news_that_nobody_looked_into_makes_what_comes_next_suspect() -> None:
    reading = progress()
    reading.seen(NOW)
    assert judge(reading, 3) is Verdict.REDELIVERED
    assert judge(reading, 10) is Verdict.SUSPECT
    reading.seen(NOW)
    assert judge(reading, 10) is Verdict.TAKE


def test_a_gap_is_read_again_before_anything_behind_it_is_taken() -> None:
    reading = progress()
    assert judge(reading, 13) is Verdict.SEEK
    assert [judge(reading, offset) for offset in (14, 15)] == [Verdict.WAIT] * 2
    assert [judge(reading, offset) for offset in range(10, 16)] == [Verdict.TAKE] * 6
    assert judge(reading, 20) is Verdict.SEEK, "the next gap is one of its own"


def test_a_seek_without_effect_is_asked_for_again() -> None:
    reading = progress()
    assert judge(reading, 13) is Verdict.SEEK
    assert judge(reading, 14, NOW + SEEK_AGAIN_US - 1) is Verdict.WAIT
    assert judge(reading, 15, NOW + SEEK_AGAIN_US) is Verdict.SEEK


def test_a_gap_that_shows_again_is_to_be_confirmed_until_it_is_taken() -> None:
    reading = progress()
    assert judge(reading, 13) is Verdict.SEEK
    assert judge(reading, 13) is Verdict.CONFIRM
    assert judge(reading, 12) is Verdict.CONFIRM, "asked for each: nothing was taken"
    reading.taken(12)
    assert judge(reading, 13) is Verdict.TAKE
    assert judge(reading, 15) is Verdict.SEEK


def test_the_anchor_is_read_first_and_recognised() -> None:
    reading = progress(anchor_crc=77, anchored=False)
    assert reading.start_at == 9
    assert judge(reading, 9, crc=77) is Verdict.ANCHOR
    assert reading.start_at == 10
    assert judge(reading, 10) is Verdict.TAKE


@pytest.mark.parametrize(("offset", "crc"), [(9, 78), (0, 77), (8, 77)])
def test_another_record_where_the_anchor_should_be_is_suspect(offset: int, crc: int) -> None:
    reading = progress(anchor_crc=77, anchored=False)
    assert judge(reading, offset, crc=crc) is Verdict.SUSPECT
    assert not reading.anchored
    reading.seen(NOW)
    assert judge(reading, offset, crc=crc) is Verdict.REDELIVERED, "looked at just now"


@pytest.mark.parametrize(("offset", "then"), [(10, Verdict.TAKE), (12, Verdict.SEEK)])
def test_no_anchor_at_all_is_suspect_until_the_log_was_looked_at(offset: int, then: Verdict) -> None:
    reading = progress(anchor_crc=77, anchored=False)
    assert judge(reading, offset) is Verdict.SUSPECT
    reading.seen(NOW)
    assert judge(reading, offset) is then


@dataclass
class World:
    """A log, a consumer that misbehaves, a store and whoever records at the moment; the clock is turned by hand."""

    now: int = NOW
    log: FakeLog = field(default_factory=FakeLog)
    store: FakeStore = field(default_factory=FakeStore)
    incarnation: int = 0
    lives: list[list[int]] = field(default_factory=lambda: [[]])

    def __post_init__(self) -> None:
        self.recorder = self._new_recorder()

    def _new_recorder(self) -> Recorder:
        return Recorder(self.store, self.log, backoff=Backoff(0.0, 0.0), clock=lambda: self.now)

    def append(self, count: int, hole: int) -> None:
        """The broker takes records; `hole` offsets before them are none (a compacted log, an aborted transaction)."""
        end = self.log.records[-1].offset + 1 if self.log.records else 0
        for offset in range(end + hole, end + hole + count):
            self.log.records.append(raw(offset, f"{self.incarnation}/{offset}".encode()))
            self.lives[-1].append(offset)

    async def assign(self, *, stale: bool) -> None:
        where = await self.recorder.assigned([PARTITION])
        self.log.position = where[PARTITION]
        if not stale:
            self.log.buffer.clear()

    async def pass_on(self, most: int) -> None:
        await self.recorder.take(self.log.deliver(most))

    def stored(self) -> list[list[int]]:
        epochs: dict[int, list[int]] = {}
        for epoch, offset, _ in self.store.records:
            epochs.setdefault(epoch, []).append(offset)
        return [offsets for _, offsets in sorted(epochs.items())]


class Delivery(RuleBasedStateMachine):
    """Records are appended, prefetched, skipped, redelivered, the worker is replaced, the log is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.world.assign(stale=False))

    def teardown(self) -> None:
        try:
            self._everything_is_stored()
        finally:
            self.loop.close()

    @rule(count=st.integers(1, 6), hole=st.sampled_from([0, 0, 0, 1, 3]))
    def broker_takes(self, count: int, hole: int) -> None:
        self.world.append(count, hole)

    @rule(most=st.integers(1, 8))
    def consumer_prefetches(self, most: int) -> None:
        self.world.log.fetch(most)

    @rule(most=st.integers(1, 8))
    def recorder_takes(self, most: int) -> None:
        self.loop.run_until_complete(self.world.pass_on(most))

    @rule(data=st.data())
    def consumer_skips(self, data: st.DataObject) -> None:
        """faust#606: events vanish between the consumer and the agent."""
        if self.world.log.buffer:
            at = data.draw(st.integers(0, len(self.world.log.buffer) - 1))
            del self.world.log.buffer[at : at + data.draw(st.integers(1, 4))]

    @rule(data=st.data())
    def consumer_goes_back(self, data: st.DataObject) -> None:
        self.world.log.position = data.draw(st.integers(0, self.world.log.position))

    @rule(data=st.data())
    def consumer_repeats_what_is_buffered(self, data: st.DataObject) -> None:
        if self.world.log.buffer:
            at = data.draw(st.integers(0, len(self.world.log.buffer)))
            repeated = data.draw(st.lists(st.sampled_from(self.world.log.buffer), max_size=3))
            self.world.log.buffer[at:at] = repeated

    @rule(data=st.data())
    def consumer_shuffles_what_is_buffered(self, data: st.DataObject) -> None:
        """Fetches from before and after a seek overlap in every way."""
        self.world.log.buffer = data.draw(st.permutations(self.world.log.buffer))

    @rule(seconds=st.sampled_from([0.1, 1, 6]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += int(seconds * 1_000_000)

    @rule(stale=st.booleans())
    def partition_is_assigned_again(self, stale: bool) -> None:
        self.loop.run_until_complete(self.world.assign(stale=stale))

    @rule()
    def worker_is_replaced(self) -> None:
        self.world.recorder = self.world._new_recorder()
        self.loop.run_until_complete(self.world.assign(stale=False))

    @rule()
    def old_records_are_dropped_by_retention(self) -> None:
        """Only what is stored: a log that drops what nobody stored loses it, whoever reads."""
        stored = {value for _, _, value in self.world.store.records}
        while len(self.world.log.records) > 1 and self.world.log.records[0].value in stored:
            del self.world.log.records[0]

    @precondition(lambda self: self.world.log.records)
    @rule(assigned=st.booleans())
    def broker_loses_its_log(self, assigned: bool) -> None:
        """What was stored of the old log stays; of what was not, nobody can know. The group may rebalance, or not."""
        world = self.world
        world.incarnation += 1
        world.lives.append([])
        world.log.records.clear()
        world.log.buffer.clear()
        if assigned:
            self.loop.run_until_complete(world.assign(stale=False))
        else:
            world.log.position = 0

    @invariant()
    def nothing_is_taken_twice_or_out_of_order(self) -> None:
        for offsets in self.world.stored():
            assert offsets == sorted(set(offsets))

    def _everything_is_stored(self) -> None:
        """Live traffic goes on, and with it everything that the log holds gets stored."""
        world = self.world
        for _ in range(12):
            world.append(1, 0)
            world.now += 6_000_000
            for _ in range(6):
                self.loop.run_until_complete(world.pass_on(1_000))
        values = [value for _, _, value in world.store.records]
        for offset in world.lives[-1]:
            wanted = f"{world.incarnation}/{offset}".encode()
            assert values.count(wanted) == 1, (wanted, world.store.records[-20:])


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=250, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
