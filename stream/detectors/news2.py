"""Partial NEWS2, and vitals that move together: a patient as a whole, from all their devices.

Royal College of Physicians 2017. An integer only where all seven inputs are current, consciousness and oxygen entered
by a person; else "at least n; k of 7 missing": what nobody observed adds nothing. 5 points ask for an urgent review
(medium), 7 for an emergency response (high: the same episode, escalated, where what medical devices measured gives 7 by
itself). Three points in one parameter are said with
the score and raise nothing of themselves: the limits, which lie there, do. Nothing is scored during exercise and for
`rest_s` after, nor of a child, nor in pregnancy. An input that scored and is no longer measured does not clear: nobody
has seen it get better.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan
from typing import ClassVar, Final

from alerts.event import Priority
from stream.detectors import news2_trend as trend
from stream.detectors.finding import Finding
from stream.detectors.news2_episodes import News2Episodes, Seen, findings, given_up
from stream.detectors.news2_inputs import (
    BUCKET_US,
    METRICS,
    Group,
    Inputs,
    Working,
    by_bucket,
    columns_of,
    taken,
)
from stream.detectors.news2_score import Ages, Score, score
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.sustain import Code, Timing
from vitals.clock import US_PER_S

_SKIP, _CALM, _HOLD, _BREACH = Code.SKIP, Code.CALM, Code.HOLD, Code.BREACH  # looking one up costs a microsecond
_URGENT: Final = Timing(delay_s=120, min_samples=3, clear_delay_s=600, clear_samples=5, max_gap_s=1_800)
_HIGH: Final = Priority.HIGH
_TOGETHER: Final = Timing(delay_s=15, min_samples=2, clear_delay_s=600, clear_samples=5, max_gap_s=600)


@dataclass(frozen=True, slots=True)
class News2Policy:
    """Points at which an episode is raised and escalated, and at or below which each counts as calm.

    `rest_s` after exercise nothing is scored, and for `together_rest_s` nothing compared: exercise lets pulse and
    breathing rise, but saturation not fall. What scored and is no longer measured keeps the episode open until
    `forget_s` after the last time that it scored. Raises ValueError for points or times that make no sense.
    """

    medium_points: int = 5
    medium_calm_points: int = 3
    high_points: int = 7
    high_calm_points: int = 5
    rest_s: float = 300.0
    together_rest_s: float = 120.0
    forget_s: float = 21_600.0
    timing: Timing = field(default=_URGENT)
    together: Timing = field(default=_TOGETHER)
    ages: Ages = field(default_factory=Ages)
    steps: trend.Steps = field(default_factory=trend.Steps)

    def __post_init__(self) -> None:
        if not 0 <= self.medium_calm_points < self.medium_points <= self.high_points:
            raise ValueError("medium_calm_points lies below medium_points, and that not above high_points")
        if not self.medium_calm_points <= self.high_calm_points < self.high_points:
            raise ValueError("high_calm_points lies below high_points, and not below medium_calm_points")
        if not 0 <= self.together_rest_s <= self.rest_s or self.forget_s < 0:
            raise ValueError("together_rest_s lies within 0 to rest_s, and forget_s is not negative")


@dataclass(frozen=True, slots=True)
class News2State:
    """The inputs, the person's usual, the episodes, and which parameters had points when 5 were reached last."""

    inputs: Inputs = field(default_factory=Inputs)
    usual: trend.Usual = field(default_factory=trend.Usual)
    episodes: News2Episodes = field(default_factory=News2Episodes)
    scored: tuple[str, ...] = ()
    scored_us: int = 0


