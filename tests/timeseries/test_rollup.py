"""A refresh brings every level up to date, loses nothing when it breaks off, and holds up nobody."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.timeseries.making import T0, Partition, S, query, rows
from tests.timeseries.rollup_model import assert_levels, direct, insert, migrate_below, samples_of, stored
from timeseries import rollup
from timeseries.migrate import migrate
from timeseries.rollup import LEVELS, Range, refresh, refresh_some, refresh_stock, refresh_window, whole_days
from timeseries.rows import Rows
from timeseries.store import SampleStore
from vitals.clock import to_datetime

HOUR = 3_600 * S


@pytest.fixture
async def store(database: str) -> AsyncIterator[SampleStore]:
    async with SampleStore(database) as opened:
        yield opened


async def _write(store: SampleStore, partition: Partition, samples: Rows) -> None:
    await store.write(partition.batch(samples))
    partition.stored()


async def test_late_corrected_and_deleted_samples_show_after_a_refresh(store: SampleStore, database: str) -> None:
    lane = Partition()
    start = rows(600, value=np.arange(600.0), patient_key=np.arange(600) % 2 + 1, quality=np.tile([1, 0.4, 0.5], 200))
    await _write(store, lane, start)
    assert refresh(database) == 2, "two patients, one hour"
    assert_levels(database, samples_of(database))

    late = rows(3, time=T0 - HOUR + np.arange(3) * 59 * S, value=-1)
    corrected = start[[0, 120]].copy()
    corrected["value"], corrected["written_at"] = 1_000, T0 + HOUR
    doubtful = start[[4]].copy()
    doubtful["quality"], doubtful["written_at"] = 0, T0 + HOUR
    deleted = start[180:240].copy()
    deleted["flags"], deleted["value"], deleted["written_at"] = 128, 0, T0 + HOUR
    await _write(store, lane, np.concatenate([late, corrected, doubtful, deleted]))
    stale = {level: stored(database, level) for level in LEVELS}
    assert refresh(database) == 3
    assert_levels(database, samples_of(database))
    assert all(stored(database, level) != before for level, before in stale.items())
    minute = (1, 1, 1, T0 + 180 * S)
    assert minute in stale["vitals_1m"]
    assert minute not in stored(database, "vitals_1m"), "a minute without samples is no row"
    assert refresh(database) == 0
    assert query(database, "SELECT * FROM dirty_ranges") == []


async def test_buckets_of_which_nothing_is_left_go(store: SampleStore, database: str) -> None:
    lane = Partition()
    start = rows(8, time=T0 + np.arange(8) * 900 * S)
    await _write(store, lane, start)
    refresh(database)
    gone = start[1:5].copy()  # three quarters of one hour, one of the next
    gone["written_at"] = T0 + 3 * HOUR
    for gone["flags"], gone["quality"] in ((128, 1), (0, 0.4)):
        gone["written_at"] += S
        await _write(store, lane, gone)
        refresh(database)
        assert [len(stored(database, level)) for level in LEVELS] == [4, 4, 2]
    rest = np.concatenate([start[:1], start[5:]])
    rest["flags"], rest["written_at"] = 128, T0 + 4 * HOUR
    await _write(store, lane, rest)
    assert refresh(database) == 2
    assert [len(stored(database, level)) for level in LEVELS] == [0, 0, 0]


async def test_newest_hours_first_and_each_range_once(store: SampleStore, database: str) -> None:
    await _write(store, Partition(), rows(8, time=T0 + np.arange(8) // 2 * HOUR, patient_key=np.arange(8) % 2 + 1))
    with psycopg.connect(database, autocommit=True) as connection:
        assert len(refresh_some(connection, 3)) == 3
    newest = T0 + 3 * HOUR
    assert {(patient, hour) for patient, _, _, hour in stored(database, "vitals_1h")} == {
        (1, newest), (2, newest), (2, newest - HOUR)
    }  # fmt: skip
    assert refresh(database, limit=2) == 5
    assert_levels(database, samples_of(database))


async def test_a_range_that_changes_all_the_time_does_not_hold_up_the_others(
    store: SampleStore, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _write(store, Partition(), rows(3, time=T0 + np.arange(3) * HOUR))

    def meanwhile(connection: psycopg.Connection[Any], ranges: Sequence[Range]) -> None:
        refresh_stock(connection, ranges)
        query(database, "UPDATE dirty_ranges SET to_time = to_time WHERE hour = %s", (to_datetime(T0 + 2 * HOUR),))

    monkeypatch.setattr(rollup, "refresh_stock", meanwhile)
    assert refresh(database, limit=1) == 3
    assert query(database, "SELECT hour FROM dirty_ranges") == [(to_datetime(T0 + 2 * HOUR),)]


async def test_one_refresh_waits_for_another(store: SampleStore, database: str) -> None:
    await _write(store, Partition(), rows(4, time=T0 + np.arange(4) * HOUR))
    with psycopg.connect(database, autocommit=True) as first:
        with rollup._one_at_a_time(first):
            second = threading.Thread(target=refresh, args=(database,))
            second.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            deadline = time.monotonic() + 10
            while first.execute(waiting).fetchone() != (1,):
                assert time.monotonic() < deadline
            assert stored(database, "vitals_1m") == {}
        second.join(10)
    assert_levels(database, samples_of(database))


async def test_a_refresh_under_way_does_not_hold_up_the_recorder(store: SampleStore, database: str) -> None:
    lane = Partition()
    await _write(store, lane, rows(5))
    with psycopg.connect(database) as connection, connection.transaction():
        refresh_stock(connection, [(1, to_datetime(T0), to_datetime(T0 + 4 * S))])
        await asyncio.wait_for(_write(store, lane, rows(5, time=T0 + 30 * S + np.arange(5) * S)), 10)
    assert refresh(database) == 1
    assert_levels(database, samples_of(database))


@pytest.mark.parametrize("level", LEVELS)
async def test_a_refresh_that_breaks_off_leaves_its_ranges_dirty(store: SampleStore, database: str, level: str) -> None:
    await _write(store, Partition(), rows(5))
    query(database, f"ALTER TABLE {level} ADD CONSTRAINT few CHECK (n < 5)")
    with pytest.raises(psycopg.errors.CheckViolation):
        refresh(database)
    query(database, f"ALTER TABLE {level} DROP CONSTRAINT few")
    assert refresh(database) == 1
    assert_levels(database, samples_of(database))


async def test_what_did_not_change_is_not_written_again(store: SampleStore, database: str) -> None:
    lane = Partition()
    await _write(store, lane, rows(100, time=T0 + np.arange(100) * 30 * S))
    refresh(database)
    places = {level: query(database, f"SELECT bucket, ctid::text FROM {level} ORDER BY 1") for level in LEVELS}
    query(
        database,
        "INSERT INTO dirty_ranges VALUES (1, %s, %s, %s)",
        (to_datetime(T0),) * 2 + (to_datetime(T0 + 3_540 * S),),
    )
    assert refresh(database) == 1
    assert places == {level: query(database, f"SELECT bucket, ctid::text FROM {level} ORDER BY 1") for level in LEVELS}


@given(
    st.lists(
        st.tuples(st.integers(0, 20 * 86_400), st.integers(0, 3 * 86_400)).map(
            lambda at: (1, to_datetime(T0 + at[0] * S), to_datetime(T0 + (at[0] + at[1]) * S))
        ),
        max_size=8,
    )
)
def test_whole_days_cover_the_ranges_once(ranges: list[Range]) -> None:
    days = whole_days(ranges)
    assert all(start < end and start.timestamp() % 86_400 == end.timestamp() % 86_400 == 0 for start, end in days)
    assert all(end - start <= timedelta(days=7) for start, end in days)
    for (start, end), (following, _) in pairwise(days):
        assert end < following or (end == following and end - start == timedelta(days=7))
    for _, first, last in ranges:
        covered = [at for start, end in days for at in (first, last) if start <= at < end]
        assert sorted(covered) == [first, last]
    for start, _ in days:
        assert any(first - timedelta(days=1) < start <= last or start <= first for _, first, last in ranges)


def test_the_migration_keeps_the_minutes_and_marks_what_they_lack(empty_database: str) -> None:
    migrate_below(empty_database, 13)
    query(
        empty_database,
        "INSERT INTO samples SELECT t, t, t, extract(minute FROM t), 1, 1, 0, 1, 1, 0, 0, 60 FROM generate_series("
        "'2024-06-01'::timestamptz, '2024-06-01 03:00', '20 s') AS t",
    )
    insert_old = (
        "INSERT INTO vitals_1m SELECT date_trunc('minute', time), 1, 1, 1, count(*), sum(value), min(value), "
        "max(value), min(value), max(value), sum(value * value) FROM samples GROUP BY 1"
    )
    query(empty_database, insert_old)
    migrate(empty_database)
    assert stored(empty_database, "vitals_1m") == {
        key: (*values[:-1], -32_768.0) for key, values in direct(samples_of(empty_database), "vitals_1m").items()
    }, "minutes are there at once, but for the zone"
    with pytest.raises(psycopg.errors.NotNullViolation):  # the old release's refresh: it must not eat dirty ranges
        query(empty_database, insert_old)
    assert refresh(empty_database) == 4
    assert_levels(empty_database, samples_of(empty_database))


@pytest.mark.timescale
def test_timescaledb_follows_late_corrected_and_deleted_samples(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    start = rows(6, time=T0 + np.arange(6) * 25 * S, value=np.arange(6.0), quality=[1, 1, 0.4, 1, 1, 1])
    insert(wasm, start)
    assert refresh(wasm, prepare_threshold=None) == 1
    assert_levels(wasm, samples_of(wasm))

    changed = np.concatenate([rows(1, time=T0 - 86_400 * S), rows(1, value=500), start[5:]])
    changed["flags"][-1] = 128
    changed["written_at"] = T0 + HOUR
    stale = {level: stored(wasm, level) for level in LEVELS}
    insert(wasm, changed)
    assert {level: stored(wasm, level) for level in LEVELS} == stale, "below the watermark a read shows no change"
    assert refresh(wasm, prepare_threshold=None) == 2
    assert_levels(wasm, samples_of(wasm))
    assert refresh(wasm, prepare_threshold=None) == 0


@pytest.mark.timescale
def test_timescaledb_breaks_off_between_levels_and_goes_on(wasm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(wasm, prepare_threshold=None)
    insert(wasm, rows(10, time=T0 + np.arange(10) * 300 * S))
    refresh(wasm, prepare_threshold=None)
    insert(wasm, rows(1, value=500, written_at=T0 + HOUR))
    with monkeypatch.context() as broken:
        broken.setattr(rollup, "LEVELS", {"vitals_1m": LEVELS["vitals_1m"], "vitals_gone": timedelta(minutes=15)})
        with pytest.raises(psycopg.errors.UndefinedTable):
            refresh(wasm, prepare_threshold=None)
    hour, first = (1, 1, 1, T0), 4
    assert stored(wasm, "vitals_1m")[hour][first] == 500
    assert stored(wasm, "vitals_1h")[hour][first] == 60
    assert refresh(wasm, prepare_threshold=None) == 1
    assert_levels(wasm, samples_of(wasm))


class _Busy:
    """The database's own job is at the window for the first `times` attempts."""

    def __init__(self, times: int) -> None:
        self.left = times

    def execute(self, query: str, values: dict[str, object]) -> None:
        self.left -= 1
        if self.left >= 0:
            raise psycopg.errors.LockNotAvailable("could not refresh continuous aggregate due to a concurrent refresh")


