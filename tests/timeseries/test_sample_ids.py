"""Sample ids: stored with their samples or not at all, and what a deletion by id finds."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest

from tests.timeseries.making import T0, Partition, S, query, rows
from timeseries import lifecycle
from timeseries.arrays import NumpyArrayDumper
from timeseries.deletion_store import DeletionStore, Mark, Open, Outcome, Told
from timeseries.migrate import migrate
from timeseries.model import Fenced, SampleIds, StoreUnavailable
from timeseries.queries import load
from timeseries.rows import Rows
from timeseries.sample_ids import columns_of
from timeseries.store import SampleStore
from vitals.clock import to_datetime
from vitals.quality import Flag

A, B, C = (UUID(int=number) for number in (1, 2, 2**127))
NONE = UUID(int=0)
LATER = 60 * S


@pytest.fixture
async def url(database: str) -> str:
    return database


@pytest.fixture
async def store(url: str) -> AsyncIterator[SampleStore]:
    async with SampleStore(url) as opened:
        await opened.resolve_keys(["p1"], [("d1", "app")])
        yield opened


@pytest.fixture
async def deletions(url: str) -> AsyncIterator[DeletionStore]:
    async with DeletionStore(url) as opened:
        yield opened


@pytest.fixture
def lane() -> Partition:
    return Partition()


def raw(*ids: UUID) -> np.ndarray:
    return np.frombuffer(b"".join(one.bytes for one in ids), np.uint8).reshape(-1, 16)


def ids(*given: UUID) -> SampleIds | None:
    """The ids of the rows in their order, zeros where a row has none."""
    told = raw(*given)
    at = np.flatnonzero(told.any(axis=1))
    return SampleIds(at, told[at])


async def put(store: SampleStore, lane: Partition, samples: Rows, *given: UUID) -> Any:
    outcome = await store.write(replace(lane.batch(samples), ids=ids(*given)))
    lane.stored()
    return outcome


def told(*given: UUID, at_us: int = T0 + LATER, received_us: int | None = None, patient: str = "p1") -> Told:
    received = at_us if received_us is None else received_us
    return Told(patient, "phone", "vigil-ios", "gateway", raw(*given), at_us, received)


def kept(url: str) -> list[tuple[UUID, int, datetime]]:
    return query(url, "SELECT sample_id, metric_key, written_at FROM sample_ids ORDER BY sample_id, time, metric_key")


def state(url: str) -> dict[UUID, str | None]:
    return dict(query(url, "SELECT sample_id, outcome FROM deletions_told"))


async def look(deletions: DeletionStore) -> dict[UUID, Open]:
    return {one.sample_id: one for one in await deletions.due(1_000)}


# What the recorder stores


async def test_samples_with_an_id_have_a_row_and_others_none(store: SampleStore, url: str, lane: Partition) -> None:
    samples = rows(4, duration_ms=[0, 5, 0, 0], metric_key=[1, 2, 1, 1])
    await put(store, lane, samples, A, NONE, B, NONE)
    found = query(url, "SELECT sample_id, patient_key, origin_key, metric_key, time, duration_ms, written_at "
                       "FROM sample_ids ORDER BY 1")  # fmt: skip
    first, third = to_datetime(T0), to_datetime(T0 + 2 * S)
    assert found == [(A, 1, 1, 1, first, 0, first), (B, 1, 1, 1, third, 0, third)]
    await put(store, lane, rows(2, time=T0 + np.array([10, 11]) * S))
    assert len(kept(url)) == 2


async def test_an_id_is_not_a_row_of_another_order(store: SampleStore, url: str, lane: Partition) -> None:
    samples = rows(50)[::-1]
    given = [UUID(int=number + 1) for number in range(50)]
    await put(store, lane, samples, *given)
    found = dict(query(url, "SELECT sample_id, time FROM sample_ids"))
    assert found == {one: to_datetime(int(at)) for one, at in zip(given, samples["time"], strict=True)}


async def test_told_again_it_is_one_row_with_the_newest_written_time(
    store: SampleStore, url: str, lane: Partition
) -> None:
    for later in (0, 0, 120, 60):
        samples = rows(1, written_at=T0 + later * S, value=60 + later)
        await put(store, lane, np.concatenate([samples, samples]), A, A)
    assert kept(url) == [(A, 1, to_datetime(T0 + 120 * S))]


async def test_one_id_may_name_several_samples_and_one_sample_have_several_ids(
    store: SampleStore, url: str, lane: Partition
) -> None:
    series = rows(3)
    pressure = rows(2, time=T0, metric_key=[7, 8])
    await put(store, lane, np.concatenate([series, pressure]), A, A, A, B, B)
    await put(store, lane, rows(1), C)
    counts = query(url, "SELECT sample_id, count(*) FROM sample_ids GROUP BY 1 ORDER BY 1")
    assert counts == [(A, 3), (B, 2), (C, 1)]


async def test_what_is_refused_as_a_conflict_leaves_no_id(store: SampleStore, url: str, lane: Partition) -> None:
    await put(store, lane, rows(1, value=70), A)
    outcome = await put(store, lane, rows(2, value=[60, 61]), B, C)
    assert (outcome.conflicts, outcome.inserted) == (1, 1)
    assert [one for one, _, _ in kept(url)] == [A, C]


async def test_a_batch_that_is_not_stored_leaves_no_id(store: SampleStore, url: str, lane: Partition) -> None:
    batch = replace(lane.batch(rows(1)), ids=ids(A))
    await put(store, lane, rows(1, time=T0 + 9 * S))
    with pytest.raises(Fenced):
        await store.write(batch)
    assert kept(url) == []
    query(url, "ALTER TABLE sample_ids RENAME TO elsewhere")
    with pytest.raises(StoreUnavailable):
        await put(store, lane, rows(1), A)
    query(url, "ALTER TABLE elsewhere RENAME TO sample_ids")
    assert query(url, "SELECT count(*) FROM samples") == [(1,)], "nor a sample"


async def test_a_tombstone_without_id_leaves_the_ids_as_they_are(store: SampleStore, url: str, lane: Partition) -> None:
    await put(store, lane, rows(1), A)
    await put(store, lane, rows(1, flags=int(Flag.TOMBSTONE), value=0, quality=0))
    assert kept(url) == [(A, 1, to_datetime(T0))]


# What a deletion finds


async def test_a_deletion_finds_what_stands_under_its_id(
    store: SampleStore, url: str, lane: Partition, deletions: DeletionStore
) -> None:
    await put(store, lane, rows(3), A, A, B)
    await deletions.note(told(A, C, received_us=T0 + 2 * LATER))
    found = await look(deletions)
    assert {one.sample_id: (one.is_known, one.stands, one.looks) for one in found.values()} == {
        A: (True, True, 0), C: (False, False, 0),
    }  # fmt: skip
    standing = await deletions.standing([found[A]], 100)
    assert [(one.start_us, one.written_us) for one in standing] == [(T0, T0), (T0 + S, T0 + S)]
    one = standing[0]
    assert (one.patient_id, one.device_id, one.source_app, one.adapter) == ("p1", "d1", "app", "gateway")
    assert (one.metric, one.duration_ms, one.received_us) == (1, 0, T0 + 2 * LATER)
    assert len(await deletions.standing([found[A]], 1)) == 1
    assert await deletions.standing([], 10) == []
    assert len(await deletions.due(1)) == 1


@pytest.mark.parametrize(
    ("after", "stands"),
    [
        ([], True),
        ([rows(1, flags=int(Flag.TOMBSTONE), value=0, quality=0)], False),  # it is deleted already
        ([rows(1, value=61, written_at=T0 + S)], False),  # another version stands
        ([rows(1, value=61, written_at=T0 - S)], True),  # an older version came late
    ],
    ids=["stands", "tombstone", "corrected", "older"],
)
async def test_only_the_version_that_the_id_told_stands(
    store: SampleStore, lane: Partition, deletions: DeletionStore, after: list[Rows], stands: bool
) -> None:
    await put(store, lane, rows(1), A)
    for samples in after:
        await put(store, lane, samples)
    await deletions.note(told(A))
    assert (await look(deletions))[A].stands is stands


@pytest.mark.parametrize(
    ("told_s", "received_s", "stands"), [(0, 0, True), (-1, -1, False), (-3_600, 1, True), (1, -3_600, True)]
)
async def test_what_was_written_after_the_deletion_was_told_and_received_lives(
    store: SampleStore, lane: Partition, deletions: DeletionStore, told_s: int, received_s: int, stands: bool
) -> None:
    await put(store, lane, rows(1), A)
    await deletions.note(told(A, at_us=T0 + told_s * S, received_us=T0 + received_s * S))
    found = (await look(deletions))[A]
    assert (found.is_known, found.stands) == (True, stands)


async def test_a_sample_that_only_the_archive_has_stands(
    store: SampleStore, url: str, lane: Partition, deletions: DeletionStore
) -> None:
    await put(store, lane, rows(1), A)
    query(url, "DELETE FROM samples")
    await deletions.note(told(A))
    assert (await look(deletions))[A].stands


async def test_somebody_elses_id_is_unknown(store: SampleStore, lane: Partition, deletions: DeletionStore) -> None:
    await put(store, lane, rows(1), A)
    await deletions.note(told(A, patient="p2"))
    found = (await look(deletions))[A]
    assert not found.is_known
    assert await deletions.standing([found], 10) == []


async def test_the_same_telling_again_changes_nothing_and_a_later_one_opens_it(
    store: SampleStore, url: str, lane: Partition, deletions: DeletionStore
) -> None:
    await deletions.note(told(A, B))
    found = await look(deletions)
    marks = [Mark(found[A], 1, outcome=Outcome.UNKNOWN), Mark(found[B], 7, 3_600.0)]
    assert await deletions.mark(marks) == [Outcome.UNKNOWN]
    assert await look(deletions) == {}
    await deletions.note(told(A, B))
    await deletions.note(told(A, at_us=T0))
    assert (await look(deletions), state(url)) == ({}, {A: "unknown", B: None})
    await deletions.note(told(A, at_us=T0 + 2 * LATER))
    assert [(one.sample_id, one.looks) for one in (await look(deletions)).values()] == [(A, 0)]
    count, age_s = await deletions.waiting()
    assert count == 2
    assert age_s == pytest.approx(datetime.now(UTC).timestamp() - T0 / 1e6, abs=200)


async def test_what_was_told_again_since_it_was_read_is_not_marked(url: str, deletions: DeletionStore) -> None:
    await deletions.note(told(A))
    before = await look(deletions)
    await deletions.note(told(A, at_us=T0 + 2 * LATER))
    assert await deletions.mark([Mark(before[A], 1, outcome=Outcome.DONE)]) == []
    assert (await look(deletions)).keys() == {A}


# A sample that comes after its deletion


async def test_storing_a_sample_makes_the_deletion_due_that_waits_for_it(
    store: SampleStore, url: str, lane: Partition, deletions: DeletionStore
) -> None:
    await deletions.note(told(A, B, C))
    found = await look(deletions)
    await deletions.mark([Mark(found[A], 9, 3_600.0), Mark(found[B], 9, 3_600.0)])
    await deletions.mark([Mark(found[C], 51, outcome=Outcome.UNKNOWN)])
    assert await look(deletions) == {}
    await put(store, lane, rows(2), A, C)
    assert {one.sample_id: (one.stands, one.looks) for one in (await look(deletions)).values()} == {
        A: (True, 0), C: (True, 0),
    }  # fmt: skip
    assert state(url) == {A: None, B: None, C: None}


async def test_a_sample_told_anew_is_looked_at_only_where_it_is_not_newer_than_its_deletion(
    store: SampleStore, url: str, lane: Partition, deletions: DeletionStore
) -> None:
    for given, written in ((A, LATER), (B, LATER + S)):
        await put(store, lane, rows(1, metric_key=given.int), given)
        await deletions.note(told(given))
        found = await look(deletions)
        await put(store, lane, rows(1, metric_key=given.int, flags=int(Flag.TOMBSTONE), value=0, quality=0))
        assert await deletions.mark([Mark(found[given], 1, outcome=Outcome.DONE)]) == [Outcome.DONE]
        await put(store, lane, rows(1, metric_key=given.int), given)
        assert given not in await look(deletions), "the same telling once more is no news"
        await put(store, lane, rows(1, metric_key=given.int, written_at=T0 + written), given)
    assert {one.sample_id: one.stands for one in (await look(deletions)).values()} == {A: True}


async def test_whoever_marks_meanwhile_does_not_undo_what_the_recorder_said(
    store: SampleStore, lane: Partition, deletions: DeletionStore
) -> None:
    await deletions.note(told(A))
    before = (await look(deletions))[A]
    await put(store, lane, rows(1), A)
    assert await deletions.mark([Mark(before, 51, outcome=Outcome.UNKNOWN)]) == []
    assert (await look(deletions))[A].stands


async def test_five_thousand_ids_are_noted_and_looked_for_at_once(
    store: SampleStore, url: str, lane: Partition, deletions: DeletionStore
) -> None:
    given = [UUID(int=number + 1) for number in range(5_000)]
    await put(store, lane, rows(5_000), *given)
    await deletions.note(told(*given, at_us=T0 + 5_000 * S))
    due = await deletions.due(10_000)
    assert len(due) == 5_000
    assert all(one.stands for one in due)
    assert len({one.start_us for one in await deletions.standing(due, 10_000)}) == 5_000


# Their life


def test_ids_and_deletions_leave_by_their_policies_but_for_holds(url: str) -> None:
    query(url, "INSERT INTO patients (patient_id) VALUES ('p1'), ('p2')")
    query(url, "INSERT INTO legal_holds (patient_key, reason, placed_by) VALUES (2, 'case', 'u-1')")
    now = datetime.now(UTC)
    for patient, days in ((1, 399), (1, 402), (1, 500), (2, 500)):
        at = now - timedelta(days=days)
        query(url, "INSERT INTO sample_ids VALUES (%s, %s, %s, %s, 1, 0, 1)", (at, now, A, patient))
    for given, patient, days in ((A, 1, 89), (B, 1, 92), (A, 2, 92)):
        query(url, "INSERT INTO deletions_told (patient_key, sample_id, told_at, received_at, device_id, source_app, "
                   "adapter) VALUES (%s, %s, now(), %s, 'd', 'a', 'gateway')",
              (patient, given, now - timedelta(days=days)))  # fmt: skip
    asked = {one.retention_class: (one.rows, one.waits) for one in lifecycle.due(url) if one.rows}
    assert asked == {"sample_ids": (2, ("1 rows are on hold",)), "deletions": (1, ("1 rows are on hold",))}
    assert lifecycle.run(url, None).dropped == {("sample_ids", "raw"): 2, ("deletions", "raw"): 1}
    assert query(url, "SELECT patient_key, count(*) FROM sample_ids GROUP BY 1 ORDER BY 1") == [(1, 1), (2, 1)]
    assert query(url, "SELECT patient_key, sample_id FROM deletions_told ORDER BY 1") == [(1, A), (2, A)]


def test_a_policy_of_ids_needs_no_archive(url: str) -> None:
    query(url, "UPDATE lifecycle_policies SET drop_after = '30 days' WHERE retention_class = 'sample_ids'")
    query(url, "UPDATE lifecycle_policies SET drop_after = NULL WHERE retention_class = 'deletions'")
    with pytest.raises(psycopg.errors.CheckViolation, match="has no archive"):
        query(url, "UPDATE lifecycle_policies SET archive_after = '7 days' WHERE retention_class = 'sample_ids'")


# TimescaleDB


@pytest.mark.timescale
async def test_timescale_finds_a_sample_in_the_columnstore_too(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    query(wasm, "INSERT INTO patients (patient_id) VALUES ('p1')")
    query(wasm, "INSERT INTO devices (device_id) VALUES ('d1')")
    query(wasm, "INSERT INTO origins (device_key, source_app) VALUES (1, 'app')")
    query(wasm, "INSERT INTO samples SELECT to_timestamp(%s) + d * INTERVAL '9 days', to_timestamp(%s), now(), 60, 1, "
                "1, 0, 1, 1, 0, 0, 0 FROM generate_series(0, 3) AS d", (T0 / S, T0 / S))  # fmt: skip
    query(wasm, "SELECT compress_chunk(c) FROM show_chunks('samples') AS c")
    every = rows(4, time=T0 + np.arange(4) * 9 * 86_400 * S, written_at=T0)
    with psycopg.connect(wasm, prepare_threshold=None, autocommit=True) as connection:
        connection.adapters.register_dumper(np.ndarray, NumpyArrayDumper)
        for _ in range(2):
            connection.execute(load("deletions")["put_sample_ids"], columns_of(every, raw(A, A, B, C)))
    async with DeletionStore(wasm, prepare_threshold=None) as deletions:
        await deletions.note(told(A, C))
        found = await look(deletions)
        standing = await deletions.standing(list(found.values()), 10)
        assert sorted(one.start_us for one in standing) == [T0, T0 + 9 * 86_400 * S, T0 + 27 * 86_400 * S]
        assert await deletions.mark([Mark(found[A], 1, outcome=Outcome.DONE)]) == [Outcome.DONE]
    ((after,),) = query(
        wasm,
        "SELECT (config ->> 'compress_after')::interval::text FROM timescaledb_information.jobs "
        "WHERE hypertable_schema = current_schema() AND hypertable_name = 'samples' AND config ? 'compress_after'",
    )
    assert after == "7 days", "policies of what is no sample do not keep samples out of the columnstore"
