"""Which stored review a finding goes on with: days that come late, are corrected or looked at rarely make no second."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import State
from stream.detectors.behaviour_review import DAY_US, WITHDRAWN, PersonDays, review
from stream.detectors.finding import Finding
from stream.review_match import CORRECTED, JOINED, NOT_LOOKED_FOR, endings, matched, person_days, rows
from tests.timeseries.review_world import COLUMNS, FIRST, Floats, person
from timeseries.review_model import DayColumns, Planned, ReviewRow, StoredReview
from vitals.care_profile import AgeBand, CareProfile

WHO = Planned(1, "p1", CareProfile(version=1, review_by="c-7"), datetime(2024, 1, 1, tzinfo=UTC), True, True, 0)
DAYS = PersonDays(np.arange(FIRST, FIRST + 180), np.full(180, 120), {})
SHORT = settings(max_examples=60, deadline=None)


def days(values: list[Floats], until: int) -> PersonDays:
    day = np.arange(FIRST, FIRST + until)
    measures = {name: one[:until] for name, one in zip(COLUMNS, values, strict=True)}
    return person_days(WHO, DayColumns(day, np.full(until, 120), measures))


class Book:
    """The table `reviews`, of one person."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[ReviewRow, str | None]] = {}

    def look(self, told: list[Finding]) -> None:
        known = [
            StoredReview(key, row.rule, row.opened_us, None if ended is None else row.changed_us)
            for key, (row, ended) in self.rows.items()
        ]
        found = matched(known, told)
        for key, why in endings(WHO, found):
            self.rows[key] = replace(self.rows[key][0], state="cleared"), why
        for row in sorted(rows(WHO, "c-7", "", found, DAYS), key=lambda one: one.state):
            self.rows[row.review_id] = row, "usual_again" if row.state == "cleared" else None
            standing = [one.rule for one, ended in self.rows.values() if ended is None]
            assert len(standing) == len(set(standing)), "one of a rule is open at a time"

    def told(self) -> list[tuple[ReviewRow, str | None]]:
        kept = [(row, ended) for row, ended in self.rows.values() if ended in {None, "usual_again"}]
        return sorted(kept, key=lambda one: (one[0].opened_us, one[0].rule))


@st.composite
def courses(draw: st.DrawFn) -> list[Floats]:
    """Half a year with spells of fewer steps, of later sleep, and days that nobody told."""
    values = person(draw(st.integers(0, 1_000)), 180)
    spells = st.lists(st.tuples(st.integers(30, 170), st.integers(3, 50)), max_size=3)
    for begin, lasts in draw(spells):
        values[0][begin : begin + lasts] *= 0.3
    for begin, lasts in draw(spells):
        values[1][begin : begin + lasts] += 120
    for one in values:
        one[draw(st.lists(st.integers(0, 179), max_size=30, unique=True))] = np.nan
    return values


@SHORT
@given(courses(), st.lists(st.integers(29, 180), unique=True))
def test_looking_each_day_now_and_then_or_once_tells_the_same(values: list[Floats], looks: list[int]) -> None:
    often, seldom, once = Book(), Book(), Book()
    for until in range(29, 181):
        often.look(review(days(values, until)))
    for until in [*sorted(looks), 180]:
        seldom.look(review(days(values, until)))
    once.look(review(days(values, 180)))
    assert often.told() == once.told()
    assert seldom.told() == once.told()


@SHORT
@given(courses(), st.lists(st.integers(0, 179), max_size=40, unique=True), st.integers(60, 180))
def test_days_that_come_late_end_where_they_would_have_been(values: list[Floats], late: list[int], when: int) -> None:
    """While they lack it may look otherwise; in the end the same changes last, and each review has an id of its own."""
    early = [one.copy() for one in values]
    for one in early:
        one[late] = np.nan
    book, once = Book(), Book()
    for until in range(29, when):
        book.look(review(days(early, until)))
    for until in range(when, 181):
        book.look(review(days(values, until)))
    once.look(review(days(values, 180)))
    lasting = [[(row.rule, row.opened_us) for row, ended in one.told() if ended is None] for one in (book, once)]
    assert lasting[0] == lasting[1]


