"""The store on PostgreSQL 18: all of a batch or nothing of it, whatever breaks, and nothing twice."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.timeseries.making import T0, Partition, S, query, rows
from timeseries.migrate import migrate
from timeseries.model import Fenced, Rejected, StoreRefused, StoreUnavailable, Watermark, WriteOutcome
from timeseries.rows import COLUMNS, Rows, from_copy
from timeseries.store import SampleStore
from vigil.embedded.postgres import EmbeddedPostgres
from vitals.clock import to_datetime

HOUR = 3_600 * S
GONE = 128


@pytest.fixture
async def url(database: str) -> str:
    return database


@pytest.fixture
async def store(url: str) -> AsyncIterator[SampleStore]:
    async with SampleStore(url) as opened:
        yield opened


@pytest.fixture
def lane() -> Partition:
    return Partition()


async def put(store: SampleStore, lane: Partition, samples: Rows, **more: Any) -> WriteOutcome:
    outcome = await store.write(lane.batch(samples, **more))
    lane.stored(more.get("records", 1))
    return outcome


def stored(url: str, table: str = "samples") -> Rows:
    with psycopg.connect(url) as connection:
        select = f"SELECT {', '.join(COLUMNS)} FROM {table} ORDER BY patient_key, time, written_at"
        with connection.cursor().copy(f"COPY ({select}) TO STDOUT (FORMAT BINARY)".encode()) as out:
            return from_copy(b"".join(bytes(part) for part in out))


def values(url: str, table: str = "samples") -> list[float]:
    return [float(value) for value in stored(url, table)["value"]]


def mark(url: str, topic: str = "vigil.samples") -> tuple[Any, ...]:
    rows_ = query(
        url, f"SELECT epoch, next_offset, last_timestamp_ms, last_crc FROM watermarks WHERE topic = '{topic}'"
    )
    return rows_[0] if rows_ else (0, 0, None, None)


# The fast path


async def test_new_samples_are_stored_as_they_are_with_all_they_imply(
    store: SampleStore, url: str, lane: Partition
) -> None:
    samples = rows(500, value=np.random.default_rng(1).normal(size=500), patient_key=np.arange(500) % 3)
    shuffled = samples[np.random.default_rng(2).permutation(500)]
    assert await put(store, lane, shuffled, records=7) == WriteOutcome(inserted=500)
    assert stored(url).tobytes() == samples[np.lexsort((samples["time"], samples["patient_key"]))].tobytes()
    assert mark(url) == (0, 7, 1_717_243_200_000, 2**32 - 1)
    assert query(url, "SELECT patient_key, time, value FROM latest ORDER BY 1") == [
        (p, to_datetime(int(samples["time"][at])), samples["value"][at]) for p, at in ((0, 498), (1, 499), (2, 497))
    ]
    assert query(url, "SELECT patient_key, hour, from_time, to_time FROM dirty_ranges ORDER BY 1")[0] == (
        0, to_datetime(T0), to_datetime(T0), to_datetime(T0 + 498 * S),
    )  # fmt: skip
    assert query(url, "SELECT count(*) FROM duplicates") == [(0,)]


async def test_more_than_a_chunk_of_the_wire(store: SampleStore, url: str, lane: Partition) -> None:
    assert (await put(store, lane, rows(20_000))).inserted == 20_000
    assert query(url, "SELECT count(*) FROM samples") == [(20_000,)]


async def test_a_batch_of_nothing_but_rejected_moves_the_watermark(
    store: SampleStore, url: str, lane: Partition
) -> None:
    assert await put(store, lane, rows(0), rejected=[Rejected(0, -1, "undecodable")]) == WriteOutcome(inserted=0)
    assert mark(url)[1] == 1
    assert query(url, 'SELECT "offset", index, reason, metric FROM quarantine') == [(0, -1, "undecodable", None)]


async def test_several_partitions_move_together_or_not_at_all(store: SampleStore, url: str) -> None:
    lanes = [Partition(partition=n) for n in (2, 0, 1)]
    batch = replace(lanes[0].batch(rows(1)), advances=[one.advance() for one in lanes])
    await store.write(batch)
    marks = await store.watermarks(["vigil.samples", "no.such.topic"])
    assert {partition: one.next_offset for (_, partition), one in marks.items()} == {0: 1, 1: 1, 2: 1}
    ahead = replace(lanes[1].advance(), from_offset=7)
    with pytest.raises(Fenced):
        await store.write(
            replace(batch, rows=rows(1, value=61), advances=[replace(lanes[0].advance(), from_offset=1), ahead])
        )
    marks = await store.watermarks(["vigil.samples"])
    assert {one.next_offset for one in marks.values()} == {1}


# The conflict path


async def test_the_same_again_is_counted_not_stored(store: SampleStore, url: str, lane: Partition) -> None:
    await put(store, lane, rows(10))
    fresh_and_known = rows(15)
    assert await put(store, lane, fresh_and_known) == WriteOutcome(inserted=5, duplicates=10)
    assert await put(store, lane, np.tile(rows(15), 3)) == WriteOutcome(inserted=0, duplicates=45)
    assert len(stored(url)) == 15
    assert query(url, "SELECT adapter, reason, samples FROM duplicates") == [("ble", "resent", 55)]


def again(url: str) -> list[tuple[Any, ...]]:
    return query(url, "SELECT adapter, reason, samples FROM duplicates ORDER BY 1, 2")


async def test_the_same_export_read_twice_is_an_overlap_and_a_device_that_repeats_itself_is_not(
    store: SampleStore, url: str, lane: Partition
) -> None:
    export = {"adapter": "apple-export", "records": 3}
    assert (await put(store, lane, rows(15), **export)).inserted == 15
    assert await put(store, lane, rows(15), **export) == WriteOutcome(inserted=0, duplicates=15)
    assert again(url) == [("apple-export", "overlapping_export", 15)]
    assert await put(store, lane, rows(18), **export) == WriteOutcome(inserted=3, duplicates=15), "a later export"
    assert await put(store, lane, rows(4)) == WriteOutcome(inserted=0, duplicates=4), "a device, of what an export told"
    assert await put(store, lane, rows(2, patient_key=2)) == WriteOutcome(inserted=2)
    assert await put(store, lane, rows(2, patient_key=2), **export) == WriteOutcome(inserted=0, duplicates=2)
    assert again(url) == [("apple-export", "overlapping_export", 32), ("ble", "resent", 4)]
    assert len(stored(url)) == 20


async def test_a_replay_of_what_an_export_told_is_no_export(store: SampleStore, url: str, lane: Partition) -> None:
    replayed = {"adapter": "apple-export", "headers": [("vigil-replay", b"vigil.samples.backfill/0/0/1")]}
    await put(store, lane, rows(5), **replayed)
    await put(store, lane, rows(5), **replayed)
    assert again(url) == [("apple-export", "resent", 5)]


async def test_duplicates_that_never_became_rows_are_counted_too(store: SampleStore, url: str, lane: Partition) -> None:
    lane.duplicates = {("healthkit", "redelivered"): 7, ("ble", "resent"): 2}
    await put(store, lane, rows(3))
    await put(store, lane, rows(3))
    assert query(url, "SELECT adapter, reason, samples FROM duplicates ORDER BY 1") == [
        ("ble", "resent", 7), ("healthkit", "redelivered", 14),
    ]  # fmt: skip


async def test_a_correction_leaves_the_older_version_aside(store: SampleStore, url: str, lane: Partition) -> None:
    await put(store, lane, rows(3))
    newer = rows(1, value=99, written_at=T0 + HOUR)
    older = rows(1, value=11, written_at=T0 - HOUR)
    assert await put(store, lane, newer) == WriteOutcome(inserted=0, replaced=1, revisions=1)
    assert await put(store, lane, older) == WriteOutcome(inserted=0, revisions=1)
    assert values(url) == [99, 60, 60]
    assert values(url, "sample_revisions") == [11, 60]
    assert await put(store, lane, np.concatenate([newer, older, rows(1)])) == WriteOutcome(inserted=0, duplicates=3)


async def test_a_growing_aggregate_within_one_batch(store: SampleStore, url: str, lane: Partition) -> None:
    growing = rows(
        50, time=T0, duration_ms=3_600_000, metric_key=16, value=np.arange(50.0), written_at=T0 + np.arange(50)
    )
    assert await put(store, lane, growing) == WriteOutcome(inserted=1, revisions=49)
    assert values(url) == [49]


async def test_a_conflict_goes_into_quarantine_with_its_record(store: SampleStore, url: str, lane: Partition) -> None:
    await put(store, lane, rows(4))
    contradicting = rows(4, value=[60, 10, 60, 20])
    assert await put(store, lane, contradicting, records=2) == WriteOutcome(inserted=0, duplicates=2, conflicts=2)
    assert query(url, 'SELECT "offset", index, reason FROM quarantine ORDER BY 1') == [
        (1, 1, "conflict"),
        (2, 1, "conflict"),
    ]
    assert query(url, 'SELECT "offset", patient_id, key, value FROM quarantine_records ORDER BY 1') == [
        (1, "p1", b"p1", b"raw"), (2, "p1", b"p1", b"raw"),
    ]  # fmt: skip
    assert values(url) == [60] * 4


async def test_a_tombstone_takes_the_sample_away_and_guards_its_identity(
    store: SampleStore, url: str, lane: Partition
) -> None:
    await put(store, lane, rows(3, value=[1, 2, 3]))
    gone = rows(3, value=0, quality=0, flags=np.int16(GONE), written_at=T0 + HOUR)[2:]
    assert await put(store, lane, gone) == WriteOutcome(inserted=0, replaced=1, revisions=1)
    assert query(url, "SELECT value FROM current_samples") == []  # no patient has a key here, the view joins words
    assert query(url, "SELECT value FROM samples WHERE flags & 128 = 0 ORDER BY time") == [(1,), (2,)]
    assert query(url, "SELECT value FROM latest") == [(2,)], "a tile must not show what the source deleted"
    assert await put(store, lane, rows(3, value=[1, 2, 3])) == WriteOutcome(inserted=0, duplicates=3)
    assert query(url, "SELECT value FROM latest") == [(2,)]
    for at in (0, 1):
        await put(store, lane, replace_gone(rows(3)[[at]]))
    assert query(url, "SELECT value FROM latest") == []
    unknown = rows(1, time=T0 - HOUR, flags=np.int16(GONE))
    assert await put(store, lane, unknown) == WriteOutcome(inserted=1), "told before the sample itself"
    assert await put(store, lane, rows(1, time=T0 - HOUR, written_at=T0 - 2 * HOUR)) == WriteOutcome(
        inserted=0, revisions=1
    )
    assert query(url, "SELECT value FROM latest") == []


def replace_gone(samples: Rows) -> Rows:
    samples["flags"], samples["value"], samples["written_at"] = GONE, 0, T0 + HOUR
    return samples


async def test_latest_never_goes_back_in_time(store: SampleStore, url: str, lane: Partition) -> None:
    await put(store, lane, rows(1, time=T0 + HOUR, value=2))
    await put(store, lane, rows(1, time=T0, value=1))
    assert query(url, "SELECT value FROM latest") == [(2,)]
    await put(store, lane, rows(1, time=T0 + HOUR, value=3, written_at=T0 + 2 * HOUR))
    assert query(url, "SELECT value FROM latest") == [(3,)], "a correction of the newest shows"


_ops = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(0, 3), st.sampled_from([1.0, 2.0, 3.0]), st.booleans(), st.booleans()
    ),
    min_size=1, max_size=30,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ops=_ops)
async def test_any_history_adds_up_and_latest_is_the_newest_that_stands(
    store: SampleStore, url: str, ops: list[tuple[int, int, float, bool, bool]]
) -> None:
    query(url, "TRUNCATE samples, sample_revisions, latest, watermarks, quarantine, quarantine_records, duplicates")
    lane = Partition()
    sent = 0
    outcome = [0] * 5
    batch: list[Rows] = []
    for second, written, value, gone, flush in ops:
        batch.append(rows(1, time=T0 + second * S, written_at=T0 + written, value=0 if gone else value,
                          flags=np.int16(GONE if gone else 0)))  # fmt: skip
        if flush or len(batch) == len(ops):
            done = await put(store, lane, np.concatenate(batch))
            sent += len(batch)
            batch = []
            outcome = [a + b for a, b in zip(outcome, _counts(done), strict=True)]
    inserted, _, revisions, duplicates, conflicts = outcome
    assert sent == inserted + revisions + duplicates + conflicts
    assert len(stored(url)) == inserted
    assert len(stored(url, "sample_revisions")) == revisions
    assert query(url, "SELECT count(*) FROM quarantine") == [(conflicts,)]
    assert query(url, "SELECT coalesce(sum(samples), 0)::int FROM duplicates") == [(duplicates,)]
    assert query(url, "SELECT time, value FROM latest") == query(
        url, "SELECT time, value FROM samples WHERE flags & 128 = 0 ORDER BY time DESC LIMIT 1"
    )


def _counts(done: WriteOutcome) -> list[int]:
    return [done.inserted, done.replaced, done.revisions, done.duplicates, done.conflicts]


# Fencing


async def test_a_zombie_cannot_write(store: SampleStore, url: str, lane: Partition) -> None:
    async with SampleStore(url) as zombie:
        late = lane.batch(rows(3, value=1))
        await put(store, lane, rows(3, value=2))
        with pytest.raises(Fenced):
            await zombie.write(late)
        assert values(url) == [2, 2, 2]
        assert values(url, "sample_revisions") == []
        assert (await zombie.write(lane.batch(rows(3, value=2)))).duplicates == 3, "fenced, not broken"


async def test_of_two_at_the_same_moment_one_is_fenced(url: str, lane: Partition) -> None:
    async with SampleStore(url) as one, SampleStore(url) as other:
        batches = [lane.batch(rows(2_000, value=n)) for n in (1, 2)]
        outcomes = await asyncio.gather(one.write(batches[0]), other.write(batches[1]), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Fenced", "WriteOutcome"]
    assert len(set(values(url))) == 1
    assert len(stored(url)) == 2_000


async def test_a_new_epoch_fences_the_old_one(store: SampleStore, url: str, lane: Partition) -> None:
    await put(store, lane, rows(3), records=3)
    renewed = await store.begin_epoch(Watermark("vigil.samples", 0, 0, 3), 1)
    assert renewed == Watermark("vigil.samples", 0, 1, 1)
    assert await store.watermarks(["vigil.samples"]) == {("vigil.samples", 0): renewed}
    with pytest.raises(Fenced):
        await store.begin_epoch(Watermark("vigil.samples", 0, 0, 3), 0)
    with pytest.raises(Fenced):
        await store.write(lane.batch(rows(3)))
    lane.epoch, lane.next_offset = 1, 1
    assert (await put(store, lane, rows(4))).duplicates == 3


async def test_a_partition_that_nobody_recorded_can_begin_an_epoch(store: SampleStore) -> None:
    assert await store.begin_epoch(Watermark("vigil.samples", 5), 40) == Watermark("vigil.samples", 5, 1, 40)


# What the database refuses


@pytest.mark.parametrize("column", ["time", "written_at"])
async def test_a_batch_that_a_column_cannot_hold_is_refused_whole(
    store: SampleStore, url: str, lane: Partition, column: str
) -> None:
    bad = rows(3)
    bad[column][1] = -(2**62)
    with pytest.raises(StoreRefused, match="SQLSTATE 22008"):
        await store.write(lane.batch(bad))
    assert len(stored(url)) == 0
    assert mark(url) == (0, 0, None, None)
    assert (await put(store, lane, rows(3))).inserted == 3, "the connection goes on"


async def test_a_check_that_an_operator_added_refuses(store: SampleStore, url: str, lane: Partition) -> None:
    query(url, "ALTER TABLE samples ADD CHECK (value < 100)")
    with pytest.raises(StoreRefused, match="SQLSTATE 23514"):
        await store.write(lane.batch(rows(3, value=[1, 100, 2])))
    assert (await put(store, lane, rows(2))).inserted == 2


async def test_text_that_the_client_cannot_send_is_refused_not_retried_for_ever(
    store: SampleStore, url: str, lane: Partition
) -> None:
    with pytest.raises(StoreRefused):
        await store.write(lane.batch(rows(1), [Rejected(0, 0, "nul\0")]))
    assert (await put(store, lane, rows(1))).inserted == 1


async def test_foreign_headers_of_any_content_can_be_quarantined(store: SampleStore, url: str, lane: Partition) -> None:
    strange = [("a\0b", b"\0\xff"), ("back\\slash", None), ("\u2028", b""), ("\U0001f600", b"x" * 10_000)]
    batch = lane.batch(rows(0), [Rejected(0, -1, "headers")], headers=strange, key=b"\0", value=None)
    await store.write(batch)
    ((headers,),) = query(url, "SELECT headers FROM quarantine_records")
    assert [name for name, _ in headers] == ["a\\0b", "back\\\\slash", "\u2028", "\U0001f600"]
    assert query(url, "SELECT key, value FROM quarantine_records") == [(b"\0", None)]


async def test_quarantine_twice_is_quarantine_once(store: SampleStore, url: str, lane: Partition) -> None:
    rejected = [
        Rejected(0, 0, "future", "heart_rate"),
        Rejected(0, 4, "too_old", "spo2"),
        Rejected(1, -1, "undecodable"),
    ]
    batch = lane.batch(rows(0), rejected, records=2)
    await store.write(batch)
    query(url, "UPDATE watermarks SET next_offset = 0")
    await store.write(batch)
    assert query(url, 'SELECT "offset", index, reason, metric FROM quarantine ORDER BY 1, 2') == [
        (0, 0, "future", "heart_rate"), (0, 4, "too_old", "spo2"), (1, -1, "undecodable", None),
    ]  # fmt: skip
    assert query(url, "SELECT count(*) FROM quarantine_records") == [(2,)]


# What breaks on the way


def _backends(url: str) -> list[int]:
    return [pid for (pid,) in query(url, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                                         "AND pid <> pg_backend_pid()")]  # fmt: skip


@pytest.fixture
def in_mid_copy(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is put into the list runs once, after the first chunk of the next COPY went out."""
    todo: list[Any] = []
    write = psycopg.AsyncCopy.write

    async def spying(self: Any, buffer: Any) -> None:
        await write(self, buffer)
        if todo:
            await todo.pop()()

    monkeypatch.setattr(psycopg.AsyncCopy, "write", spying)
    return todo


