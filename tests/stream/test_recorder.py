"""The recorder: one suite of behaviours, on a store in memory and on PostgreSQL; nothing lost, nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import pytest

from stream import recorder as module
from stream.assemble import RawRecord
from stream.attempts import GIVEN_UP_MOST, TRIES
from stream.recorder import Backoff, Keys, Partition, Recorder, Store
from tests.stream.fakes import PARTITION, TOPIC, FakeLog, FakeStore, raw
from tests.timeseries.making import query
from timeseries.model import StoreRefused, StoreStrained, StoreUnavailable, Watermark, WriteBatch, WriteOutcome
from timeseries.store import SampleStore

T = TypeVar("T")
NOW = 1_800_000_100_000_000


class Backend(Protocol):
    """A store, and what can be seen of it from outside."""

    store: Store

    def refuse(self, value: float) -> None:
        """From now on no row may have this value."""

    def values(self) -> list[float]:
        """What is stored, in order of time."""

    def quarantine(self) -> list[tuple[int, int, str]]:
        """Offset, index and reason of what is not."""

    def mark(self) -> tuple[int, int]:
        """Epoch and next offset."""

    def duplicates(self) -> int:
        """Samples that were told again."""

    def redelivered(self) -> int:
        """Samples that the log gave again."""


class InMemory:
    def __init__(self) -> None:
        self.fake = FakeStore()
        self.store: Store = self.fake

    def refuse(self, value: float) -> None:
        self.fake.refused = value

    def values(self) -> list[float]:
        return [value for _, value in sorted(self.fake.rows.items())]

    def quarantine(self) -> list[tuple[int, int, str]]:
        return sorted(self.fake.quarantine)

    def mark(self) -> tuple[int, int]:
        mark = self.fake.marks[PARTITION]
        return mark.epoch, mark.next_offset

    def duplicates(self) -> int:
        return self.fake.duplicates

    def redelivered(self) -> int:
        return self.fake.redelivered


class InPostgres:
    def __init__(self, url: str, store: SampleStore) -> None:
        self.url = url
        self.store: Store = store

    def refuse(self, value: float) -> None:
        query(self.url, f"ALTER TABLE samples ADD CHECK (value <> {value})")

    def values(self) -> list[float]:
        return [value for (value,) in query(self.url, "SELECT value FROM samples ORDER BY patient_key, time")]

    def quarantine(self) -> list[tuple[int, int, str]]:
        rows = query(self.url, 'SELECT "offset", index, reason FROM quarantine ORDER BY 1, 2, 3')
        return [(offset, index, reason) for offset, index, reason in rows]

    def mark(self) -> tuple[int, int]:
        ((epoch, next_offset),) = query(
            self.url, f"SELECT epoch, next_offset FROM watermarks WHERE (topic, partition) = ('{TOPIC}', 0)"
        )
        return epoch, next_offset

    def duplicates(self) -> int:
        return self._samples_again("reason = 'resent'")

    def redelivered(self) -> int:
        return self._samples_again("(adapter, reason) = ('ble', 'redelivered')")

    def _samples_again(self, which: str) -> int:
        ((samples,),) = query(self.url, f"SELECT coalesce(sum(samples), 0)::int FROM duplicates WHERE {which}")
        return int(samples)


@pytest.fixture(params=["memory", "postgresql"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    if request.param == "memory":
        yield InMemory()
        return
    url = request.getfixturevalue("database")
    async with SampleStore(url) as store:
        yield InPostgres(url, store)


class Troubled:
    """A store before which things go wrong: each call takes one mishap from the list."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.before: list[BaseException] = []
        self.after: list[BaseException] = []
        self.writes: list[int] = []
        self.tried: list[int] = []
        self.fault: Callable[[WriteBatch], BaseException | None] = lambda batch: None

    @property
    def keys(self) -> Keys:
        return self.inner.keys

    async def watermarks(self, topics: Sequence[str]) -> dict[Partition, Watermark]:
        return await self._through(lambda: self.inner.watermarks(topics))

    async def begin_epoch(self, mark: Watermark, next_offset: int) -> Watermark:
        return await self._through(lambda: self.inner.begin_epoch(mark, next_offset))

    async def resolve_keys(self, patients: Sequence[str], origins: Sequence[tuple[str, str]]) -> None:
        await self._through(lambda: self.inner.resolve_keys(patients, origins))

    async def write(self, batch: WriteBatch) -> WriteOutcome:
        self.tried.append(len(batch.adapters))
        if error := self.fault(batch):
            raise error
        outcome = await self._through(lambda: self.inner.write(batch))
        self.writes.append(len(batch.adapters))
        if self.after:
            raise self.after.pop()
        return outcome

    async def _through(self, call: Callable[[], Awaitable[T]]) -> T:
        if self.before:
            raise self.before.pop()
        return await call()


