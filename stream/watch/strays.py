"""Alerts that stand open on the topic and that nobody follows: their patient's state was lost. Pure.

Whose snapshot cannot be read, and everybody where the state topic was lost, is learned anew from the last half hour of
the log. What was open from before is unknown to the engine, and would stay open for ever: it is closed, some minutes
after the log was read again. Until then the topic says no more than it did: whoever comes after a crash finds it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from alerts.episode import fold_all
from alerts.event import AlertEvent, Audience, Evidence, State
from alerts.wording import sentence
from stream.watch.book import NO_LONGER
from vitals.clock import US_PER_S, from_datetime, to_datetime

READ_BACK_S: Final = 7 * 86_400.0
"""How far back the topic is asked for what is open of those whose state was lost."""
WAIT_S: Final = 300.0
"""Meanwhile the engine may find an episode again, or its end."""


def strays_among(events: Iterable[AlertEvent], patients: Collection[str] | None) -> list[AlertEvent]:
    """Return the open alerts of these patients (None: of all). Review lists are another's, who has them open still."""
    cared = (one for one in events if one.audience is not Audience.REVIEW)
    theirs = [one for one in cared if patients is None or one.patient_id in patients]
    return [one.event for one in fold_all(theirs).values() if one.is_open]


def over(strays: Iterable[AlertEvent], is_followed: Callable[[str, str], bool], now_us: int) -> list[AlertEvent]:
    """Return the ends of those that `is_followed` (patient, alert id) does not know and that are not of just now."""
    young_us = now_us - round(WAIT_S * US_PER_S)
    return [
        _ended(one, now_us)
        for one in strays
        if from_datetime(one.changed_at) < young_us and not is_followed(one.patient_id, one.alert_id)
    ]


def _ended(event: AlertEvent, now_us: int) -> AlertEvent:
    now = to_datetime(max(now_us, from_datetime(event.changed_at)))
    says = sentence(
        f"{event.rule.replace('_', ' ')} {NO_LONGER}: what was known of it is lost", event.kind, event.measured_at,
        individualised=event.individualised, retrospective=event.retrospective,
    )  # fmt: skip
    evidence = Evidence(window_start=event.opened_at, window_end=now, samples=0, unit=event.evidence.unit)
    return event.model_copy(
        update={"state": State.CLEARED, "changed_at": now, "cleared_at": now, "evidence": evidence, "sentence": says}
    )
