"""`vigil replay`: files and stored data through the production engine; alerts as JSON lines, the burden beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner, Result

from alerts.event import AlertEvent, Kind, Priority, State
from stream.detectors.policy import ADULT
from stream.watch.crowd import Everyone
from stream.watch.engine import Engine
from stream.watch.plan import default_plan
from stream.watch.replay import replay
from tests.timeseries.making import Partition, rows
from timeseries.store import SampleStore
from vigil.cli import app
from vigil.replay.burden import burden, patient_days
from vigil.replay.recording import recording
from vigil.replay.run import PATIENT, fire, read_file
from vigil.replay.screen import write_plot
from vigil.settings import settings
from vitals.batch import BatchHeader
from vitals.catalogue import number_of
from vitals.clock import US_PER_S, from_datetime
from vitals.ids import device_id, patient_id

HEADER = BatchHeader(patient_id(PATIENT), device_id("recorder"), "file", "replay")
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
T0 = from_datetime(MIDNIGHT)
STRICTER = """version = 2
label = "strict"

[limits.heart_rate_high.heart_rate]
threshold = 100
clear = 95
"""


def story(path: Path, high: float = 150) -> Path:
    """Half an hour at 1 Hz: ten minutes calm, ten fast, ten calm."""
    draw = np.random.default_rng(1)
    lines = ["time,metric,value"]
    for second in range(1_800):
        value = (high if 600 <= second < 1_200 else 70) + draw.integers(-3, 4)
        lines.append(f"{second},heart_rate,{value}")
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


def alerts(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def told(result: Result) -> list[tuple[str, str]]:
    return [(one["rule"], one["state"]) for one in alerts(result)]


def test_alerts_are_json_lines_and_the_burden_stands_beside_them(tmp_path: Path) -> None:
    result = run(story(tmp_path / "a.csv"))
    raised, cleared = alerts(result)
    assert (raised["rule"], raised["state"], cleared["state"]) == ("heart_rate_high", "raised", "cleared")
    needed = ("alert_id", "patient_id", "kind", "priority", "rule", "rule_version", "metric", "opened_at", "state",
              "evidence", "sentence")  # fmt: skip
    assert all(raised[name] for name in needed)
    assert raised["opened_at"] == "2020-01-06T00:10:00Z"
    assert raised["retrospective"] is False
    assert "Alarm burden over 0.02 patient-days" in result.stderr
    assert "heart_rate_high" in result.stderr
    assert "100 %" in result.stderr


def test_quiet_says_alerts_alone(tmp_path: Path) -> None:
    result = run(story(tmp_path / "a.csv"), "--quiet")
    assert len(alerts(result)) == 2
    assert result.stderr == ""


def test_nothing_fires_on_a_calm_file(tmp_path: Path) -> None:
    result = run(story(tmp_path / "a.csv", high=72))
    assert alerts(result) == []
    assert "nothing fired" in result.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,metric,value\n1.11.2026 08:00,heart_rate,150\n", "1 time (times are ISO 8601, or numbers)"),
        ("time,metric,value,quality\n1,heart_rate,150,95\n", "1 quality (quality is 0 to 1)"),
        ("time,metric,value\n1,pulse,150\n2,body_temperature,98.6\n", "1 out_of_range (values are in the catalogue's"),
        ("time,metric,value\n", "holds no sample that can be replayed"),
    ],
)
def test_a_file_of_which_nothing_counts_is_no_calm_one(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    result = run(tmp_path / "a.csv", "--quiet")
    assert result.exit_code != 0
    assert words in str(result.exception)


def test_another_policy_fires_otherwise(tmp_path: Path) -> None:
    (tmp_path / "strict.toml").write_text(STRICTER)
    path = story(tmp_path / "a.csv", high=115)
    assert told(run(path)) == []
    result = run(path, "--policy", tmp_path / "strict.toml")
    assert told(result) == [("heart_rate_high", "raised"), ("heart_rate_high", "cleared")]
    assert alerts(result)[0]["policy"].startswith("strict")


def test_a_care_profile_makes_limits_a_persons_own(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[limits.heart_rate]\nhigh = 160\n")
    assert told(run(story(tmp_path / "a.csv"), "--profile", tmp_path / "own.toml")) == []


def test_a_wrong_policy_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(STRICTER.replace("clear = 95", "clear = 105"))
    result = run(story(tmp_path / "a.csv"), "--policy", tmp_path / "wrong.toml")
    assert result.exit_code != 0
    assert "wrong.toml:" in str(result.exception)


@pytest.mark.parametrize("wrong", [(), ("--patient", "p1"), ("a.csv", "--patient", "p1")])
def test_a_file_or_a_patient_is_asked_for(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    path = story(tmp_path / "a.csv")
    assert run(*[path if one == "a.csv" else one for one in wrong]).exit_code == 2


def test_how_finely_the_clock_moves_changes_nothing(tmp_path: Path) -> None:
    columns = read_file(story(tmp_path / "a.csv")).columns
    found = []
    for step_s in (1.0, 5.0, 37.0):
        engine = Engine(Everyone(default_plan(ADULT)))
        events = replay(engine, [(HEADER, columns)], step_s=step_s)
        found.append([(one.alert_id, one.state, one.changed_at) for one in events])
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2


def test_a_gap_of_years_costs_no_time() -> None:
    at = T0 + np.array([0, 1, 2, 400_000_000]) * US_PER_S
    made = recording(at, np.full(4, number_of("heart_rate"), np.int16), np.full(4, 70.0)).columns
    assert len(list(replay(Engine(Everyone(default_plan())), [(HEADER, made)]))) < 10


def test_burden_counts_episodes_not_events(tmp_path: Path) -> None:
    columns = read_file(story(tmp_path / "a.csv")).columns
    events = list(replay(Engine(Everyone(default_plan())), [(HEADER, columns)]))
    days = patient_days([(PATIENT, columns)])
    assert days == pytest.approx(2 / 96)
    (one,) = burden([*events, *events], days)
    assert (one.rule, one.kind, one.raised, one.paging, one.cleared) == (
        "heart_rate_high", Kind.PHYSIOLOGICAL, 1, 1, 1.0,
    )  # fmt: skip
    assert one.per_day == pytest.approx(48)
    assert one.priority is Priority.MEDIUM
    assert one.open_min == pytest.approx(11, abs=0.1)


def test_the_plot_is_a_picture_with_a_bar_a_rule(tmp_path: Path) -> None:
    assert run(story(tmp_path / "a.csv"), "--plot", tmp_path / "burden.svg").exit_code == 0
    root = ElementTree.parse(tmp_path / "burden.svg").getroot()
    words = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "heart_rate_high" in words
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 4  # ground, two parts of the bar, legend
    write_plot(tmp_path / "none.svg", [("nothing", [])], 1.0)
    assert "nothing fired" in (tmp_path / "none.svg").read_text()


@pytest.fixture
def stored(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A patient with half an hour of heart rate in the database, and an alert that had been raised."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO patients (patient_key, patient_id) OVERRIDING SYSTEM VALUE VALUES (1, 'p1')")
        connection.execute("INSERT INTO devices (device_key, device_id) OVERRIDING SYSTEM VALUE VALUES (1, 'd1')")
        connection.execute(
            "INSERT INTO origins (origin_key, device_key, source_app) OVERRIDING SYSTEM VALUE VALUES (1, 1, 'app')"
        )
        connection.execute(
            "INSERT INTO alerts (alert_id, patient_id, kind, priority, rule, rule_version, metric, device_id,"
            " source_app, state, opened_at, raised_at, changed_at, measured_at, retrospective, individualised,"
            " evidence, sentence)"
            " VALUES ('00000000000000000000000000000001', 'p1', 'physiological', 'medium', 'an_older_rule', 1,"
            " 'heart_rate', 'd1', 'app', 'raised', %(at)s, %(at)s, %(at)s, %(at)s, false, false, '{}', 'Something.')",
            {"at": MIDNIGHT},
        )
    draw = np.random.default_rng(1)
    fast = (np.arange(1_800) >= 600) & (np.arange(1_800) < 1_200)
    values = np.where(fast, 115, 70) + draw.integers(-3, 4, 1_800)
    at = T0 + np.arange(1_800) * US_PER_S

    async def store() -> None:
        async with SampleStore(database) as samples:
            await samples.write(Partition().batch(rows(1_800, time=at, value=values, metric_key=1)))

    asyncio.run(store())
    monkeypatch.setenv("DATABASE_URL", database)
    settings.cache_clear()
    yield database
    settings.cache_clear()


def test_a_changed_rule_on_stored_data_stands_beside_what_fired(stored: str, tmp_path: Path) -> None:
    (tmp_path / "strict.toml").write_text(STRICTER)
    window = ("--patient", "p1", "--from", "2026-01-01", "--to", "2026-01-02")
    assert told(run(*window)) == [("gap", "raised")]
    result = run(*window, "--policy", tmp_path / "strict.toml", "--plot", tmp_path / "both.svg")
    assert told(result) == [("heart_rate_high", "raised"), ("heart_rate_high", "cleared"), ("gap", "raised")]
    assert {one["patient_id"] for one in alerts(result)} == {"p1"}
    assert "A is what fired, B is strict" in result.stderr
    lines = [line.split() for line in result.stderr.splitlines()]
    assert ["an_older_rule", "1", "0", "48.00", "0", "1", "0", "-1"] in lines
    assert ["heart_rate_high", "0", "1", "0", "48.00", "0", "1", "+1"] in lines
    assert "an_older_rule" in (tmp_path / "both.svg").read_text()


def test_what_lies_before_the_wanted_time_is_replayed_and_not_told(stored: str, tmp_path: Path) -> None:
    """A quarter of an hour on, the fast stretch goes on: it is no new episode."""
    (tmp_path / "strict.toml").write_text(STRICTER)
    window = (
        "--patient",
        "p1",
        "--from",
        "2026-01-01T00:15",
        "--to",
        "2026-01-02",
        "--policy",
        tmp_path / "strict.toml",
    )
    result = run(*window)
    assert told(result) == [("gap", "raised")]
    assert "28.0 days earlier" in result.stderr
    assert "over 0.01 patient-days" in result.stderr  # of the quarter of an hour alone
    assert told(run(*window, "--warm-up", "0"))[0] == ("heart_rate_high", "raised")


def test_a_silence_at_the_end_is_seen_as_it_was(stored: str) -> None:
    found = told(run("--patient", "p1", "--from", "2026-01-01", "--to", "2026-01-02"))
    assert found == [("gap", "raised")]


def test_a_label_is_shown_as_it_stands(stored: str, tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text(STRICTER.replace('"strict"', '"[bold] ward [/] 4"'))
    result = run("--patient", "p1", "--from", "2026-01-01", "--to", "2026-01-02", "--policy", tmp_path / "odd.toml")
    assert result.exit_code == 0
    assert "[bold] ward [/] 4" in result.stderr


def consent(url: str, category: str, *, withdrawn: bool) -> None:
    ended = "now(), 'u-1', 'doc-2', 'keep'" if withdrawn else "NULL, NULL, NULL, NULL"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO consents (patient_key, category, purpose, valid_from, on_withdrawal, document, recorded_by,"
            " withdrawn_at, withdrawn_by, withdrawn_for, withdrawn_stored)"
            f" VALUES (1, %s, 'care', '2025-01-01', 'keep', 'doc-1', 'u-1', {ended})",
            (category,),
        )


def test_without_a_consent_that_stands_nothing_is_looked_at_again(stored: str) -> None:
    window = ("--patient", "p1", "--from", "2026-01-01", "--to", "2026-01-02")
    consent(stored, "vital", withdrawn=True)
    assert "no consent of this patient stands" in str(run(*window).exception)
    consent(stored, "sleep", withdrawn=False)
    assert "no consent to look at it stands" in str(run(*window).exception)
    consent(stored, "vital", withdrawn=False)
    assert run(*window).exit_code == 0


def test_another_role_than_the_owner_is_told_so(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vigil.replay.stored._OPTIONS", "-c timezone=UTC -c role=vigil_console")
    result = run("--patient", "p1", "--from", "2026-01-01", "--to", "2026-01-02")
    assert "only the owner of the tables" in str(result.exception)


@pytest.mark.parametrize(
    ("patient", "words"),
    [
        ("vigil-synthetic", "nobody of this id"),
        ("nobody", "nobody of this id"),
        ("p1", "nothing was measured"),
        ("two words", "patient id"),
    ],
)
def test_what_cannot_be_replayed_says_why(stored: str, patient: str, words: str) -> None:
    result = run("--patient", patient, "--from", "2020-01-01", "--to", "2020-01-02")
    assert result.exit_code != 0
    assert words in str(result.exception)


def test_events_of_two_wearers_are_kept_apart() -> None:
    at = T0 + np.arange(300) * US_PER_S
    values = 150 + np.random.default_rng(2).integers(-3, 4, 300)
    made = recording(at, np.full(300, number_of("heart_rate"), np.int16), values.astype(float)).columns
    from stream.policy_file.policies import built_in

    other = BatchHeader(patient_id("p2"), device_id("d2"), "file", "replay")
    events: list[AlertEvent] = fire([(HEADER, made), (other, made)], built_in(), {})
    assert {(one.patient_id, one.state) for one in events} == {(PATIENT, State.RAISED), ("p2", State.RAISED)}
