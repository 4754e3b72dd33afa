"""The metric catalogue: what each channel means, in what unit, and what it cannot mean.

One row a metric. `number` is what the tables store: never reused, never changed. Units are UCUM (acceleration is
`[g]`, standard gravity: a bare `g` would be the gram), codes LOINC where LOINC has one. `low` and `high` bound what
the channel can mean at all: abnormal is not invalid, so a heart rate of 250 is stored and one of 400 is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray


class Kind(StrEnum):
    """How a metric's value relates to time."""

    INSTANTANEOUS = "instantaneous"  # holds at `start`
    INTERVAL = "interval"  # accumulated over [start, start + duration)
    CATEGORY = "category"  # one of `categories` over [start, start + duration)
    WAVEFORM = "waveform"  # one point of a high-rate signal


class RetentionClass(StrEnum):
    """Which retention policies apply to a metric."""

    VITAL = "vital"
    ACTIVITY = "activity"
    SLEEP = "sleep"
    REPORTED = "reported"
    TECHNICAL = "technical"
    WAVEFORM = "waveform"


@dataclass(frozen=True, slots=True)
class Metric:
    """One channel.

    `max_rate_per_s` is the largest believable change in the metric's unit per second (faster is flagged, never
    rejected); `cadence_s` the expected distance between samples where there is one; `max_duration_s` the longest
    interval a single sample may cover (24 days at most: the tables keep milliseconds in 32 bits).
    """

    number: int
    code: str
    loinc: str | None
    unit: str
    kind: Kind
    retention: RetentionClass
    low: float
    high: float
    max_rate_per_s: float | None = None
    cadence_s: float | None = None
    max_duration_s: float = 0.0
    categories: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))


_I, _V, _C, _W = Kind.INSTANTANEOUS, Kind.INTERVAL, Kind.CATEGORY, Kind.WAVEFORM
_VITAL, _ACT, _SLEEP = RetentionClass.VITAL, RetentionClass.ACTIVITY, RetentionClass.SLEEP
_REP, _TECH, _WAVE = RetentionClass.REPORTED, RetentionClass.TECHNICAL, RetentionClass.WAVEFORM
_HOUR_S, _DAY_S = 3_600.0, 86_400.0

# HKCategoryValueSleepAnalysis keeps these numbers; "in bed" is a metric of its own (CLINICAL: two things, two metrics).
SLEEP_STAGES: Final = MappingProxyType({1: "asleep", 2: "awake", 3: "core", 4: "deep", 5: "rem"})
PRESENCE: Final = MappingProxyType({0: "no", 1: "yes"})
INTENSITIES: Final = MappingProxyType({0: "sedentary", 1: "light", 2: "moderate", 3: "vigorous"})
ACTIVITIES: Final = MappingProxyType({0: "unknown", 1: "still", 2: "walking", 3: "running", 4: "cycling", 5: "vehicle"})
# HKWorkoutActivityType raw values; every other type is kept as "other" (3000).
WORKOUTS: Final = MappingProxyType(
    {
        13: "cycling", 16: "elliptical", 20: "functional_strength", 24: "hiking", 35: "rowing", 37: "running",
        46: "swimming", 50: "traditional_strength", 52: "walking", 57: "yoga", 63: "hiit", 3000: "other",
    }
)  # fmt: skip
SEVERITIES: Final = MappingProxyType({0: "unspecified", 1: "not_present", 2: "mild", 3: "moderate", 4: "severe"})
# What a watch tells of itself, and not what Vigil found: below or above its wearer's threshold, an irregular rhythm.
HEART_RATE_EVENTS: Final = MappingProxyType({1: "low", 2: "high", 3: "irregular_rhythm"})
# How somebody responds, on the scale of NEWS2: alert, new confusion, to voice, to pain, not at all.
RESPONSIVENESS: Final = MappingProxyType({0: "alert", 1: "confusion", 2: "voice", 3: "pain", 4: "unresponsive"})
MEDICATION: Final = MappingProxyType({0: "unspecified", 1: "taken", 2: "skipped", 3: "snoozed"})

