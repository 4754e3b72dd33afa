"""Alarm burden: how many alerts a rule raises a patient-day, and what became of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

import numpy as np

from alerts.episode import Episode, fold_all
from alerts.event import AlertEvent, Kind, Priority
from vitals.batch import SampleColumns
from vitals.clock import US_PER_S

_QUARTER_US = 900 * US_PER_S


@dataclass(frozen=True, slots=True)
class Burden:
    """One rule's alerts over some patient-days. `paging`: of medium or high priority, live, for the care team.

    `cleared` is the share that ended by itself; `open_min` the median time in minutes that those were open.
    """

    rule: str
    kind: Kind
    raised: int
    per_day: float
    paging: int
    retrospective: int
    cleared: float
    open_min: float | None
    priority: Priority


def patient_days(told: Iterable[tuple[str, SampleColumns]]) -> float:
    """Return the patient-days of (patient id, samples): quarters of an hour with any sample, over 96."""
    quarters: dict[str, set[int]] = {}
    for patient, columns in told:
        quarters.setdefault(patient, set()).update(np.unique(columns.start_us // _QUARTER_US).tolist())
    return sum(len(one) for one in quarters.values()) / 96


def burden(events: Iterable[AlertEvent], days: float) -> list[Burden]:
    """Return the burden by rule, the most frequent first; `days` are patient-days, above 0."""
    by_rule: dict[str, list[Episode]] = {}
    for episode in fold_all(events).values():
        by_rule.setdefault(episode.event.rule, []).append(episode)
    found = [_of(rule, episodes, days) for rule, episodes in by_rule.items()]
    return sorted(found, key=lambda one: (-one.raised, one.rule))


def _of(rule: str, episodes: list[Episode], days: float) -> Burden:
    over = [one.event for one in episodes if not one.is_open]
    lasted = [(one.changed_at - one.opened_at).total_seconds() / 60 for one in over]
    return Burden(
        rule=rule,
        kind=episodes[0].event.kind,
        raised=len(episodes),
        per_day=len(episodes) / days,
        paging=sum(is_page(one) for one in episodes),
        retrospective=sum(all(news.retrospective for news in one.told) for one in episodes),
        cleared=len(over) / len(episodes),
        open_min=median(lasted) if lasted else None,
        priority=max((top(one) for one in episodes), key=lambda priority: priority.rank),
    )


def top(episode: Episode) -> Priority:
    """Return the highest priority that an episode reached."""
    return max((news.priority for news in episode.told), key=lambda priority: priority.rank)


def is_page(episode: Episode) -> bool:
    """Tell whether an episode would page: medium or high, and live, at some time."""
    return any(news.priority is not Priority.LOW and not news.retrospective for news in episode.told)
