"""One value against what is usual for its owner: what it means to a rule, and the finding when that has held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from alerts.event import Kind, Priority, State
from stream.detectors import baseline
from stream.detectors.baseline import Baseline
from stream.detectors.below_baseline_nights import Nights, Usual, scaled, unscaled, usual
from stream.detectors.below_baseline_policy import MAX_AGE_S, VERSION, OwnBaselinePolicy, OwnRule
from stream.detectors.finding import Finding
from stream.detectors.sustain import Code, Run, Sustained, Transition, Window, advance

KEPT_READINGS: Final = 8
"""Nights, or five minutes, that a finding quotes: states are kept for every origin there is."""


@dataclass(frozen=True, slots=True)
class Against:
    """What a value is held against, as compared; `name` begins its figures, `words` say it."""

    name: str
    words: str
    usual: Usual

    def limit(self, rule: OwnRule) -> float:
        """Return the value beyond which the rule is breached, in the rule's unit."""
        return unscaled(rule.column, self.usual.location + rule.sign * self.need(rule))

    def need(self, rule: OwnRule) -> float:
        """Return how far a value must lie away, as compared."""
        return max(rule.sd * self.usual.sd, rule.least)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a value means, and against which of the references it lies farthest beyond its need."""

    code: Code
    value: float
    against: Against
    all_of: tuple[Against, ...]


def night_references(nights: Nights, policy: OwnBaselinePolicy, rule: OwnRule, *, frozen: bool) -> list[Against]:
    """Return what a night is held against: the last nights, and with `frozen` the first ones, as far as known."""
    recent = usual(nights, rule.column)
    known = [Against("recent", f"in the last {recent.nights} nights", recent)]
    if recent.nights < policy.min_nights:
        known = []
    location, sd = nights.reference[:, rule.column].tolist()
    if frozen and not math.isnan(location):
        first = policy.reference_nights
        known.append(Against("reference", f"in the first {first} nights", Usual(location, sd, first)))
    return known


def hour_references(held: Baseline, policy: OwnBaselinePolicy, metric: int, hour: int) -> list[Against]:
    """Return what five minutes at rest are held against: this hour's baselines, or the whole day's, as far as known."""
    placed = baseline.place(held, policy.hourly, metric, hour, 0.0)
    when = "usual at rest" if placed.whole_day else "usual at rest at this hour"
    days = int(held.days[metric, baseline.WHOLE_DAY if placed.whole_day else hour])
    both = (
        Against("reference", f"{when} in the first weeks",
                Usual(placed.reference, placed.reference_scale, policy.hour_reference_days)),
        Against("recent", f"{when} in the last weeks", Usual(placed.location, placed.scale, days)),
    )  # fmt: skip
    return [one for one in both if not math.isnan(one.usual.location)]


def follow_one(held: Sustained, rule: OwnRule, judged: Verdict, at_us: int) -> tuple[Sustained, Transition | None]:
    """Take one value that came to `judged` at `at_us` into the machine of its rule."""
    one = Window(
        np.array([at_us]), np.array([judged.code], np.int8), np.array([judged.value]), np.ones(1, np.float32)
    )  # fmt: skip
    run = held.run
    if run is not None and len(run.readings) >= KEPT_READINGS:
        held = replace(held, run=replace(run, readings=run.readings[1 - KEPT_READINGS :]))
    return advance(held, rule.timing, one)


def verdict(rule: OwnRule, value: float, known: Sequence[Against], *, beyond_all: bool) -> Verdict | None:
    """Return what `value` means; None where it is NaN or there is nothing to hold it against."""
    if not known or math.isnan(value):
        return None
    at = scaled(rule.column, value)
    excess = [rule.sign * (at - one.usual.location) / one.need(rule) for one in known]
    breach = min(excess) > 1.0 if beyond_all else max(excess) > 1.0
    calm = min(excess) <= 0.5 if beyond_all else max(excess) <= 0.5
    code = Code.BREACH if breach else Code.CALM if calm else Code.HOLD
    return Verdict(code, value, known[excess.index(max(excess))], tuple(known))


def finding(rule: OwnRule, told: Transition, judged: Verdict, lasted: str, clock: str) -> Finding:
    """Return the change of an episode; `lasted` says for how long, `clock` whose hours they are."""
    against = judged.against
    than = f"{_number(unscaled(rule.column, against.usual.location))} {rule.unit} {against.words}"
    how = f"back within own baseline: {_number(judged.value)}" if told.cleared else (
        f"{'above' if rule.sign > 0 else 'below'} own baseline for {lasted}: last {_number(judged.value)}"
    )  # fmt: skip
    return _finding(
        rule, told.run, State.CLEARED if told.cleared else State.RAISED, (told.opened_us, told.raised_us, told.at_us),
        f"{rule.seen} {how} {rule.unit} against {than}", against.limit(rule),
        {f"{rule.figure}_{rule.unit_name}": round(judged.value, 2), **_figures(rule, judged.all_of), "clock": clock},
    )  # fmt: skip


def ended(rule: OwnRule, held: Sustained, at_us: int) -> Finding | None:
    """Return the clearing of what is open at a break, after which there is nothing to hold anything against."""
    if held.raised_us is None or held.opened_us is None:
        return None
    at_us = max(at_us, held.raised_us)
    run = Run(held.opened_us, at_us)
    return _finding(
        rule, run, State.CLEARED, (held.opened_us, held.raised_us, at_us),
        f"{rule.seen} no longer held against own baseline, which is begun anew", None, {},
    )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 30 else f"{value:.1f}"


def _figures(rule: OwnRule, known: Sequence[Against]) -> dict[str, float | str]:
    figures: dict[str, float | str] = {}
    for one in known:
        figures[f"{one.name}_{rule.unit_name}"] = round(unscaled(rule.column, one.usual.location), 2)
        figures[f"{one.name}_limit_{rule.unit_name}"] = round(one.limit(rule), 2)
        figures[f"{one.name}_days"] = float(one.usual.nights)
    return figures


def _finding(
    rule: OwnRule,
    run: Run,
    state: State,
    times: tuple[int, int, int],
    says: str,
    threshold: float | None,
    figures: dict[str, float | str],
) -> Finding:
    opened_us, raised_us, changed_us = times
    return Finding(
        rule=rule.name, version=VERSION, metric=rule.metric, kind=Kind.PHYSIOLOGICAL, priority=Priority.LOW,
        state=state, opened_us=opened_us, raised_us=raised_us, changed_us=changed_us, measured_us=run.last_us,
        window_start_us=run.since_us, says=says, samples=run.seen, readings=run.readings, threshold=threshold,
        figures=figures, individualised=True, max_age_s=MAX_AGE_S, unit=rule.unit,
    )  # fmt: skip