class Worker:
    """A recorder that is assigned the partition and fed from a log."""

    def __init__(self, backend: Backend, log: FakeLog) -> None:
        self.store = Troubled(backend.store)
        self.log = log
        self.now = NOW
        self.signs = 0
        self.recorder = Recorder(
            self.store, log, backoff=Backoff(0.001, 0.002), clock=lambda: self.now, sign_of_life=self.lives
        )

    def lives(self) -> None:
        self.signs += 1

    async def start(self) -> "Worker":
        self.log.position = (await self.recorder.assigned([PARTITION]))[PARTITION]
        self.log.buffer.clear()
        return self

    async def run(self, most: int = 1_000) -> None:
        """Deliver until nothing more comes."""
        while records := self.log.deliver(most):
            await self.recorder.take(records)


def expected(offsets: Sequence[int]) -> list[float]:
    return [60.0, 61.0] * len(offsets)


def log_of(count: int) -> FakeLog:
    return FakeLog([raw(offset) for offset in range(count)])


async def test_what_the_log_holds_is_stored_once(backend: Backend) -> None:
    worker = await Worker(backend, log_of(20)).start()
    await worker.run(most=7)
    assert backend.values() == expected(range(20))
    assert backend.mark() == (0, 20)
    assert backend.quarantine() == []
    assert worker.store.writes == [7, 7, 6]


async def test_a_write_that_fails_is_stored_after_recovery(backend: Backend) -> None:
    worker = await Worker(backend, log_of(5)).start()
    worker.store.before = [StoreUnavailable("down")] * 7
    await worker.run()
    assert backend.values() == expected(range(5))
    assert backend.duplicates() == 0
    assert worker.store.writes == [5]


async def test_a_commit_whose_answer_was_lost_is_not_stored_twice(backend: Backend) -> None:
    worker = await Worker(backend, log_of(6)).start()
    worker.store.after = [StoreUnavailable("the connection broke after COMMIT")]
    await worker.run(most=3)
    assert backend.values() == expected(range(6))
    assert (backend.duplicates(), backend.mark()) == (0, (0, 6))


async def test_a_poison_record_is_quarantined_and_its_neighbours_are_stored(backend: Backend) -> None:
    log = log_of(5)
    log.records[1] = raw(1, b"rubbish")
    log.records[3] = replace(raw(3), headers=[("vigil-schema", b"2"), ("nul\0", b"")])
    await (await Worker(backend, log).start()).run()
    assert backend.values() == expected([0, 2, 4])
    assert backend.quarantine() == [(1, -1, "undecodable"), (3, -1, "schema_version")]
    assert backend.mark() == (0, 5)


async def test_impossible_samples_are_quarantined_and_the_record_s_others_are_stored(backend: Backend) -> None:
    log = FakeLog([raw(0), raw(1, base=299.5), raw(2)])
    await (await Worker(backend, log).start()).run()
    assert backend.values() == [60, 61, 299.5, 60, 61]
    assert backend.quarantine() == [(1, 1, "out_of_range")]


@pytest.mark.parametrize("poison", [[0], [6], [12], [3, 4, 9]])
async def test_what_the_database_refuses_is_found_and_quarantined_alone(backend: Backend, poison: list[int]) -> None:
    log = FakeLog([raw(offset, base=66.0 if offset in poison else 60.0) for offset in range(13)])
    backend.refuse(66)
    worker = await Worker(backend, log).start()
    await worker.run()
    assert backend.values() == expected([offset for offset in range(13) if offset not in poison])
    assert backend.quarantine() == [(offset, -1, "write_refused") for offset in poison]
    assert backend.mark() == (0, 13)
    assert sum(worker.store.writes) == 13, "each record is part of exactly one transaction"


async def test_refused_and_unavailable_together(backend: Backend) -> None:
    log = FakeLog([raw(offset, base=66.0 if offset == 2 else 60.0) for offset in range(5)])
    backend.refuse(66)
    worker = await Worker(backend, log).start()
    worker.store.before = [StoreUnavailable("down")] * 3
    worker.store.after = [StoreUnavailable("lost answer")]
    await worker.run()
    await worker.run()
    assert backend.values() == expected(range(4))
    assert backend.quarantine() == [(2, -1, "write_refused")]


def _breaks_off_at(doomed: Callable[[WriteBatch], bool]) -> Callable[[WriteBatch], BaseException | None]:
    return lambda batch: StoreStrained("57014") if doomed(batch) else None


