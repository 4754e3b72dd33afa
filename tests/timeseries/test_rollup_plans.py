"""How the planner reads: only the chunks of the time asked for, by the index, and long charts from the rollups."""

import re

import psycopg
import pytest

from tests.timeseries.making import query
from timeseries.migrate import migrate
from timeseries.queries import load
from timeseries.rollup import LEVELS, refresh

_PATIENTS = 20
_FILL = """
    INSERT INTO samples SELECT t, t, t, extract(minute FROM t), p, 1, 0, 1, 1, 0, 0, 60
    FROM generate_series(1, {patients}) AS p, generate_series({first}::timestamptz, '2024-12-31 23:59', {step}) AS t"""
_SERIES = "patient_key = 7 AND metric_key = 1"


def _fill(url: str, first: str, step: str, patients: int = _PATIENTS) -> None:
    query(url, _FILL.format(patients=patients, first=f"'{first}'", step=f"INTERVAL '{step}'"))
    query(url, "ANALYZE samples")


def _plan(url: str, statement: str) -> str:
    return "\n".join(row[0] for row in query(url, f"EXPLAIN (COSTS OFF) {statement}"))


def _chunks(url: str, relation: str, condition: str = "true") -> set[str]:
    found = query(
        url,
        "SELECT chunk_name FROM timescaledb_information.chunks c "
        "LEFT JOIN timescaledb_information.continuous_aggregates a "
        "ON a.materialization_hypertable_name = c.hypertable_name AND a.view_schema = current_schema() "
        "WHERE coalesce(a.view_name, c.hypertable_name) = %s "
        f"AND current_schema() IN (a.view_schema, c.hypertable_schema) AND {condition}",
        (relation,),
    )
    return {name for (name,) in found}


def _touched(plan: str) -> set[str]:
    return set(re.findall(r"(?:on|using) (?:\w+ on )?(_hyper_\d+_\d+_chunk)", plan))


@pytest.fixture
def weeks(wasm: str) -> str:
    """Six weeks of twenty patients, a sample every ten minutes: six chunks."""
    migrate(wasm, prepare_threshold=None)
    _fill(wasm, "2024-11-20", "10 minutes")
    return wasm


@pytest.mark.timescale
def test_a_patients_day_touches_its_chunk_by_the_index(weeks: str) -> None:
    day = "time >= '2024-12-10' AND time < '2024-12-11'"
    plan = _plan(weeks, f"SELECT time, value FROM samples WHERE {_SERIES} AND {day}")
    assert len(_chunks(weeks, "samples")) > 5
    (chunk,) = _chunks(weeks, "samples", "range_start <= '2024-12-10' AND range_end > '2024-12-10'")
    assert _touched(plan) == {chunk}
    assert f"{chunk}_samples_identity" in plan
    assert "Seq Scan" not in plan


@pytest.mark.timescale
def test_a_patients_day_of_minutes_touches_its_chunks_by_the_index(weeks: str) -> None:
    for level in LEVELS:
        query(weeks, "CALL refresh_continuous_aggregate(%s, NULL, '2024-12-25'::timestamptz)", (level,))
    day = "bucket >= '2024-12-10' AND bucket < '2024-12-11'"
    statement = f"SELECT bucket, sum / n FROM vitals_1m_all WHERE {_SERIES} AND {day}"
    plan = _plan(weeks, statement)
    (chunk,) = _chunks(weeks, "vitals_1m", "range_start <= '2024-12-10' AND range_end > '2024-12-10'")
    assert _touched(plan) == {chunk}, "no other minutes, no samples"
    assert f"{chunk}_vitals_1m_series" in plan
    live = _plan(weeks, statement.replace("2024-12-1", "2024-12-2").replace("2024-12-21'", "2024-12-31'"))
    newest = _chunks(weeks, "samples", "range_end > '2024-12-25'")
    assert _touched(live) & _chunks(weeks, "samples") <= newest, "what is not materialised yet comes from the samples"
    assert _touched(live) & newest


@pytest.mark.timescale
def test_a_year_of_hours_reads_the_hours(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    _fill(wasm, "2024-01-01", "2 hours", patients=8)
    for level in LEVELS:
        query(wasm, "CALL refresh_continuous_aggregate(%s, NULL, '2024-12-30'::timestamptz)", (level,))
    year = "bucket >= '2024-01-01' AND bucket < '2025-01-01'"
    plan = _plan(wasm, f"SELECT bucket, sum / n FROM vitals_1h_all WHERE {_SERIES} AND {year}")
    touched, hours = _touched(plan), _chunks(wasm, "vitals_1h")
    assert len(_chunks(wasm, "samples")) > 50
    assert hours <= touched
    assert touched - hours <= _chunks(wasm, "samples", "range_end > '2024-12-30'"), "only the real-time tail"
    assert not touched & (_chunks(wasm, "vitals_1m") | _chunks(wasm, "vitals_15m"))
    assert plan.count("_vitals_1h_series") == len(hours)


@pytest.fixture
def stock(database: str) -> str:
    _fill(database, "2024-11-20", "10 minutes")
    query(
        database,
        "INSERT INTO dirty_ranges SELECT patient_key, date_trunc('hour', time), min(time), max(time) "
        "FROM samples WHERE time >= '2024-12-30' GROUP BY 1, 2",
    )
    refresh(database)
    return database


def test_stock_reads_by_the_index(stock: str) -> None:
    day = "time >= '2024-12-10' AND time < '2024-12-11'"
    assert "samples_identity" in _plan(stock, f"SELECT value FROM samples WHERE {_SERIES} AND {day}")
    year = "bucket >= '2024-01-01' AND bucket < '2025-01-01'"
    plan = _plan(stock, f"SELECT bucket, sum / n FROM vitals_1h_all WHERE {_SERIES} AND {year}")
    assert "vitals_1h_pkey" in plan
    assert "samples" not in plan


@pytest.mark.parametrize("analyzed", [True, False])
def test_a_refresh_on_stock_reads_no_table_from_end_to_end(stock: str, analyzed: bool) -> None:
    """With a planner that knows the tables, and with one that knows nothing: after a bulk load it does not."""
    query(stock, "ANALYZE" if analyzed else "DELETE FROM pg_statistic WHERE starelid = 'samples'::regclass")
    patients = list(range(1, _PATIENTS + 1))
    ones = [1] * _PATIENTS
    with psycopg.connect(stock) as connection:
        asked = {"patients": patients, "metrics": ones, "origins": ones, "froms": ["2024-12-30 10:00"] * _PATIENTS,
                 "tos": ["2024-12-30 10:20"] * _PATIENTS, "width": LEVELS["vitals_15m"]}  # fmt: skip
        for name in ("touched_series", "forget_minutes", "put_minutes", "forget_coarser", "put_coarser"):
            statement = load("rollup")[name].format(level="vitals_15m", finer="vitals_1m")
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN (COSTS OFF) {statement}".encode(), asked))
            assert not re.search(r"Seq Scan on (samples|vitals)", plan), f"{name}\n{plan}"
            assert "Index" in plan or "Tid Scan" in plan
