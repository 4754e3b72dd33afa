"""From days to what a named clinician may want to look at: sleep and activity that left their usual pattern. Pure.

CLINICAL.md: what is seen is named, not a disorder; it reaches only the review list of the clinician named in the care
profile, under a plan agreed with the patient. So every finding here is low, for `Audience.REVIEW`, and nobody without
`review_by` is looked at. Less activity and later sleep at once is one finding instead of two: that is how withdrawal
looks in the data, and whether it is that is not for Vigil to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from alerts.event import Audience, Kind, Priority, State
from stream.detectors.behaviour import Change, ChangePolicy, Direction, Floats, Ints, Reference, changes, recent
from stream.detectors.finding import Finding
from vitals.clock import US_PER_S

DAY_US: Final = 86_400 * US_PER_S
MAX_AGE_S: Final = 8 * 86_400.0
_QUOTED_DAYS: Final = 14
_FEWEST_STEPS: Final = 500.0
"""Added before logs are taken: between 100 and 300 steps lies less than between 1,000 and 3,000."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of `daily_summary` and how it is judged and worded. `least_spread` is in the judged scale.

    `up` and `down` are clauses, None where that direction is nothing to review. `log`: judged in logs, as counts are.
    """

    rule: str
    column: str
    metric: str
    unit: str
    least_spread: float
    up: str | None
    down: str | None
    log: bool = False

    def scaled(self, value: Floats) -> Floats:
        """Return values in the judged scale."""
        return np.log(value + _FEWEST_STEPS) if self.log else value

    def told(self, scaled: float) -> float:
        """Return a value of the judged scale in the measure's own."""
        return float(np.exp(scaled) - _FEWEST_STEPS) if self.log else scaled

    def clause(self, direction: Direction) -> str | None:
        """Return the words for this direction."""
        return self.up if direction is Direction.UP else self.down


_STEPS = Measure(
    "activity_changed", "steps", "steps", "{steps}", 0.15, "more steps than usual", "fewer steps than usual", log=True
)
_TIMING = Measure(
    "sleep_timing_changed", "sleep_midpoint_local_min", "sleep_stage", "min", 25.0,
    "later sleep than usual", "earlier sleep than usual",
)  # fmt: skip
MEASURES: Final = (
    _STEPS,
    _TIMING,
    Measure(
        "sleep_length_changed", "sleep_total_min", "sleep_stage", "min", 30.0,
        "longer sleep than usual", "shorter sleep than usual",
    ),
    Measure("sleep_broken", "sleep_awake_min", "sleep_stage", "min", 12.0, "more broken sleep than usual", None),
)  # fmt: skip
WITHDRAWN: Final = "less_activity_and_later_sleep"
_OVER: Final = "as usual again, after less activity and later sleep than usual"


@dataclass(frozen=True, slots=True)
class ReviewPolicy:
    """What is looked for. Raises ValueError."""

    change: ChangePolicy = field(default_factory=ChangePolicy)
    version: int = 1


@dataclass(frozen=True, slots=True)
class PersonDays:
    """One person's days that are over, ascending; `day` counts from 1970-01-01, `values` by column, NaN unknown.

    `zone_offset_min` is each day's, 0 where nobody knows.
    """

    day: Ints
    zone_offset_min: Ints
    values: Mapping[str, Floats]

    def begin_us(self, at: int) -> int:
        """Return when the day at this index began by its wearer's clock."""
        return int(self.day[at]) * DAY_US - int(self.zone_offset_min[at]) * 60 * US_PER_S

    def end_us(self, at: int) -> int:
        """Return when it ended."""
        return self.begin_us(at) + DAY_US


def review(days: PersonDays, policy: ReviewPolicy | None = None) -> list[Finding]:
    """Return every change of the person's behaviour as it stands after the newest day, oldest first.

    A change that is over comes as its clearance (its raising is told by an earlier day's call, if there was one).
    """
    policy = policy or ReviewPolicy()
    found = [(measure, *one) for measure in MEASURES for one in _changes(days, measure, policy)]
    alone = [_finding(days, *one, policy) for one in found]
    return sorted(_joined(days, found, alone), key=lambda one: one.changed_us)


def _changes(days: PersonDays, measure: Measure, policy: ReviewPolicy) -> list[tuple[Reference, Change]]:
    value = measure.scaled(days.values[measure.column])
    usual, found = changes(days.day, value, measure.least_spread, policy.change)
    return [(usual, one) for one in found if usual is not None and measure.clause(one.direction) is not None]


