"""From what today's look tells to rows: which stored review each finding goes on with, and what nothing tells any more.

Late and corrected days may move when a change began. So a finding belongs to the stored review of its rule that opened
on the same day, else to the nearest that overlaps it; only what belongs to none is new. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from alerts.event import State, digest
from stream.detectors.behaviour_review import DAY_US, MEASURES, WITHDRAWN, PersonDays, ReviewPolicy
from stream.detectors.finding import Finding
from stream.watch.events import PATIENT_ORIGIN
from timeseries.review_model import DayColumns, Look, Planned, ReviewRow, StoredReview
from vitals.clock import US_PER_S, to_datetime

RAISED, CLEARED = "raised", "cleared"
JOINED, CORRECTED, NOT_LOOKED_FOR = "joined", "corrected", "not_looked_for"
_SIDES: Final = frozenset({"activity_changed", "sleep_timing_changed"})
_SLEEP: Final = tuple(one.column for one in MEASURES if one.metric == "sleep_stage")
_FOREVER_US: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Matched:
    """What one person's look comes to: a finding with the review it goes on with (None: a new one), open reviews that
    nothing tells any more, and the ids of all that is stored."""

    told: tuple[tuple[StoredReview | None, Finding], ...]
    left: tuple[StoredReview, ...]
    ids: frozenset[str]


def matched(stored: Sequence[StoredReview], told: Sequence[Finding]) -> Matched:
    """Return which stored reviews of a person the findings go on with; each takes part once."""
    free = list(stored)
    found: dict[int, StoredReview | None] = {}
    for is_same in (_opened_then, _overlaps):
        for at, one in enumerate(told):
            if found.get(at) is None:
                found[at] = _nearest([old for old in free if old.rule == one.rule and is_same(old, one)], one)
                free = [old for old in free if old is not found[at]]
    pairs = tuple((found[at], one) for at, one in enumerate(told))
    left = tuple(one for one in free if one.ended_us is None)
    return Matched(pairs, left, frozenset(one.review_id for one in stored))


def _opened_then(old: StoredReview, one: Finding) -> bool:
    return old.opened_us == one.opened_us


def _overlaps(old: StoredReview, one: Finding) -> bool:
    end_us = _FOREVER_US if old.ended_us is None else old.ended_us
    return old.opened_us < _end_us(one) and one.opened_us < end_us


def _nearest(candidates: Sequence[StoredReview], one: Finding) -> StoredReview | None:
    return min(candidates, key=lambda old: abs(old.opened_us - one.opened_us), default=None)


def _end_us(one: Finding) -> int:
    return one.changed_us if one.state is State.CLEARED else _FOREVER_US


def endings(who: Planned, found: Matched) -> list[tuple[str, str]]:
    """Return (review id, why) of what is closed because nothing tells it any more."""
    joint = [one for _, one in found.told if one.rule == WITHDRAWN]
    return [(one.review_id, _why(who, one, joint)) for one in found.left]


def _why(who: Planned, old: StoredReview, joint: Sequence[Finding]) -> str:
    if not looked_for(who) or not (who.activity and who.sleep):
        return NOT_LOOKED_FOR
    return JOINED if old.rule in _SIDES and any(_overlaps(old, one) for one in joint) else CORRECTED


def looked_for(who: Planned) -> bool:
    """Whether anything is looked for at all: of children nothing, for these are adults' rules."""
    return who.profile is not None and who.profile.review_by is not None and not who.profile.is_child


def person_days(who: Planned, days: DayColumns) -> PersonDays:
    """Return the days as they are judged; of a class that no consent covers today nothing counts."""
    covered = {"steps": who.activity, **dict.fromkeys(_SLEEP, who.sleep)}
    values = {name: column if covered[name] else np.full(len(column), np.nan) for name, column in days.values.items()}
    return PersonDays(days.day, days.zone_offset_min, values)


def look_of(who: Planned, days: PersonDays, policy: ReviewPolicy) -> Look:
    """Return how far the look came, and how many days count."""
    activity, sleep = (int(np.isfinite(days.values[name]).sum()) for name in ("steps", "sleep_midpoint_local_min"))
    return Look(who.patient_key, who.newest, activity, sleep, policy.change.reference_days)


def rows(who: Planned, review_by: str, policy: str, found: Matched, days: PersonDays) -> Iterator[ReviewRow]:
    """Yield the rows of what was told, each with an id of its own: of the review it goes on with, else a new one.

    `days` are those in which it was found: rows name the wearer's own days.
    """
    taken = set(found.ids)
    for old, one in found.told:
        review_id = _new_id(who.patient_id, one, taken) if old is None else old.review_id
        taken.add(review_id)
        yield ReviewRow(
            review_id, who.patient_key, one.rule, one.version, one.metric, _metrics(one), one.state.value,
            one.opened_us, one.raised_us, one.changed_us, review_by, policy, _sentence(one, days), _evidence(one, days),
        )  # fmt: skip


def _new_id(patient: str, one: Finding, taken: set[str]) -> str:
    """Return an id as alerts have theirs; another where late days moved an older review away from that beginning."""
    origin, tried = (PATIENT_ORIGIN.device_id, PATIENT_ORIGIN.source_app), 0
    while (found := digest(patient, one.rule, one.metric, *origin, str(one.opened_us), *["again"] * tried)) in taken:
        tried += 1
    return found


def _metrics(one: Finding) -> tuple[str, ...]:
    return (one.metric,) if one.rule != WITHDRAWN else ("steps", "sleep_stage")


def _sentence(one: Finding, days: PersonDays) -> str:
    until = _day(days, one.measured_us - DAY_US)
    return f"{one.says[0].upper()}{one.says[1:]}; days up to {until}."


def _evidence(one: Finding, days: PersonDays) -> str:
    told: Mapping[str, object] = {
        "since": _day(days, one.opened_us),
        "unit": one.unit or "",
        "figures": dict(one.figures),
        "readings": [{"at": to_datetime(at).isoformat(), "value": value} for at, value, _ in one.readings],
    }
    return json.dumps(told, allow_nan=False)


def _day(days: PersonDays, begin_us: int) -> str:
    """Return the wearer's day that began then; of a moment at which none did, the day of it by UTC."""
    begins = days.day * DAY_US - days.zone_offset_min * 60 * US_PER_S
    at = np.flatnonzero(begins == begin_us)
    day = int(days.day[at[-1]]) if len(at) else begin_us // DAY_US
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()
