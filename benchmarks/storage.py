"""What is kept, and how fast it is read: the columnstore beside the row store, rollups beside samples, in both modes.

TimescaleDB is the real extension in WebAssembly, about five times as slow as native and in memory, so its sizes are
right and its times an upper bound; stock PostgreSQL 18 is native. Times are the server's own for planning, running and
making the answer ready to send (EXPLAIN ANALYZE, SERIALIZE), medians; `client_ms` has the way to the client in it,
which for WebAssembly goes through a socket written in JavaScript. Samples of the charts and cohorts are fewer than at
1 Hz (`every_s`): the rollups are as large as they would be, the row store's yardstick is that much smaller.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from benchmarks.recorder import TUNED, bare_copy, fresh_database
from benchmarks.storage_rows import (
    DAY,
    HEART_RATE,
    VITALS,
    YEAR,
    Connection,
    heart_rates,
    insert,
    refresh_levels,
    second_by_second,
)
from tests.services.timescale import TimescaleWasm, ensure_packages
from timeseries.migrate import migrate
from timeseries.rollup import LEVELS, move_to_history, refresh
from timeseries.rows import Rows
from vigil.embedded.postgres import EmbeddedPostgres
from vitals.catalogue import BY_NUMBER

PATIENTS, HOURS = 12, 6
CASES: Final = (
    ("evenly", None, VITALS),
    ("evenly_whole_numbers", None, VITALS[:3]),
    ("100_samples_a_record", 25, VITALS),
    ("a_record_a_second", 1, VITALS),
)
"""What is measured and how it is received: name, seconds in a record (see `second_by_second`), metrics."""
NEIGHBOURS, COHORT = 9, 1_000
GOAL_BYTES, GOAL_MS = 2, 50
_HALF_YEAR: Final = datetime(2024, 7, 1, tzinfo=UTC)

_SERIES = f"patient_key = 1 AND metric_key = {HEART_RATE} AND origin_key = 1"
_TRUSTED = "quality >= 0.5 AND flags & 128 = 0"
CHART = f"""
    SELECT bucket, minute_mean_sum / minutes, min, max FROM vitals_1h_all
    WHERE {_SERIES} AND bucket >= '2024-01-01' AND bucket < '2025-01-01' ORDER BY bucket"""
CHART_OF_SAMPLES = f"""
    SELECT date_bin('1 hour', time, '2000-01-01'), avg(value), min(value), max(value) FROM samples
    WHERE {_SERIES} AND time >= '2024-01-01' AND time < '2025-01-01' AND {_TRUSTED} GROUP BY 1 ORDER BY 1"""
_COHORT = """
    SELECT patient_key, count(*), sum(mean) / count(*), min(low), max(high), count(*) FILTER (WHERE mean > 100)
    FROM ({}) AS m GROUP BY 1 ORDER BY 1"""
COHORT_DAY = _COHORT.format(f"""
    SELECT patient_key, sum / n AS mean, min AS low, max AS high FROM vitals_1m_all
    WHERE metric_key = {HEART_RATE} AND bucket >= '2025-03-04' AND bucket < '2025-03-05'""")
COHORT_DAY_OF_SAMPLES = _COHORT.format(f"""
    SELECT patient_key, avg(value) AS mean, min(value) AS low, max(value) AS high FROM samples
    WHERE metric_key = {HEART_RATE} AND time >= '2025-03-04' AND time < '2025-03-05' AND {_TRUSTED}
    GROUP BY patient_key, origin_key, date_bin('1 minute', time, '2000-01-01')""")


def run() -> Iterator[dict[str, object]]:
    """Measure bytes a sample, then a year of hours and a cohort's day of minutes: TimescaleDB, then stock."""
    ensure_packages()
    with _wasm() as connection:
        for case in CASES:
            yield _columnstore(connection, *case)
    with _wasm() as connection:
        yield _year(connection, "timescale", 120)
        yield _cohort_day(connection, "timescale", 60)
    with _stock() as connection:
        yield _year(connection, "stock", 60)
        yield _cohort_day(connection, "stock", 20)