METRICS: Final[tuple[Metric, ...]] = (
    Metric(1, "heart_rate", "8867-4", "/min", _I, _VITAL, 20, 300, 40, 5, 10 * _DAY_S),
    Metric(2, "rr_interval", "8637-1", "ms", _I, _VITAL, 200, 4_000, None, 1),
    Metric(3, "hrv_sdnn", "80404-7", "ms", _I, _VITAL, 0, 500, None, None, _DAY_S),
    Metric(4, "hrv_rmssd", None, "ms", _I, _VITAL, 0, 500, None, None, _DAY_S),
    Metric(5, "spo2", "59408-5", "%", _I, _VITAL, 40, 100, 5, 5, _DAY_S),
    Metric(6, "pulse_rate", "8889-8", "/min", _I, _VITAL, 20, 300, 40, 5, _DAY_S),
    Metric(7, "respiratory_rate", "9279-1", "/min", _I, _VITAL, 2, 90, 10, 60, _DAY_S),
    Metric(8, "body_temperature", "8310-5", "Cel", _I, _VITAL, 25, 45, 0.1, None, _HOUR_S),
    Metric(9, "wrist_temperature", None, "Cel", _I, _VITAL, 20, 45, 0.2, None, _DAY_S),
    Metric(10, "bp_systolic", "8480-6", "mm[Hg]", _I, _VITAL, 40, 300, None, None, _HOUR_S),
    Metric(11, "bp_diastolic", "8462-4", "mm[Hg]", _I, _VITAL, 20, 200, None, None, _HOUR_S),
    Metric(12, "bp_mean", "8478-0", "mm[Hg]", _I, _VITAL, 25, 250, None, None, _HOUR_S),
    Metric(13, "glucose", "2339-0", "mg/dL", _I, _VITAL, 10, 1_000, 0.5, 300, _HOUR_S),
    Metric(14, "weight", "29463-7", "kg", _I, _VITAL, 0.2, 650),
    Metric(15, "body_fat", "41982-0", "%", _I, _VITAL, 1, 80),
    Metric(16, "steps", "55423-8", "{steps}", _V, _ACT, 0, 200_000, None, None, 2 * _DAY_S),
    Metric(17, "cadence", None, "/min", _I, _ACT, 0, 400, None, None, _DAY_S),
    Metric(18, "distance", "55430-3", "m", _V, _ACT, 0, 1_000_000, None, None, 2 * _DAY_S),
    Metric(19, "active_energy", "41981-2", "kcal", _V, _ACT, 0, 30_000, None, None, 2 * _DAY_S),
    Metric(20, "in_bed", None, "1", _C, _SLEEP, 0, 1, None, None, 2 * _DAY_S, PRESENCE),
    Metric(21, "sleep_stage", None, "1", _C, _SLEEP, 1, 5, None, None, 2 * _DAY_S, SLEEP_STAGES),
    Metric(22, "activity_intensity", None, "1", _C, _ACT, 0, 3, None, None, 2 * _DAY_S, INTENSITIES),
    Metric(23, "activity_class", None, "1", _C, _ACT, 0, 5, None, None, 2 * _DAY_S, ACTIVITIES),
    Metric(24, "workout", "73985-4", "1", _C, _ACT, 0, 3_000, None, None, 4 * _DAY_S, WORKOUTS),
    Metric(25, "resting_heart_rate", "40443-4", "/min", _I, _VITAL, 20, 200, None, _DAY_S, 2 * _DAY_S),
    Metric(26, "af_burden", None, "%", _I, _VITAL, 0, 100, None, None, 24 * _DAY_S),
    Metric(27, "state_of_mind_valence", None, "1", _I, _REP, -1, 1, None, None, 2 * _DAY_S),
    Metric(28, "symptom", "75325-1", "1", _C, _REP, 0, 4, None, None, 20 * _DAY_S, SEVERITIES),
    Metric(29, "medication_event", None, "1", _C, _REP, 0, 3, None, None, 0, MEDICATION),
    Metric(30, "time_in_daylight", None, "min", _V, _ACT, 0, 2_880, None, None, 2 * _DAY_S),
    Metric(31, "environmental_sound", None, "dB", _I, _ACT, 0, 194, None, None, _DAY_S),
    Metric(32, "ambient_temperature", None, "Cel", _I, _ACT, -60, 80, None, None, _DAY_S),
    Metric(33, "wear_state", None, "1", _C, _TECH, 0, 1, None, None, 2 * _DAY_S, PRESENCE),
    Metric(34, "battery", None, "%", _I, _TECH, 0, 100),
    Metric(35, "ecg", None, "mV", _W, _WAVE, -50, 50, None, 1 / 512),
    Metric(36, "ppg", None, "1", _W, _WAVE, -1e12, 1e12, None, 1 / 64),
    Metric(37, "acceleration", None, "[g]", _W, _WAVE, -32, 32, None, 1 / 50),
    Metric(38, "body_mass_index", "39156-5", "kg/m2", _I, _VITAL, 5, 150),
    Metric(39, "exercise_time", "55411-3", "min", _V, _ACT, 0, 2_880, None, None, 2 * _DAY_S),
    Metric(40, "stand_time", None, "min", _V, _ACT, 0, 2_880, None, None, 2 * _DAY_S),
    Metric(41, "enmo", None, "m[g]", _I, _ACT, 0, 32_000, None, 5, 60),
    Metric(42, "perfusion_index", "61006-3", "%", _I, _VITAL, 0, 100, None, 5, _HOUR_S),
    Metric(43, "lean_body_mass", "91557-9", "kg", _I, _VITAL, 0.1, 500),
    Metric(44, "body_height", "8302-2", "cm", _I, _VITAL, 20, 280),
    Metric(45, "speed", None, "m/s", _I, _ACT, 0, 60, None, None, _DAY_S),
    Metric(46, "clock_offset", None, "s", _I, _TECH, -1e10, 1e10),
    Metric(47, "vo2_max", None, "mL/min/kg", _I, _VITAL, 5, 110, None, None, 2 * _DAY_S),
    Metric(48, "resting_energy", None, "kcal", _V, _ACT, 0, 30_000, None, None, 2 * _DAY_S),
    Metric(49, "flights_climbed", None, "{flights}", _V, _ACT, 0, 2_000, None, None, 2 * _DAY_S),
    Metric(50, "falls", None, "{falls}", _V, _REP, 0, 1_000, None, None, 2 * _DAY_S),
    Metric(51, "mindful_session", None, "1", _C, _REP, 0, 1, None, None, _DAY_S, PRESENCE),
    Metric(52, "walking_heart_rate", None, "/min", _I, _VITAL, 20, 250, None, None, 2 * _DAY_S),
    Metric(53, "heart_rate_recovery", None, "/min", _I, _VITAL, 0, 150, None, None, _DAY_S),
    Metric(54, "heart_rate_event", None, "1", _C, _VITAL, 0, 3, None, None, _DAY_S, HEART_RATE_EVENTS),
    Metric(55, "carbohydrates", None, "g", _I, _REP, 0, 2_000, None, None, _DAY_S),
    Metric(56, "insulin", None, "[iU]", _I, _REP, 0, 500, None, None, _DAY_S),
    Metric(57, "consciousness", "67775-7", "1", _C, _VITAL, 0, 4, None, None, _DAY_S, RESPONSIVENESS),
    Metric(58, "supplemental_oxygen", None, "1", _C, _VITAL, 0, 1, None, None, _DAY_S, PRESENCE),
    Metric(59, "news2", None, "{score}", _I, _VITAL, 0, 20),
)  # fmt: skip

