"""Limits that fit one person: what their care profile makes of the rules of a ward or of the adult defaults.

A limit that the profile sets replaces the rule's, and hysteresis keeps its distance. What else the profile says moves
limits so, where it sets none itself:

- trained: heart rate low below 35 awake, 30 asleep (sinus bradycardia down to 30 is normal in athletes: Sharma et al.
  2017, international recommendations for ECG interpretation in athletes);
- rate-limiting drug: the same low limits, held twice as long: slow minutes are the drug's doing, a slow heart
  that stays slow is what its prescriber wants to know;
- pacemaker: the waking low limit holds asleep as well, since a pacemaker lets no heart go slower in sleep;
- NEWS2's SpO2 scale 2 (target 88 to 92 %, prescribed in hypercapnic respiratory failure): oxygen low below 84 %, where
  that scale gives 3 points (Royal College of Physicians 2017);
- pregnant: systolic pressure high above 160 mmHg, a red trigger of the modified early obstetric warning system (Singh
  et al. 2012). All else stays the adults', made for nobody pregnant: set limits in the profile;
- child: no limit but those that the profile sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from alerts.event import Priority
from stream.detectors.limits import LimitRule, Rule, Side
from stream.detectors.sustain import Timing
from vitals.care_profile import Band, CareProfile
from vitals.catalogue import BY_CODE, Kind, RetentionClass

_SLOW: Final = frozenset({("heart_rate", Side.BELOW), ("pulse_rate", Side.BELOW)})
_OXYGEN: Final = ("spo2", Side.BELOW)
_PRESSURE: Final = ("bp_systolic", Side.ABOVE)
_DRUG_DELAYS: Final = 2.0
_OWN: Final = Timing(delay_s=60, min_samples=2, clear_delay_s=60, clear_samples=2, max_gap_s=26 * 3_600)
"""Of limits on metrics that no rule watches: two readings, the next within the day."""
_WATCHED_ELSEWHERE: Final = frozenset({"glucose"})
"""Metrics with a detector of their own, which reads the profile's limits itself."""


@dataclass(frozen=True, slots=True)
class _Own:
    """A person's limits of one metric on one side, awake and asleep; the distance to the clearing limit at most."""

    waking: float | None
    sleeping: float | None
    most: float

    @classmethod
    def of(cls, profile: CareProfile, metric: str, side: Side) -> _Own | None:
        bands = (profile.limit(metric, asleep=False), profile.limit(metric, asleep=True))
        waking, sleeping = ((band.high if side is Side.ABOVE else band.low) for band in bands)
        most = min(_width(band) / 2 for band in bands)
        return None if waking is None and sleeping is None else cls(waking, sleeping, most)


def _width(band: Band) -> float:
    return float("inf") if band.low is None or band.high is None else band.high - band.low


def fitted(rules: Iterable[Rule], profile: CareProfile) -> tuple[Rule, ...]:
    """Return the rules of one person."""
    made: list[Rule] = []
    kept: list[Rule] = []
    for rule in rules:
        if not isinstance(rule, LimitRule):
            kept.append(rule)
            continue
        own = _Own.of(profile, rule.metric, rule.side)
        if own is not None:
            made.append(_with(rule, own, profile))
        elif not profile.is_child:
            kept.append(_by_body(rule, profile))
    return (*kept, *made, *_added(kept + made, profile))


def _by_body(rule: LimitRule, profile: CareProfile) -> LimitRule:
    """Return the rule as the rest of the profile moves it."""
    moved, what = rule, (rule.metric, rule.side)
    if what in _SLOW:
        if profile.trained:
            moved = _lowered(moved, 35.0)
        if profile.rate_limiting_drug:
            moved = replace(moved, timing=replace(rule.timing, delay_s=_DRUG_DELAYS * rule.timing.delay_s))
        if profile.pacemaker:
            moved = replace(moved, asleep_threshold=None, asleep_clear=None)
    elif what == _OXYGEN and profile.spo2_scale == 2:
        moved = replace(rule, threshold=84.0, clear=86.0, asleep_threshold=None, asleep_clear=None)
    elif what == _PRESSURE and profile.pregnant:
        moved = replace(rule, threshold=160.0, clear=150.0, asleep_threshold=None, asleep_clear=None)
    return rule if moved == rule else replace(moved, individualised=profile.individualised)


def _lowered(rule: LimitRule, waking: float) -> LimitRule:
    """Return the rule with a waking limit of at most `waking`, asleep 5 less; a lower one stays."""
    sleeping, distance = rule.sleeping[0], rule.clear - rule.threshold
    awake, asleep = min(rule.threshold, waking), min(sleeping, waking - 5.0)
    return replace(
        rule, threshold=awake, clear=awake + distance, asleep_threshold=asleep, asleep_clear=asleep + distance
    )


def _with(rule: LimitRule, own: _Own, profile: CareProfile) -> LimitRule:
    """Return the rule with the person's own limits; of a child an adult's limit is not kept for the other time."""
    away = -1.0 if rule.side is Side.ABOVE else 1.0
    gap, sleeping_gap = (away * min(abs(clear - limit), own.most) for limit, clear in (rule.waking, rule.sleeping))
    waking = own.waking
    if waking is None:
        waking = _never(rule.metric, rule.side) if profile.is_child else rule.threshold
    asleep = None if own.sleeping == waking else own.sleeping
    return replace(
        rule,
        threshold=waking,
        clear=waking + gap,
        asleep_threshold=asleep,
        asleep_clear=None if asleep is None else asleep + sleeping_gap,
        individualised=profile.individualised,
    )


def _never(metric: str, side: Side) -> float:
    """Return a limit beyond which the channel has no values."""
    return BY_CODE[metric].high if side is Side.ABOVE else BY_CODE[metric].low


def _added(known: list[Rule], profile: CareProfile) -> tuple[Rule, ...]:
    """Return rules for limits of the profile on vitals that none of the policy's rules watches."""
    watched = {(rule.metric, rule.side) for rule in known if isinstance(rule, LimitRule)}
    return tuple(
        _new(metric, side, own, profile)
        for metric in sorted({*profile.limits, *profile.sleeping_limits} - _WATCHED_ELSEWHERE)
        if BY_CODE[metric].kind is Kind.INSTANTANEOUS and BY_CODE[metric].retention is RetentionClass.VITAL
        for side in Side
        if (metric, side) not in watched and (own := _Own.of(profile, metric, side)) is not None
    )


def _new(metric: str, side: Side, own: _Own, profile: CareProfile) -> LimitRule:
    beyond = _never(metric, side)
    waking = beyond if own.waking is None else own.waking
    return LimitRule(
        name=f"{metric}_{'high' if side is Side.ABOVE else 'low'}",
        version=1,
        metric=metric,
        side=side,
        threshold=waking,
        clear=waking,
        priority=Priority.MEDIUM,
        timing=_OWN,
        individualised=profile.individualised,
        asleep_threshold=None if own.sleeping == waking else own.sleeping,
        asleep_clear=None if own.sleeping == waking else own.sleeping,
    )
