"""What readers with the purpose of research see: what a standing consent to research covers, and nothing beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from tests.timeseries.making import query
from tests.timeseries.test_roles import login
from timeseries.consent import Consents, Purpose

DAY = timedelta(days=1)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
MADE = """
INSERT INTO patients (patient_id) SELECT 'p' || p FROM generate_series(1, 3) p;
INSERT INTO devices (device_id) VALUES ('d');
INSERT INTO origins (device_key, source_app) VALUES (1, 'app');
INSERT INTO samples SELECT t, t, t, 60, p, 1, 0, 1, m, 0, 0, 0
    FROM generate_series(1, 3) p, unnest(ARRAY[1, 16]) m,
         generate_series(timestamptz '2026-03-01 00:00Z', '2026-03-20 23:00Z', INTERVAL '6 hours') t;
INSERT INTO vitals_1h (patient_key, metric_key, origin_key, bucket, n, sum, min, max, first, last, sum_sq, minutes,
        minute_mean_sum, zone_offset_min)
    SELECT patient_key, metric_key, 1, time, 1, 60, 60, 60, 60, 60, 3600, 1, 60, 0 FROM samples;
INSERT INTO vitals_1d (patient_key, metric_key, origin_key, day, n, minutes, zone_offset_min)
    SELECT p, m, 1, d, 1, 1, 0 FROM generate_series(1, 3) p, unnest(ARRAY[1, 16]) m,
                                     generate_series(date '2026-03-01', '2026-03-20', INTERVAL '1 day') d;
INSERT INTO daily_summary (patient_key, day, day_length_min, valid_day)
    SELECT DISTINCT patient_key, day, 1440, true FROM vitals_1d;
INSERT INTO trends
    SELECT patient_key, 'steps', s, day, 'stable', 0, 1, 7 FROM daily_summary, unnest(ARRAY['week', 'quarter']) s;
INSERT INTO waveforms (time, written_at, received_at, sample_rate_hz, original_rate_hz, scale, patient_key, origin_key,
        first_us, duration_ms, quality, metric_key, axes, flags, context, zone_offset_min, channel, "values")
    SELECT time, time, time, 50, 50, 1, patient_key, 1, 0, 60000, 1, 35, 1, 0, 0, 0, 'main', ARRAY[1]
    FROM samples WHERE metric_key = 1;
INSERT INTO alerts (alert_id, patient_id, kind, priority, rule, rule_version, metric, device_id, source_app, state,
        opened_at, raised_at, changed_at, measured_at, retrospective, individualised, evidence, sentence)
    SELECT m || p, 'p' || p, 'technical', 'low', 'r', 1, m, 'd', 'app', 'raised', t, t, t, t, false, false, '{}', 'Low.'
    FROM generate_series(1, 3) p, unnest(ARRAY['heart_rate', 'no_metric']) m, (SELECT timestamptz '2026-03-10Z' t) x;
INSERT INTO annotations (annotation_key, patient_key, metric_key, from_time, to_time, kind, source, label)
    SELECT p || coalesce(m::text, '-'), p, m, '2026-03-10Z', '2026-03-10 01:00Z', 'anomaly', 'app', 'word'
    FROM generate_series(1, 3) p, unnest(ARRAY[1, NULL]::smallint[]) m