@contextmanager
def _wasm() -> Iterator[Connection]:
    with tempfile.TemporaryDirectory(prefix="vigil-bench-") as folder, TimescaleWasm(Path(folder) / "log") as server:
        migrate(server.dsn, prepare_threshold=None)
        with server.connect() as connection:
            connection.execute("SET timezone = 'UTC'")
            yield connection


@contextmanager
def _stock() -> Iterator[Connection]:
    with (
        tempfile.TemporaryDirectory(prefix="vigil-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "data", settings=TUNED) as postgres,
        psycopg.connect(
            fresh_database(postgres.url, "storage"), autocommit=True, options="-c timezone=UTC"
        ) as connection,
    ):
        yield connection


def _columnstore(
    connection: Connection, word: str, seconds_a_record: int | None, metrics: Sequence[str]
) -> dict[str, object]:
    people = range(1, PATIENTS + 1)
    rows = np.concatenate([second_by_second(one, HOURS, seconds_a_record, metrics) for one in people])
    insert(connection, rows)
    before = _one(connection, "SELECT total_bytes FROM hypertable_detailed_size('samples')") / len(rows)
    _compress(connection)
    chunk = _one(
        connection,
        "SELECT format('%I.%I', c.schema_name, c.table_name) FROM _timescaledb_catalog.chunk c "
        "JOIN _timescaledb_catalog.chunk u ON u.compressed_chunk_id = c.id WHERE NOT u.dropped",
    )
    # A bulk insert takes up to 64 pages more than it fills, once a chunk: the next rows would go there.
    ahead = _one(
        connection, f"SELECT pg_relation_size('{chunk}') - 8192 * (1 + max((ctid::text::point)[0])) FROM {chunk}"
    )
    total = _one(connection, "SELECT total_bytes FROM hypertable_detailed_size('samples')")
    by_column, by_metric = _packed(connection, chunk, rows)
    connection.execute("TRUNCATE samples")
    after = (total - ahead) / len(rows)
    _say(f"columnstore, received {word}: {after:.2f} bytes a sample")
    return {
        "name": f"storage_columnstore_{word}", "bytes_a_sample": round(after, 2), "goal": GOAL_BYTES,
        "yardstick": "the same rows in the row store, index included",
        "yardstick_bytes_a_sample": round(before, 1), "ratio": round(after / before, 4),
        "packed_bytes_by_column": by_column, "packed_bytes_by_metric": by_metric, "samples": len(rows),
        "allocated_ahead": round(ahead / len(rows), 2),
    }  # fmt: skip


def _packed(connection: Connection, chunk: str, rows: Rows) -> tuple[dict[str, float], dict[str, float]]:
    """Return what the columns (bytes over all samples) and the metrics (over their own) take, without page overhead."""
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", (chunk,)
    )
    names = [name for (name,) in found]
    sums = ", ".join(f'coalesce(sum(pg_column_size("{name}")), 0)' for name in names)
    sizes = connection.execute(f"SELECT metric_key, {sums} FROM {chunk} GROUP BY 1".encode()).fetchall()
    by_column = {name: sum(int(row[n]) for row in sizes) / len(rows) for n, name in enumerate(names, 1)}
    by_metric = {row[0]: sum(map(int, row[1:])) / int((rows["metric_key"] == row[0]).sum()) for row in sizes}
    return (
        {name: round(size, 2) for name, size in by_column.items() if size >= 0.01},
        {BY_NUMBER[metric].code: round(size, 2) for metric, size in sorted(by_metric.items())},
    )


def _year(connection: Connection, mode: str, every_s: float) -> dict[str, object]:
    rows = np.concatenate([heart_rates([1], *YEAR, every_s), heart_rates(range(2, NEIGHBOURS + 2), *YEAR, 3_600)])
    _fill(connection, mode, rows, YEAR, LEVELS)
    rollup, samples = _time(connection, CHART), _time(connection, CHART_OF_SAMPLES)
    also = {}
    if mode == "timescale":
        _compress(connection)
        also["samples_in_columnstore_ms"] = round(_at_server(connection, CHART_OF_SAMPLES), 1)
    with connection.transaction():
        move_to_history(connection, "vital", _HALF_YEAR)
    also["half_of_it_history_ms"] = _time(connection, CHART).server_ms
    return _beside(f"storage_year_of_hours_{mode}", rollup, samples) | also | {
        "goal": GOAL_MS, "points": len(rollup.answer), "every_s": every_s,
        "samples": int((rows["patient_key"] == 1).sum()),
    }  # fmt: skip


