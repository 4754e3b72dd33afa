"""A series that is looked at, judged onward: the samples that a record adds, one by one.

Where the rules stand before the recent samples and after all of them is kept. What a record adds is judged from the
one; what leaves the recent samples moves the other on: no sample is asked for more than twice. It tells the same as
`stream.watch.judging.judge_all`, whose work grows with all that is recent; where something late is inserted, and after
a restart, all are walked again from the state before them. (To keep the state after each of them costs 20 KB.)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stream.detectors.finding import Finding
from stream.detectors.limits import Rule
from stream.detectors.observation import OBSERVATION
from stream.detectors.sustain import BREACH, EXERTED, SKIP, Reading, Sustained
from stream.detectors.sustain_step import step
from stream.watch.judging import Moment, boundary_of, live_from_us, now_live, turned
from stream.watch.memory import Series, Trail

_STIRS: Final = frozenset((BREACH, EXERTED))
"""What a quiet rule does not stay quiet for."""
_ALARM: Final = (OBSERVATION.names or ()).index("alarm")


def judge_onward(series: Series, rules: tuple[Rule, ...], at: Moment) -> list[Finding]:
    """Judge the recent samples that the series' trail does not have yet; return what that tells.

    For policies that judge at once (`settle_s` is 0).
    """
    if not len(series.recent):
        return []
    trail = series.trail
    if trail is None or trail.rules is not rules:
        fresh = Sustained(at_us=series.base_us)
        base = tuple(series.active.get(rule.name) or fresh for rule in rules)
        trail = series.trail = Trail(rules, base, base)
    found: list[Finding] = []
    for row in series.recent[trail.count :].tolist():
        found += _take(series, trail, row, at)
    _settle(series, trail, boundary_of(series, at.policy))
    return sorted(found, key=lambda finding: finding.changed_us) if len(found) > 1 else found


def _take(series: Series, trail: Trail, row: Any, at: Moment) -> list[Finding]:
    """Go on by one sample, a row of `OBSERVATION`."""
    found: list[Finding] = []
    states = list(trail.states)
    for place, rule in enumerate(trail.rules):
        state, code = states[place], _code(rule, states[place], row)
        if code == SKIP:
            continue
        reading = _reading(row)
        if code == BREACH and series.retrospective and reading[0] >= live_from_us(series, rule, state, at):
            found.append(now_live(series, rule, state, reading))
        states[place], told = step(state, rule.timing, code, reading)
        if told is not None:
            states[place], finding = turned(series, rule, states[place], told, at)
            trail.base = (*trail.base[:place], states[place], *trail.base[place + 1 :])  # what was told is final
            found += () if finding is None else (finding,)
    trail.states = tuple(states)
    trail.count += 1
    if row[_ALARM]:
        trail.alarm_us = row[0]
    return found


def _code(rule: Rule, state: Sustained, row: Any) -> int:
    """Return what a row means to a rule, `SKIP` where it leaves it as it is."""
    start_us, _, _, value, quality, context, _, _, _, deleted, _ = row
    code: int = rule.code(value, quality, context, deleted=deleted)
    return SKIP if start_us <= state.at_us or (code not in _STIRS and state.is_quiet) else code


def _reading(row: Any) -> Reading:
    return row[0], row[3], row[4]


def _settle(series: Series, trail: Trail, boundary: int) -> None:
    """Let go of the recent samples up to `boundary`; the rules stand before the others then."""
    gone = int(np.searchsorted(series.recent["start_us"], boundary, side="right"))
    if gone:
        rows = series.recent[:gone].tolist()
        trail.base = tuple(_moved_on(rule, state, rows) for rule, state in zip(trail.rules, trail.base, strict=True))
        trail.count -= gone
        series.recent = series.recent[gone:]
        series.alarming = series.alarming and trail.alarm_us > boundary
    series.base_us = boundary
    stand = zip(trail.rules, trail.base, strict=True)
    series.active = {rule.name: one for rule, one in stand if one.at_us > boundary or not one.is_quiet}


def _moved_on(rule: Rule, state: Sustained, rows: list[Any]) -> Sustained:
    """Return where a rule stands after rows that are judged: what turned is told, and the rule stood behind it then."""
    for row in rows:
        code = _code(rule, state, row)
        if code != SKIP:
            state, _ = step(state, rule.timing, code, _reading(row))
    return state