async def _until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - what is looked at is no task of ours
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("poison", [[0], [12], [3, 4, 9]])
async def test_what_the_database_breaks_off_at_again_and_again_is_found_and_quarantined_alone(
    backend: Backend, poison: list[int]
) -> None:
    log = FakeLog([raw(offset, base=66.0 if offset in poison else 60.0) for offset in range(13)])
    worker = await Worker(backend, log).start()
    worker.store.fault = _breaks_off_at(lambda batch: 66 in batch.rows["value"])
    await worker.run()
    assert backend.values() == expected([offset for offset in range(13) if offset not in poison])
    assert backend.quarantine() == [(offset, -1, "write_refused") for offset in poison]
    assert backend.mark() == (0, 13)
    assert worker.store.tried[:TRIES] == [13] * TRIES, "as a whole first"
    assert len(worker.store.tried) <= TRIES + len(poison) * (TRIES + 1 + 4) + 13, "and then not for long"


async def test_what_breaks_off_and_then_passes_is_stored_whole(backend: Backend) -> None:
    worker = await Worker(backend, log_of(5)).start()
    worker.store.before = [StoreStrained("deadlock")] * (TRIES - 1)
    await worker.run()
    assert (backend.values(), worker.store.writes, backend.quarantine()) == (expected(range(5)), [5], [])


async def test_a_database_that_was_away_in_between_clears_the_batch(backend: Backend) -> None:
    worker = await Worker(backend, log_of(5)).start()
    await worker.recorder.take(worker.log.deliver(1))  # the keys are known now: what follows are writes
    strained: list[BaseException] = [StoreStrained("slow")] * (TRIES - 1)
    worker.store.before = [*strained, StoreUnavailable("restarted"), *strained, StoreUnavailable("full"), *strained]
    await worker.run()
    assert (worker.store.writes, backend.quarantine()) == ([1, 4], [])


async def test_a_database_that_breaks_off_at_everything_quarantines_nothing(backend: Backend) -> None:
    worker = await Worker(backend, log_of(4)).start()
    tried = worker.store.tried
    worker.store.fault = _breaks_off_at(lambda batch: len(tried) < 60 or not len(batch.rows))
    await worker.run()
    assert len(tried) >= 60
    assert (backend.values(), backend.quarantine(), backend.mark()) == (expected(range(4)), [], (0, 4))


async def test_many_given_up_in_a_row_are_the_database_s_fault(backend: Backend) -> None:
    """An index that is broken, say: every sample meets it, and the quarantine's tables are well."""
    count = GIVEN_UP_MOST + 5
    worker = await Worker(backend, log_of(count)).start()
    worker.store.fault = _breaks_off_at(lambda batch: len(batch.rows) > 0)
    taking = asyncio.ensure_future(worker.run())
    await _until(lambda: len(backend.quarantine()) == GIVEN_UP_MOST)
    tried = len(worker.store.tried)
    await _until(lambda: len(worker.store.tried) > tried + 5 * TRIES)
    assert [offset for offset, _, _ in backend.quarantine()] == list(range(GIVEN_UP_MOST)), "then it waits"
    worker.store.fault = lambda batch: None
    await taking
    assert backend.values() == expected(range(5))
    assert (backend.mark(), len(backend.quarantine())) == ((0, count), GIVEN_UP_MOST)


async def test_a_lost_answer_to_a_quarantining_commit_is_no_error(backend: Backend) -> None:
    log = FakeLog([raw(0, base=66.0), raw(1)])
    backend.refuse(66)
    worker = await Worker(backend, log).start()
    worker.store.after = [StoreUnavailable("the connection broke after COMMIT")]
    await worker.run()
    await worker.run()
    assert (backend.values(), backend.quarantine()) == (expected([1]), [(0, -1, "write_refused")])
    assert backend.mark() == (0, 2)


@pytest.mark.parametrize("error", [StoreUnavailable, StoreStrained, StoreRefused])
async def test_every_answer_of_the_database_is_a_sign_of_life(backend: Backend, error: type[Exception]) -> None:
    """Else a long wait, or a long search for one bad record, would be taken for a process that is stuck."""
    worker = await Worker(backend, log_of(8)).start()
    worker.store.fault = lambda batch: error("no") if len(worker.store.tried) < 4 else None
    await worker.run()
    assert worker.signs == len(worker.store.tried) > 3
    assert backend.values() == expected(range(8))