"""


@pytest.fixture
def consents(database: str) -> Iterator[Consents]:
    for statement in MADE.split(";\n"):
        query(database, statement)
    with psycopg.connect(database, autocommit=True) as connection:
        yield Consents(connection, "nurse-1")


@contextmanager
def researcher(url: str, *scopes: tuple[str | None, str | None]) -> Iterator[str]:
    role = f"study_{uuid4().hex[:8]}"
    query(url, f"CREATE ROLE {role}; GRANT vigil_views TO {role}")
    for patient, retention_class in scopes or ((None, None),):
        query(
            url,
            "INSERT INTO reader_scopes (role_name, patient_id, retention_class, purpose, granted_by) "
            "VALUES (%s, %s, %s, 'research', 'dpo-1')",
            (role, patient, retention_class),
        )
    with login(url, role) as address:
        yield address
    query(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


def seen(url: str, view: str, time: str, condition: str = "true") -> list[tuple[object, ...]]:
    """By patient and metric how much is seen, and from when to when."""
    has_metric = view not in {"user_analytics", "user_trends"}
    metric = "metric" if has_metric else "''"
    found = query(
        url,
        f"SELECT patient_id, {metric}, count(*), min({time})::date::text, max({time})::date::text FROM data.{view} "
        f"WHERE {condition} GROUP BY 1, 2 ORDER BY 1, 2",
    )
    return [tuple(row) for row in found]


def test_without_any_consent_a_researcher_sees_nothing_and_others_see_what_they_saw(
    consents: Consents, database: str
) -> None:
    views = [
        name
        for (name,) in query(database, "SELECT relname::text FROM pg_class WHERE relnamespace = 'data'::regnamespace")
    ]
    assert len(views) > 10
    with researcher(database) as study, login(database, "vigil_reader") as reader:
        for view in set(views) - {"metrics"}:
            assert query(study, f"SELECT count(*) FROM data.{view}") == [(0,)], view
        assert query(reader, "SELECT count(*) FROM data.samples") == query(database, "SELECT count(*) FROM samples")
        consents.grant("p1", ["vital"], Purpose.CARE, document="c-1", start=BEGIN)
        assert query(study, "SELECT count(*) FROM data.samples") == [(0,)], "care is another purpose"
        assert query(reader, "SELECT count(*) FROM data.alerts") == [(6,)]
        assert query(reader, "SELECT count(*) FROM data.annotations") == [(12,)]


def test_classes_patients_and_times_are_those_of_the_consent(consents: Consents, database: str) -> None:
    consents.grant("p1", ["vital"], Purpose.RESEARCH, document="c-1", start=BEGIN + 4 * DAY, until=BEGIN + 9 * DAY)
    consents.grant("p2", ["vital", "activity"], Purpose.RESEARCH, document="c-2", start=BEGIN + 10 * DAY)
    with researcher(database) as study:
        assert seen(study, "samples", "time") == [
            ("p1", "heart_rate", 20, "2026-03-05", "2026-03-09"), ("p2", "heart_rate", 40, "2026-03-11", "2026-03-20"),
            ("p2", "steps", 40, "2026-03-11", "2026-03-20"),
        ]  # fmt: skip
        assert seen(study, "vitals_1h", "bucket") == seen(study, "samples", "time")
        assert seen(study, "vitals_1d", "day")[0] == ("p1", "heart_rate", 3, "2026-03-06", "2026-03-08"), "whole days"
        assert query(study, "SELECT patient_id FROM data.patients ORDER BY 1") == [("p1",), ("p2",)]
        assert query(study, "SELECT count(*) FROM data.waveforms") == [(0,)]
        consents.withdraw("p2", ["vital"], [Purpose.RESEARCH], document="w-1")
        assert {row[:2] for row in seen(study, "samples", "time")} == {("p1", "heart_rate"), ("p2", "steps")}
        consents.withdraw("p1", purposes=[Purpose.RESEARCH], document="w-1")
        assert query(study, "SELECT patient_id FROM data.patients") == [("p2",)]
    assert query(database, "SELECT count(*) FROM samples") == [(3 * 2 * 80,)], "nothing else changes"


def test_a_study_of_one_class_or_patient_sees_no_more_than_that(consents: Consents, database: str) -> None:
    for patient in ("p1", "p2"):
        consents.grant(patient, ["vital", "activity", "waveform"], Purpose.RESEARCH, document="c-1", start=BEGIN)
    with researcher(database, ("p1", "activity"), ("p2", "waveform"), (None, "alert")) as study:
        assert {row[:2] for row in seen(study, "samples", "time")} == {("p1", "steps")}
        assert {row[:2] for row in seen(study, "waveforms", "time")} == {("p2", "ecg")}
        assert query(study, "SELECT patient_id, metric FROM data.alerts ORDER BY 1") == [
            ("p1", "heart_rate"), ("p2", "heart_rate"),
        ]  # fmt: skip
        assert query(study, "SELECT DISTINCT patient_id, metric FROM data.annotations ORDER BY 1") == [
            ("p1", "heart_rate"), ("p2", "heart_rate"),
        ]  # fmt: skip


def test_what_is_made_of_several_classes_takes_consent_to_all_of_them_for_all_of_its_time(
    consents: Consents, database: str
) -> None:
    four = ["vital", "activity", "sleep", "technical"]
    consents.grant("p1", four, Purpose.RESEARCH, document="c-1", start=BEGIN - DAY)
    consents.grant("p2", four[:3], Purpose.RESEARCH, document="c-1", start=BEGIN - 300 * DAY)
    consents.grant("p3", [*four, "reported", "waveform"], Purpose.RESEARCH, document="c-1", start=BEGIN - 300 * DAY)
    with researcher(database) as study:
        assert seen(study, "user_analytics", "day") == [
            ("p1", "", 12, "2026-03-09", "2026-03-20"), ("p3", "", 20, "2026-03-01", "2026-03-20"),
        ]  # fmt: skip
        assert seen(study, "user_trends", "until", "patient_id = 'p1'") == [("p1", "", 5, "2026-03-16", "2026-03-20")]
        assert query(study, "SELECT count(*) FROM data.user_trends WHERE patient_id = 'p3'") == [(40,)]
        assert query(study, "SELECT alert_id FROM data.alerts WHERE metric = 'no_metric'") == [("no_metric3",)]
        assert query(study, "SELECT patient_id FROM data.annotations WHERE metric IS NULL") == [("p3",)]
        sees = query(study, "SELECT patient_id, count(*) FROM data.annotations WHERE metric = 'heart_rate' GROUP BY 1")
        assert sorted(sees) == [("p1", 2), ("p2", 2), ("p3", 2)]


def test_a_chunk_that_ends_after_the_consent_is_not_seen(consents: Consents, database: str) -> None:
    ends = BEGIN + timedelta(seconds=30)
    consents.grant("p1", ["waveform"], Purpose.RESEARCH, document="c-1", start=BEGIN - DAY, until=ends)
    consents.grant("p2", ["waveform"], Purpose.RESEARCH, document="c-1", start=BEGIN - DAY, until=ends + DAY / 24)
    with researcher(database) as study:
        assert seen(study, "waveforms", "time") == [("p2", "ecg", 1, "2026-03-01", "2026-03-01")]


def test_what_an_alert_said_while_it_was_open_is_seen_by_whom_its_end_is(consents: Consents, database: str) -> None:
    query(
        database,
        "UPDATE alerts SET raised_sentence = 'High.', raised_evidence = '{\"samples\": 60}', policy = CASE patient_id"
        " WHEN 'p1' THEN 'anna smith v3 sha256:204c810d1624' WHEN 'p2' THEN 'default 1' ELSE 'default 1 of anna' END",
    )
    consents.grant("p1", ["vital"], Purpose.RESEARCH, document="c-1", start=BEGIN - DAY)
    columns = "patient_id, sentence, raised_sentence, raised_evidence, policy"
    shown = f"SELECT {columns} FROM data.alerts WHERE metric = 'heart_rate' ORDER BY 1"
    told = ("Low.", "High.", {"samples": 60})
    first = ("p1", *told, "v3 sha256:204c810d1624")
    with researcher(database) as study, login(database, "vigil_reader") as reader:
        assert query(study, shown) == [first]
        assert query(reader, shown) == [first, ("p2", *told, "default 1"), ("p3", *told, None)]
        assert "anna" not in repr(query(reader, "SELECT * FROM data.alerts"))
