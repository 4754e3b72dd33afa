"""The one-minute rollup follows the samples: late, corrected, deleted; on stock PostgreSQL and on TimescaleDB."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.timeseries.making import T0, Partition, S, query, rows
from timeseries.migrate import migrate
from timeseries.rollup import Range, refresh, refresh_stock, whole_days
from timeseries.rows import COLUMNS, Rows
from timeseries.store import SampleStore
from vitals.clock import to_datetime

ROLLUP = (
    "SELECT bucket, patient_key, metric_key, origin_key, n, sum, min, max, first, last, sum_sq "
    "FROM vitals_1m ORDER BY 2, 3, 4, 1"
)
DIRECT = """
    SELECT to_timestamp(floor(extract(epoch FROM time) / 60) * 60), patient_key, metric_key, origin_key, count(*),
           sum(value), min(value), max(value), (array_agg(value ORDER BY time, duration_ms))[1],
           (array_agg(value ORDER BY time DESC, duration_ms DESC))[1], sum(value ^ 2)
    FROM samples WHERE quality >= 0.5 AND flags & 128 = 0 GROUP BY 1, 2, 3, 4 ORDER BY 2, 3, 4, 1"""


@pytest.fixture
async def store(database: str) -> AsyncIterator[SampleStore]:
    migrate(database)
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
    assert query(database, ROLLUP) == query(database, DIRECT) != []

    late = rows(3, time=T0 - 3_600 * S + np.arange(3) * 59 * S, value=-1)
    corrected = start[[0, 120]].copy()
    corrected["value"], corrected["written_at"] = 1_000, T0 + 3_600 * S
    doubtful = start[[4]].copy()
    doubtful["quality"], doubtful["written_at"] = 0, T0 + 3_600 * S
    deleted = start[180:240].copy()
    deleted["flags"], deleted["value"], deleted["written_at"] = 128, 0, T0 + 3_600 * S
    await _write(store, lane, np.concatenate([late, corrected, doubtful, deleted]))
    stale = query(database, ROLLUP)
    assert stale != query(database, DIRECT)
    assert refresh(database) == 3
    now = query(database, ROLLUP)
    assert now == query(database, DIRECT) != stale
    minute = datetime(2024, 6, 1, 12, 3, tzinfo=UTC)
    assert not [row for row in now if row[0] == minute], "a minute without samples is no row"
    assert refresh(database) == 0
    assert query(database, "SELECT * FROM dirty_ranges") == []


async def test_a_limit_takes_the_newest_hours_first(store: SampleStore, database: str) -> None:
    await _write(store, Partition(), rows(4, time=T0 + np.arange(4) * 3_600 * S))
    with psycopg.connect(database) as connection:
        assert refresh_stock(connection, 3) == 3
        assert connection.execute("SELECT count(*), max(bucket) FROM vitals_1m").fetchone() == (
            3,
            to_datetime(T0 + 3 * 3_600 * S),
        )
        assert refresh_stock(connection, 3) == 1
        assert refresh_stock(connection, 3) == 0


async def test_two_refreshers_share_the_ranges_and_count_nothing_twice(store: SampleStore, database: str) -> None:
    await _write(store, Partition(), rows(4, time=T0 + np.arange(4) * 3_600 * S))
    with psycopg.connect(database) as first, psycopg.connect(database) as second:
        with first.transaction():
            assert refresh_stock(first, 2) == 2
            assert refresh_stock(second, 10) == 2, "the others, without waiting"
            second.commit()
        first.commit()
    assert query(database, ROLLUP) == query(database, DIRECT)


async def test_a_refresh_that_fails_leaves_its_ranges_dirty(store: SampleStore, database: str) -> None:
    await _write(store, Partition(), rows(5))
    query(database, "ALTER TABLE vitals_1m ADD CHECK (n < 5)")
    with pytest.raises(psycopg.errors.CheckViolation):
        refresh(database)
    query(database, "ALTER TABLE vitals_1m DROP CONSTRAINT vitals_1m_n_check")
    assert refresh(database) == 1
    assert query(database, ROLLUP) == query(database, DIRECT) != []


async def test_samples_written_during_a_refresh_are_dirty_after_it(store: SampleStore, database: str) -> None:
    lane = Partition()
    await _write(store, lane, rows(5))
    with psycopg.connect(database) as connection:
        with connection.transaction():
            refresh_stock(connection, 10)
        await _write(store, lane, rows(5, time=T0 + 30 * S + np.arange(5) * S))
    assert refresh(database) == 1
    assert query(database, ROLLUP) == query(database, DIRECT)


@given(
    st.lists(
        st.tuples(st.integers(0, 20 * 86_400), st.integers(0, 3 * 86_400)).map(
            lambda at: (1, to_datetime(T0 + at[0] * S), to_datetime(T0 + (at[0] + at[1]) * S))
        ),
        max_size=8,
    )
)
def test_whole_days_cover_the_ranges_and_never_touch(ranges: list[Range]) -> None:
    days = whole_days(ranges)
    assert all(start < end and start.timestamp() % 86_400 == end.timestamp() % 86_400 == 0 for start, end in days)
    assert all(earlier[1] < later[0] for earlier, later in pairwise(days))
    for _, first, last in ranges:
        assert any(start <= first and last < end for start, end in days)
    for start, end in days:
        assert any(start <= first < end for _, first, _ in ranges)


def _insert(url: str, samples: Rows) -> None:
    """Plain INSERTs and dirty ranges as the recorder would write them: COPY is not for this server."""
    times = {"time", "written_at", "received_at"}
    for row in samples:
        values: list[Any] = [to_datetime(int(row[n])) if n in times else row[n].item() for n in COLUMNS]
        query(
            url,
            f"INSERT INTO samples ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))}) "
            "ON CONFLICT (patient_key, metric_key, origin_key, time, duration_ms) "
            "DO UPDATE SET value = excluded.value, flags = excluded.flags",
            tuple(values),
        )
        at = to_datetime(int(row["time"]))
        query(
            url,
            "INSERT INTO dirty_ranges AS d VALUES (%s, date_trunc('hour', %s), %s, %s) "
            "ON CONFLICT (patient_key, hour) DO UPDATE SET from_time = least(d.from_time, excluded.from_time), "
            "to_time = greatest(d.to_time, excluded.to_time)",
            (int(row["patient_key"]), at, at, at),
        )


@pytest.mark.timescale
def test_timescaledb_follows_late_corrected_and_deleted_samples(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    start = rows(6, time=T0 + np.arange(6) * 25 * S, value=np.arange(6.0), quality=[1, 1, 0.4, 1, 1, 1])
    _insert(wasm, start)
    assert refresh(wasm, prepare_threshold=None) == 1
    assert query(wasm, ROLLUP) == query(wasm, DIRECT) != []

    changed = np.concatenate([rows(1, time=T0 - 86_400 * S), rows(1, value=500), start[5:]])
    changed["flags"][-1] = 128
    _insert(wasm, changed)
    assert query(wasm, ROLLUP) != query(wasm, DIRECT), "below the watermark a real-time read shows no change"
    assert refresh(wasm, prepare_threshold=None) == 2
    assert query(wasm, ROLLUP) == query(wasm, DIRECT)
    assert refresh(wasm, prepare_threshold=None) == 0


@pytest.mark.timescale
def test_timescaledb_keeps_a_range_that_changed_during_the_refresh(wasm: str) -> None:
    from timeseries.queries import load

    migrate(wasm, prepare_threshold=None)
    _insert(wasm, rows(1))
    ((patient, _, _, hour, version),) = query(wasm, load("rollup")["see_dirty"] % {"limit": 10})
    _insert(wasm, rows(1, value=61))
    with psycopg.connect(wasm, autocommit=True, prepare_threshold=None) as connection:
        forget = load("rollup")["forget_dirty"]
        connection.execute(forget, {"patients": [patient], "hours": [hour], "versions": [version]})
    assert query(wasm, "SELECT count(*) FROM dirty_ranges") == [(1,)]
    assert refresh(wasm, prepare_threshold=None) == 1
