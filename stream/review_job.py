"""Edge: looks at the days of people under a plan and keeps their clinicians' review lists.

CLINICAL.md: changes of behaviour reach only the clinician whom the care profile names. So nothing here goes to a topic
or a channel: what is found is a row that the named clinician lists (`timeseries.reviews`). A look is one transaction a
page of people; what it writes follows from the days alone, so a look that is killed, late or repeated tells the same.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
from prometheus_client import Counter

from alerts.event import State
from stream.detectors.behaviour_review import PersonDays, ReviewPolicy, review
from stream.detectors.finding import Finding
from stream.review_match import (
    CLEARED,
    NOT_LOOKED_FOR,
    RAISED,
    Matched,
    endings,
    look_of,
    looked_for,
    matched,
    person_days,
    rows,
)
from timeseries.review_model import Look, Planned, ReviewRow
from timeseries.review_store import ReviewStore
from vitals.clock import from_datetime

BEFORE_DAYS: Final = 90
"""What is usual may be learned from so many days before the plan began."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
REVIEWS: Final = Counter("vigil_reviews", "Changes of behaviour for review, by what became of them", ["state"])
PolicyOf = Callable[[str], ReviewPolicy]


@dataclass(slots=True)
class LookReport:
    """What a look came to: people under a plan who were due, their days, those of whom too few days are known yet (or
    none), profiles that cannot be read, and reviews by what became of them."""

    people: int = 0
    days: int = 0
    learning: int = 0
    unreadable: int = 0
    reviews: Tally[str] = field(default_factory=Tally)


def look(
    url: str,
    policy_of: PolicyOf = lambda _patient: ReviewPolicy(),
    *,
    label: str = "",
    now: datetime | None = None,
    patient: str | None = None,
    everybody: bool = False,
    require_consent: bool = False,
    page: int = 200,
    prepare_threshold: int | None = 5,
    reached: Callable[[str], None] = lambda _point: None,
) -> LookReport:
    """Look at the days of whoever is under a plan and due, or of `everybody`, or of one `patient`; keep their reviews.

    `label` names the policy. `require_consent`: of whom no consent is noted nothing is looked for. Safe to break off
    and to repeat. Raises psycopg's errors.
    """
    report, now = LookReport(), now or datetime.now(UTC)
    with psycopg.connect(
        url, autocommit=True, prepare_threshold=prepare_threshold, options="-c timezone=UTC"
    ) as connection:
        store, after = ReviewStore(connection, now), 0
        while True:
            with connection.transaction():
                store.take_turn()
                people = store.people(
                    after, page, patient=patient, everybody=everybody or patient is not None,
                    require_consent=require_consent,
                )  # fmt: skip
                told = _page(store, people, policy_of, label, report)
                reached("page")
            _count(report, told)
            if len(people) < page:
                break
            after = people[-1].patient_key
        _count(report, Tally({NOT_LOOKED_FOR: store.end_without_plan(patient)}))
    return report


def _page(
    store: ReviewStore, people: Sequence[Planned], policy_of: PolicyOf, label: str, report: LookReport
) -> Tally[str]:
    readable = [one for one in people if one.profile is not None]
    report.unreadable += len(people) - len(readable)
    keys = [one.patient_key for one in readable]
    firsts = [(one.since - timedelta(days=BEFORE_DAYS) - _EPOCH).days for one in readable]
    days = store.days(keys, firsts, [-1 if one.newest is None else one.newest for one in readable])
    stored = store.stored(keys)
    told, ended, looks, put = Tally[str](), list[tuple[str, str]](), list[Look](), list[ReviewRow]()
    for who in readable:
        policy = policy_of(who.patient_id)
        own = person_days(who, days[who.patient_key])
        findings, how_far = _findings(who, own, policy), look_of(who, own, policy)
        found = matched(stored[who.patient_key], findings)
        why = endings(who, found)
        told.update([*_becomes(found), *(reason for _, reason in why)])
        ended += why
        looks.append(how_far)
        review_by = who.profile.review_by if who.profile is not None else None
        put += rows(who, review_by, label, found, own) if review_by is not None else ()
        report.people += 1
        report.days += len(own.day)
        report.learning += how_far.needed_days >= max(how_far.activity_days, how_far.sleep_days)
    store.end(ended)
    store.put(put)
    store.note(looks)
    return told


def _findings(who: Planned, days: PersonDays, policy: ReviewPolicy) -> list[Finding]:
    """Return what the days say; what was over before the plan began is nobody's to review."""
    found = review(days, policy) if looked_for(who) else []
    since_us = from_datetime(who.since)
    return [one for one in found if one.state is not State.CLEARED or one.changed_us > since_us]


def _becomes(found: Matched) -> list[str]:
    """Return what is new: raised, cleared or, where it was never seen open, both."""
    told = []
    for old, one in found.told:
        is_open = old is not None and old.ended_us is None
        if old is None or (not is_open and one.state is not State.CLEARED):
            told.append(RAISED)
        if one.state is State.CLEARED and (old is None or is_open):
            told.append(CLEARED)
    return told


def _count(report: LookReport, told: Tally[str]) -> None:
    for state, count in (+told).items():
        report.reviews[state] += count
        REVIEWS.labels(state).inc(count)