def _cohort_day(connection: Connection, mode: str, every_s: float) -> dict[str, object]:
    rows = heart_rates(range(1, COHORT + 1), *DAY, every_s)
    _fill(connection, mode, rows, DAY, ["vitals_1m"])
    minutes = _one(connection, "SELECT count(*) FROM vitals_1m_all WHERE bucket >= '2025-03-04'")
    if minutes != COHORT * 1_440:
        raise SystemExit(f"{minutes:,} minutes of {COHORT * 1_440:,} are there")
    rollup, samples = _time(connection, COHORT_DAY, 3), _time(connection, COHORT_DAY_OF_SAMPLES, 3)
    also = {}
    if mode == "timescale":
        _compress(connection)
        also["samples_in_columnstore_ms"] = round(_at_server(connection, COHORT_DAY_OF_SAMPLES), 1)
    return _beside(f"storage_cohort_day_{mode}", rollup, samples) | also | {
        "patients": len(rollup.answer), "minutes": minutes, "every_s": every_s, "samples": len(rows)
    }  # fmt: skip


def _fill(
    connection: Connection, mode: str, rows: Rows, span: tuple[datetime, datetime], levels: Iterable[str]
) -> None:
    begun = time.perf_counter()
    if mode == "timescale":
        insert(connection, rows)
        refresh_levels(connection, *span, levels)
    else:
        url = connection.info.dsn + f" password={connection.info.password}"
        bare_copy(url, rows)
        connection.execute(
            "INSERT INTO dirty_ranges SELECT patient_key, date_bin('1 hour', time, '2000-01-01'), min(time), max(time) "
            "FROM samples WHERE time >= %s AND time < %s GROUP BY 1, 2",
            span,
        )
        refresh(url)
        connection.execute("VACUUM ANALYZE")
    _say(f"{mode}: {len(rows):,} samples and their rollups in {time.perf_counter() - begun:.0f} s")


@dataclass(frozen=True, slots=True)
class Timed:
    """Medians; `answer` is all but the first column."""

    server_ms: float
    client_ms: float
    answer: NDArray[np.float64]


def _time(connection: Connection, query: str, runs: int = 5) -> Timed:
    at_client, at_server = [], []
    answer = np.array([])
    for _ in range(runs):
        begun = time.perf_counter()
        answer = np.array([row[1:] for row in connection.execute(query.encode()).fetchall()], np.float64)
        at_client.append((time.perf_counter() - begun) * 1_000)
        at_server.append(_at_server(connection, query))
    return Timed(round(median(at_server), 1), round(median(at_client), 1), answer)


def _at_server(connection: Connection, query: str) -> float:
    plan = _one(connection, f"EXPLAIN (ANALYZE, SERIALIZE BINARY, TIMING OFF, FORMAT JSON) {query}")[0]
    return float(plan["Planning Time"] + plan["Execution Time"])


def _beside(name: str, rollup: Timed, samples: Timed) -> dict[str, object]:
    if not np.allclose(rollup.answer, samples.answer):
        raise SystemExit(f"{name}: rollups and samples give different answers")
    _say(f"{name}: {rollup.server_ms} ms from rollups, {samples.server_ms} ms from samples")
    return {
        "name": name, "ms": rollup.server_ms, "client_ms": rollup.client_ms,
        "yardstick": "the same answer from the samples in the row store", "yardstick_ms": samples.server_ms,
        "ratio": round(rollup.server_ms / samples.server_ms, 3),
    }  # fmt: skip


def _compress(connection: Connection) -> None:
    connection.execute("SELECT count(compress_chunk(c, if_not_compressed => true)) FROM show_chunks('samples') AS c")


def _one(connection: Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
