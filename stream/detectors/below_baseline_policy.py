"""The rules that hold somebody against their own baseline, and their frozen policy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from stream.detectors.baseline import BaselinePolicy
from stream.detectors.below_baseline_slots import HEART_RATE, RESPIRATORY_RATE, RMSSD, RMSSD_TOLD, SDNN_TOLD
from stream.detectors.hrv import HrvPolicy
from stream.detectors.sustain import Timing

P = TypeVar("P")

VERSION: Final = 1
_HOUR_S: Final = 3_600.0
MAX_AGE_S: Final = 36 * _HOUR_S
"""A night is told late the next morning; by then its end lies hours back, and it is no old news."""


@dataclass(frozen=True, slots=True)
class OwnBaselinePolicy:
    """How far from one's own is a finding, and for how long. Raises ValueError naming the field.

    A night counts if it lies `*_sd` robust SD and at least the change in natural units (or the share, for HRV) beyond
    the first `reference_nights` or beyond the last 28 nights; `*_nights` of them in a row raise, `clear_nights` within
    half of that clear. By the hour (`hour_*`), five minutes at rest count if they lie beyond both baselines of that
    hour of the day. Nothing is judged before `min_nights` (or the `hour_min_days`).
    """

    reference_nights: int = 14
    min_nights: int = 7
    max_gap_nights: int = 3
    clear_nights: int = 2
    hrv_sd: float = 1.75
    hrv_drop_share: float = 0.2
    hrv_nights: int = 3
    heart_rate_sd: float = 2.0
    heart_rate_rise_bpm: float = 5.0
    heart_rate_nights: int = 2
    respiratory_rate_sd: float = 2.0
    respiratory_rate_rise_per_min: float = 2.0
    respiratory_rate_nights: int = 2
    hour_sd: float = 3.5
    hour_heart_rate_rise_bpm: float = 15.0
    hour_respiratory_rate_rise_per_min: float = 4.0
    hour_delay_s: float = 7_200.0
    after_motion_s: float = 600.0
    medication_anew_days: float = 14.0
    hrv_min_measured_share: float = 0.8
    hrv_max_corrected_share: float = 0.05
    hrv_max_irregularity: float = 0.10
    hour_reference_days: int = 14
    hour_min_days: int = 7
    hour_half_life_days: float = 21.0
    hrv: HrvPolicy = field(init=False, repr=False, compare=False)
    hourly: BaselinePolicy = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        shares = (self.hrv_min_measured_share, self.hrv_max_corrected_share, self.hrv_max_irregularity)
        object.__setattr__(self, "hrv", _part("hrv", lambda: HrvPolicy(300, *shares)))
        days, half_life = (self.hour_reference_days, self.hour_min_days), self.hour_half_life_days
        hourly = _part("hour", lambda: BaselinePolicy(*days, half_life_days=half_life))
        object.__setattr__(self, "hourly", hourly)
        if not 3 <= self.min_nights <= self.reference_nights <= 28:
            raise ValueError("min_nights is at least 3 and at most reference_nights, which is at most 28")
        for name in ("hrv_nights", "heart_rate_nights", "respiratory_rate_nights", "clear_nights", "max_gap_nights"):
            if not 1 <= getattr(self, name) <= 14:
                raise ValueError(f"{name} lies within 1 to 14")
        if not 0 < self.hrv_drop_share < 1:
            raise ValueError("hrv_drop_share lies within 0 and 1")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is above 0")
        if not 0 <= self.after_motion_s <= _HOUR_S:
            raise ValueError("after_motion_s lies within 0 to 3600")


def _part(name: str, make: Callable[[], P]) -> P:
    """Return a part of the policy; what it finds wrong is told by the field's name here."""
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"{name}_{error}") from error


_POSITIVE: Final = (
    "hrv_sd", "heart_rate_sd", "heart_rate_rise_bpm", "respiratory_rate_sd", "respiratory_rate_rise_per_min", "hour_sd",
    "hour_heart_rate_rise_bpm", "hour_respiratory_rate_rise_per_min", "hour_delay_s", "medication_anew_days",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OwnRule:
    """One rule: `column` of a slot's row, `sign` +1 above or -1 below; `least` is as compared (HRV: in logarithms).

    `seen` names what is seen, `figure` the value's name in the evidence, with `unit_name` after it.
    """

    name: str
    metric: str
    column: int
    sign: int
    sd: float
    least: float
    timing: Timing
    seen: str
    figure: str
    unit: str
    unit_name: str


def night_rules(policy: OwnBaselinePolicy) -> tuple[OwnRule, ...]:
    """Return the rules on nights. HRV of our own, and HRV as a device tells it, are three measures that never pool."""
    hrv = (policy.hrv_sd, -math.log(1.0 - policy.hrv_drop_share), _nights(policy, policy.hrv_nights))
    heart = (policy.heart_rate_sd, policy.heart_rate_rise_bpm, _nights(policy, policy.heart_rate_nights))
    breath = (
        policy.respiratory_rate_sd,
        policy.respiratory_rate_rise_per_min,
        _nights(policy, policy.respiratory_rate_nights),
    )
    name = "hrv_below_baseline"
    return (
        OwnRule(name, "rr_interval", RMSSD, -1, *hrv, "HRV (5-min RMSSD at rest at night)", "rmssd", "ms", "ms"),
        OwnRule(name, "hrv_rmssd", RMSSD_TOLD, -1, *hrv, "HRV (RMSSD at night, as the device tells it)",
                "rmssd_told", "ms", "ms"),
        OwnRule(name, "hrv_sdnn", SDNN_TOLD, -1, *hrv, "HRV (SDNN at night, as the device tells it)",
                "sdnn_told", "ms", "ms"),
        OwnRule("night_heart_rate_above_baseline", "heart_rate", HEART_RATE, 1, *heart,
                "heart rate at rest at night", "night_heart_rate", "/min", "bpm"),
        OwnRule("night_respiratory_rate_above_baseline", "respiratory_rate", RESPIRATORY_RATE, 1, *breath,
                "respiratory rate at rest at night", "night_respiratory_rate", "/min", "per_min"),
    )  # fmt: skip


def hour_rules(policy: OwnBaselinePolicy) -> tuple[OwnRule, ...]:
    """Return the rules on five minutes at rest, by the hour of the day."""
    timing = Timing(policy.hour_delay_s, 12, _HOUR_S, 6, 2 * _HOUR_S, 0.8)
    heart, breath = policy.hour_heart_rate_rise_bpm, policy.hour_respiratory_rate_rise_per_min
    return (
        OwnRule("heart_rate_above_hour_baseline", "heart_rate", HEART_RATE, 1, policy.hour_sd, heart, timing,
                "heart rate at rest", "heart_rate", "/min", "bpm"),
        OwnRule("respiratory_rate_above_hour_baseline", "respiratory_rate", RESPIRATORY_RATE, 1, policy.hour_sd, breath,
                timing, "respiratory rate at rest", "respiratory_rate", "/min", "per_min"),
    )  # fmt: skip


def _nights(policy: OwnBaselinePolicy, nights: int) -> Timing:
    # A night ends some hours earlier or later than the one before.
    day_s = 24 * _HOUR_S
    return Timing(
        delay_s=(nights - 1) * 0.6 * day_s,
        min_samples=nights,
        clear_delay_s=(policy.clear_nights - 1) * 0.6 * day_s,
        clear_samples=policy.clear_nights,
        max_gap_s=(policy.max_gap_nights + 0.5) * day_s,
        min_share=0.75,
    )
