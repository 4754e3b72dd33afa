"""Reviews: found in people under a plan, kept once, ended when they end, read by one clinician and by no role."""

from datetime import timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import errors

from stream.detectors.behaviour import ChangePolicy
from stream.detectors.behaviour_review import ReviewPolicy
from stream.review_job import REVIEWS
from tests.timeseries.making import query
from tests.timeseries.review_world import at, end_plan, looked, person, plan, put_days, put_people, stored, told
from tests.timeseries.test_roles import ROLES, login
from timeseries.erasure import erase
from timeseries.erasure_classes import erase_classes
from timeseries.lifecycle import due, run
from timeseries.review_model import ReviewUnavailable
from timeseries.reviews import ReviewList
from vitals.ids import InvalidId

WORDS = ("relapse", "mood", "depress", "suicid", "violen", "mania", "psycho", "withdraw", "disorder", "episode")

NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


@pytest.fixture
def url(database: str) -> str:
    return database


def listed(url: str, who: str, *, everything: bool = False) -> list[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [one.patient_id for one in ReviewList(connection, who).listed(everything=everything)]


# What is found


def test_less_activity_stands_on_the_list_of_the_named_clinician_and_of_nobody_else(url: str) -> None:
    put_days(url, "p1", person(1, less_from=90))
    put_days(url, "p2", person(2, less_from=90))
    put_days(url, "p3", person(3))
    plan(url, "p1", "clinician-7")
    plan(url, "p3", "clinician-7")
    found = looked(url, 110)
    assert (found.people, dict(found.reviews)) == (2, {"raised": 1})
    assert stored(url) == [("p1", "activity_changed", "raised", None)]
    assert (listed(url, "clinician-7"), listed(url, "clinician-8")) == (["p1"], [])
    ((opened, sentence, evidence, policy),) = stored(url, "opened_at, sentence, evidence, policy")
    assert opened == at(90) - timedelta(hours=2), "the wearer's own midnight"
    assert sentence.startswith("Fewer steps than usual: ")
    assert 6_000 < evidence["figures"]["usual"] < 10_000
    assert len(evidence["readings"]) == 14
    assert policy == ""


def test_fewer_steps_and_later_sleep_become_one_review(url: str) -> None:
    put_days(url, "p1", person(1, less_from=90, later_from=100))
    plan(url, "p1")
    looked(url, 99)
    assert stored(url) == [("p1", "activity_changed", "raised", None)]
    found = looked(url, 120)
    assert dict(found.reviews) == {"raised": 1, "joined": 1}
    assert stored(url) == [
        ("p1", "activity_changed", "cleared", "joined"), ("p1", "less_activity_and_later_sleep", "raised", None),
    ]  # fmt: skip
    assert stored(url, "metrics", "state = 'raised'") == [(["steps", "sleep_stage"],)]
    assert listed(url, "clinician-7") == ["p1"]


def test_sentences_say_what_is_seen_in_figures_and_name_no_disorder(url: str) -> None:
    for number in range(6):
        put_days(url, f"p{number}", person(number, less_from=70, later_from=85))
        plan(url, f"p{number}")
    for day in (75, 80, 95, 130, 180):
        looked(url, day)
    sentences = [one for (one,) in stored(url, "sentence || rule")]
    assert len(sentences) >= 12
    assert not [word for one in sentences for word in WORDS if word in one.lower()]
    assert all("usual" in one for one in sentences)


def test_a_day_that_was_not_worn_and_a_day_that_goes_on_do_not_count(url: str) -> None:
    put_days(url, "p1", person(1, less_from=90), valid=False)
    plan(url, "p1")
    looked(url, 130)
    assert stored(url) == []
    assert query(url, "SELECT activity_days, sleep_days, needed_days, until_day FROM review_looks") == [
        (0, 130, 28, at(129).date())
    ]


def test_what_is_usual_is_learned_from_ninety_days_before_the_plan_and_then_frozen(url: str) -> None:
    """A year of decline long before, and a plan that goes on through three versions and for 600 days."""
    values = [np.concatenate([one, two]) for one, two in zip(person(1, 300, less_from=0), person(2, 700), strict=True)]
    put_days(url, "p1", values)
    plan(url, "p1", "clinician-7", since=395)
    plan(url, "p1", "clinician-8", since=500)
    plan(url, "p1", "clinician-8", since=700, pacemaker=True)
    looked(url, 999)
    ((days,),) = query(url, "SELECT activity_days FROM review_looks")
    assert days == 999 - (395 - 90)
    assert stored(url) == [], "the low year before is not among what is usual"
    end_plan(url, "p1", 900)
    plan(url, "p1", "clinician-8", since=950)
    looked(url, 999.5, everybody=True)
    assert query(url, "SELECT activity_days FROM review_looks") == [(999 - (950 - 90),)], "a new plan learns anew"


def test_what_was_over_before_the_plan_is_nobodys_to_review(url: str) -> None:
    values = person(1, 200)
    values[0][60:80] *= 0.2
    put_days(url, "p1", values)
    plan(url, "p1", since=110)
    looked(url, 190)
    assert stored(url) == []
    put_days(url, "p2", values)
    plan(url, "p2", since=50)
    looked(url, 190)
    assert stored(url) == [("p2", "activity_changed", "cleared", "usual_again")]


# When it ends


def test_it_is_refreshed_while_it_lasts_and_cleared_once(url: str) -> None:
    values = person(1, 180)
    values[0][90:130] *= 0.3
    put_days(url, "p1", values)
    plan(url, "p1")
    seen = []
    for day in range(95, 180):
        found = looked(url, day)
        seen.append(dict(found.reviews))
    assert [one for one in seen if one] == [{"raised": 1}, {"cleared": 1}]
    ((state, ended, opened, changed, cleared, sentence),) = stored(
        url, "state, ended, opened_at, changed_at, cleared_at, sentence"
    )
    assert (state, ended, opened) == ("cleared", "usual_again", at(90) - timedelta(hours=2))
    assert at(130) < changed == cleared < at(145)
    assert sentence.startswith("As usual again, after fewer steps than usual")
    assert listed(url, "clinician-7") == []
    assert listed(url, "clinician-7", everything=True) == ["p1"]


def test_late_and_corrected_days_move_the_review_and_make_no_second(url: str) -> None:
    values = person(1, 180, less_from=90)
    early = [one.copy() for one in values]
    early[0][90:97] = np.nan  # a phone that tells its week later
    put_days(url, "p1", early)
    plan(url, "p1")
    looked(url, 110)
    ((first, opened),) = stored(url, "review_id, opened_at")
    assert opened == at(97) - timedelta(hours=2)
    put_days(url, "p1", values)
    looked(url, 112)
    assert stored(url, "review_id, opened_at") == [(first, at(90) - timedelta(hours=2))]
    put_days(url, "p1", person(1, 180))
    found = looked(url, 114)
    assert dict(found.reviews) == {"corrected": 1}
    assert stored(url) == [("p1", "activity_changed", "cleared", "corrected")]
    put_days(url, "p1", values)
    looked(url, 116)
    assert stored(url, "review_id, state") == [(first, "raised")]


def test_without_a_plan_nothing_new_is_looked_for_and_what_was_open_is_closed(url: str) -> None:
    put_days(url, "p1", person(1, less_from=90))
    plan(url, "p1", "clinician-7")
    looked(url, 110)
    plan(url, "p1", "clinician-8", since=111)
    assert listed(url, "clinician-7", everything=True) == [], "at once, before anybody looked again"
    with psycopg.connect(url, autocommit=True) as connection, pytest.raises(ReviewUnavailable):
        ReviewList(connection, "clinician-7").seen(stored(url, "review_id")[0][0])
    looked(url, 112)
    assert (listed(url, "clinician-7", everything=True), listed(url, "clinician-8")) == ([], ["p1"])
    plan(url, "p1", None, since=113)
    found = looked(url, 120)
    assert (found.people, dict(found.reviews)) == (0, {"not_looked_for": 1})
    assert stored(url, "state, ended, cleared_at") == [("cleared", "not_looked_for", at(120.3))]
    assert listed(url, "clinician-8") == []
    assert looked(url, 121).reviews.total() == 0


@pytest.mark.parametrize("facts", [{"age_band": "child"}])
def test_of_children_nothing_is_looked_for(url: str, facts: dict[str, Any]) -> None:
    put_days(url, "p1", person(1, less_from=90))
    plan(url, "p1")
    looked(url, 110)
    plan(url, "p1", since=111, **facts)
    looked(url, 112)
    assert stored(url) == [("p1", "activity_changed", "cleared", "not_looked_for")]


def test_a_profile_of_another_release_is_skipped_counted_and_leaves_what_stands(url: str) -> None:
    put_days(url, "p1", person(1, less_from=90))
    put_days(url, "p2", person(1, less_from=90))
    plan(url, "p1")
    plan(url, "p2")
    looked(url, 110)
    plan(url, "p1", since=111, age_band="ageless")
    found = looked(url, 112)
    assert (found.people, found.unreadable) == (1, 1)
    assert stored(url) == [("p1", "activity_changed", "raised", None), ("p2", "activity_changed", "raised", None)]


def test_what_no_consent_covers_today_is_not_judged(url: str) -> None:
    put_days(url, "p1", person(1, less_from=90, later_from=90))
    plan(url, "p1")
    consent = """INSERT INTO consents (patient_key, category, purpose, valid_from, on_withdrawal, document, recorded_by)
        SELECT patient_key, %s, 'care', '2020-01-01', 'keep', 'c', 'u' FROM patients"""
    query(url, consent, ("sleep",))
    looked(url, 110)
    assert stored(url) == [("p1", "sleep_timing_changed", "raised", None)]
    query(url, consent, ("activity",))
    looked(url, 111)
    assert stored(url, "rule", "state = 'raised'") == [("less_activity_and_later_sleep",)]
    query(
        url,
        """UPDATE consents SET withdrawn_at = '2025-01-01', withdrawn_by = 'u', withdrawn_for = 'w',
           withdrawn_stored = 'keep'""",
    )
    looked(url, 112)
    assert stored(url, "rule, ended", "ended <> 'joined'") == [("less_activity_and_later_sleep", "not_looked_for")]


def test_where_consent_is_required_nobody_is_looked_at_without_one(url: str) -> None:
    put_days(url, "p1", person(1, less_from=90))
    plan(url, "p1")
    looked(url, 110, require_consent=True)
    assert stored(url) == []
    looked(url, 111)
    assert len(stored(url)) == 1


# Again, late, killed


@settings(max_examples=6, deadline=None, phases=NO_SHRINKING, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10_000),
    less=st.tuples(st.integers(40, 100), st.integers(10, 60)),
    later=st.tuples(st.integers(40, 100), st.integers(10, 60)),
    missing=st.lists(st.integers(0, 149), max_size=30, unique=True),
    looks=st.lists(st.integers(30, 149), max_size=15, unique=True),
)
def test_looking_each_day_or_only_at_the_end_tells_the_same(
    url: str, seed: int, less: tuple[int, int], later: tuple[int, int], missing: list[int], looks: list[int]
) -> None:
    """In the database; with many more courses and without one: tests/stream/test_review_match.py."""
    values = person(seed, 150)
    values[0][less[0] : sum(less)] *= 0.3
    values[1][later[0] : sum(later)] += 120
    for one in values:
        one[missing] = np.nan
    query(url, "TRUNCATE reviews, review_looks, daily_summary, care_profiles")
    for patient in ("p1", "p2"):
        put_days(url, patient, values)
        plan(url, patient)
    for day in [*sorted(looks), 150]:
        looked(url, day, patient="p1")
    looked(url, 150, patient="p2")
    often, once = ([row[1:] for row in told(url) if row[0] == patient] for patient in ("p1", "p2"))
    assert often == once