async def test_a_connection_cut_in_mid_copy_stores_nothing_and_the_next_write_is_fine(
    store: SampleStore, url: str, lane: Partition, in_mid_copy: list[Any]
) -> None:
    async def cut() -> None:
        for pid in _backends(url):
            query(url, f"SELECT pg_terminate_backend({pid})")

    in_mid_copy.append(cut)
    with pytest.raises(StoreUnavailable):
        await store.write(lane.batch(rows(50_000)))
    assert len(stored(url)) == 0
    assert mark(url) == (0, 0, None, None)
    assert (await put(store, lane, rows(50_000))).inserted == 50_000


async def test_a_write_cancelled_in_mid_copy_leaves_nothing_and_the_store_usable(
    store: SampleStore, url: str, lane: Partition, in_mid_copy: list[Any]
) -> None:
    reached = asyncio.Event()

    async def pause() -> None:
        reached.set()
        await asyncio.sleep(60)

    in_mid_copy.append(pause)
    writing = asyncio.ensure_future(store.write(lane.batch(rows(50_000))))
    await reached.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (await put(store, lane, rows(10))).inserted == 10
    assert len(stored(url)) == 10


async def test_a_write_cancelled_at_any_moment_is_all_or_nothing(store: SampleStore, url: str) -> None:
    lane = Partition()
    for n in range(25):
        before = mark(url)[1]
        lane.next_offset = before
        writing = asyncio.ensure_future(store.write(lane.batch(rows(2_000, patient_key=n))))
        await asyncio.sleep(n * 0.001)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        moved = mark(url)[1] - before
        assert query(url, f"SELECT count(*) FROM samples WHERE patient_key = {n}") == [(2_000 * moved,)]


