"""Below the raw horizon history speaks: what the views show stays, whatever becomes of the samples."""

from datetime import timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.timeseries.making import T0, S, query, rows
from tests.timeseries.rollup_model import HEART_RATE, SAMPLE, STEPS, direct, insert, made, same, samples_of, stored
from timeseries.console_reader import ConsoleReader
from timeseries.migrate import migrate
from timeseries.rollup import LEVELS, RollupsBehind, move_to_history, recompute_history, refresh
from timeseries.rollup_history import BUCKET, levels_of
from timeseries.rows import ROW, Rows
from vitals.catalogue import METRICS, RetentionClass
from vitals.clock import to_datetime

HOUR = 3_600 * S
HORIZON = to_datetime(T0)
CLASSES = sorted({m.retention.value for m in METRICS} - {RetentionClass.WAVEFORM.value})


@given(st.lists(SAMPLE, max_size=40, unique_by=lambda s: s[:5]))
def test_levels_from_memory_are_those_of_a_direct_computation(drawn: list[tuple[Any, ...]]) -> None:
    samples = made(drawn)
    for level, buckets in levels_of(samples).items():
        expected = direct(samples, level)
        key = [(int(b["patient_key"]), int(b["metric_key"]), int(b["origin_key"]), int(b["bucket"])) for b in buckets]
        assert key == sorted(expected)
        for at, bucket in zip(key, buckets, strict=True):
            assert [float(bucket[name]) for name in (BUCKET.names or ())[4:]] == pytest.approx(expected[at])


@pytest.fixture
def stock(database: str) -> str:
    return database


def _two_days(url: str) -> Rows:
    """A sample of two series every ten minutes, from a day before the horizon to a day after it; refreshed."""
    times = T0 + np.arange(-144, 144) * 600 * S
    beats = rows(288, time=times, value=np.arange(288.0), metric_key=HEART_RATE, zone_offset_min=120)
    samples = np.concatenate([beats, rows(288, time=times, value=np.arange(288.0), metric_key=STEPS)])
    insert(url, samples)
    refresh(url, prepare_threshold=None)
    return samples


def _all(url: str) -> dict[str, Any]:
    return {level: stored(url, f"{level}_all") for level in LEVELS}


def _move(url: str, horizon: Any = HORIZON, *classes: str) -> int:
    with psycopg.connect(url, prepare_threshold=None) as connection, connection.transaction():
        kept = sum(move_to_history(connection, one, horizon) for one in classes or CLASSES)
        connection.execute("DELETE FROM samples s USING metric_horizons h "
                           "WHERE h.metric_key = s.metric_key AND s.time < h.horizon")  # fmt: skip
    return kept


def test_the_views_show_the_same_before_and_after(stock: str) -> None:
    _two_days(stock)
    before = _all(stock)
    assert _move(stock, HORIZON - timedelta(hours=5), "vital") == 114
    assert _all(stock) == before
    assert _move(stock) == 30 + 144
    assert _all(stock) == before
    assert query(stock, "SELECT min(bucket) FROM vitals_1m") == [(HORIZON,)], "nothing is kept twice"
    assert _move(stock) == 0, "moving where it is moves nothing"


def test_the_horizon_never_moves_back_and_stands_on_an_hour(stock: str) -> None:
    _two_days(stock)
    _move(stock)
    before = _all(stock)
    with pytest.raises(ValueError, match="vital stands later"):
        _move(stock, HORIZON - timedelta(hours=1), "vital")
    with pytest.raises(psycopg.errors.CheckViolation):
        _move(stock, HORIZON + timedelta(minutes=90), "vital")
    assert _all(stock) == before


def test_what_the_rollups_have_not_seen_is_not_moved(stock: str) -> None:
    _two_days(stock)
    insert(stock, rows(1, time=T0 - 1, value=500))
    with pytest.raises(RollupsBehind, match="vigil db rollup"):
        _move(stock)
    assert query(stock, "SELECT count(*) FROM raw_horizons") == [(0,)]
    insert(stock, rows(1, time=T0 + HOUR, value=500))
    refresh(stock)
    insert(stock, rows(1, time=T0 + HOUR, value=501, written_at=T0 + 2 * HOUR))
    _move(stock)


def test_late_rows_below_the_horizon_change_nothing_until_they_are_computed(stock: str) -> None:
    samples = _two_days(stock)
    _move(stock)
    before = _all(stock)
    late = rows(2, time=[T0 - 30 * S, T0 - 90 * S], value=[1_000, 2_000], quality=[1, 0.2])
    insert(stock, late)
    refresh(stock)
    assert _all(stock) == before
    hour = samples[(samples["time"] >= T0 - HOUR) & (samples["time"] < T0) & (samples["metric_key"] == HEART_RATE)]
    with psycopg.connect(stock) as connection:
        recompute_history(connection, np.concatenate([late, hour]))
    expected = np.concatenate([samples, late])
    for level in LEVELS:
        same(stored(stock, f"{level}_all"), direct(expected, level))
    assert query(stock, "SELECT hour FROM dirty_ranges") == [(to_datetime(T0 - HOUR),)], "days must look again"