def _finding(days: PersonDays, measure: Measure, usual: Reference, change: Change, policy: ReviewPolicy) -> Finding:
    scaled = measure.scaled(days.values[measure.column])
    last = len(days.day) - 1 if change.cleared is None else change.cleared
    over = np.flatnonzero(np.isfinite(scaled[: last + 1]))
    since = over[over >= change.opened]
    now, typical = np.median(scaled[since]), np.median(usual.by_weekday)
    recently = recent(days.day, scaled, last, measure.least_spread, policy.change)
    figures = {
        "usual": round(measure.told(float(typical)), 1),
        "since_then": round(measure.told(float(now)), 1),
        "days": float(len(since)),
        "deviation_sd": round(float((now - typical) / usual.spread), 2),
        **({} if recently is None else {"last_week_against_recent_weeks_sd": round(recently, 2)}),
    }
    words = measure.clause(change.direction)
    if change.cleared is None:
        now_told, usual_told = (_quantity(figures[name], measure) for name in ("since_then", "usual"))
        says = f"{words}: {now_told} over {len(since)} days, usually {usual_told}"
    else:
        says = f"as usual again, after {words}"
    return _built(days, measure.rule, measure, change, says, figures, policy)


def _built(
    days: PersonDays, rule: str, measure: Measure, change: Change, says: str, figures: Mapping[str, float],
    policy: ReviewPolicy,
) -> Finding:  # fmt: skip
    raised_us = days.end_us(change.raised)
    changed_us = raised_us if change.cleared is None else days.end_us(change.cleared)
    last = len(days.day) - 1 if change.cleared is None else change.cleared
    value = days.values[measure.column]
    quoted = [at for at in range(last + 1) if np.isfinite(value[at])][-_QUOTED_DAYS:]
    return Finding(
        rule=rule, version=policy.version, metric=measure.metric, kind=Kind.PHYSIOLOGICAL, priority=Priority.LOW,
        state=State.RAISED if change.cleared is None else State.CLEARED,
        opened_us=days.begin_us(change.opened), raised_us=raised_us, changed_us=changed_us,
        measured_us=days.end_us(last), window_start_us=days.begin_us(change.opened), says=says,
        samples=int(figures.get("days", 0)),
        readings=tuple((days.begin_us(at) + DAY_US // 2, round(float(value[at]), 1), 1.0) for at in quoted),
        figures=figures, individualised=True, max_age_s=MAX_AGE_S, audience=Audience.REVIEW, unit=measure.unit,
    )  # fmt: skip


Found = list[tuple[Measure, Reference, Change]]


def _joined(days: PersonDays, found: Found, alone: list[Finding]) -> list[Finding]:
    """Return `alone` with fewer steps and later sleep that overlap told as one, from when both were raised."""
    steps = [at for at, (measure, _, one) in enumerate(found) if measure is _STEPS and one.direction is Direction.DOWN]
    later = [at for at, (measure, _, one) in enumerate(found) if measure is _TIMING and one.direction is Direction.UP]
    told = dict(enumerate(alone))
    for less, late in _together(found, steps, later):
        told[less[0]] = _both(days, found, alone, less, late)
        for at in (*less[1:], *late):
            del told[at]
    return list(told.values())


def _together(found: Found, steps: list[int], later: list[int]) -> list[tuple[list[int], list[int]]]:
    """Return groups of changes that hang together by overlapping: one spell, however often a side comes and goes."""
    groups: list[tuple[list[int], list[int]]] = []
    for less in steps:
        for late in later:
            if not _overlap(found[less][2], found[late][2]):
                continue
            group = next((one for one in groups if less in one[0] or late in one[1]), None)
            if group is None:
                groups.append(group := ([], []))
            for side, at in zip(group, (less, late), strict=True):
                if at not in side:
                    side.append(at)
    return groups


def _overlap(one: Change, other: Change) -> bool:
    ends = [end for end in (one.cleared, other.cleared) if end is not None]
    return not ends or min(ends) > max(one.raised, other.raised)


def _both(days: PersonDays, found: Found, alone: list[Finding], less: list[int], late: list[int]) -> Finding:
    """Return one spell: since its first two overlapped, until both are as usual again."""
    firsts = [found[side[0]][2] for side in (less, late)]
    ends = [found[at][2].cleared for at in (*less, *late)]
    closed = [end for end in ends if end is not None]
    opened, raised = max(one.opened for one in firsts), max(one.raised for one in firsts)
    cleared = max(closed) if len(closed) == len(ends) else None
    steps, sleep = alone[less[-1]], alone[late[-1]]
    figures = {f"steps_{name}": value for name, value in steps.figures.items()}
    figures |= {f"sleep_midpoint_min_{name}": value for name, value in sleep.figures.items()}
    lasting_first = sorted((steps, sleep), key=lambda one: one.state is State.CLEARED)
    says = "; ".join(one.says for one in lasting_first) if cleared is None else _OVER
    raised_us = days.end_us(raised)
    return replace(
        steps, rule=WITHDRAWN, state=State.RAISED if cleared is None else State.CLEARED,
        opened_us=days.begin_us(opened), raised_us=raised_us,
        changed_us=raised_us if cleared is None else days.end_us(cleared),
        measured_us=max(steps.measured_us, sleep.measured_us), window_start_us=days.begin_us(opened), says=says,
        figures=figures,
    )  # fmt: skip


def _quantity(value: float, measure: Measure) -> str:
    if measure is _TIMING:
        return f"middle of sleep at {int(value // 60) % 24:02d}:{int(value) % 60:02d}"
    return f"{value:,.0f} steps a day" if measure is _STEPS else f"{value:,.0f} min a night"
