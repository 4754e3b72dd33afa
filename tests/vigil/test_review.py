"""`vigil review` as a clinician uses it, over a real PostgreSQL; and that `vigil db rollup` looks by itself."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from stream.review_job import LookReport
from tests.timeseries.making import query
from tests.timeseries.review_world import looked, person, plan, put_days, stored
from tests.timeseries.test_roles import login
from tests.vigil.saying import Command
from vigil.cli import app
from vigil.reviews import Hourly
from vigil.settings import settings

POLICY = "version = 1\nlabel = 'ours'\n[review]\ndecision_sd = {decision_sd}\n"


@pytest.fixture
def world(url: str) -> str:
    """Of clinician-7 p1 walks less and sleeps later, p2 is ordinary, p3 is new; clinician-8 has p4, who walks less."""
    put_days(url, "p1", person(1, less_from=90, later_from=95))
    put_days(url, "p2", person(2))
    put_days(url, "p3", person(3, 12))
    put_days(url, "p4", person(4, less_from=90))
    for patient, who in (("p1", "clinician-7"), ("p2", "clinician-7"), ("p3", "clinician-7"), ("p4", "clinician-8")):
        plan(url, patient, who)
    return url


COMMAND = Command(app, ("review",))
run, said, refusal = COMMAND.run, COMMAND.said, COMMAND.refusal


def rows(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said("list", "--json", *arguments).splitlines()]


def test_a_review_from_the_look_to_the_clinician_who_saw_it(world: str) -> None:
    assert "nothing on the list of clinician-7" in said("list", "--who", "clinician-7")
    assert "p1: not looked at yet" in said("list", "--who", "clinician-7")
    told = said("look")
    assert "people under a plan: 4, their days: " in told
    assert "still being learned: 1" in told
    assert "2 raised" in told
    assert "nothing new" in said("look")
    shown = " ".join(said("list", "--who", "clinician-7").split())
    words = ("p1", "Fewer steps than usual", "later sleep than usual", "steps 7,8", "mid-sleep 03:", "2025-01-07")
    for word in (*words, "3 under a plan with you"):
        assert word in shown, (word, shown)
    assert "p3: still learning what is usual (12 days of steps, 12 nights; 28 are needed)" in shown
    assert "it does not diagnose" in shown
    assert "p4" not in shown
    (one,) = rows("--who", "clinician-7")
    assert (one["patient_id"], one["rule"], one["state"]) == ("p1", "less_activity_and_later_sleep", "raised")
    assert one["policy"].startswith("default")
    assert "is noted as seen" in said("seen", one["review_id"][:12], "--who", "clinician-7")
    assert "was noted as seen before" in said("seen", one["review_id"], "--who", "clinician-7")
    assert "by clinician-7" in said("list", "--who", "clinician-7")
    assert [row["seen_by"] for row in rows("--who", "clinician-7")] == ["clinician-7"]


def test_another_clinician_sees_nothing_and_marks_nothing(world: str) -> None:
    said("look")
    (one,) = rows("--who", "clinician-7")
    assert [row["patient_id"] for row in rows("--who", "clinician-8", "--all")] == ["p4"]
    assert rows("--who", "clinician-9", "--all") == []
    shown = said("list", "--who", "clinician-9", "--all")
    assert "p1" not in shown
    assert "nobody's care profile names you" in shown
    assert refusal("seen", one["review_id"], "--who", "clinician-8").startswith("no such review stands on your list")
    assert query(world, "SELECT count(seen_at) FROM reviews") == [(0,)]
    assert "must be 1 to 64 letters" in refusal("list", "--who", "Dr. Anna Muster")


def test_what_ended_is_shown_with_the_reason_when_asked_for(world: str) -> None:
    looked(world, 110)
    plan(world, "p4", None, since=111)
    said("look")
    assert "p4" not in said("list", "--who", "clinician-8")
    assert "plan or consent ended" in " ".join(said("list", "--who", "clinician-8", "--all").split())
    (one,) = rows("--who", "clinician-8", "--all")
    assert (one["state"], one["ended"]) == ("cleared", "not_looked_for")


def test_one_person_is_looked_at_on_demand(world: str) -> None:
    assert "people under a plan: 1" in said("look", "--patient", "p4")
    assert stored(world, "patient_id") == [("p4",)]
    assert "people under a plan: 0" in said("look", "--patient", "p99")
    assert "must be 1 to 64 letters" in refusal("look", "--patient", "Anna Muster")


def test_the_policy_in_force_says_when_a_change_counts(world: str) -> None:
    apply = """INSERT INTO policy_versions (version, label, sha256, body, applied_by, reason)
               VALUES (%s, 'ours', repeat('a', 64), %s, 'u', 'r')"""
    query(world, apply, (1, POLICY.format(decision_sd="900.0")))
    assert "nothing new" in said("look")
    query(world, apply, (2, POLICY.format(decision_sd="9.0") + "[patient.p4.review]\ndecision_sd = 900.0\n"))
    said("look")
    assert {row[0] for row in stored(world, "patient_id", "state = 'raised'")} == {"p1"}
    assert {row[0][:7] for row in stored(world, "policy")} == {"ours v1"}
    query(world, apply, (3, POLICY.format(decision_sd="2.0")))
    assert "cannot read policy version 3" in refusal("look")


def test_the_rollup_looks_at_whoever_is_due(world: str) -> None:
    for _ in range(2):
        done = CliRunner().invoke(app, ["db", "rollup"])
        assert done.exit_code == 0, (done.output, done.exception)
    assert stored(world, "patient_id, rule") == [
        ("p1", "less_activity_and_later_sleep"), ("p4", "activity_changed")
    ]  # fmt: skip
    assert query(world, "SELECT count(DISTINCT looked_at), count(*) FROM review_looks") == [(1, 4)], "once a day"


def test_what_nobody_can_read_or_that_is_not_there_is_said_in_words(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with login(url, "vigil_console") as address:
        monkeypatch.setenv("DATABASE_URL", address)
        settings.cache_clear()
        assert "only the owner of the tables reads reviews" in refusal("list", "--who", "clinician-7")
    monkeypatch.setenv("DATABASE_URL", url)
    settings.cache_clear()
    query(url, "DROP TABLE reviews")
    assert "run vigil db migrate" in refusal("list", "--who", "clinician-7")


def test_once_an_hour_and_a_look_that_fails_ends_nothing() -> None:
    now, looks = 0.0, list[float]()

    def look() -> LookReport:
        looks.append(now)
        if len(looks) == 2:
            raise ValueError("p1 sleeps later")
        return LookReport(people=len(looks), reviews=LookReport().reviews + type(LookReport().reviews)(raised=2))

    hourly = Hourly(look, clock=lambda: now)
    with capture_logs() as logs:
        for minute in range(0, 181, 10):
            now = 60.0 * minute
            hourly.maybe()
    assert looks == [0.0, 3_600.0, 7_200.0, 10_800.0]
    assert [one["event"] for one in logs] == ["reviews_looked", "reviews_failed", "reviews_looked", "reviews_looked"]
    assert logs[1]["error"] == "ValueError"
    assert "p1" not in str(logs)
    assert (logs[0]["people"], logs[0]["raised"]) == (1, 2)
