"""Policies that contradict themselves are refused; what needs no archive leaves by them, unless a hold keeps it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from tests.timeseries.making import query
from timeseries import lifecycle
from timeseries.lifecycle import due, run
from timeseries.lifecycle_model import AnotherRun, weeks
from timeseries.migrate import migrate, migrations
from vigil.cli import app
from vigil.settings import settings
from vitals.catalogue import BY_CODE, RetentionClass

NOW = datetime.now(UTC)
SAMPLE = """INSERT INTO samples (time, written_at, received_at, value, patient_key, origin_key, duration_ms, quality,
    metric_key, flags, context, zone_offset_min) VALUES (%s, now(), now(), 1, 1, 1, 0, 1, %s, 0, 0, 0)"""
HEART, BATTERY = BY_CODE["heart_rate"].number, BY_CODE["battery"].number


def prepared(url: str) -> None:
    """Two people, the second on hold."""
    migrate(url, prepare_threshold=None)
    query(url, "INSERT INTO patients (patient_id) VALUES ('p1'), ('p2')")
    query(url, "INSERT INTO legal_holds (patient_key, reason, placed_by) VALUES (2, 'case', 'u-1')")


def dropped(url: str) -> dict[tuple[str, str], int]:
    return run(url, None, prepare_threshold=None).dropped


def asked(url: str) -> dict[tuple[str, str], tuple[int, tuple[str, ...]]]:
    found = due(url, prepare_threshold=None)
    return {(one.retention_class, one.tier): (one.rows, one.waits) for one in found if one.rows or one.waits}


def quarantine(url: str) -> None:
    prepared(url)
    for offset, (age, patient, key) in enumerate(
        [
            (1, "p1", b"p1"),
            (100, "p1", b"p1"),
            (100, "p2", b"p2"),
            (100, None, b"p2"),
            (100, None, b"\xff"),
            (100, None, None),
        ]
    ):
        at = NOW - timedelta(days=age)
        query(
            url,
            """INSERT INTO quarantine_records (topic, partition, epoch, "offset", headers, patient_id, key, recorded_at)
               VALUES ('t', 0, 0, %s, '[]', %s, %s, %s)""",
            (offset, patient, key, at),
        )
        query(
            url,
            """INSERT INTO quarantine (topic, partition, epoch, "offset", index, reason, recorded_at)
               VALUES ('t', 0, 0, %s, 0, 'future', %s)""",
            (offset, at),
        )
    query(
        url,
        """INSERT INTO quarantine (topic, partition, epoch, "offset", index, reason)
           VALUES ('t', 0, 0, 5, 7, 'future')""",
    )
    assert asked(url) == {("quarantine", "raw"): (3, ("2 rows are on hold",))}
    assert dropped(url) == {("quarantine", "raw"): 5}
    left = """SELECT r."offset", count(*) FROM quarantine_records r JOIN quarantine q USING ("offset")
              GROUP BY 1 ORDER BY 1"""
    assert query(url, left) == [(0, 1), (2, 1), (3, 1), (5, 1)], "a record stays as long as a rejection of it"
    assert query(url, "SELECT count(*) FROM quarantine_records") == [(4,)]
    assert dropped(url) == {}


def audit(url: str) -> None:
    prepared(url)
    for number, (age, patient, state) in enumerate(
        [(9, "p1", "cleared"), (9, "p2", "cleared"), (9, "p1", "raised"), (6, "p1", "cleared")]
    ):
        at = NOW - timedelta(days=age * 366)
        query(
            url,
            "INSERT INTO alerts (alert_id, patient_id, kind, priority, rule, rule_version, metric, device_id, "
            "source_app, state, opened_at, raised_at, changed_at, cleared_at, measured_at, retrospective, "
            "individualised, evidence, sentence, stored_at) VALUES (%s, %s, 'technical', 'low', 'r', 1, 'm', 'd', 'a', "
            "%s, %s, %s, %s, %s, %s, false, false, '{}', 's', %s)",
            (f"a{number}", patient, state, at, at, at, at if state == "cleared" else None, at, at),
        )
        query(
            url,
            "INSERT INTO notifications VALUES (%s, %s, %s, 'raised', 'low', 'r', 'c', %s, false, %s)",
            (f"n{number}", f"a{number}", patient, at, at),
        )
        query(url, "INSERT INTO delivery_attempts VALUES (%s, %s, 1, 'delivered', '', %s)", (f"n{number}", at, at))
        query(
            url,
            "INSERT INTO sample_revisions VALUES (%s, %s, %s, 1, %s, 1, 0, 1, 1, 0, 0, 0, %s)",
            (at, at, at, 2 if patient == "p2" else 1, at),
        )
        query(
            url,
            "INSERT INTO alert_evidence VALUES (%s, %s, %s, %s, %s, '{\"series\": []}')",
            (f"a{number}", 2 if patient == "p2" else 1, at, at, at),
        )
    query(
        url,
        "INSERT INTO delivery_attempts VALUES ('gone', %s, 1, 'failed', '', %s)",
        (NOW, NOW - timedelta(days=3_000)),
    )
    assert asked(url) == {
        ("audit", "raw"): (5, ("3 rows are on hold",)),
        ("evidence", "raw"): (2, ("1 rows are on hold",)),
    }
    assert dropped(url) == {("audit", "raw"): 6, ("evidence", "raw"): 2}
    assert query(url, "SELECT alert_id FROM alerts ORDER BY 1") == [("a1",), ("a2",), ("a3",)], "an open one stays"
    assert query(url, "SELECT notification_id FROM notifications ORDER BY 1") == [("n1",), ("n3",)]
    assert query(url, "SELECT notification_id FROM delivery_attempts ORDER BY 1") == [("n1",), ("n3",)]
    assert query(url, "SELECT patient_key FROM sample_revisions ORDER BY 1") == [(1,), (2,)]
    assert query(url, "SELECT alert_id FROM alert_evidence ORDER BY 1") == [("a1",), ("a3",)]
    assert asked(url).keys() == {("audit", "raw"), ("evidence", "raw")}, "what is on hold still says so"


TABLES = {"minute": "vitals_1m_history", "quarter": "vitals_15m_history", "hour": "vitals_1h_history"}
ROLLUP = (
    "INSERT INTO {table} (bucket, patient_key, metric_key, origin_key, n, sum, min, max, first, last, sum_sq, minutes, "
    "minute_mean_sum, zone_offset_min) VALUES (%s, %s, %s, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0)"
)


AGES_YEARS = (13, 12, 9, 1)


def rolled_up(url: str) -> None:
    """History and days of two people and two metrics, one of each at every age."""
    prepared(url)
    for table in TABLES.values():
        for years in AGES_YEARS:
            at = (NOW - timedelta(days=years * 366)).replace(minute=0, second=0, microsecond=0)
            for patient in (1, 2):
                for metric in (HEART, BATTERY):
                    query(url, ROLLUP.format(table=table), (at, patient, metric))
    for years in AGES_YEARS:
        for patient in (1, 2):
            query(
                url,
                "INSERT INTO vitals_1d (patient_key, metric_key, origin_key, day, n, minutes, zone_offset_min) "
                "VALUES (%s, %s, 1, %s, 1, 1, 0)",
                (patient, HEART, (NOW - timedelta(days=years * 366)).date()),
            )
            query(
                url,
                "INSERT INTO daily_summary (patient_key, day, day_length_min, valid_day) VALUES (%s, %s, 1440, false)",
                (patient, (NOW - timedelta(days=years * 366)).date()),
            )


def rollups(url: str) -> None:
    rolled_up(url)
    if query(url, "SELECT to_regclass('chunks') IS NOT NULL") == [(True,)]:
        query(url, "SELECT compress_chunk(chunk) FROM chunks")
    assert asked(url)["vital", "day"] == (2, ("2 rows are on hold",))
    drop = "SELECT drop_tier(%s, %s, now())"
    assert query(url, drop, ("activity", "day")) == [(2,)], "summaries go with the first class"
    assert query(url, drop, ("vital", "day")) == [(2,)]
    left = "SELECT patient_key, metric_key, count(*) FROM {table} GROUP BY 1, 2 ORDER BY 1, 2"
    assert query(url, left.format(table="vitals_1d")) == [(1, HEART, 2), (2, HEART, 4)]
    assert query(url, "SELECT patient_key, count(*) FROM daily_summary GROUP BY 1 ORDER BY 1") == [(1, 2), (2, 4)]
    assert query(url, drop, ("vital", "minute")) == [(0,)], "no raw horizon: the live rollups speak"
    for retention_class, expected in (
        ("vital", [(1, HEART, 2), (1, BATTERY, 4), (2, HEART, 4), (2, BATTERY, 4)]),
        ("technical", [(1, HEART, 2), (1, BATTERY, 2), (2, HEART, 4), (2, BATTERY, 4)]),
    ):
        horizon = (NOW - timedelta(days=730)).replace(minute=0, second=0, microsecond=0)
        query(url, "INSERT INTO raw_horizons VALUES (%s, %s)", (retention_class, horizon))
        for tier, table in TABLES.items():
            assert asked(url)[retention_class, tier] == (2, ("2 rows are on hold",))
            gone = 0
            while slice_ := query(url, drop, (retention_class, tier))[0][0]:
                gone += slice_
            assert gone == 2
            assert query(url, left.format(table=table)) == expected
    assert dropped(url) == {}


def policies_that_contradict_themselves(url: str) -> None:
    migrate(url, prepare_threshold=None)
    of = "WHERE retention_class = 'vital' AND tier"
    for statement, saying in (
        (f"UPDATE lifecycle_policies SET drop_after = '6 months' {of} = 'raw'", "archive_before_drop"),
        (f"UPDATE lifecycle_policies SET archive_after = '3 years' {of} = 'raw'", "archive_before_drop"),
        (
            f"UPDATE lifecycle_policies SET archive_after = '365 days', drop_after = '1 year' {of} = 'raw'",
            "archive_before",
        ),
        (
            f"UPDATE lifecycle_policies SET archive_after = NULL {of} = 'raw'",
            "vital would be dropped after .* never archived",
        ),
        (f"UPDATE lifecycle_policies SET archive_after = '1 day', drop_after = '8 days' {of} = 'raw'", "newest week"),
        (
            f"UPDATE lifecycle_policies SET drop_after = '1 year' {of} = 'minute'",
            "minute of vital .* shorter than tier raw",
        ),
        (
            f"UPDATE lifecycle_policies SET drop_after = '9 years' {of} = 'hour'",
            "hour of vital .* shorter than tier quarter",
        ),
        (f"UPDATE lifecycle_policies SET drop_after = NULL {of} = 'raw'", "shorter than tier raw .for ever"),
        (
            f"UPDATE lifecycle_policies SET drop_after = '1 year' {of} = 'archive'",
            "archive of vital .* shorter than tier raw",
        ),
        (f"UPDATE lifecycle_policies SET drop_after = '11 years' {of} = 'raw'", "shorter than tier raw"),
        (f"UPDATE lifecycle_policies SET drop_after = '-1 year' {of} = 'raw'", "check constraint"),
        (f"UPDATE lifecycle_policies SET archive_after = '1 year' {of} = 'hour'", "raw_only"),
        ("UPDATE lifecycle_policies SET archive_after = '1 day' WHERE retention_class = 'waveform'", "has no archive"),
        ("INSERT INTO lifecycle_policies VALUES ('new', 'raw', NULL, NULL, '1 year')", "never archived"),
        ("INSERT INTO lifecycle_policies VALUES ('new', 'week', NULL, NULL, '1 year')", "tier_check"),
    ):
        with pytest.raises(psycopg.errors.CheckViolation, match=saying):
            query(url, statement)
    query(url, "UPDATE lifecycle_policies SET drop_after = NULL WHERE retention_class = 'vital'")
    query(url, f"UPDATE lifecycle_policies SET archive_after = NULL {of} = 'raw'")
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection, connection.transaction():
        connection.execute("SET CONSTRAINTS ALL DEFERRED")
        for tier in ("raw", "archive", "minute", "quarter", "hour", "day"):
            connection.execute(f"UPDATE lifecycle_policies SET drop_after = '3 years' {of} = %s".encode(), (tier,))
        connection.execute(f"UPDATE lifecycle_policies SET archive_after = '2 years' {of} = 'raw'".encode())


RULES = [quarantine, audit, rollups, policies_that_contradict_themselves]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_stock(rule: Any, database: str) -> None:
    rule(database)


@pytest.mark.timescale
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_timescale(rule: Any, wasm: str) -> None:
    rule(wasm)


def test_every_class_has_its_policies(database: str) -> None:
    found = query(
        database,
        "SELECT retention_class, array_agg(tier ORDER BY tier) FROM lifecycle_policies GROUP BY 1 ORDER BY 1",
    )
    tiers = ["archive", "day", "hour", "minute", "quarter", "raw"]
    expected = {one.value: tiers for one in RetentionClass} | {
        name: ["raw"] for name in ("waveform", "quarantine", "audit", "evidence", "sample_ids", "deletions")
    }
    assert dict(found) == expected
    raw = query(
        database,
        "SELECT archive_after::text, drop_after::text FROM lifecycle_policies "
        "WHERE retention_class = 'vital' AND tier IN ('raw', 'archive', 'hour') ORDER BY justify_interval(drop_after)",
    )
    assert raw == [("1 year", "2 years"), (None, "5 years"), (None, "10 years")]


def test_what_the_old_table_said_is_taken_over(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    every = migrations("stock")
    monkeypatch.setattr("timeseries.migrate.migrations", lambda mode: [one for one in every if one.number < 15])
    monkeypatch.setattr("timeseries.migrate._grant", lambda connection: None)
    migrate(empty_database)
    query(
        empty_database,
        "UPDATE retention_policies SET drop_after = CASE retention_class WHEN 'vital' THEN INTERVAL '8 years' "
        "WHEN 'technical' THEN INTERVAL '1 year' WHEN 'waveform' THEN INTERVAL '30 days' END",
    )
    monkeypatch.undo()
    migrate(empty_database)
    found = query(
        empty_database,
        "SELECT retention_class || ' ' || tier, archive_after::text, drop_after::text FROM lifecycle_policies "
        "WHERE tier IN ('raw', 'archive') AND retention_class NOT IN "
        "('activity', 'reported', 'audit', 'evidence', 'sample_ids', 'deletions') "
        "ORDER BY 1",
    )
    assert found == [
        ("quarantine raw", None, None),
        ("sleep archive", None, "5 years"),
        ("sleep raw", "1 year", "2 years"),
        ("technical archive", None, "5 years"),
        ("technical raw", "6 mons", "1 year"),
        ("vital archive", None, "8 years"),
        ("vital raw", "1 year", "8 years"),
        ("waveform raw", None, "30 days"),
    ]
    assert query(empty_database, "SELECT to_regclass('retention_policies'), to_regclass('retention_due')") == [
        (None, None)
    ]


def test_one_at_a_time(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_PATIENCE_S", 0)
    with psycopg.connect(database, autocommit=True, application_name="the other one") as other:
        other.execute("SELECT pg_advisory_lock(lifecycle_key())")
        with pytest.raises(AnotherRun, match=r"the other one \(process \d+ of the database, since .* works on it"):
            run(database, None)
        assert due(database), "looking is free"
    run(database, None)


def test_the_command_line(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    settings.cache_clear()
    shown = CliRunner().invoke(app, ["db", "lifecycle"]).output
    assert shown == "nothing is due (--all shows every policy)\n"
    every = CliRunner().invoke(app, ["db", "lifecycle", "--all"]).output
    assert re.search(r"vital +quarter +drop +10 years", every)
    query(
        database,
        """INSERT INTO quarantine_records (topic, partition, epoch, "offset", headers, recorded_at)
           VALUES ('t', 0, 0, 1, '[]', now() - INTERVAL '100 days')""",
    )
    query(database, SAMPLE, (NOW - timedelta(days=800), HEART))
    shown = CliRunner().invoke(app, ["db", "lifecycle"]).output
    assert "quarantine" in shown
    assert "1 days are not archived" in shown
    ran = CliRunner().invoke(app, ["db", "lifecycle", "--run"])
    assert ran.exit_code == 0
    assert "dropped     1 rows of quarantine raw" in ran.output
    assert "not archived, no archive is set up" in ran.output
    assert query(database, "SELECT count(*) FROM samples") == [(1,)]
    settings.cache_clear()


@pytest.mark.timescale
def test_timescaledb_runs_it_as_a_job(wasm: str) -> None:
    quarantine_and_a_job(wasm)


def quarantine_and_a_job(url: str) -> None:
    prepared(url)
    query(
        url,
        """INSERT INTO quarantine_records (topic, partition, epoch, "offset", headers, recorded_at)
           VALUES ('t', 0, 0, 1, '[]', now() - INTERVAL '100 days')""",
    )
    jobs = query(
        url,
        "SELECT job_id, proc_name FROM timescaledb_information.jobs WHERE proc_schema = current_schema() "
        "OR hypertable_schema = current_schema() AND proc_name = 'policy_retention'",
    )
    assert [name for _, name in jobs] == ["lifecycle_job"]
    query(url, "CALL run_job(%s)", (jobs[0][0],))
    assert query(url, "SELECT count(*) FROM quarantine_records") == [(0,)]


@pytest.mark.timescale
def test_the_columnstore_follows_the_policies(wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    after = (
        "SELECT hypertable_name, (config->>'compress_after')::interval::text FROM timescaledb_information.jobs "
        "WHERE hypertable_schema = current_schema() AND proc_name = 'policy_compression' "
        "AND hypertable_name IN ('samples', 'waveforms') ORDER BY 1"
    )
    assert query(wasm, after) == [("samples", "7 days"), ("waveforms", "2 days")]
    query(
        wasm,
        "UPDATE lifecycle_policies SET columnstore_after = '14 days' WHERE retention_class = 'sleep' AND tier = 'raw'",
    )
    query(wasm, "UPDATE lifecycle_policies SET columnstore_after = '1 day' WHERE retention_class = 'waveform'")
    assert query(wasm, after) == [("samples", "14 days"), ("waveforms", "1 day")], "a chunk follows its slowest class"
    query(wasm, "UPDATE lifecycle_policies SET columnstore_after = NULL WHERE retention_class IN ('sleep', 'waveform')")
    assert query(wasm, after) == []
    query(
        wasm,
        "UPDATE lifecycle_policies SET columnstore_after = '3 days' WHERE tier = 'raw' AND columnstore_after IS NULL",
    )
    assert query(wasm, after) == [("samples", "7 days"), ("waveforms", "3 days")]


def test_weeks_hold_every_day_once_and_span_seven_at_most() -> None:
    days = [datetime(2024, 6, 1, tzinfo=UTC).date() + timedelta(days=n) for n in (0, 1, 6, 7, 8, 30, 37, 38)]
    groups = [list(group) for group in weeks(days)]
    assert [day for group in groups for day in group] == days
    assert all((group[-1] - group[0]).days < 7 for group in groups)
    assert [len(group) for group in groups] == [3, 2, 1, 2]
    assert list(weeks([])) == []
