"""What stood around an alert is kept as it was, once, within bounds, and only when it is stored."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.timeseries.making import query
from timeseries import evidence
from timeseries.evidence import AFTER, BEFORE, take_evidence
from timeseries.migrate import migrate

OPENED = datetime(2024, 6, 1, 12, tzinfo=UTC)
RAISED = OPENED + timedelta(seconds=30)
HOUR = timedelta(hours=1)


def alert(url: str, alert_id: str = "a1", patient: str = "p1", opened: datetime = OPENED) -> None:
    query(
        url,
        "INSERT INTO alerts (alert_id, patient_id, kind, priority, rule, rule_version, metric, device_id, source_app, "
        "state, opened_at, raised_at, changed_at, measured_at, retrospective, individualised, evidence, sentence) "
        "VALUES (%s, %s, 'physiological', 'low', 'fast', 1, 'heart_rate', 'd1', 'app', 'raised', %s, %s, %s, %s, "
        "false, false, '{}', 'fast')",
        (alert_id, patient, opened, *[opened + (RAISED - OPENED)] * 3),
    )


def samples(
    url: str, start: datetime, end: datetime, *, every_s: float = 10, metric: int = 1, patient: int = 1
) -> None:
    """One sample in so many seconds, the value being the seconds since the alert opened; `end` included."""
    query(
        url,
        "INSERT INTO samples (time, written_at, received_at, value, patient_key, origin_key, duration_ms, quality, "
        "metric_key, flags, context, zone_offset_min) SELECT t, t, t, extract(epoch FROM t - %s::timestamptz), %s, 1, "
        "0, 0.5, %s, 0, 3, 0 FROM generate_series(%s::timestamptz, %s::timestamptz, '10 s') t",
        (OPENED, patient, metric, start, end),
    )
    query(
        url,
        "INSERT INTO latest SELECT patient_key, metric_key, origin_key, max(time), max(time), 0, 1, 0 FROM samples "
        "GROUP BY 1, 2, 3 ON CONFLICT (patient_key, metric_key, origin_key) DO UPDATE SET time = excluded.time",
    )


def people(url: str) -> None:
    query(url, "INSERT INTO patients (patient_id) VALUES ('p1'), ('p2')")
    query(url, "INSERT INTO devices (device_id) VALUES ('d1')")
    query(url, "INSERT INTO origins (device_key, source_app) VALUES (1, 'app')")


def snapshot(url: str, alert_id: str = "a1") -> list[dict[str, Any]]:
    ((kept,),) = query(url, "SELECT snapshot FROM alert_evidence WHERE alert_id = %s", (alert_id,))
    found: list[dict[str, Any]] = kept["series"]
    return found


def taken(url: str) -> int:
    return take_evidence(url, prepare_threshold=None, page=2)


def the_window_is_kept_whole_and_once(url: str) -> None:
    people(url)
    samples(url, OPENED - HOUR, OPENED + HOUR)
    samples(url, OPENED, OPENED + timedelta(seconds=20), metric=5)
    samples(url, OPENED - HOUR, OPENED + HOUR, patient=2)
    query(url, "UPDATE samples SET flags = 128 WHERE time = %s AND metric_key = 1", (OPENED,))
    alert(url)
    assert taken(url) == 1
    heart_rate, spo2 = snapshot(url)
    assert (heart_rate["metric"], heart_rate["unit"], heart_rate["device_id"]) == ("heart_rate", "/min", "d1")
    expected = [t for t in range(-900, 331, 10) if t != 0]
    assert heart_rate["value"] == expected
    assert heart_rate["samples"] == len(expected)
    assert heart_rate["offset_us"] == [(900 + t) * 1_000_000 for t in expected]
    assert {len(heart_rate[name]) for name in ("quality", "context", "duration_ms")} == {len(expected)}
    assert (spo2["metric"], spo2["value"]) == ("spo2", [0, 10, 20])
    times = query(url, "SELECT from_time, to_time, patient_key FROM alert_evidence")
    assert times == [(OPENED - BEFORE, RAISED + AFTER, 1)]

    query(url, "UPDATE samples SET value = 0")
    assert taken(url) == 0
    assert snapshot(url) == [heart_rate, spo2], "as it was when the alert was new"
    query(url, "DELETE FROM alert_evidence")
    assert taken(url) == 0, "what its policy let go is not taken again"


def an_alert_waits_until_its_window_is_stored(url: str) -> None:
    people(url)
    now = datetime.now(UTC)
    alert(url, "fresh", opened=now - timedelta(minutes=8))
    samples(url, now - timedelta(minutes=20), now - timedelta(minutes=4))
    alert(url, "silent", "p2", opened=now - 2 * HOUR)
    alert(url, "unknown", "p3", opened=OPENED)
    assert taken(url) == 0
    samples(url, now - timedelta(minutes=2), now)
    assert taken(url) == 1
    query(url, "UPDATE alerts SET raised_at = raised_at - INTERVAL '1 day' WHERE alert_id = 'silent'")
    assert taken(url) == 1
    assert snapshot(url, "silent") == []
    assert query(url, "SELECT alert_id FROM alerts WHERE NOT evidence_taken") == [("unknown",)]


def many_alerts_take_more_than_one_page(url: str) -> None:
    people(url)
    for number in range(5):
        alert(url, f"a{number}")
    assert taken(url) == 5


RULES = [
    the_window_is_kept_whole_and_once,
    an_alert_waits_until_its_window_is_stored,
    many_alerts_take_more_than_one_page,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_stock(rule: Any, database: str) -> None:
    rule(database)


@pytest.mark.timescale
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_timescale(rule: Any, wasm: str) -> None:
    migrate(wasm, prepare_threshold=None)
    rule(wasm)


def test_a_snapshot_is_bounded_and_keeps_what_is_nearest(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    people(database)
    monkeypatch.setattr(evidence, "PER_SERIES", 7)
    monkeypatch.setattr(evidence, "IN_ALL", 10)
    samples(database, OPENED - HOUR, OPENED + HOUR)
    samples(database, OPENED - HOUR, OPENED + HOUR, metric=5)
    alert(database)
    assert taken(database) == 1
    first, second = snapshot(database)
    assert first["value"] == second["value"] == [-20, -10, 0, 10, 20]
    assert first["samples"] == second["samples"] == 124


def test_two_take_each_alert_once(database: str) -> None:
    people(database)
    alert(database)
    with psycopg.connect(database) as other:
        other.execute("UPDATE alerts SET evidence_taken = true")
        other.execute("INSERT INTO alert_evidence VALUES ('a1', 1, now(), now(), now(), '{\"series\": []}')")
        other.commit()
    assert taken(database) == 0
    query(database, "UPDATE alerts SET evidence_taken = false")
    assert taken(database) == 0, "a row that is there stays, and is not tried for ever"
    assert query(database, "SELECT evidence_taken FROM alerts") == [(True,)]
