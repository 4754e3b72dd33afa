"""Which HealthKit categories Vigil reads: sleep, symptoms, heart rate events, mindful sessions, workouts.

The numbers are HealthKit's own raw values wherever it has any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from vitals import catalogue
from vitals.catalogue import BY_CODE

Category = tuple[int, int, str]
"""Metric number, category, suffix of the source app."""

_PREFIX: Final = "HKCategoryTypeIdentifier"
SLEEP_TYPE: Final = _PREFIX + "SleepAnalysis"
MINDFUL_TYPE: Final = _PREFIX + "MindfulSession"

IN_BED: Final = BY_CODE["in_bed"].number
SLEEP_STAGE: Final = BY_CODE["sleep_stage"].number
_MINDFUL: Final = BY_CODE["mindful_session"].number
_EVENT: Final = BY_CODE["heart_rate_event"].number
_SYMPTOM: Final = BY_CODE["symptom"].number

_SLEEP_VALUE: Final = "HKCategoryValueSleepAnalysis"
# Names until iOS 15 ("Asleep") and since iOS 16; in bed and asleep are two metrics (CLINICAL.md).
_SLEEP: Final = {
    "InBed": (0, IN_BED, 1), "Asleep": (1, SLEEP_STAGE, 1), "AsleepUnspecified": (1, SLEEP_STAGE, 1),
    "Awake": (2, SLEEP_STAGE, 2), "AsleepCore": (3, SLEEP_STAGE, 3), "AsleepDeep": (4, SLEEP_STAGE, 4),
    "AsleepREM": (5, SLEEP_STAGE, 5),
}  # fmt: skip
SLEEP_VALUES: Final[Mapping[str, Category]] = MappingProxyType(
    {_SLEEP_VALUE + name: (metric, value, "") for name, (_, metric, value) in _SLEEP.items()}
    | {str(raw): (metric, value, "") for raw, metric, value in _SLEEP.values()}
)
"""Value of a sleep record, by name or number."""

_EVENTS: Final = {"LowHeartRateEvent": 1, "HighHeartRateEvent": 2, "IrregularHeartRhythmEvent": 3}
_SYMPTOMS: Final = (
    "AbdominalCramps", "Acne", "AppetiteChanges", "BladderIncontinence", "Bloating", "BreastPain",
    "ChestTightnessOrPain", "Chills", "Constipation", "Coughing", "Diarrhea", "Dizziness", "DrySkin", "Fainting",
    "Fatigue", "Fever", "GeneralizedBodyAche", "HairLoss", "Headache", "Heartburn", "HotFlashes", "LossOfSmell",
    "LossOfTaste", "LowerBackPain", "MemoryLapse", "MoodChanges", "Nausea", "NightSweats", "PelvicPain",
    "RapidPoundingOrFlutteringHeartbeat", "RunnyNose", "ShortnessOfBreath", "SinusCongestion",
    "SkippedHeartbeat", "SleepChanges", "SoreThroat", "VaginalDryness", "Vomiting", "Wheezing",
)  # fmt: skip
# HKCategoryValuePresence and HKCategoryValueAppetiteChanges say whether, not how much.
_DEGREES: Final = {
    "HKCategoryValueSeverityUnspecified": 0, "HKCategoryValueSeverityNotPresent": 1, "HKCategoryValueSeverityMild": 2,
    "HKCategoryValueSeverityModerate": 3, "HKCategoryValueSeveritySevere": 4,
    "HKCategoryValuePresencePresent": 0, "HKCategoryValuePresenceNotPresent": 1,
    "HKCategoryValueAppetiteChangesUnspecified": 0, "HKCategoryValueAppetiteChangesNoChange": 1,
    "HKCategoryValueAppetiteChangesDecreased": 0, "HKCategoryValueAppetiteChangesIncreased": 0,
    "HKCategoryValueNotApplicable": 0,
}  # fmt: skip
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _snake(name: str) -> str:
    return _WORD.sub("_", name).lower()


SYMPTOMS: Final[Mapping[str, str]] = MappingProxyType({_PREFIX + name: "." + _snake(name) for name in _SYMPTOMS})
"""Symptom type -> suffix of its origin: two symptoms of one moment are two samples."""
TYPES: Final = frozenset({SLEEP_TYPE, MINDFUL_TYPE, *SYMPTOMS, *(_PREFIX + name for name in _EVENTS)})


def category_of(kind: str, value: str) -> Category | None:
    """Return what a record of a type of `TYPES` says, None where the type has no such value."""
    if kind == SLEEP_TYPE:
        return SLEEP_VALUES.get(value)
    if kind == MINDFUL_TYPE:
        return _MINDFUL, 1, ""
    if kind in SYMPTOMS:
        degree = _DEGREES.get(value)
        return None if degree is None else (_SYMPTOM, degree, SYMPTOMS[kind])
    event = _EVENTS.get(kind.removeprefix(_PREFIX))
    return None if event is None else (_EVENT, event, "")


OTHER_WORKOUT: Final = 3_000
_WORKOUT: Final = "HKWorkoutActivityType"
_WORKOUTS: Final = {
    "FunctionalStrengthTraining": "functional_strength", "TraditionalStrengthTraining": "traditional_strength",
    "HighIntensityIntervalTraining": "hiit",
}  # fmt: skip
_NUMBERS: Final = {word: number for number, word in catalogue.WORKOUTS.items()}
_OTHERS: Final = (
    "AmericanFootball", "Archery", "AustralianFootball", "Badminton", "Barre", "Baseball", "Basketball", "Bowling",
    "Boxing", "CardioDance", "Climbing", "Cooldown", "CoreTraining", "Cricket", "CrossCountrySkiing", "CrossTraining",
    "Curling", "Dance", "DiscSports", "DownhillSkiing", "EquestrianSports", "Fencing", "Fishing", "FitnessGaming",
    "Flexibility", "Golf", "Gymnastics", "HandCycling", "Handball", "Hockey", "Hunting", "JumpRope", "Kickboxing",
    "Lacrosse", "MartialArts", "MindAndBody", "MixedCardio", "PaddleSports", "Pickleball", "Pilates", "Play",
    "PreparationAndRecovery", "Racquetball", "Rugby", "Sailing", "SkatingSports", "SnowSports", "Snowboarding",
    "Soccer", "SocialDance", "Softball", "Squash", "StairClimbing", "Stairs", "StepTraining", "SurfingSports",
    "SwimBikeRun", "TableTennis", "TaiChi", "Tennis", "TrackAndField", "Transition", "UnderwaterDiving", "Volleyball",
    "WaterFitness", "WaterPolo", "WaterSports", "WheelchairRunPace", "WheelchairWalkPace", "Wrestling",
)  # fmt: skip
_KNOWN: Final = (
    *_WORKOUTS, *_OTHERS, "Cycling", "Elliptical", "Hiking", "Rowing", "Running", "Swimming", "Walking", "Yoga"
)  # fmt: skip
WORKOUTS: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        _WORKOUT + name: (_NUMBERS.get(word, OTHER_WORKOUT), word)
        for name, word in ((name, _WORKOUTS.get(name, _snake(name))) for name in _KNOWN)
    }
)
"""Workout type -> (HKWorkoutActivityType's raw value or `OTHER_WORKOUT`, the word for its session)."""
OTHER: Final = (OTHER_WORKOUT, "other")
