"""The watch's policy: which rules, and how patient it is with late samples. Frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Priority
from stream.detectors.individual import fitted
from stream.detectors.limits import LimitRule, Rule, Side
from stream.detectors.sustain import Timing
from vitals.care_profile import CareProfile
from vitals.catalogue import BY_CODE, BY_NUMBER
from vitals.clock import US_PER_S
from vitals.quality import Context


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """Rules and bounds; seconds of event time.

    A sample more than `lateness_s` behind its series is too late to be watched (the recorder still stores it).
    `settle_s` (at most `lateness_s`) waits that long before judging, so that samples that overtook each other alarm
    as if they had not; 0, the default, judges at once.
    `ceiling` caps every priority: without a device registry each device counts as a wellness device, and those never
    raise high (CLINICAL). `max_recent` samples of a series are kept at most while they could still be reordered.
    Raises ValueError for two rules of one name on a metric, an unknown metric, or a settling beyond the lateness.
    """

    label: str
    rules: tuple[Rule, ...]
    lateness_s: float = 10.0
    settle_s: float = 0.0
    ceiling: Priority = Priority.MEDIUM
    max_recent: int = 64
    by_metric: dict[int, tuple[Rule, ...]] = field(init=False, repr=False, compare=False)
    watched: NDArray[np.bool_] = field(init=False, repr=False, compare=False)
    suspicious: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.settle_s <= self.lateness_s:
            raise ValueError("settle_s lies within 0 to lateness_s")
        unknown = [rule.name for rule in self.rules if rule.metric not in BY_CODE]
        if unknown:
            raise ValueError(f"rule {unknown[0]}: its metric is not in the catalogue")
        if len({(rule.name, rule.metric) for rule in self.rules}) < len(self.rules):
            raise ValueError("two rules of one name watch the same metric")
        by_metric = {
            BY_CODE[rule.metric].number: tuple(r for r in self.rules if r.metric == rule.metric) for rule in self.rules
        }
        watched = np.zeros(max(BY_NUMBER) + 1, np.bool_)
        watched[list(by_metric)] = True
        object.__setattr__(self, "by_metric", by_metric)
        object.__setattr__(self, "watched", watched)
        object.__setattr__(self, "suspicious", _suspicious(self.rules))

    @property
    def lateness_us(self) -> int:
        """`lateness_s` in microseconds."""
        return round(self.lateness_s * US_PER_S)

    @property
    def settle_us(self) -> int:
        """`settle_s` in microseconds."""
        return round(self.settle_s * US_PER_S)


def _suspicious(rules: tuple[Rule, ...]) -> NDArray[np.float64]:
    """Return, shape (2, metrics), the values below and above which some rule is breached."""
    bounds = np.tile([[-np.inf], [np.inf]], (1, max(BY_NUMBER) + 1))
    for rule in rules:
        if isinstance(rule, LimitRule):
            at = BY_CODE[rule.metric].number
            if rule.side is Side.ABOVE:
                bounds[1, at] = min(bounds[1, at], rule.suspicious_beyond)
            else:
                bounds[0, at] = max(bounds[0, at], rule.suspicious_beyond)
    bounds.flags.writeable = False
    return bounds


_EXERCISE: Final = Context.MOTION_ACTIVE | Context.WORKOUT
# Once a second or once in five minutes, as a watch tells a phone: three samples decide, a minute apart at least.
_MINUTE: Final = Timing(delay_s=60, min_samples=3, clear_delay_s=60, clear_samples=3, max_gap_s=900)
_RESTED: Final = replace(_MINUTE, recovery_s=600)
_SLOW: Final = replace(_MINUTE, delay_s=300)  # a trained heart at rest dips below 40 for some minutes
# Watches take saturation now and then: three low readings in a row, the next within the hour.
_OXYGEN: Final = replace(_MINUTE, max_gap_s=3_600)
_BREATHS: Final = Timing(delay_s=120, min_samples=2, clear_delay_s=120, clear_samples=2, max_gap_s=1_800)
_BREATHS_RESTED: Final = replace(_BREATHS, recovery_s=600)
_FEVER: Final = Timing(delay_s=300, min_samples=2, clear_delay_s=900, clear_samples=2, max_gap_s=4 * 3_600)
# One cuff reading is none: it is repeated after a minute, or by the next of an hourly series.
_CUFF: Final = Timing(delay_s=60, min_samples=2, clear_delay_s=60, clear_samples=2, max_gap_s=2 * 3_600)
_CUFF_RESTED: Final = replace(_CUFF, recovery_s=600)

_ABOVE, _BELOW, _MEDIUM, _LOW = Side.ABOVE, Side.BELOW, Priority.MEDIUM, Priority.LOW


# Adult limits, nobody's own. They lie by the outer bands of NEWS2 (Royal College of Physicians, 2017: pulse <= 40 or
# >= 131, respiration <= 8 or >= 25, systolic pressure <= 90, temperature <= 35.0), and are softer for oxygen (NEWS2
# gives 3 points at <= 91 %), whose wrist and finger readings scatter, and for temperature (38.5, between its 1 and 2
# points). Asleep a healthy heart may go below 40, a trained one nearly to 30, which the international recommendations
# for ECG interpretation in athletes (Sharma et al. 2017) still call normal; pressure dips by a tenth or two. A systolic
# pressure above 180 is what hypertension guidelines act on at once (ACC/AHA 2017).
ADULT: Final = WatchPolicy(
    label="adult defaults, not individualised",
    rules=(
        LimitRule("heart_rate_high", 2, "heart_rate", _ABOVE, 130, 120, _MEDIUM, _RESTED, _EXERCISE),
        LimitRule(
            "heart_rate_low", 2, "heart_rate", _BELOW, 40, 45, _MEDIUM, _SLOW, asleep_threshold=30, asleep_clear=35
        ),
        LimitRule("pulse_rate_high", 2, "pulse_rate", _ABOVE, 130, 120, _MEDIUM, _RESTED, _EXERCISE),
        LimitRule(
            "pulse_rate_low", 2, "pulse_rate", _BELOW, 40, 45, _MEDIUM, _SLOW, asleep_threshold=30, asleep_clear=35
        ),
        LimitRule("spo2_low", 2, "spo2", _BELOW, 90, 92, _MEDIUM, _OXYGEN),
        LimitRule("respiratory_rate_high", 2, "respiratory_rate", _ABOVE, 24, 22, _MEDIUM, _BREATHS_RESTED, _EXERCISE),
        LimitRule("respiratory_rate_low", 1, "respiratory_rate", _BELOW, 8, 10, _MEDIUM, _BREATHS),
        LimitRule("body_temperature_high", 1, "body_temperature", _ABOVE, 38.5, 38.0, _MEDIUM, _FEVER),
        LimitRule("body_temperature_low", 1, "body_temperature", _BELOW, 35.0, 35.5, _LOW, _FEVER),
        LimitRule("bp_systolic_high", 1, "bp_systolic", _ABOVE, 180, 170, _MEDIUM, _CUFF_RESTED, _EXERCISE),
        LimitRule(
            "bp_systolic_low", 1, "bp_systolic", _BELOW, 90, 100, _MEDIUM, _CUFF, asleep_threshold=80, asleep_clear=90
        ),
    ),
)


_NOBODYS: Final = ", not individualised"


def for_profile(policy: WatchPolicy, profile: CareProfile) -> WatchPolicy:
    """Return `policy` as the care profile changes it (`stream.detectors.individual`); itself where it changes nothing.

    Rules that it changes are `individualised` once a clinician has signed the profile off (version 1 and later).
    """
    rules = fitted(policy.rules, profile)
    if rules == policy.rules:
        return policy
    label = policy.label.replace(_NOBODYS, "") if profile.individualised else policy.label
    suffix = f", care profile version {profile.version}" if profile.individualised else ""
    return replace(policy, label=label + suffix, rules=rules)


def hastened(policy: WatchPolicy, delay_s: float, clear_delay_s: float) -> WatchPolicy:
    """Return `policy` with no delay longer than these seconds: to show and to try it, not to care by it."""
    rules = tuple(replace(rule, timing=_capped(rule.timing, delay_s, clear_delay_s)) for rule in policy.rules)
    return replace(policy, label=f"{policy.label}, hastened", rules=rules)


def _capped(timing: Timing, delay_s: float, clear_delay_s: float) -> Timing:
    return replace(
        timing,
        delay_s=min(timing.delay_s, delay_s),
        clear_delay_s=min(timing.clear_delay_s, clear_delay_s),
        recovery_s=min(timing.recovery_s, clear_delay_s),
    )
