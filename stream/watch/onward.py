"""A series that is looked at, judged onward: the samples that a record adds, one by one.

Where the rules stand after each recent sample is kept beside it. What a record adds is then judged from there, and what
leaves the recent samples gives the state before them: neither asks for the others once more. It tells the same as
`stream.watch.judging.judge_all`, whose work grows with all that is recent; where something late is inserted, and after
a restart, the trail is walked again from the state before the recent samples.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final

from stream.detectors.finding import Finding
from stream.detectors.limits import Rule
from stream.detectors.sustain import BREACH, EXERTED, SKIP, Sustained
from stream.detectors.sustain_step import step
from stream.watch.judging import Moment, boundary_of, live_from_us, now_live, turned
from stream.watch.memory import Series, Trail

_STIRS: Final = frozenset((BREACH, EXERTED))
"""What a quiet rule does not stay quiet for."""


def judge_onward(series: Series, rules: tuple[Rule, ...], at: Moment) -> list[Finding]:
    """Judge the recent samples that the series' trail does not have yet; return what that tells.

    For policies that judge at once (`settle_s` is 0).
    """
    trail = series.trail
    if trail is None or trail.rules is not rules:
        fresh = Sustained(at_us=series.base_us)
        trail = series.trail = Trail(rules, tuple(series.active.get(rule.name) or fresh for rule in rules))
    found: list[Finding] = []
    for row in series.recent[len(trail.starts_us) :].tolist():
        found += _take(series, trail, row, at)
    _settle(series, trail, boundary_of(series, at.policy))
    return sorted(found, key=lambda finding: finding.changed_us) if len(found) > 1 else found


def _take(series: Series, trail: Trail, row: Any, at: Moment) -> list[Finding]:
    """Go on by one sample, a row of `OBSERVATION`."""
    start_us, _, _, value, quality, context, _, _, _, deleted, alarm = row
    reading = start_us, value, quality
    found: list[Finding] = []
    states = list(trail.states[-1] if trail.states else trail.base)
    for place, rule in enumerate(trail.rules):
        state, code = states[place], rule.code(value, quality, context, deleted=deleted)
        if code == SKIP or start_us <= state.at_us or (code not in _STIRS and state.is_quiet):
            continue
        if code == BREACH and series.retrospective and start_us >= live_from_us(series, rule, state, at):
            found.append(now_live(series, rule, state, reading))
        states[place], told = step(state, rule.timing, code, reading)
        if told is not None:
            states[place], finding = turned(series, rule, states[place], told, at)
            trail.base = (*trail.base[:place], states[place], *trail.base[place + 1 :])  # what was told is final
            found += () if finding is None else (finding,)
    trail.starts_us.append(start_us)
    trail.states.append(tuple(states))
    if alarm:
        trail.alarm_us = start_us
    return found


def _settle(series: Series, trail: Trail, boundary: int) -> None:
    """Let go of the recent samples up to `boundary`; where the rules stood after the last of these is what stays."""
    gone = bisect_right(trail.starts_us, boundary)
    if gone:
        left = zip(trail.base, trail.states[gone - 1], strict=True)
        trail.base = tuple(new if new.at_us > old.at_us else old for old, new in left)
        del trail.starts_us[:gone], trail.states[:gone]
        series.recent = series.recent[gone:]
        series.alarming = series.alarming and trail.alarm_us > boundary
    series.base_us = boundary
    stand = zip(trail.rules, trail.base, strict=True)
    series.active = {rule.name: one for rule, one in stand if one.at_us > boundary or not one.is_quiet}