async def test_calls_that_overlap_wait_for_each_other(store: SampleStore, url: str, lane: Partition) -> None:
    """After a rebalance the recorder asks for watermarks while a batch of before is still being written."""

    async def ask() -> int:
        await asyncio.sleep(0.02)
        marks = await store.watermarks(["vigil.samples"])
        return marks["vigil.samples", 0].next_offset

    await put(store, lane, rows(1))
    outcome, *seen = await asyncio.gather(
        store.write(lane.batch(rows(30_000, patient_key=7))),
        *(ask() for _ in range(5)),
        store.resolve_keys(["p9"], [("d9", "app")]),
    )
    assert outcome == WriteOutcome(inserted=30_000)
    assert set(seen[:5]) == {2}, "after the commit, not from within"
    assert store.keys.knows(["p9"], [("d9", "app")])


async def test_a_statement_that_takes_too_long_is_unavailable(url: str, lane: Partition) -> None:
    async with SampleStore(url, statement_timeout_s=0.3) as hasty:
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE samples IN EXCLUSIVE MODE")
            with pytest.raises(StoreUnavailable, match="57014"):
                await hasty.write(lane.batch(rows(1)))
        assert (await put(hasty, lane, rows(1))).inserted == 1


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with SampleStore("postgresql://nobody@127.0.0.1:1/none", connect_timeout_s=2) as nowhere:
        with pytest.raises(StoreUnavailable):
            await nowhere.watermarks(["vigil.samples"])


