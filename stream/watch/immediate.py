"""The immediate tier: limits, judged the moment a record comes.

Samples are judged in event time. A sample that is late, but by less than `lateness_s`, still takes its place: a series
that is looked at keeps its last seconds beside the state before them, and judges them again when one is inserted. What
was told is final: a transition closes the time before it. What comes twice has the same start and counts once.

A metric is looked at (`Series`) from its first suspicious sample until nothing of it is pending, raised or suspicious;
what came just before is then still in the inbox. All the rest of the time its samples cost nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from alerts.event import Kind
from stream.detectors.finding import Finding
from stream.detectors.limits import Rule
from stream.detectors.observation import Observations, copied, follows, joined, merge, pick
from stream.detectors.policy import WatchPolicy
from stream.detectors.sustain import NEVER, Code, Sustained, Window, advance
from stream.detectors.track import Track, enrich
from stream.watch.events import finding_of, going_on
from stream.watch.memory import Origin, Series
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S

DOUBTED: Final = 0.25
"""The quality of what a technical detector distrusts: it says nothing of the body, and nothing of the contact."""


@dataclass(frozen=True, slots=True)
class _Step:
    policy: WatchPolicy
    now_us: int
    doubted: Doubted


Doubted = Callable[[], frozenset[int]]
"""Asked before a limit raises: the metrics that, by all that waits, are not to be trusted after all."""


def judge(
    origin: Origin, track: Track, policy: WatchPolicy, part: Observations, now_us: int, doubted: Doubted = frozenset
) -> Iterator[Finding]:
    """Judge one record's rows of an origin, which are not yet in its inbox; findings come metric by metric."""
    metrics = set(origin.awake) | set(part["metric"][part["alarm"]].tolist())
    at = _Step(policy, now_us, doubted)
    for metric in sorted(metrics):
        rules = policy.by_metric.get(metric)
        if rules is None:
            origin.awake.pop(metric, None)
            continue
        series = origin.awake.get(metric)
        mine = pick(part, part["metric"] == metric)
        if series is None:
            series = _wake(origin, track, metric, policy)
        elif not len(mine):
            continue
        _take_in(series, _trusted(origin, track, metric, mine))
        if series.active or series.alarming:
            origin.awake[metric] = series
            yield from _judge(series, rules, at)
        if not (series.active or series.alarming):
            origin.bases[metric] = max(series.base_us, _boundary(series, policy))
            origin.awake.pop(metric, None)


def _wake(origin: Origin, track: Track, metric: int, policy: WatchPolicy) -> Series:
    """Return the series of a metric that has become suspicious: what waits in the inbox stands before its samples."""
    base_us = max(int(origin.begun_us[metric]), origin.bases.get(metric, NEVER))
    waiting = origin.inbox.rows()
    series = Series(base_us)
    _take_in(series, _trusted(origin, track, metric, pick(waiting, waiting["metric"] == metric)))
    _settle(series, _boundary(series, policy))
    return series


def _trusted(origin: Origin, track: Track, metric: int, rows: Observations) -> Observations:
    """Return rows by start, with what is known of the person's motion and sleep, and doubted where the device is."""
    start = rows["start_us"]
    if (start[1:] < start[:-1]).any():
        rows = rows.take(np.argsort(start, kind="stable"))
    rows = enrich(track, rows)
    if metric in origin.distrusted:
        rows = copied(rows)
        rows["quality"] = np.minimum(rows["quality"], DOUBTED)
    return rows


def _take_in(series: Series, part: Observations) -> None:
    """Join `part` (ordered by start) to the recent samples."""
    if not len(part):
        return
    fresh = pick(part, part["start_us"] > series.base_us) if part["start_us"][0] <= series.base_us else part
    if not len(fresh):
        return
    if follows(series.recent, fresh):
        series.recent = joined((series.recent, fresh)) if len(series.recent) else fresh
    else:
        series.recent = merge(series.recent, fresh)
    series.alarming = series.alarming or bool(fresh["alarm"].any())


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
        recent = pick(recent, recent["start_us"] > boundary)
        series.alarming = series.alarming and bool(recent["alarm"].any())
    # A view would keep its whole fetch alive.
    series.recent = recent if recent.base is None else copied(recent)


def _judge(series: Series, rules: tuple[Rule, ...], at: _Step) -> list[Finding]:
    recent = series.recent
    if not len(recent):
        return []
    boundary = _boundary(series, at.policy)
    horizon = max(boundary, int(recent["start_us"][-1]) - at.policy.settle_us)
    due = recent[: int(np.searchsorted(recent["start_us"], horizon, side="right"))]
    found: list[Finding] = []
    active: dict[str, Sustained] = {}
    for rule in rules:
        code = rule.codes(due)
        window = Window(due["start_us"], code, due["value"], due["quality"]).pick(code != Code.SKIP)
        state = series.active.get(rule.name) or Sustained(at_us=series.base_us)
        state, told = _run(series, rule, state, window, at)
        found += told
        state, _ = advance(state, rule.timing, _after(window.pick(window.start_us <= boundary), state.at_us))
        if not state.is_quiet or state.at_us > boundary:
            active[rule.name] = state
    series.active = active
    _settle(series, boundary)
    return sorted(found, key=lambda finding: finding.changed_us)


def _after(window: Window, at_us: int) -> Window:
    return window.pick(window.start_us > at_us)


def _run(series: Series, rule: Rule, state: Sustained, window: Window, at: _Step) -> tuple[Sustained, list[Finding]]:
    """Return the state after the last transition in `window` and the findings of all of them."""
    found: list[Finding] = []
    while True:
        rest = _after(window, state.at_us)
        after, transition = advance(state, rule.timing, rest)
        found += _now_live(series, rule, state, rest.pick(rest.start_us <= after.at_us), at)
        if transition is None:
            return state, found
        if not transition.cleared and rule.kind is Kind.PHYSIOLOGICAL and BY_CODE[rule.metric].number in at.doubted():
            # It has to hold once more: by then the samples are either settled as doubtful or have shown that they live.
            state = Sustained(at_us=transition.at_us)
            continue
        finding = finding_of(rule, transition)
        if transition.cleared:
            series.retrospective.discard(rule.name)
        elif at.now_us - finding.measured_us > rule.max_age_s * US_PER_S:
            series.retrospective.add(rule.name)
        found.append(finding)
        state = after


def _now_live(series: Series, rule: Rule, state: Sustained, window: Window, at: _Step) -> list[Finding]:
    """A finding raised as too old, which still goes on in samples that are not: told again, as live.

    Otherwise a backlog that arrives in the middle of a deterioration would keep its alert from ever paging.
    """
    if rule.name not in series.retrospective or state.raised_us is None or state.opened_us is None:
        return []
    fresh = (window.code == Code.BREACH) & (window.start_us >= at.now_us - rule.max_age_s * US_PER_S)
    if not fresh.any():
        return []
    series.retrospective.discard(rule.name)
    return [going_on(rule, state.opened_us, state.raised_us, window.reading(int(fresh.argmax())))]