@dataclass(frozen=True, slots=True)
class News2:
    """Rules `news2` and `vitals_together`, on the metric `news2`."""

    policy: News2Policy = field(default_factory=News2Policy)

    name: ClassVar[str] = "news2"
    metrics: ClassVar[frozenset[int]] = METRICS
    max_bytes: ClassVar[int] = 16_000
    per_patient: ClassVar[bool] = True

    def fresh(self) -> News2State:
        """Return the state of somebody never seen."""
        return News2State()

    def step(
        self, state: News2State, seen: Observations, until_us: int, person: Person
    ) -> tuple[News2State, list[Finding]]:
        """Take in `seen`; each 15 seconds that are over by `until_us` are scored, in order."""
        if person.profile.is_child or person.profile.pregnant:
            return News2State(), given_up(state.episodes, until_us, person)
        inputs, new = state.inputs, columns_of(seen, medical=person.ceiling is _HIGH)
        if not new.slot and not len(inputs.waiting):
            return state, []
        over, waiting = taken(inputs.waiting, new, max(until_us // BUCKET_US * BUCKET_US, inputs.done_us))
        if not over:
            kept = Inputs(waiting, inputs.known, inputs.done_us, inputs.moved_us, inputs.asleep_us, inputs.medical)
            return News2State(kept, state.usual, state.episodes, state.scored, state.scored_us), []
        course = _Course(self.policy, state, person)
        for end_us, found in by_bucket(over):
            course.go(end_us, found)
        episodes, told = findings(state.episodes, course.seen, self.policy.timing, self.policy.together, person)
        kept = course.known.frozen(waiting, course.done_us)
        return News2State(kept, course.usual, episodes, course.scored, course.scored_us), told


class _Course:
    """One step's way through its time, 15 seconds by 15 seconds; `seen` is what each came to."""

    def __init__(self, policy: News2Policy, state: News2State, person: Person) -> None:
        self._policy, self._profile = policy, person.profile
        self.known, self.done_us = Working(state.inputs), state.inputs.done_us
        self.usual = state.usual
        self.scored, self.scored_us = state.scored, state.scored_us
        self.seen: list[Seen] = []

    def go(self, end_us: int, found: list[Group]) -> None:
        """Take in 15 seconds and judge as of its end, unless a faster device has brought time beyond it."""
        for group in found:
            self.known.take(group)
        if end_us <= self.done_us:
            return
        self.done_us = end_us
        if self._since_motion_us(end_us) <= self._policy.together_rest_s * US_PER_S:
            return
        told = score(self.known, end_us, self._policy.ages, self._profile)
        if told.values:
            self.seen.append(self._judged(told))

    def _since_motion_us(self, at_us: int) -> int:
        return at_us - self.known.moved_us

    def _judged(self, told: Score) -> Seen:
        rested = self._since_motion_us(told.at_us) > self._policy.rest_s * US_PER_S
        medium, high, raising = _SKIP, _SKIP, told.raising
        if rested:
            medium = self._code(told, raising, self._policy.medium_points, self._policy.medium_calm_points)
            high = self._code(told, raising, self._policy.high_points, self._policy.high_calm_points)
            if high is _BREACH and not self._by_medical(told.at_us):
                high = _HOLD
        if medium is _BREACH:
            self.scored, self.scored_us = (
                tuple(one for one, n in told.points.items() if n and one not in told.excused),
                told.at_us,
            )
        values = [told.values[one] if one in told.firm else nan for one in trend.FOLLOWED]
        self.usual = trend.turned(self.usual, told.at_us)
        worse = trend.worsened(self.usual, values, self._policy.steps, rested=rested)
        moved = trend.code_of(self.usual, worse, self._policy.steps)
        words = trend.told(self.usual, values, worse) if any(worse) else ""
        if rested and medium is not _BREACH and moved is not _BREACH:
            self.usual = trend.learned(self.usual, values)
        return Seen(told, medium, high, moved, sum(worse), words)

    def _by_medical(self, at_us: int) -> bool:
        """Tell whether what medical devices measured reaches the higher points without what others did."""
        alone = score(self.known.by_medical(), at_us, self._policy.ages, self._profile)
        return alone.raising >= self._policy.high_points

    def _code(self, told: Score, points: int, raised: int, calm: int) -> Code:
        if points >= raised:
            return _BREACH
        if points > calm:
            return _HOLD
        lately = bool(self.scored) and told.at_us - self.scored_us <= self._policy.forget_s * US_PER_S
        unseen = lately and any(one not in told.points for one in self.scored)
        return _HOLD if unseen else _CALM
