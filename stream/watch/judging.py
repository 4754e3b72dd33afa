"""A series that is looked at, judged whole: every rule from the state before its recent samples, with numpy.

What both ways of judging share is here too; a few samples more are judged one by one (`stream.watch.onward`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np

from alerts.event import Kind
from stream.detectors.finding import Finding
from stream.detectors.limits import Rule
from stream.detectors.observation import copied, pick
from stream.detectors.policy import WatchPolicy
from stream.detectors.sustain import BREACH, SKIP, Reading, Sustained, Transition, Window, advance
from stream.watch.events import finding_of, going_on
from stream.watch.memory import Series
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S

_PHYSIOLOGICAL: Final = Kind.PHYSIOLOGICAL

Doubted = Callable[[], frozenset[int]]
"""Asked before a limit raises: the metrics that, by all that waits, are not to be trusted after all."""


@dataclass(slots=True)
class Moment:
    """By which policy and when, on the watch's clock (us), something is judged."""

    policy: WatchPolicy
    now_us: int
    doubted: Doubted
    _doubts: frozenset[int] | None = None

    def doubts(self, rule: Rule) -> bool:
        """Tell whether what a rule judges is not to be trusted after all; asked once for all of a record."""
        if self._doubts is None:
            self._doubts = self.doubted()
        return BY_CODE[rule.metric].number in self._doubts


def boundary_of(series: Series, policy: WatchPolicy) -> int:
    """Return up to which time samples are now taken in for good: nothing before it can still come."""
    start = series.recent["start_us"]
    if not len(start):
        return series.base_us
    boundary = int(start[-1]) - policy.lateness_us
    if len(start) > policy.max_recent:
        boundary = max(boundary, int(start[-policy.max_recent - 1]))
    return max(boundary, series.base_us)


def settle(series: Series, boundary: int) -> None:
    """Let go of the recent samples up to `boundary`."""
    series.base_us = boundary
    recent = series.recent
    if len(recent) and recent["start_us"][0] <= boundary:
        recent = pick(recent, recent["start_us"] > boundary)
        series.alarming = series.alarming and bool(recent["alarm"].any())
    # A view would keep its whole fetch alive.
    series.recent = recent if recent.base is None else copied(recent)


def judge_all(series: Series, rules: tuple[Rule, ...], at: Moment) -> list[Finding]:
    """Judge all recent samples of a series anew; return what that tells."""
    recent = series.recent
    if not len(recent):
        return []
    series.trail = None
    boundary = boundary_of(series, at.policy)
    horizon = max(boundary, int(recent["start_us"][-1]) - at.policy.settle_us)
    due = recent[: int(np.searchsorted(recent["start_us"], horizon, side="right"))]
    found: list[Finding] = []
    active: dict[str, Sustained] = {}
    for rule in rules:
        code = rule.codes(due)
        window = Window(due["start_us"], code, due["value"], due["quality"]).pick(code != SKIP)
        state = series.active.get(rule.name) or Sustained(at_us=series.base_us)
        state, told = _run(series, rule, state, window, at)
        found += told
        state, _ = advance(state, rule.timing, _after(window.pick(window.start_us <= boundary), state.at_us))
        if not state.is_quiet or state.at_us > boundary:
            active[rule.name] = state
    series.active = active
    settle(series, boundary)
    return sorted(found, key=lambda finding: finding.changed_us)


def turned(
    series: Series, rule: Rule, after: Sustained, told: Transition, at: Moment
) -> tuple[Sustained, Finding | None]:
    """Return where a rule stands once `told` has led it to `after`, and the finding: none of a device in doubt."""
    if not told.cleared and rule.kind is _PHYSIOLOGICAL and at.doubts(rule):
        # It has to hold once more: by then the samples are either settled as doubtful or have shown that they live.
        return Sustained(at_us=told.at_us), None
    finding = finding_of(rule, told)
    if told.cleared:
        series.retrospective.discard(rule.name)
    elif at.now_us - finding.measured_us > rule.max_age_s * US_PER_S:
        series.retrospective.add(rule.name)
    return after, finding


def live_from_us(series: Series, rule: Rule, state: Sustained, at: Moment) -> float:
    """Return from when on a breach makes live what was raised as too old and still goes on; infinity where nothing was.

    Otherwise a backlog that arrives in the middle of a deterioration would keep its alert from ever paging.
    """
    if rule.name not in series.retrospective or state.raised_us is None or state.opened_us is None:
        return inf
    return at.now_us - rule.max_age_s * US_PER_S


def now_live(series: Series, rule: Rule, state: Sustained, reading: Reading) -> Finding:
    """Return the finding of before, told again as live since this reading."""
    assert state.opened_us is not None  # noqa: S101 - `live_from_us` has asked
    assert state.raised_us is not None  # noqa: S101
    series.retrospective.discard(rule.name)
    return going_on(rule, state.opened_us, state.raised_us, reading)


def _after(window: Window, at_us: int) -> Window:
    return window.pick(window.start_us > at_us)


def _run(series: Series, rule: Rule, state: Sustained, window: Window, at: Moment) -> tuple[Sustained, list[Finding]]:
    """Return the state after the last transition in `window` and the findings of all of them."""
    found: list[Finding] = []
    while True:
        rest = _after(window, state.at_us)
        after, told = advance(state, rule.timing, rest)
        found += _now_live(series, rule, state, rest.pick(rest.start_us <= after.at_us), at)
        if told is None:
            return state, found
        state, finding = turned(series, rule, after, told, at)
        found += () if finding is None else (finding,)


def _now_live(series: Series, rule: Rule, state: Sustained, window: Window, at: Moment) -> list[Finding]:
    since_us = live_from_us(series, rule, state, at)
    if since_us == inf:
        return []
    fresh = (window.code == BREACH) & (window.start_us >= since_us)
    return [now_live(series, rule, state, window.reading(int(fresh.argmax())))] if fresh.any() else []