def test_a_look_that_is_killed_leaves_nothing_half_and_the_next_one_doubles_nothing(url: str) -> None:
    for number in range(5):
        put_days(url, f"p{number}", person(number, less_from=90))
        plan(url, f"p{number}")
    pages = 0

    def killed(point: str) -> None:
        nonlocal pages
        pages += point == "page"
        if pages == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        looked(url, 110, page=2, reached=killed)
    assert len(stored(url)) == 2, "the page that was committed"
    found = looked(url, 110, page=2)
    assert (found.people, found.reviews["raised"]) == (3, 3), "only who was not looked at"
    before = stored(url, "*")
    assert len(before) == 5
    looked(url, 110, everybody=True)
    assert stored(url, "*") == before, "not even written again"


def test_everybody_once_a_day_and_again_when_a_day_is_new(url: str) -> None:
    put_days(url, "p1", person(1))
    plan(url, "p1")
    looks = [looked(url, day).people for day in (110, 110.1, 110.5, 111, 111.2)]
    assert looks == [1, 0, 0, 1, 0]
    put_days(url, "p2", person(2, 100))
    plan(url, "p2")
    assert [looked(url, day).people for day in (111.3, 111.4, 111.6, 112.4)] == [1, 0, 0, 2], "p2 for late days"
    assert looked(url, 112.4, patient="p1").people == 1
    assert looked(url, 112.4, everybody=True).people == 2


