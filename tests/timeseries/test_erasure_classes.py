"""After a withdrawal data of some classes go, in every table and the archive; others' and other classes' stay."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from tests.timeseries.lifecycle_world import METRICS
from tests.timeseries.making import query
from tests.timeseries.test_erasure import everything
from timeseries.archive_erase import UnderHold
from timeseries.archive_storage import open_storage
from timeseries.archive_verify import verify
from timeseries.consent import Consents, Purpose, Stored
from timeseries.erasure_classes import MEASURES, erase_classes
from timeseries.lifecycle_archive import LifecycleArchive
from vigil.commands import consent as commands
from vigil.settings import settings
from vitals.catalogue import METRICS as CATALOGUE
from vitals.catalogue import RetentionClass

HEART, BATTERY, STEPS = METRICS
ACTIVITY = {one.number for one in CATALOGUE if one.retention is RetentionClass.ACTIVITY}
BESIDE = """
CREATE VIEW p AS SELECT p FROM generate_series(1, 3) p;
INSERT INTO latest SELECT p, m, 2, now(), now(), 60, 1, 0 FROM p, unnest(ARRAY[1, 16, 34]) m;
INSERT INTO sample_ids SELECT now(), now(), gen_random_uuid(), p, 1, 0, m FROM p, unnest(ARRAY[1, 16, 34]) m;
INSERT INTO sample_revisions SELECT s.*, now() FROM samples s;
INSERT INTO feature_state (patient_key, origin_key, metric_key, channel, state)
    SELECT p, 2, m, 'main', '' FROM p, unnest(ARRAY[35, 37]) m;
INSERT INTO waveforms (time, written_at, received_at, sample_rate_hz, original_rate_hz, scale, patient_key, origin_key,
        first_us, duration_ms, quality, metric_key, axes, flags, context, zone_offset_min, channel, "values")
    SELECT now(), now(), now(), 50, 50, 1, p, 1, 0, 20, 1, 37, 1, 0, 0, 0, 'main', ARRAY[1] FROM p;
INSERT INTO annotations (annotation_key, patient_key, metric_key, from_time, to_time, kind, source, label, detail)
    SELECT k || p, p, m, now(), now(), k, 'app', 'word', d::jsonb
    FROM p, (VALUES ('anomaly', 16, '{}'), ('trend', 1, '{}'), ('environment', NULL, '{}'),
                    ('session', NULL, '{"metrics": ["heart_rate", "steps"]}')) AS v (k, m, d);
INSERT INTO alerts (alert_id, patient_id, kind, priority, rule, rule_version, metric, device_id, source_app, state,
        opened_at, raised_at, changed_at, measured_at, retrospective, individualised, evidence, sentence)
    SELECT m || p, 'p' || p, 'technical', 'low', 'r', 1, m, 'd', 'app', 'raised', now(), now(), now(), now(), false,
           false, '{}', 'Low.' FROM p, unnest(ARRAY['steps', 'heart_rate']) m;
INSERT INTO notifications
        (notification_id, alert_id, patient_id, state, priority, recipient, channel, created_at, delayed)
    SELECT 'n' || m || p, m || p, 'p' || p, 'raised', 'low', 'r', 'log', now(), false
    FROM p, unnest(ARRAY['steps', 'heart_rate']) m;
INSERT INTO delivery_attempts (notification_id, attempted_at, attempt, outcome, detail)
    SELECT 'n' || m || p, now(), 1, 'delivered', 'ok' FROM p, unnest(ARRAY['steps', 'heart_rate']) m;
INSERT INTO alert_evidence (alert_id, patient_key, from_time, to_time, snapshot)
    SELECT m || p, p, now(), now(), '{"series": [{"metric": "steps", "value": [7]}, {"metric": "spo2", "value": [97]}]}'
    FROM p, unnest(ARRAY['steps', 'heart_rate']) m;
INSERT INTO quarantine_records (topic, partition, epoch, "offset", patient_id, key, headers, value)
    SELECT 't', 1, 0, p, CASE WHEN p <> 2 THEN 'p' || p END, convert_to('p' || p, 'UTF8'), '[]', 'raw' FROM p;