BY_CODE: Final[Mapping[str, Metric]] = MappingProxyType({m.code: m for m in METRICS})
BY_NUMBER: Final[Mapping[int, Metric]] = MappingProxyType({m.number: m for m in METRICS})
UNKNOWN_METRIC: Final = 0
"""The number that stands for a code the catalogue does not hold; no metric has it."""


def _by_number(values: Mapping[int, float], default: float) -> NDArray[np.float64]:
    table = np.full(max(BY_NUMBER) + 1, default, np.float64)
    for number, value in values.items():
        table[number] = value
    table.flags.writeable = False
    return table


# Look-up arrays indexed by metric number, for vectorised validation; slot 0 is the unknown metric.
LOW: Final = _by_number({m.number: m.low for m in METRICS}, np.nan)
HIGH: Final = _by_number({m.number: m.high for m in METRICS}, np.nan)
MAX_DURATION_MS: Final = _by_number({m.number: m.max_duration_s * 1_000 for m in METRICS}, 0.0)
MAX_RATE_PER_S: Final = _by_number({m.number: m.max_rate_per_s or np.inf for m in METRICS}, np.inf)
NEEDS_DURATION: Final = _by_number({m.number: float(m.kind is Kind.INTERVAL) for m in METRICS}, 0.0)


def _members() -> NDArray[np.bool_]:
    table = np.zeros((max(BY_NUMBER) + 1, 1 + max(max(m.categories, default=0) for m in METRICS)), np.bool_)
    for metric in METRICS:
        table[metric.number, list(metric.categories)] = True
    table.flags.writeable = False
    return table


IS_CATEGORY: Final = _by_number({m.number: float(m.kind is Kind.CATEGORY) for m in METRICS}, 0.0)
MEMBERS: Final = _members()
"""Indexed by metric number and value: the categories that a categorical metric has."""


def number_of(code: str) -> int:
    """Return the metric's number, or `UNKNOWN_METRIC` for a code the catalogue does not hold."""
    metric = BY_CODE.get(code)
    return UNKNOWN_METRIC if metric is None else metric.number
