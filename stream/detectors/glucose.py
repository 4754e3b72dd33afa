"""Glucose: low, very low, high for hours, and falling fast towards low.

Levels and what makes an episode are the international consensus': below 70 mg/dL (level 1), below 54 (level 2), above
250 (level 2 of high), each for at least 15 minutes, over after 15 minutes back in range; high is told when it has
lasted two hours (at least 90 of 120 minutes). Battelino et al. 2019, Diabetes Care 42:1593, doi:10.2337/dci19-0028, and
2023, Lancet Diabetes Endocrinol 11:42, doi:10.1016/S2213-8587(22)00319-9. Arrows of glucose sensors call 2 mg/dL a
minute a fast fall. Pressure on a sensor in sleep reads as a sudden low that ends as suddenly (Mensh et al. 2013, J
Diabetes Sci Technol 7:863): that is said with the finding and never holds it back. Vigil does not replace a sensor's
own alarms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.glucose_rate import SECOND_US, Tail, sudden_fall
from stream.detectors.no_longer import sustained_no_longer
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.slots import first_of_each, trusted
from stream.detectors.spell import Spell, alone, follow_spell
from stream.detectors.sustain import SKIP, Timing, Transition, Window, codes_of
from vitals.catalogue import number_of
from vitals.quality import Context

# Three readings five minutes apart stand for 15 minutes and are ten apart, less the jitter of a sensor's clock.
_QUARTER: Final = Timing(570, min_samples=3, clear_delay_s=570, clear_samples=3, max_gap_s=1_200)
_TWO_HOURS: Final = Timing(7_170, min_samples=8, clear_delay_s=570, clear_samples=3, max_gap_s=1_800, min_share=0.75)
_FALL: Final = Timing(240, min_samples=2, clear_delay_s=570, clear_samples=3, max_gap_s=1_200)
_MINUTE_US: Final = 60 * SECOND_US
_GLUCOSE: Final = number_of("glucose")


@dataclass(frozen=True, slots=True)
class GlucosePolicy:
    """Levels in mg/dL, timings in event time. A reading with none in the `alone_s` before it decides by itself on low
    values (a finger stick). `falling_mg_dl_per_min` counts where it would lead below low within `ahead_min`."""

    low_mg_dl: float = 70.0
    pregnant_low_mg_dl: float = 63.0
    very_low_mg_dl: float = 54.0
    high_mg_dl: float = 250.0
    high_ends_mg_dl: float = 180.0
    falling_mg_dl_per_min: float = 2.0
    ahead_min: float = 20.0
    alone_s: float = 3_600.0
    low: Timing = field(default=_QUARTER)
    high: Timing = field(default=_TWO_HOURS)
    falling: Timing = field(default=_FALL)

    def __post_init__(self) -> None:
        if not 0 < self.very_low_mg_dl < min(self.low_mg_dl, self.pregnant_low_mg_dl):
            raise ValueError("very_low_mg_dl lies below low_mg_dl and pregnant_low_mg_dl")
        if not self.low_mg_dl < self.high_ends_mg_dl <= self.high_mg_dl:
            raise ValueError("high_ends_mg_dl lies above low_mg_dl and not above high_mg_dl")
        if self.falling_mg_dl_per_min <= 0 or self.ahead_min <= 0:
            raise ValueError("falling_mg_dl_per_min and ahead_min are above 0")
        if self.alone_s < max(one.max_gap_s for one in (self.low, self.high, self.falling)):
            raise ValueError("alone_s is no shorter than a gap that a run may have")


@dataclass(frozen=True, slots=True)
class GlucoseState:
    """Each rule's spell in the order of `RULES`, and the readings of the last half hour."""

    spells: tuple[Spell, ...]
    tail: Tail


class _Rule(NamedTuple):
    name: str
    priority: Priority
    lowest: bool
    single: bool
    max_age_s: float


RULES: Final = (
    _Rule("glucose_very_low", Priority.MEDIUM, lowest=True, single=True, max_age_s=900.0),
    _Rule("glucose_low", Priority.LOW, lowest=True, single=True, max_age_s=900.0),
    _Rule("glucose_high", Priority.LOW, lowest=False, single=False, max_age_s=3_600.0),
    _Rule("glucose_falling", Priority.LOW, lowest=True, single=False, max_age_s=900.0),
)


class _Levels(NamedTuple):
    low: float
    very_low: float
    high: float
    own: bool


