"""The watch, pure: one batch in, the alerts that it raises or clears out.

Samples are judged in event time as soon as they come. A sample that is late, but by less than `lateness_s`, still takes
its place: each series keeps its last seconds beside the state before them, and judges them again when one is inserted.
What was told is final: a transition closes the time before it. What comes twice has the same start and counts once.

The fast path: a batch without a suspicious value, of an origin where nothing is pending or raised, costs some
numpy calls a batch and nothing a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from alerts.event import AlertEvent
from stream.detectors.limits import Rule
from stream.detectors.observation import Observations, follows, merge, observe
from stream.detectors.policy import WatchPolicy
from stream.detectors.sustain import Code, Sustained, Window, advance
from stream.watch_event import Finding, alert_event
from stream.watch_state import Series, WatchState
from vitals.batch import BatchHeader, SampleColumns
from vitals.clock import US_PER_S


@dataclass(frozen=True, slots=True)
class _Step:
    policy: WatchPolicy
    header: BatchHeader
    now_us: int


def step(
    state: WatchState, policy: WatchPolicy, header: BatchHeader, columns: SampleColumns, now_us: int
) -> list[AlertEvent]:
    """Take one batch in (`state` changes) and return its alert events, each metric's in event time.

    `now_us` (microseconds UTC) only decides what is too old to be called live. Samples of unwatched metrics, impossible
    values and times from the future take no part; the recorder quarantines what must be.
    """
    seen = observe(columns, policy.watched, policy.suspicious)
    if not len(seen):
        return []
    held = state.series_of(header)
    at = _Step(policy, header, now_us)
    events: list[AlertEvent] = []
    for number, part in _by_metric(seen):
        series = held.get(number)
        if series is None:
            series = held[number] = Series()
        state.ignored += _take_in(series, part)
        if series.active or series.alarming:
            events += _judge(series, policy.by_metric[number], at)
        else:
            _settle(series, _boundary(series, policy))
    return events


def _by_metric(seen: Observations) -> Iterator[tuple[int, Observations]]:
    metric = seen["metric"]
    cuts = [0, *(np.flatnonzero(metric[1:] != metric[:-1]) + 1).tolist(), len(metric)]
    for first, last in pairwise(cuts):
        yield int(metric[first]), seen[first:last]


def _take_in(series: Series, part: Observations) -> int:
    """Join `part` (ordered by start) to the recent samples; return how many were too late or not new."""
    late = part["start_us"][0] <= series.base_us
    fresh = part[part["start_us"] > series.base_us] if late else part
    if not len(fresh):
        return len(part)
    before = len(series.recent)
    if follows(series.recent, fresh):
        series.recent = np.concatenate((series.recent, fresh)) if before else fresh
    else:
        series.recent = merge(series.recent, fresh)
    series.alarming = series.alarming or bool(fresh["alarm"].any())
    return len(part) - (len(series.recent) - before)


def _boundary(series: Series, policy: WatchPolicy) -> int:
    """Return up to which time samples are now taken in for good: nothing before it can still come."""
    start = series.recent["start_us"]
    if not len(start):
        return series.base_us
    boundary = int(start[-1]) - policy.lateness_us
    if len(start) > policy.max_recent:
        boundary = max(boundary, int(start[-policy.max_recent - 1]))
    return max(boundary, series.base_us)


def _settle(series: Series, boundary: int) -> None:
    series.base_us = boundary
    recent = series.recent
    if len(recent) and recent["start_us"][0] <= boundary:
        recent = recent[recent["start_us"] > boundary]
        series.alarming = series.alarming and bool(recent["alarm"].any())
    # A view would keep its whole batch alive.
    series.recent = recent if recent.base is None else recent.copy()


def _judge(series: Series, rules: tuple[Rule, ...], at: _Step) -> list[AlertEvent]:
    recent = series.recent
    if not len(recent):
        return []
    boundary = _boundary(series, at.policy)
    horizon = max(boundary, int(recent["start_us"][-1]) - at.policy.settle_us)
    due = recent[recent["start_us"] <= horizon]
    events: list[AlertEvent] = []
    active: dict[str, Sustained] = {}
    for rule in rules:
        code = rule.codes(due)
        window = Window(due["start_us"], code, due["value"], due["quality"]).pick(code != Code.SKIP)
        state = series.active.get(rule.name) or Sustained(at_us=series.base_us)
        state, told = _run(series, rule, state, window, at)
        events += told
        state, _ = advance(state, rule.timing, _after(window.pick(window.start_us <= boundary), state.at_us))
        if not state.is_quiet or state.at_us > boundary:
            active[rule.name] = state
    series.active = active
    _settle(series, boundary)
    return sorted(events, key=lambda event: event.changed_at)


def _after(window: Window, at_us: int) -> Window:
    return window.pick(window.start_us > at_us)


def _run(series: Series, rule: Rule, state: Sustained, window: Window, at: _Step) -> tuple[Sustained, list[AlertEvent]]:
    """Return the state after the last transition in `window` and the events of all of them."""
    events: list[AlertEvent] = []
    while True:
        rest = _after(window, state.at_us)
        after, transition = advance(state, rule.timing, rest)
        events += _now_live(series, rule, state, rest.pick(rest.start_us <= after.at_us), at)
        if transition is None:
            return state, events
        finding = Finding.of(transition)
        old = at.now_us - finding.measured_us > rule.max_age_s * US_PER_S
        if not finding.cleared and old:
            series.retrospective.add(rule.name)
        retrospective = rule.name in series.retrospective
        if finding.cleared:
            series.retrospective.discard(rule.name)
        events.append(alert_event(at.header, rule, finding, at.policy.ceiling, retrospective=retrospective))
        state = after


def _now_live(series: Series, rule: Rule, state: Sustained, window: Window, at: _Step) -> list[AlertEvent]:
    """A finding raised as too old, which still goes on in samples that are not: told again, as live.

    Otherwise a backlog that arrives in the middle of a deterioration would keep its alert from ever paging.
    """
    if rule.name not in series.retrospective or state.raised_us is None or state.opened_us is None:
        return []
    fresh = (window.code == Code.BREACH) & (window.start_us >= at.now_us - rule.max_age_s * US_PER_S)
    if not fresh.any():
        return []
    series.retrospective.discard(rule.name)
    finding = Finding.still(state.opened_us, state.raised_us, window.reading(int(fresh.argmax())))
    return [alert_event(at.header, rule, finding, at.policy.ceiling, retrospective=False)]