def test_parameters_come_from_the_policy_of_each(url: str) -> None:
    put_days(url, "p1", person(1, less_from=90))
    put_days(url, "p2", person(1, less_from=90))
    for patient in ("p1", "p2"):
        plan(url, patient)
    deaf = ReviewPolicy(ChangePolicy(decision_sd=900.0))
    looked(url, 130, policy_of=lambda one: deaf if one == "p1" else ReviewPolicy(), label="ward 4 v3")
    assert stored(url, "patient_id, policy") == [("p2", "ward 4 v3")]


def test_states_are_counted_without_anybodys_name(url: str) -> None:
    before = REVIEWS.labels("raised")._value.get()
    put_days(url, "p1", person(1, less_from=90))
    plan(url, "p1")
    looked(url, 110)
    assert REVIEWS.labels("raised")._value.get() == before + 1


# Who reads it, how long it stays


def test_seen_is_noted_once_by_the_clinician_on_whose_list_it_stands(url: str) -> None:
    put_days(url, "p1", person(1, less_from=90))
    plan(url, "p1")
    looked(url, 110)
    ((review,),) = stored(url, "review_id")
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(ReviewUnavailable) as other:
            ReviewList(connection, "clinician-8").seen(review)
        with pytest.raises(ReviewUnavailable) as none:
            ReviewList(connection, "clinician-8").seen("0" * 32)
        assert str(other.value) == str(none.value), "nobody learns what is on another list"
        for wrong in ("", "%", "abc", review[:7], review + "0", "p1"):
            with pytest.raises(ReviewUnavailable):
                ReviewList(connection, "clinician-7").seen(wrong)
        with pytest.raises(InvalidId):
            ReviewList(connection, "Dr. Muster")
        assert ReviewList(connection, "clinician-7").seen(review[:8]) == (review, True)
        assert ReviewList(connection, "clinician-7").seen(review) == (review, False)
    ((by, when),) = stored(url, "seen_by, seen_at")
    assert by == "clinician-7"
    looked(url, 115)
    assert stored(url, "seen_by, seen_at, state") == [(by, when, "raised")]


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reads_or_writes_them(url: str, role: str) -> None:
    with login(url, role) as address:
        for table in ("reviews", "review_looks"):
            for statement in (f"SELECT FROM {table}", f"DELETE FROM {table}", f"INSERT INTO {table} DEFAULT VALUES"):
                with pytest.raises(errors.InsufficientPrivilege):
                    query(address, statement)