async def test_a_read_only_database_is_unavailable_until_it_is_writable(
    store: SampleStore, url: str, lane: Partition
) -> None:
    await store.watermarks([])
    assert store._connection is not None
    await store._connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="25006"):
        await store.write(lane.batch(rows(1)))
    assert (await put(store, lane, rows(1))).inserted == 1


async def test_a_server_killed_and_restarted_keeps_what_was_committed(in_mid_copy: list[Any]) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="vigil-store-") as folder,
        EmbeddedPostgres(Path(folder) / "data") as server,
    ):
        migrate(server.url)
        lane = Partition()
        async with SampleStore(server.url) as store:
            await store.resolve_keys(["p1"], [("d1", "app")])
            await put(store, lane, rows(1_000))

            async def kill() -> None:
                server.kill()

            in_mid_copy.append(kill)
            with pytest.raises(StoreUnavailable):
                await store.write(lane.batch(rows(40_000, patient_key=2)))
            with pytest.raises(StoreUnavailable):
                await store.write(lane.batch(rows(40_000, patient_key=2)))
            server.start()
            assert (await store.watermarks(["vigil.samples"]))["vigil.samples", 0].next_offset == 1
            assert len(stored(server.url)) == 1_000
            assert (await put(store, lane, rows(40_000, patient_key=2))).inserted == 40_000
            assert query(server.url, "SELECT patient_key FROM patients") == [(store.keys.patients["p1"],)]


