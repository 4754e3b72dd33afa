"""`vigil db status`: the mode and its price, and sizes that are true of hypertables too."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.services.timescale import TimescaleWasm
from tests.timeseries.making import query
from tests.vigil.test_cli import vigil
from timeseries.migrate import migrate
from timeseries.overview import Held, overview

PATIENTS, DAYS = 4, 30
ROWS = PATIENTS * DAYS * 288
FILL = f"""
    INSERT INTO samples SELECT t, t, t, 60, p, 1, 0, 1, 1, 0, 0, 60
    FROM generate_series(1, {PATIENTS}) AS p,
         generate_series('2024-01-01'::timestamptz, '2024-01-{DAYS} 23:55', INTERVAL '5 minutes') AS t"""


@pytest.fixture
def stock(database: str) -> str:
    query(database, FILL)
    return database


@pytest.fixture
def wasm(timescale: TimescaleWasm) -> Iterator[str]:
    """Five chunks of samples in a schema of its own, two of them in the columnstore, and their minutes."""
    schema = sql.Identifier(f"vigil_{uuid4().hex[:12]}")
    with timescale.connect() as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        connection.execute(sql.SQL("SET search_path = {}, public").format(schema))
        connection.execute("SET timezone = 'UTC'")
        migrate(timescale.dsn, prepare_threshold=None)
        connection.execute(FILL.encode())
        connection.execute("SELECT compress_chunk(c) FROM (SELECT c FROM show_chunks('samples') AS c LIMIT 2) AS two")
        connection.execute("CALL refresh_continuous_aggregate('vitals_1m', '2024-01-01'::timestamptz, '2024-02-01')")
        yield timescale.dsn
    with timescale.connect() as connection:
        connection.execute("RESET search_path")
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


def held(url: str, name: str) -> Held:
    (found,) = [one for one in overview(url, prepare_threshold=None).tables if one.name == name]
    return found


def test_stock_says_what_it_costs(stock: str) -> None:
    query(stock, "ANALYZE samples")
    query(stock, "INSERT INTO patients (patient_id) VALUES ('p-1'), ('p-2')")
    query(stock, "INSERT INTO duplicates VALUES (current_date, 'ble', 'resent', 7)")
    told = vigil("db", "status", DATABASE_URL=stock)
    assert told.returncode == 0, told.stderr
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert "mode stock PostgreSQL" in lines
    assert "about 130 bytes" in told.stdout
    assert any(line.startswith(f"samples about {ROWS:,} ") for line in lines)
    assert any(line.startswith("patients 2 ") for line in lines)
    assert "ble resent 7 7" in lines
    assert "chunks" not in told.stdout


def test_stock_sizes(stock: str) -> None:
    found = held(stock, "samples")
    assert (found.rows, found.exact, found.chunks) == (None, False, None), "nobody has looked at it yet"
    assert "not known" in vigil("db", "status", DATABASE_URL=stock).stdout
    query(stock, "ANALYZE samples")
    found = held(stock, "samples")
    assert (found.rows, found.exact) == (ROWS, False)
    ((size,),) = query(stock, "SELECT pg_total_relation_size('samples')")
    assert found.size == size > 100 * ROWS
    assert held(stock, "quarantine") == Held("quarantine", 0, True, held(stock, "quarantine").size)


@pytest.mark.timescale
def test_hypertables_are_as_large_as_their_chunks(wasm: str) -> None:
    assert held(wasm, "samples").rows is None, "nobody has looked at the chunks yet"
    query(wasm, "ANALYZE")
    found = held(wasm, "samples")
    assert (found.chunks, found.packed) == (5, 2)
    assert found.rows == ROWS
    ((size,),) = query(wasm, "SELECT hypertable_size('samples')")
    assert found.size == size > 1_000_000
    assert 0 < found.packed_to < found.packed_from / 10
    minutes = held(wasm, "vitals_1m")
    assert (minutes.rows, minutes.chunks, minutes.packed) == (ROWS, 5, 0)
    assert held(wasm, "waveforms") == Held("waveforms", 0, True, held(wasm, "waveforms").size, 0)


@pytest.mark.timescale
def test_rows_deleted_from_the_columnstore_are_not_counted_for_ever(wasm: str) -> None:
    query(wasm, "DELETE FROM samples WHERE patient_key = 1")
    query(wasm, "ANALYZE")
    rows = held(wasm, "samples").rows
    assert rows is not None
    assert ROWS * (PATIENTS - 1) / PATIENTS <= rows < ROWS, "TimescaleDB takes the last batches for full ones"


@pytest.mark.timescale
def test_timescaledb_says_what_it_costs(wasm: str) -> None:
    query(wasm, "ANALYZE")
    with psycopg.connect(wasm, prepare_threshold=None) as connection:
        version = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    assert version is not None
    told = vigil("db", "status", DATABASE_URL=wasm)
    assert told.returncode == 0, told.stderr
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert f"mode TimescaleDB {version[0]}" in lines
    assert "opens its batch" in told.stdout
    assert any(line.startswith(f"samples about {ROWS:,} ") and " 5 2: " in line for line in lines)


def test_before_the_first_migration_it_says_what_is_pending(empty_database: str) -> None:
    told = vigil("db", "status", DATABASE_URL=empty_database)
    assert told.returncode == 1
    assert "applied nothing" in " ".join(told.stdout.split())
    assert "0001_people_and_devices" in told.stdout
    assert "Traceback" not in told.stderr
