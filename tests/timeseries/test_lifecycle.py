"""Retention deletes what its policies let go, and nothing else, on both kinds of database."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.services.timescale import TimescaleWasm
from timeseries.lifecycle import apply, due
from timeseries.migrate import migrate
from vitals.catalogue import BY_CODE

NOW = datetime.now(UTC)
INSERT = """INSERT INTO samples (time, written_at, received_at, value, patient_key, origin_key, duration_ms, quality,
    metric_key, flags, context, zone_offset_min) VALUES (%s, now(), now(), 1, 1, 1, 0, 1, %s, 0, 0, 0)"""
AGES_DAYS = (1, 700, 731, 732, 3_000)


def _fill(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    for code in ("battery", "heart_rate"):
        for age in AGES_DAYS:
            connection.execute(INSERT, (NOW - timedelta(days=age), BY_CODE[code].number))
    for age in (1, 100):
        connection.execute(
            """INSERT INTO quarantine_records (topic, partition, epoch, "offset", headers, recorded_at)
               VALUES ('t', 0, 0, %s, '[]', %s)""", (age, NOW - timedelta(days=age)))  # fmt: skip


def _left(connection: psycopg.Connection[tuple[object, ...]]) -> tuple[object, ...]:
    row = connection.execute(
        """SELECT count(*) FILTER (WHERE metric_key = %s), count(*) FILTER (WHERE metric_key = %s),
                  (SELECT count(*) FROM quarantine_records) FROM samples""",
        (BY_CODE["battery"].number, BY_CODE["heart_rate"].number),
    ).fetchone()  # fmt: skip
    assert row is not None
    return row


def test_stock(database: str) -> None:
    migrate(database)
    with psycopg.connect(database, autocommit=True) as connection:
        _fill(connection)
        rows = {one.retention_class: one.rows for one in due(database)}
        assert rows == {
            "activity": 0, "quarantine": 1, "reported": 0, "sleep": 0, "technical": 3, "vital": 0, "waveform": 0,
        }  # fmt: skip
        apply(database)
        assert _left(connection) == (2, 5, 1)
        apply(database)
        assert _left(connection) == (2, 5, 1)
        assert all(one.rows == 0 for one in due(database))


@pytest.mark.timescale
def test_timescale_runs_it_as_a_job(timescale: TimescaleWasm) -> None:
    with timescale.connect() as connection:
        connection.execute("CREATE SCHEMA lifecycle")
        try:
            connection.execute("SET search_path TO lifecycle, public")
            migrate(timescale.dsn, prepare_threshold=None)
            _fill(connection)
            job = connection.execute(
                "SELECT job_id FROM timescaledb_information.jobs "
                "WHERE proc_name = 'apply_retention' AND proc_schema = 'lifecycle'"
            ).fetchone()
            assert job is not None
            connection.execute(f"CALL run_job({job[0]})")
            assert _left(connection) == (2, 5, 1)
        finally:
            connection.execute("SET search_path TO DEFAULT")
            connection.execute("DROP SCHEMA lifecycle CASCADE")