@SHORT
@given(courses())
def test_looking_again_changes_nothing(values: list[Floats]) -> None:
    book = Book()
    book.look(review(days(values, 180)))
    before = dict(book.rows)
    for _ in range(2):
        book.look(review(days(values, 180)))
    assert book.rows == before


def finding(rule: str, opened: int, cleared: int | None = None) -> Finding:
    (one,) = review(days(person(1, 110, less_from=90), 110))
    at = [FIRST * DAY_US + day * DAY_US for day in (opened, opened + 2, opened + 2 if cleared is None else cleared)]
    state = State.RAISED if cleared is None else State.CLEARED
    return replace(one, rule=rule, opened_us=at[0], raised_us=at[1], changed_us=at[2], state=state)


def old(rule: str, opened: int, ended: int | None = None) -> StoredReview:
    at = [None if day is None else (FIRST + day) * DAY_US for day in (opened, ended)]
    return StoredReview(f"{rule}{opened}", rule, at[0] or 0, at[1])


def test_what_opened_on_the_same_day_comes_before_what_only_overlaps() -> None:
    found = matched([old("a", 10), old("a", 0, 9)], [finding("a", 0, 12), finding("a", 10)])
    assert [one.review_id for one, _ in found.told if one is not None] == ["a0", "a10"]


def test_another_rule_or_another_time_is_another_review() -> None:
    found = matched([old("a", 10, 20), old("b", 30)], [finding("a", 30)])
    assert [one for one, _ in found.told] == [None]
    assert [one.review_id for one in found.left] == ["b30"]


def test_a_review_that_nothing_tells_any_more_says_why() -> None:
    left = [old("activity_changed", 10), old("sleep_broken", 10)]
    joint = matched(left, [finding(WITHDRAWN, 12)])
    assert dict(endings(WHO, joint)) == {"activity_changed10": JOINED, "sleep_broken10": CORRECTED}
    for who in (
        replace(WHO, sleep=False),
        replace(WHO, profile=CareProfile(version=1, review_by="c-7", age_band=AgeBand.CHILD)),
    ):
        assert set(dict(endings(who, matched(left, []))).values()) == {NOT_LOOKED_FOR}


def test_a_new_review_never_takes_the_id_of_one_that_was_moved() -> None:
    (first,) = rows(WHO, "c-7", "", matched([], [finding("a", 10)]), DAYS)
    moved = StoredReview(first.review_id, "a", (FIRST + 40) * DAY_US, (FIRST + 50) * DAY_US)
    (second,) = rows(WHO, "c-7", "", matched([moved], [finding("a", 10, 20)]), DAYS)
    assert second.review_id != first.review_id


def test_rows_name_the_wearers_own_days() -> None:
    """East and west of Greenwich, where the day began by UTC is another one."""
    for zone_min in (-720, -300, 0, 120, 840):
        values = person(1, 110, less_from=90)
        columns = DayColumns(
            np.arange(FIRST, FIRST + 110), np.full(110, zone_min), dict(zip(COLUMNS, values, strict=True))
        )
        own = person_days(WHO, columns)
        (row,) = rows(WHO, "c-7", "", matched([], review(own)), own)
        assert json.loads(row.evidence)["since"] == "2025-01-02"
        assert row.sentence.endswith("; days up to 2025-01-21.")


def test_of_a_class_without_consent_nothing_counts() -> None:
    values = person(1, 120, less_from=90, later_from=90)
    columns = DayColumns(np.arange(120), np.zeros(120, np.int64), dict(zip(COLUMNS, values, strict=True)))
    judged = person_days(replace(WHO, sleep=False), columns)
    assert np.isfinite(judged.values["steps"]).all()
    assert all(np.isnan(judged.values[name]).all() for name in COLUMNS[1:])