INSERT INTO quarantine (topic, partition, epoch, "offset", index, reason, metric)
    SELECT 't', 1, 0, p, m, 'future', (ARRAY['steps', 'spo2'])[m] FROM p, unnest(ARRAY[1, 2]) m;
DROP VIEW p
"""


@pytest.fixture
def archive(tmp_path: Path) -> LifecycleArchive:
    return LifecycleArchive(open_storage(str(tmp_path / "archive")))


def world_with_consent(url: str, archive: LifecycleArchive) -> Any:
    world = everything(url, archive)
    for statement in BESIDE.split(";\n"):
        query(url, statement)
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        for patient in ("p1", "p2", "p3"):
            Consents(connection, "nurse-1").grant(
                patient, [one.value for one in RetentionClass], Purpose.CARE, document="c-1"
            )
    return world


def withdrawn(url: str, *classes: str) -> None:
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        Consents(connection, "nurse-1").withdraw("p2", classes, document="w-1", stored=Stored.ERASE)


def by_metric(url: str) -> dict[tuple[str, int, int], int]:
    """How many rows each table has of each patient and metric, wherever a table names both."""
    tables = query(
        url,
        """SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'patient_key'
        JOIN pg_attribute b ON b.attrelid = c.oid AND b.attname = 'metric_key'
        WHERE n.nspname = current_schema() AND (c.relkind = 'r' OR c.relname ~ '^vitals_(1m|15m|1h)(_all)?$')""",
    )
    assert len(tables) > 15
    return {
        (table, patient, metric or 0): count
        for (table,) in tables
        for patient, metric, count in query(url, f"SELECT patient_key, metric_key, count(*) FROM {table} GROUP BY 1, 2")
    }


def archived(url: str) -> list[tuple[Any, ...]]:
    return query(
        url,
        "SELECT f.retention_class, l.patient_key, sum(l.rows)::int FROM archive_files f JOIN archive_leaves l "
        "USING (file_id) WHERE l.erased_at IS NULL GROUP BY 1, 2 ORDER BY 1, 2",
    )


def activity_goes(url: str, archive: LifecycleArchive) -> None:
    world_with_consent(url, archive)
    before, old = by_metric(url), archived(url)
    assert ("activity", 2) in {row[:2] for row in old}
    withdrawn(url, "activity")
    gone = erase_classes(url, archive, "p2", ["activity"], "dpo-1", "w-1", prepare_threshold=None)
    assert not gone.still_coming
    assert gone.rows["archive"] > 0
    assert by_metric(url) == {
        (table, patient, metric): count - (2 if (table, patient, metric) == ("annotations", 2, 0) else 0)
        for (table, patient, metric), count in before.items()
        if patient != 2 or metric not in ACTIVITY
    }, "also a session about steps, and a note on the environment"
    assert archived(url) == [row for row in old if row[:2] != ("activity", 2)]
    alerts = (
        "SELECT alert_id FROM alerts JOIN notifications USING (alert_id) JOIN delivery_attempts USING (notification_id)"
    )
    assert {one for (one,) in query(url, f"{alerts} WHERE alert_id LIKE '%2' AND alert_id NOT LIKE 'a%'")} == {
        "heart_rate2"
    }
    evidence = query(url, "SELECT alert_id, snapshot FROM alert_evidence WHERE alert_id ~ '[13]$' OR alert_id ~ '^h'")
    for alert, snapshot in evidence:
        told = [one["metric"] for one in snapshot.get("series", [])]
        assert told == (["spo2"] if alert.endswith("2") else ["steps", "spo2"] if alert[0] in "sh" else [])
    kept = query(url, 'SELECT "offset", value IS NULL, withheld FROM quarantine_records WHERE partition = 1 ORDER BY 1')
    assert kept == [(1, False, False), (2, True, True), (3, False, False)]
    assert query(url, 'SELECT metric FROM quarantine WHERE partition = 1 AND "offset" = 2') == [("spo2",)]
    ((finished, classes),) = query(url, "SELECT finished_at IS NOT NULL, classes FROM erasures")
    assert (finished, classes) == (True, ["activity"])
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        assert verify(connection, archive.storage, None, None, None).faults == []
        last = Consents(connection, "x").events("p2")[-1]
    assert (last[1], last[3], last[4]) == ("erased", ["activity"], "nurse-1")
    assert last[6]["rows"] == gone.rows


def test_stock(database: str, archive: LifecycleArchive) -> None:
    activity_goes(database, archive)


@pytest.mark.timescale
def test_timescale(wasm: str, archive: LifecycleArchive) -> None:
    activity_goes(wasm, archive)


def test_every_measure_of_a_day_is_of_some_class(database: str, archive: LifecycleArchive) -> None:
    world_with_consent(database, archive)
    plain = {"patient_key", "day", "zone_offset_min", "day_length_min", "valid_day", "made_at"}
    columns = {name for (name,) in query(database, "SELECT attname::text FROM pg_attribute WHERE attnum > 0 "
                                                   "AND attrelid = 'daily_summary'::regclass")}  # fmt: skip
    assert {column for told in MEASURES.values() for column in told} == columns - plain
    query(database, "TRUNCATE daily_summary, trends, dirty_days")
    query(database, "INSERT INTO daily_summary (patient_key, day, day_length_min, steps, sleep_total_min, wear_min, "
                    "heart_rate_mean_bpm, valid_day) SELECT p, '2024-06-06', 1440, 1, 2, 3, 4, true "
                    "FROM generate_series(1, 2) p")  # fmt: skip
    query(database, "INSERT INTO trends SELECT p, m, 'week', '2024-06-06', 'stable', 0, 1, 7 "
                    "FROM generate_series(1, 2) p, unnest(ARRAY['steps', 'sleep_total_min']) m")  # fmt: skip
    withdrawn(database, "sleep")
    erase_classes(database, archive, "p2", ["sleep"], "dpo-1", "w-1")
    measures = "steps, sleep_total_min, wear_min, heart_rate_mean_bpm, valid_day"
    days = f"SELECT patient_key, {measures} FROM daily_summary ORDER BY 1"
    assert query(database, days) == [(1, 1, 2, 3, 4, True), (2, 1, None, 3, 4, True)]
    assert query(database, "SELECT patient_key, measure FROM trends ORDER BY 1, 2") == [
        (1, "sleep_total_min"), (1, "steps"), (2, "steps"),
    ]  # fmt: skip
    assert query(database, "SELECT patient_key FROM dirty_days") == [(2,)], "what is left is made anew"
    withdrawn(database, "vital", "technical", "activity")
    erase_classes(database, archive, "p2", ["vital", "technical", "activity"], "dpo-1", "w-1")
    assert query(database, days) == [(1, 1, 2, 3, 4, True), (2, None, None, None, None, False)]
    withdrawn(database, "reported", "waveform")
    erase_classes(database, archive, "p2", [one.value for one in RetentionClass], "dpo-1", "w-2")
    assert query(database, days) == [(1, 1, 2, 3, 4, True)]


@pytest.mark.parametrize("after", ["samples", "vitals_1h_history", "alerts", "quarantine_records"])
def test_broken_off_it_is_owed_and_goes_on(database: str, archive: LifecycleArchive, after: str) -> None:
    world_with_consent(database, archive)
    withdrawn(database, "activity", "vital")

    def breaks(table: str, _rows: int) -> None:
        if table == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erase_classes(database, archive, "p2", ["vital", "activity"], "dpo-1", "w-1", done=breaks)
    with psycopg.connect(database, autocommit=True) as connection:
        (owed,) = Consents(connection, "x").owed("p2")
        erase_classes(database, archive, "p2", owed, "dpo-1", "w-1")
        assert Consents(connection, "x").owed("p2") == []
    assert {metric for table, patient, metric in by_metric(database) if patient == 2 and table == "samples"} == {
        BATTERY
    }
    assert query(database, "SELECT count(*), count(finished_at) FROM erasures") == [(1, 1)]


@pytest.fixture
def said(
    database: str, archive: LifecycleArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CliRunner]:
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("VIGIL_ARCHIVE_URI", str(tmp_path / "archive"))
    monkeypatch.setattr(commands, "SETTLE_S", 0.0)
    settings.cache_clear()
    yield CliRunner()
    settings.cache_clear()


def test_a_hold_is_above_it_and_the_command_goes_on_when_it_is_lifted(
    said: CliRunner, database: str, archive: LifecycleArchive
) -> None:
    world = world_with_consent(database, archive)
    world.hold(2)
    words = ["withdraw", "p2", "--who", "dpo-1", "--document", "w-1", "--classes", "activity", "--stored", "erase"]
    before = by_metric(database)
    assert said.invoke(commands.app, words, input="n\n").exit_code == 1
    assert query(database, "SELECT count(*) FROM consents WHERE withdrawn_at IS NOT NULL") == [(0,)], "not withdrawn"
    held = said.invoke(commands.app, [*words, "--yes"])
    assert isinstance(held.exception, commands.ErasureOwed), held.output
    assert "stored data are erased now: activity" in held.output
    assert by_metric(database) == before
    assert query(database, "SELECT count(*) FROM consents WHERE withdrawn_at IS NOT NULL") == [(1,)]
    assert "still to be erased: activity" in said.invoke(commands.app, ["show", "p2"]).output
    with pytest.raises(UnderHold):
        erase_classes(database, archive, "p2", ["activity"], "dpo-1", "w-1")
    world.lift(2)
    done = said.invoke(commands.app, words)
    assert done.exit_code == 0, done.output
    assert "the erasure that it promised goes on" in done.output
    assert "what was stored of p2 in activity is erased" in done.output
    assert not [key for key in by_metric(database) if key[1:] == (2, STEPS)]


def test_the_commands_say_what_stands_and_what_was_said(
    said: CliRunner, database: str, archive: LifecycleArchive
) -> None:
    world_with_consent(database, archive)
    query(database, "INSERT INTO not_consented VALUES (current_date, 'ble', 1, 1234)")
    of = ["--who", "nurse-1", "--document", "c-9"]
    done = said.invoke(commands.app, ["grant", "p5", *of, "--classes", "vital,sleep", "--from", "2026-01-01"])
    assert done.exit_code == 0, done.output
    assert "p5 consents to care: vital, sleep" in done.output
    said.invoke(commands.app, ["grant", "p5", *of, "--purpose", "research", "--until", "2030-01-01"])
    shown = said.invoke(commands.app, ["show", "p5"]).output
    assert shown.count("2026-01-01") >= 2
    assert "2030-01-01" in shown
    assert "1,234" in shown
    done = said.invoke(commands.app, ["withdraw", "p5", *of, "--purpose", "research"])
    assert "research readers no longer see them; nothing else changes" in done.output
    done = said.invoke(commands.app, ["withdraw", "p5", *of])
    assert done.exit_code == 0, done.output
    assert "stored data stay: vital, sleep" in done.output
    assert "no consent of p5 stands: nothing is let in" in said.invoke(commands.app, ["show", "p5"]).output
    assert said.invoke(commands.app, ["withdraw", "p5", *of]).exit_code != 0
    assert "everything is let in" in said.invoke(commands.app, ["show", "p9"]).output
    listed = said.invoke(commands.app, ["list"]).output
    assert "p5" in listed
    assert '"patient_id": "p5", "care": []' in said.invoke(commands.app, ["list", "--json"]).output
    for wrong in (["grant", "p5", *of, "--purpose", "fun"], ["grant", "p5", *of, "--from", "soon"]):
        assert said.invoke(commands.app, wrong).exit_code == 2


def test_nothing_is_said_to_be_gone_while_more_comes(
    said: CliRunner, database: str, archive: LifecycleArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder that has not heard of it stores once more: the command looks again."""
    world = world_with_consent(database, archive)
    comes = iter([True, False])
    real = erase_classes

    def meanwhile(*what: Any, **how: Any) -> Any:
        def done(table: str, _rows: int) -> None:
            if table == "quarantine_records" and next(comes, False):
                world.write(world.samples(2, STEPS, datetime.now(UTC)))

        return real(*what, **how, done=done)

    monkeypatch.setattr("timeseries.erasure_classes.erase_classes", meanwhile)
    words = ["withdraw", "p2", "--who", "dpo-1", "--document", "w-1", "--classes", "activity", "--stored", "erase"]
    done = said.invoke(commands.app, [*words, "--yes"])
    assert done.exit_code == 0, done.output
    assert not [key for key in by_metric(database) if key[1:] == (2, STEPS) and key[0] == "samples"]