# Keys


async def test_keys_are_the_same_for_every_store(url: str) -> None:
    patients = [f"p{n}" for n in range(50)]
    origins = [(f"d{n % 7}", f"app{n % 3}") for n in range(50)]
    async with SampleStore(url) as one, SampleStore(url) as other:
        await asyncio.gather(one.resolve_keys(patients, origins), other.resolve_keys(patients[::-1], origins[::-1]))
        assert one.keys.patients == other.keys.patients
        assert one.keys.origins == other.keys.origins
        assert len(set(one.keys.patients.values())) == 50
        assert len(one.keys.origins) == len(set(origins))
        before = query(url, "SELECT last_value FROM patients_patient_key_seq")
        await one.resolve_keys(patients, origins)
        assert query(url, "SELECT last_value FROM patients_patient_key_seq") == before


async def test_keys_of_a_transaction_that_broke_off_are_not_remembered(
    store: SampleStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else samples would be stored under a key that no patient has, and a second time under the one that he gets."""
    execute = psycopg.AsyncConnection.execute

    async def failing(self: Any, statement: Any, *more: Any, **named: Any) -> Any:
        if "JOIN origins" in str(statement):
            await execute(self, b"SELECT pg_terminate_backend(pg_backend_pid())")
        return await execute(self, statement, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.AsyncConnection, "execute", failing)
        with pytest.raises(StoreUnavailable):
            await store.resolve_keys(["p1"], [("d1", "app")])
    assert query(url, "SELECT count(*) FROM patients") == [(0,)]
    await store.resolve_keys(["p1"], [("d1", "app")])
    assert query(url, "SELECT patient_key FROM patients") == [(store.keys.patients["p1"],)]


async def test_a_ring_that_is_full_learns_anew(store: SampleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeseries.keys._MAX_KNOWN", 3)
    for n in range(10):
        await store.resolve_keys([f"p{n}", "p0"], [("d0", "app")])
        assert store.keys.knows([f"p{n}", "p0"], [("d0", "app")])
        assert len(store.keys.patients) <= 5
    assert len({store.keys.patients["p0"]}) == 1


# Two lanes


async def test_two_lanes_on_the_same_identities_end_with_the_winners(url: str) -> None:
    """Live and backfill tell of the same hours at once; whatever they do, the greatest version of each stands."""
    draw = np.random.default_rng(5)
    told: list[Rows] = []

    async def lane(topic: str) -> list[int]:
        partition = Partition(topic)
        counts = [0] * 5
        async with SampleStore(url) as store:
            for _ in range(25):
                samples = rows(40, time=T0 + draw.integers(0, 30, 40) * S, value=draw.integers(0, 50, 40).astype(float))
                samples["written_at"] = T0 + draw.integers(0, 1_000, 40)
                told.append(samples)
                while True:
                    try:
                        done = await put(store, partition, samples)
                        break
                    except StoreUnavailable:
                        await asyncio.sleep(draw.random() * 0.01)
                counts = [a + b for a, b in zip(counts, _counts(done), strict=True)]
        return counts

    counted = np.sum(
        await asyncio.gather(*(lane(topic) for topic in ("vigil.samples", "vigil.samples.backfill", "x"))), 0
    )
    every = np.concatenate(told)
    order = np.lexsort((every["value"], every["written_at"], every["time"]))
    last = np.append(np.diff(every["time"][order]) != 0, True)
    winners = every[order][last]
    found = stored(url)
    assert found[["time", "written_at", "value"]].tolist() == winners[["time", "written_at", "value"]].tolist()
    inserted, _, revisions, duplicates, conflicts = counted.tolist()
    assert inserted == len(found)
    assert revisions == len(stored(url, "sample_revisions"))
    assert conflicts == query(url, "SELECT count(*) FROM quarantine")[0][0]
    assert len(every) == inserted + revisions + duplicates + conflicts