async def test_a_worker_that_is_fenced_goes_where_the_database_says(backend: Backend) -> None:
    records = [raw(offset) for offset in range(10)]
    zombie, heir = Worker(backend, FakeLog(records)), Worker(backend, FakeLog(records))
    await zombie.start()
    await zombie.recorder.take(zombie.log.deliver(3))
    await heir.start()
    await heir.recorder.take(heir.log.deliver(4))
    await zombie.recorder.take(zombie.log.deliver(5))
    assert backend.mark() == (0, 6)
    assert zombie.log.seeks == [5], "at the anchor before the watermark"
    await zombie.run()
    await heir.run()
    assert backend.values() == expected(range(10))
    assert backend.duplicates() == 0


async def test_records_of_a_partition_that_is_not_assigned_are_left_alone(backend: Backend) -> None:
    worker = await Worker(backend, log_of(2)).start()
    await worker.recorder.take([raw(0, partition=5), *worker.log.deliver(), raw(1, partition=5)])
    assert backend.values() == expected(range(2))


async def test_a_skipped_record_is_read_again(backend: Backend) -> None:
    worker = await Worker(backend, log_of(10)).start()
    worker.log.fetch()
    del worker.log.buffer[4:6]
    await worker.run(most=3)
    assert worker.log.seeks == [4]
    assert backend.values() == expected(range(10))
    assert backend.duplicates() == 0


async def test_a_seek_that_takes_effect_late_does_not_open_a_gap(backend: Backend) -> None:
    """Behind the gap the consumer gives again what it fetched before the seek: no proof that nothing is there."""
    worker = await Worker(backend, log_of(8)).start()
    await worker.recorder.take([raw(0), raw(1), raw(5), raw(6), raw(5), raw(6), raw(7), raw(6)])
    assert backend.mark() == (0, 2)
    await worker.run()
    assert backend.values() == expected(range(8))


async def test_a_gap_that_the_log_really_has_is_accepted(backend: Backend) -> None:
    log = FakeLog([raw(offset) for offset in (0, 1, 5, 6)])
    await (await Worker(backend, log).start()).run(most=1)
    assert backend.values() == expected(range(4))
    assert backend.mark() == (0, 7)


async def test_everything_delivered_again_is_stored_once(backend: Backend) -> None:
    worker = await Worker(backend, log_of(6)).start()
    await worker.run()
    worker.log.position = 0
    await worker.run()
    assert backend.values() == expected(range(6))
    assert (backend.duplicates(), backend.mark(), worker.log.looks) == (0, (0, 6), 1)


async def test_what_was_delivered_again_is_told_with_the_next_record_of_its_partition(backend: Backend) -> None:
    worker = await Worker(backend, log_of(6)).start()
    worker.log.records[1] = raw(1, b"rubbish")
    await worker.run()
    worker.log.position = 2
    await worker.run()
    await worker.recorder.take([worker.log.records[1]])
    assert backend.redelivered() == 0, "it has no transaction of its own"
    worker.log.records.append(raw(6))
    await worker.run()
    assert backend.redelivered() == 2 * 4 + 1, "two samples a record, and one for the record that tells none"
    worker.log.records.append(raw(7))
    await worker.run()
    assert (backend.redelivered(), backend.duplicates()) == (9, 0), "told once"


@pytest.mark.parametrize("mishap", ["refused", "away", "answer lost"])
async def test_what_was_delivered_again_is_told_once_whatever_becomes_of_the_batch(
    backend: Backend, mishap: str
) -> None:
    worker = await Worker(backend, log_of(4)).start()
    await worker.run()
    worker.log.position = 0
    worker.log.records += [raw(offset, base=66.0 if offset == 6 else 60.0) for offset in range(4, 9)]
    if mishap == "refused":
        backend.refuse(66)
    elif mishap == "away":
        worker.store.before = [StoreUnavailable("down")] * 3
    else:
        worker.store.after = [StoreUnavailable("the connection broke after COMMIT")]
    await worker.run()
    assert backend.redelivered() == 2 * 4
    assert backend.mark() == (0, 9)


async def test_the_records_of_a_log_that_began_anew_are_no_redelivery(backend: Backend) -> None:
    """Until the log is looked at they seem to be one; by then nothing was told."""
    worker = await Worker(backend, log_of(5)).start()
    await worker.run()
    worker.log.position = 0
    await worker.run()
    worker.log.records = [raw(offset, patient="p2") for offset in range(7)]
    worker.log.position = 0
    await worker.run()
    assert backend.values() == expected(range(12))
    assert (backend.mark(), backend.redelivered(), backend.duplicates()) == ((1, 7), 0, 0)