@dataclass(frozen=True, slots=True)
class Glucose:
    """Low, very low, high and falling glucose of one origin. A child's is judged by limits of their own alone."""

    policy: GlucosePolicy = field(default_factory=GlucosePolicy)

    name: ClassVar[str] = "glucose"
    metrics: ClassVar[frozenset[int]] = frozenset({_GLUCOSE})
    max_bytes: ClassVar[int] = 6_000
    per_patient: ClassVar[bool] = False

    def fresh(self) -> GlucoseState:
        """Return the state of somebody never seen."""
        return GlucoseState((Spell(),) * len(RULES), Tail.none())

    def step(
        self, state: GlucoseState, seen: Observations, until_us: int, person: Person
    ) -> tuple[GlucoseState, list[Finding]]:
        """Take in `seen`, at most a reading a minute. Raises nothing."""
        levels, readings = _levels(self.policy, person), trusted(seen, _GLUCOSE)
        if levels is None:
            return self.fresh(), _no_longer(state, until_us)
        if readings is None:
            return state, []
        before_us = state.tail.last_us
        first = first_of_each(readings.end_us, _MINUTE_US, before_us)
        if not first.any():
            return state, []
        readings = readings.pick(first)
        ends, value = readings.end_us, readings.value
        tail = state.tail.add(ends, value, (readings.context & int(Context.ASLEEP)) != 0)
        rate = tail.rates()[-len(ends) :]
        single = alone(ends, before_us, self.policy.alone_s)
        spells, found = [], []
        for rule, spell, codes in zip(RULES, state.spells, _codes(self.policy, levels, value, rate), strict=True):
            window = Window(ends, codes, value, readings.quality)
            now, told = follow_spell(spell, self._timing(rule), window, single & rule.single, lowest=rule.lowest)
            spells.append(now)
            found += [self._finding(rule, levels, tail.up_to(one.at_us), one, worst) for one, worst in told]
        found.sort(key=lambda one: one.changed_us)
        return GlucoseState(tuple(spells), tail.kept()), found

    def _timing(self, rule: _Rule) -> Timing:
        return {"glucose_high": self.policy.high, "glucose_falling": self.policy.falling}.get(
            rule.name, self.policy.low
        )

    def _finding(self, rule: _Rule, levels: _Levels, tail: Tail, told: Transition, worst: float) -> Finding:
        last = told.run.readings[-1][1]
        rate = tail.rate()
        figures: dict[str, float | str] = {
            "last_mg_dl": round(last, 1),
            "lowest_mg_dl" if rule.lowest else "highest_mg_dl": round(worst, 1),
            "duration_min": round((told.at_us - told.opened_us) / _MINUTE_US, 1),
        }
        if rate is not None:
            figures["rate_mg_dl_per_min"] = rate
        says, limit = _says(rule, self.policy, levels, told, last, rate)
        fall = None if told.cleared or not rule.lowest else sudden_fall(tail)
        if fall is not None:
            figures["sudden_fall_mg_dl"] = fall
            says += f"; it fell by {fall:g} mg/dL between two readings in sleep, as pressure on a sensor also does"
        return Finding(
            rule.name, 1, "glucose", Kind.PHYSIOLOGICAL, rule.priority,
            State.CLEARED if told.cleared else State.RAISED, told.opened_us, told.raised_us, told.at_us,
            told.run.readings[-1][0], told.run.since_us, says, told.run.seen, told.run.readings, limit, figures,
            individualised=levels.own, max_age_s=rule.max_age_s,
        )  # fmt: skip


def _levels(policy: GlucosePolicy, person: Person) -> _Levels | None:
    """Return the levels that hold for this person; None where none do."""
    own = person.profile.limit("glucose", asleep=False)
    if person.profile.is_child and own.low is None and own.high is None:
        return None
    usual = policy.pregnant_low_mg_dl if person.profile.pregnant else policy.low_mg_dl
    low = usual if own.low is None else own.low
    high = policy.high_mg_dl if own.high is None else own.high
    return _Levels(low, min(policy.very_low_mg_dl, low), high, own.low is not None or own.high is not None)


def _no_longer(state: GlucoseState, until_us: int) -> list[Finding]:
    """Return the ends of what is open, for somebody of whom no levels are known."""
    ended = [
        sustained_no_longer(rule.name, "glucose", rule.name.replace("_", " "), spell.held, until_us, rule.priority)
        for rule, spell in zip(RULES, state.spells, strict=True)
    ]
    return [one for found in ended for one in found]


def _codes(
    policy: GlucosePolicy, levels: _Levels, value: NDArray[np.float64], rate: NDArray[np.float64]
) -> tuple[NDArray[np.int8], ...]:
    """Return what each reading means to each of `RULES`. A rate that is not known (NaN) says nothing."""
    ends = min(policy.high_ends_mg_dl, levels.high)
    fast = rate <= -policy.falling_mg_dl_per_min
    leads = fast & (value >= levels.low) & (value + policy.ahead_min * rate < levels.low)
    falling = codes_of(leads, ~fast)
    falling[np.isnan(rate)] = SKIP
    return (
        codes_of(value < levels.very_low, value >= levels.low),
        codes_of(value < levels.low, value >= levels.low),
        codes_of(value > levels.high, value <= ends),
        falling,
    )


def _says(
    rule: _Rule, policy: GlucosePolicy, levels: _Levels, told: Transition, last: float, rate: float | None
) -> tuple[str, float]:
    """Return the clause and the level it was held against."""
    if rule.name == "glucose_falling":
        if told.cleared:
            return f"glucose no longer falling fast, last {last:g} mg/dL", levels.low
        fast = policy.falling_mg_dl_per_min if rate is None else -rate
        return f"glucose falling by {fast:g} mg/dL a minute towards {levels.low:g}, last {last:g} mg/dL", levels.low
    limit = {"glucose_very_low": levels.very_low, "glucose_low": levels.low}.get(rule.name, levels.high)
    if told.cleared:
        back = levels.low if rule.lowest else min(policy.high_ends_mg_dl, levels.high)
        return (
            f"glucose back {'at or above' if rule.lowest else 'at or below'} {back:g} mg/dL, last {last:g} mg/dL",
            limit,
        )
    side = "below" if rule.lowest else "above"
    if told.run.seen == 1:
        return f"glucose {side} {limit:g} mg/dL in a single reading of {last:g} mg/dL", limit
    minutes = (told.at_us - told.opened_us) / _MINUTE_US
    return f"glucose {side} {limit:g} mg/dL for {minutes:.0f} min, last {last:g} mg/dL", limit
