"""From scores to findings: one episode of `news2`, perhaps escalated, and one of `vitals_together`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.news2_score import Score
from stream.detectors.protocol import Person
from stream.detectors.sustain import Code, Run, Sustained, Timing, Transition, Window, follow

METRIC: Final = "news2"
_BREACH: Final = Code.BREACH
_SCORE: Final = "news2"
_TOGETHER: Final = "vitals_together"
_MOST_POINTS: Final = 3
SCORE_UNIT: Final = "{score}"
_VITALS_UNIT: Final = "{vitals}"


class Seen(NamedTuple):
    """One evaluation: the score, what it means for 5 and for 7 points, and how many vitals moved, which, in words."""

    score: Score
    medium: Code
    high: Code
    moved: Code
    worse: int
    words: str


@dataclass(frozen=True, slots=True)
class News2Episodes:
    """Where the rules stand; `escalated`: the open episode of `news2` has been told as high."""

    medium: Sustained = field(default_factory=Sustained)
    high: Sustained = field(default_factory=Sustained)
    moved: Sustained = field(default_factory=Sustained)
    escalated: bool = False

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is pending or raised."""
        return self.medium.is_quiet and self.high.is_quiet and self.moved.is_quiet


def findings(
    held: News2Episodes, seen: list[Seen], timing: Timing, together: Timing, person: Person
) -> tuple[News2Episodes, list[Finding]]:
    """Take in evaluations, in order, and return what changed."""
    if not seen:
        return held, []
    if held.is_quiet and not any(_BREACH in one[1:4] for one in seen):
        until = Sustained(seen[-1].score.at_us)
        return News2Episodes(until, until, until), []
    at_us = np.array([one.score.at_us for one in seen], np.int64)
    total = np.array([one.score.raising for one in seen], np.float64)
    worse = np.array([one.worse for one in seen], np.float64)
    medium, raised = _followed(held.medium, timing, at_us, [one.medium for one in seen], total)
    high, higher = _followed(held.high, timing, at_us, [one.high for one in seen], total)
    moved, together_told = _followed(held.moved, together, at_us, [one.moved for one in seen], worse)
    if not (raised or higher or together_told):
        return News2Episodes(medium, high, moved, held.escalated), []
    by_time = {one.score.at_us: one for one in seen}
    escalated, told = _scored(held, raised, higher, by_time, person)
    told += [_moved(one, by_time[one.at_us], person) for one in together_told]
    return News2Episodes(medium, high, moved, escalated), sorted(told, key=lambda one: one.changed_us)


def given_up(held: News2Episodes, at_us: int, person: Person) -> list[Finding]:
    """Return the ends of what is open, for somebody who is not scored any more."""
    scored = Priority.HIGH if held.escalated else Priority.MEDIUM
    return [
        _unscored(rule, priority, one.opened_us, one.raised_us, max(at_us, one.at_us), person)
        for rule, priority, one in ((_SCORE, scored, held.medium), (_TOGETHER, Priority.MEDIUM, held.moved))
        if one.opened_us is not None and one.raised_us is not None
    ]


def _unscored(rule: str, priority: Priority, opened_us: int, raised_us: int, at_us: int, person: Person) -> Finding:
    what, unit = ("NEWS2", SCORE_UNIT) if rule == _SCORE else ("vitals that moved together", _VITALS_UNIT)
    says, run = f"{what}: no longer judged for this person", Run(opened_us, at_us)
    since_us, known = (opened_us, raised_us), Score(at_us, at_us)
    return _finding(rule, State.CLEARED, priority, since_us, run, known, says, {}, person, unit)


def _followed(
    state: Sustained, timing: Timing, at_us: NDArray[np.int64], codes: list[Code], value: NDArray[np.float64]
) -> tuple[Sustained, list[Transition]]:
    if state.is_quiet and _BREACH not in codes:
        return Sustained(int(at_us[-1])), []
    code = np.array(codes, np.int8)
    window = Window(at_us, code, value, np.ones(len(value), np.float32))
    return follow(state, timing, window.pick(code != Code.SKIP))


def _scored(
    held: News2Episodes, raised: list[Transition], higher: list[Transition], seen: Mapping[int, Seen], person: Person
) -> tuple[bool, list[Finding]]:
    """Return whether the episode is escalated now, and its changes.

    Who has 7 points has 5: so the higher rule raises while the episode is open, or just as it opens. It waits for what
    medical devices measured, so that whichever device's samples bring it about, high priority is allowed.
    """
    mediums = {one.at_us: one for one in raised}
    highs = {one.at_us: one for one in higher if not one.cleared}
    escalated, told = held.escalated, []
    opened_us, raised_us = held.medium.opened_us, held.medium.raised_us
    for at_us in sorted({*mediums, *highs}):
        change, higher_now = mediums.get(at_us), highs.get(at_us)
        run = (change or highs[at_us]).run
        state = State.ESCALATED if change is None else State.CLEARED if change.cleared else State.RAISED
        if change is not None:
            opened_us, raised_us = change.opened_us, change.raised_us
        if opened_us is None or raised_us is None or (change is None and escalated):
            continue
        escalated = escalated or higher_now is not None
        priority = Priority.HIGH if escalated else Priority.MEDIUM
        told.append(_score_finding(state, priority, (opened_us, raised_us), run, seen[at_us].score, person))
        if state is State.CLEARED:
            opened_us, raised_us, escalated = None, None, False
    return escalated, told


def _score_finding(
    state: State, priority: Priority, since_us: tuple[int, int], run: Run, known: Score, person: Person
) -> Finding:
    threes = ", ".join(one for one, points in known.points.items() if points == _MOST_POINTS)
    said = f"NEWS2 {known.told}" if state is not State.CLEARED else f"NEWS2 has fallen to {known.told}"
    figures = known.figures() | {"spo2_scale": float(person.profile.spo2_scale)}
    told = f"{said}; 3 points for {threes}" if threes else said
    return _finding(_SCORE, state, priority, since_us, run, known, told, figures, person, SCORE_UNIT)


def _moved(change: Transition, seen: Seen, person: Person) -> Finding:
    state = State.CLEARED if change.cleared else State.RAISED
    words = seen.words or "none"
    said = f"vitals that moved together at rest, against the hours before: {words}"
    if change.cleared:
        said = f"vitals are about where they were in the hours before; moved still: {words}"
    figures = seen.score.figures() | {"moved_count": float(seen.worse)}
    since_us = (change.opened_us, change.raised_us)
    return _finding(
        _TOGETHER, state, Priority.MEDIUM, since_us, change.run, seen.score, said, figures, person, _VITALS_UNIT
    )


def _finding(
    rule: str,
    state: State,
    priority: Priority,
    since_us: tuple[int, int],
    run: Run,
    known: Score,
    says: str,
    figures: Mapping[str, float | str],
    person: Person,
    unit: str,
) -> Finding:
    return Finding(
        rule=rule,
        version=1,
        metric=METRIC,
        kind=Kind.PHYSIOLOGICAL,
        priority=priority,
        state=state,
        opened_us=since_us[0],
        raised_us=since_us[1],
        changed_us=known.at_us,
        measured_us=known.measured_us,
        window_start_us=run.since_us,
        says=says,
        samples=run.seen,
        readings=run.readings,
        figures=figures,
        individualised=person.profile.individualised,
        unit=unit,
    )
