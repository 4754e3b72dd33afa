"""The TimescaleDB that the SQL is proved against is the real one: hypertables, aggregates and jobs work."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.services.timescale import TimescaleWasm

pytestmark = pytest.mark.timescale


@pytest.fixture
def session(timescale: TimescaleWasm) -> Iterator[psycopg.Connection]:
    """A connection that works in a schema of its own: a hypertable of ten days, a value an hour."""
    with timescale.connect() as connection:
        connection.execute("CREATE SCHEMA proof")
        connection.execute("SET search_path = proof, public")
        connection.execute("CREATE TABLE samples (time timestamptz NOT NULL, value float8)")
        connection.execute("SELECT create_hypertable('samples', by_range('time', INTERVAL '1 day'))")
        connection.execute(
            "INSERT INTO samples SELECT t, 1 FROM generate_series(now() - INTERVAL '10 days', now(), '1 hour') AS t"
        )
        yield connection
        connection.execute("RESET search_path")
        connection.execute("DROP SCHEMA proof CASCADE")


def test_the_extension_is_there(timescale: TimescaleWasm) -> None:
    with timescale.connect() as connection:
        row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    assert row is not None
    assert row[0].startswith("2.")


def test_a_hypertable_has_chunks(session: psycopg.Connection) -> None:
    assert _number(session, "SELECT count(*) FROM show_chunks('samples')") >= 10


def test_a_continuous_aggregate_counts_what_is_there(session: psycopg.Connection) -> None:
    session.execute(
        "CREATE MATERIALIZED VIEW daily WITH (timescaledb.continuous) AS "
        "SELECT time_bucket('1 day', time) AS day, count(*) AS n FROM samples GROUP BY 1 WITH NO DATA"
    )
    session.execute("CALL refresh_continuous_aggregate('daily', NULL, NULL)")
    assert _number(session, "SELECT sum(n) FROM daily") == _number(session, "SELECT count(*) FROM samples") == 241


def test_a_retention_policy_drops_what_is_due(session: psycopg.Connection) -> None:
    job = _number(session, "SELECT add_retention_policy('samples', INTERVAL '3 days')")
    session.execute("CALL run_job(%s)", [job])
    assert 3 * 24 <= _number(session, "SELECT count(*) FROM samples") <= 5 * 24


def _number(session: psycopg.Connection, query: str) -> int:
    row = session.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