def test_an_hour_of_which_nothing_is_left_goes(stock: str) -> None:
    samples = _two_days(stock)
    _move(stock)
    gone = samples[(samples["time"] >= T0 - HOUR) & (samples["time"] < T0)].copy()
    gone["flags"] = 128
    with psycopg.connect(stock) as connection:
        recompute_history(connection, gone)
        recompute_history(connection, np.empty(0, ROW))
    rest = samples[(samples["time"] < T0 - HOUR) | (samples["time"] >= T0)]
    for level in LEVELS:
        same(stored(stock, f"{level}_all"), direct(rest, level))


def test_history_takes_no_row_from_above_the_horizon(stock: str) -> None:
    samples = _two_days(stock)
    _move(stock, HORIZON, "vital")
    with psycopg.connect(stock) as connection:
        for above in (rows(1, time=T0), rows(1, time=T0 - HOUR, metric_key=STEPS)):
            with pytest.raises(ValueError, match="live rollups"):
                recompute_history(connection, np.concatenate([samples[:1], above]))
    same(stored(stock, "vitals_1m_all"), direct(samples, "vitals_1m"))


async def test_a_chart_goes_across_the_horizon(stock: str) -> None:
    _two_days(stock)
    query(
        stock,
        "INSERT INTO patients (patient_id) VALUES ('p-1'); INSERT INTO devices (device_id) VALUES ('d-1'); "
        "INSERT INTO origins (device_key, source_app) VALUES (1, 'app'); "
        f"INSERT INTO latest SELECT 1, {HEART_RATE}, 1, max(time), now(), 1, 1, 0 FROM samples",
    )
    reader = ConsoleReader(stock)
    await reader.open()
    asked = (["p-1"], ["heart_rate"], HORIZON - timedelta(hours=3), HORIZON + timedelta(hours=3), 600)
    before = await reader.series(*asked)
    _move(stock)
    assert await reader.series(*asked) == before
    insert(stock, rows(1, time=T0 - 30 * S, value=1_000))  # late, and dirty, where the samples are gone
    assert await reader.series(*asked) == before
    insert(stock, rows(1, time=T0 + 30 * S, value=1_000))
    changed = await reader.series(*asked)
    await reader.close()
    assert [(b.time, b.n) for b in changed[0].buckets if b.high == 1_000] == [(HORIZON, 2)]
    assert len(before[0].buckets) == 36


@pytest.mark.timescale
def test_dropped_chunks_take_no_rollup_along(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    old = rows(500, time=T0 - 100 * 24 * HOUR + np.arange(500) * 600 * S, value=np.arange(500.0))
    insert(wasm, old)
    _two_days(wasm)
    before = _all(wasm)
    with psycopg.connect(wasm, prepare_threshold=None) as connection, connection.transaction():
        for one in CLASSES:
            move_to_history(connection, one, HORIZON)
        connection.execute("SELECT drop_chunks('samples', older_than => %s::timestamptz)", (HORIZON,))
    assert query(wasm, "SELECT min(time) > %s FROM samples", (to_datetime(T0 - 8 * 24 * HOUR),)) == [(True,)]
    assert _all(wasm) == before
    for level in LEVELS:
        query(wasm, "CALL refresh_continuous_aggregate(%s, NULL, NULL)", (level,))
    assert len(stored(wasm, "vitals_1m")) < len(before["vitals_1m"]), "a full refresh does eat the live rollups"
    assert _all(wasm) == before


@pytest.mark.timescale
def test_the_live_chunks_below_every_horizon_are_let_go(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    insert(wasm, rows(500, time=T0 - 100 * 24 * HOUR + np.arange(500) * 600 * S))
    _two_days(wasm)
    before, held = _all(wasm), len(stored(wasm, "vitals_1m"))
    _move(wasm, HORIZON, *CLASSES[1:])
    refresh(wasm, prepare_threshold=None)
    assert len(stored(wasm, "vitals_1m")) == held, "one class has all of its samples"
    _move(wasm, HORIZON, CLASSES[0])
    insert(wasm, rows(1, time=T0 - 100 * 24 * HOUR, value=1_000, written_at=T0))
    assert refresh(wasm, prepare_threshold=None) == 1
    assert len(stored(wasm, "vitals_1m")) <= held - 500
    assert _all(wasm) == before


@pytest.mark.timescale
def test_history_in_the_columnstore_is_computed_again(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    samples = _two_days(wasm)
    _move(wasm)
    for (job,) in query(
        wasm,
        "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression' "
        "AND hypertable_schema = current_schema() AND hypertable_name ~ '_history$'",
    ):
        query(wasm, "CALL run_job(%s)", (job,))
    compressed = query(
        wasm,
        "SELECT DISTINCT hypertable_name, is_compressed FROM timescaledb_information.chunks "
        "WHERE hypertable_schema = current_schema() AND hypertable_name ~ '_history$' ORDER BY 1",
    )
    assert compressed == [(f"{level}_history", True) for level in ("vitals_15m", "vitals_1h", "vitals_1m")]
    hour = samples[(samples["time"] >= T0 - HOUR) & (samples["time"] < T0) & (samples["metric_key"] == HEART_RATE)]
    late = rows(1, time=T0 - 30 * S, value=1_000)
    with psycopg.connect(wasm, prepare_threshold=None) as connection:
        recompute_history(connection, np.concatenate([hour, late]))
    for level in LEVELS:
        same(stored(wasm, f"{level}_all"), direct(np.concatenate([samples, late]), level))
    assert len(samples_of(wasm)) == 288