def test_a_window_that_is_being_refreshed_elsewhere_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup, "_PAUSE_S", 0)
    hour = to_datetime(T0)
    busy: Any = _Busy(3)
    refresh_window(busy, "vitals_1m", hour, hour)
    assert busy.left == -1
    busy = _Busy(3)
    with pytest.raises(psycopg.errors.LockNotAvailable):
        refresh_window(busy, "vitals_1m", hour, hour, busy_s=-1)
    assert busy.left == 2


@pytest.mark.timescale
def test_timescaledb_keeps_a_range_that_changed_during_the_refresh(wasm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(wasm, prepare_threshold=None)
    insert(wasm, rows(1))
    real = rollup.refresh_timescale

    def meanwhile(connection: psycopg.Connection[Any], ranges: Sequence[Range]) -> None:
        real(connection, ranges)
        insert(wasm, rows(1, value=61, written_at=T0 + HOUR))

    with monkeypatch.context() as during:
        during.setattr(rollup, "refresh_timescale", meanwhile)
        assert refresh(wasm, prepare_threshold=None) == 1
    assert refresh(wasm, prepare_threshold=None) == 1
    assert_levels(wasm, samples_of(wasm))


@pytest.mark.timescale
def test_timescaledb_keeps_up_by_itself_where_nobody_refreshes(wasm: str) -> None:
    """Its three jobs, one after the other as they depend on each other; read without the real-time part."""
    migrate(wasm, prepare_threshold=None)
    query(
        wasm,
        "INSERT INTO samples SELECT t, t, t, extract(minute FROM t), 1, 1, 0, 1, 1, 0, 0, 60 FROM generate_series("
        "date_trunc('hour', now()) - INTERVAL '30 hours', date_trunc('hour', now()) - INTERVAL '26 hours 1 s', "
        "INTERVAL '50 s') AS t",
    )
    expected = samples_of(wasm)
    for change in (None, "UPDATE samples SET value = 7 WHERE time = (SELECT min(time) FROM samples)"):
        if change:
            query(wasm, change)
        for level in LEVELS:
            ((job,),) = query(
                wasm,
                "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema() "
                "AND proc_name = 'policy_refresh_continuous_aggregate' AND hypertable_name = %s",
                (level,),
            )
            query(wasm, "CALL run_job(%s)", (job,))
        expected = samples_of(wasm)
        for level in LEVELS:
            query(wasm, f"ALTER MATERIALIZED VIEW {level} SET (timescaledb.materialized_only = true)")
        assert_levels(wasm, expected)


@pytest.mark.timescale
def test_timescaledb_gets_its_new_levels_and_marks_every_hour(wasm: str) -> None:
    migrate_below(wasm, 13)
    insert(wasm, rows(40, time=T0 + np.arange(40) * 300 * S))
    query(wasm, "CALL refresh_continuous_aggregate('vitals_1m', NULL, NULL)")
    query(wasm, "DELETE FROM dirty_ranges")
    migrate(wasm, prepare_threshold=None)
    assert refresh(wasm, prepare_threshold=None) == 4
    assert_levels(wasm, samples_of(wasm))