def test_no_view_and_no_alert_has_them(url: str) -> None:
    put_days(url, "p1", person(1, less_from=90))
    plan(url, "p1")
    looked(url, 110)
    made_of = query(
        url,
        """SELECT DISTINCT r.ev_class::regclass::text FROM pg_rewrite r JOIN pg_depend d ON d.objid = r.oid
           WHERE d.refobjid IN ('reviews'::regclass, 'review_looks'::regclass)""",
    )
    assert made_of == []
    for table in ("alerts", "notifications", "annotations", "alert_evidence"):
        assert query(url, f"SELECT 1 FROM {table}") == []


def test_what_ended_goes_with_the_audit_and_a_hold_keeps_it(url: str) -> None:
    put_people(url, "p1", "p2")
    for patient, rule, age_days, state in (
        (1, "a", 3_000, "cleared"), (1, "b", 3_000, "raised"), (1, "c", 100, "cleared"), (2, "a", 3_000, "cleared"),
    ):  # fmt: skip
        query(
            url,
            """INSERT INTO reviews (review_id, patient_key, rule, rule_version, metric, metrics, state, opened_at,
                   raised_at, changed_at, cleared_at, ended, review_by, policy, sentence, evidence, stored_at)
               SELECT md5(%s), %s, %s, 1, 'steps', '{steps}', %s, t, t, t, CASE WHEN %s = 'cleared' THEN t END,
                   CASE WHEN %s = 'cleared' THEN 'usual_again' END, 'c-7', '', 'S.', '{}', t
               FROM (SELECT now() - %s * INTERVAL '1 day' AS t)""",
            (f"{patient}{rule}", patient, rule, state, state, state, age_days),
        )
    query(url, "INSERT INTO legal_holds (patient_key, reason, placed_by) VALUES (2, 'matter 1', 'u')")
    (audit,) = [one for one in due(url) if one.retention_class == "audit"]
    assert (audit.rows, audit.waits) == (1, ("1 rows are on hold",))
    run(url, None)
    assert stored(url, "patient_id, rule") == [("p1", "b"), ("p1", "c"), ("p2", "a")]


def test_erasing_a_person_or_a_class_takes_their_reviews_along(url: str) -> None:
    for patient in ("p1", "p2", "p3"):
        put_days(url, patient, person(1, less_from=90, later_from=100))
        plan(url, patient)
    looked(url, 99)  # steps alone, and then together with sleep
    looked(url, 130)
    looks = "SELECT patient_id FROM review_looks JOIN patients USING (patient_key) ORDER BY 1"
    before = [row for row in stored(url) if row[0] == "p3"]
    erase(url, None, "p1", "dpo-1", "matter 17")
    assert {row[0] for row in stored(url)} == {"p2", "p3"}
    assert query(url, looks) == [("p2",), ("p3",)]
    erase_classes(url, None, "p2", ["sleep"], "dpo-1", "w-1")
    left = [rule for patient, rule, *_ in stored(url) if patient == "p2"]
    assert left == ["activity_changed"], "what was made of both is gone too"
    assert [row for row in stored(url) if row[0] == "p3"] == before