async def test_a_new_worker_goes_on_where_the_last_one_was_killed(backend: Backend) -> None:
    log = log_of(9)
    first = await Worker(backend, log).start()
    await first.recorder.take(log.deliver(4))
    second = await Worker(backend, log).start()
    assert log.position == 3, "one before the watermark, to recognise the log"
    await second.run()
    assert backend.values() == expected(range(9))
    assert (backend.duplicates(), log.looks) == (0, 1), "the log is looked at on assignment, and not again"


@pytest.mark.parametrize("running", [False, True], ids=["between two workers", "beneath a running worker"])
@pytest.mark.parametrize("length", [1, 3, 4, 5, 12])
async def test_a_log_that_began_anew_is_noticed(backend: Backend, running: bool, length: int) -> None:
    log = log_of(5)
    worker = await Worker(backend, log).start()
    await worker.run()
    log.records = [raw(offset, patient="p2") for offset in range(length)]
    log.position = 0
    if not running:
        worker = await Worker(backend, log).start()
    await worker.run()
    assert backend.values() == expected(range(5 + length))
    assert backend.mark() == (1, length)
    assert backend.duplicates() == 0


async def test_a_log_that_is_empty_now_is_noticed_on_assignment(backend: Backend) -> None:
    """A broker may answer a fetch beyond the log's end with nothing, for as long as the new log is the shorter one."""
    log = log_of(5)
    await (await Worker(backend, log).start()).run()
    log.records = []
    await Worker(backend, log).start()
    assert (backend.mark(), log.position) == ((1, 0), 0)


async def test_a_log_that_was_copied_to_a_new_broker_is_not_stored_twice(backend: Backend) -> None:
    """The same samples at other offsets: the identity alone guards."""
    log = log_of(6)
    await (await Worker(backend, log).start()).run()
    log.records = [replace(raw(offset), offset=offset - 2) for offset in range(2, 9)]
    worker = await Worker(backend, log).start()
    await worker.run()
    assert backend.values() == expected(range(9))
    assert backend.mark() == (1, 7)
    assert backend.duplicates() == 2 * 4


async def test_two_workers_that_notice_a_new_log_begin_one_epoch(backend: Backend) -> None:
    log = log_of(5)
    await (await Worker(backend, log).start()).run()
    fresh = [raw(offset, patient="p2") for offset in range(3)]
    one, other = Worker(backend, FakeLog(fresh)), Worker(backend, FakeLog(fresh))
    await one.start()
    await other.start()
    await one.recorder.take(one.log.deliver(1))
    await other.recorder.take(other.log.deliver(1))
    await asyncio.gather(one.run(), other.run())
    assert backend.mark() == (1, 3)
    assert backend.values() == expected(range(8))


async def test_a_batch_too_large_for_one_transaction_is_cut(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(10)
    size = len(log.records[0].value or b"")
    monkeypatch.setattr(module, "_MAX_PIECE_BYTES", 3 * size)
    worker = await Worker(backend, log).start()
    await worker.run()
    assert worker.store.writes == [3, 3, 3, 1]
    assert backend.values() == expected(range(10))


async def test_a_write_that_was_cancelled_is_done_by_whoever_is_assigned_next(backend: Backend) -> None:
    worker = await Worker(backend, log_of(5)).start()
    worker.store.before = [StoreUnavailable("down")] * 10_000
    taking = asyncio.ensure_future(worker.recorder.take(worker.log.deliver()))
    await asyncio.sleep(0.02)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    worker.store.before.clear()
    await worker.start()
    await worker.run()
    assert backend.values() == expected(range(5))


async def test_an_error_of_ours_is_not_swallowed(backend: Backend) -> None:
    worker = await Worker(backend, log_of(2)).start()
    worker.store.before = [KeyError("a bug")]
    with pytest.raises(KeyError):
        await worker.run()
    assert backend.values() == []


def test_waits_double_up_to_the_most_and_never_vanish() -> None:
    backoff = Backoff(0.1, 5.0)
    for attempt, ceiling in [(1, 0.1), (2, 0.2), (3, 0.4), (7, 5.0), (10_000, 5.0)]:
        delays = [backoff.delay_s(attempt) for _ in range(50)]
        assert ceiling / 2 <= min(delays) <= max(delays) <= ceiling
        assert len(set(delays)) > 1, "jitter"


def test_pieces_keep_every_record_in_order() -> None:
    records: list[RawRecord] = [
        raw(offset, bytes(size)) for offset, size in enumerate([1, 9_000_000, 5, 5_000_000] * 3)
    ]
    pieces: Any = module.pieces_of(records)
    assert [one.offset for piece in pieces for one in piece] == list(range(12))
    assert all(len(piece) == 1 or sum(len(one.value or b"") for one in piece) <= 8 * 1024**2 for piece in pieces)
    assert module.pieces_of([]) == []
