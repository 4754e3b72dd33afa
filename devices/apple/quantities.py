"""Which HealthKit types Vigil reads, into which metric, and from which units: the one table of both.

Units are read from each record, never assumed: they follow the phone's locale. HealthKit writes percentages as
fractions (0.97 with the unit `%`). A type that is not here is counted as `unknown_metric`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from vitals.catalogue import BY_CODE

Scale = tuple[float, float]
"""value in the catalogue's unit = value x factor + offset."""

_SAME: Final = (1.0, 0.0)
_RATE: Final = {"count/min": _SAME, "count/s": (60.0, 0.0)}
_FRACTION: Final = {"%": (100.0, 0.0)}
_CELSIUS: Final = {"degC": _SAME, "degF": (5 / 9, -160 / 9), "K": (1.0, -273.15)}
_KILOGRAM: Final = {
    "kg": _SAME, "g": (1e-3, 0.0), "lb": (0.45359237, 0.0), "oz": (0.028349523125, 0.0), "st": (6.35029318, 0.0)
}  # fmt: skip
_METRE: Final = {
    "m": _SAME, "km": (1e3, 0.0), "cm": (1e-2, 0.0), "mi": (1609.344, 0.0), "ft": (0.3048, 0.0), "yd": (0.9144, 0.0)
}  # fmt: skip
# The dietary "Cal" of the export is the kilocalorie; "cal" is the small one.
_KILOCALORIE: Final = {
    "kcal": _SAME, "Cal": _SAME, "kJ": (1 / 4.184, 0.0), "cal": (1e-3, 0.0), "J": (1 / 4184, 0.0)
}  # fmt: skip
_MINUTE: Final = {"min": _SAME, "s": (1 / 60, 0.0), "hr": (60.0, 0.0)}
_MILLISECOND: Final = {"ms": _SAME, "s": (1e3, 0.0)}
_MMHG: Final = {"mmHg": _SAME, "kPa": (7.500615758456564, 0.0)}
_GLUCOSE: Final = {
    "mg/dL": _SAME, "mmol<180.1558800000541>/L": (18.01558800000541, 0.0), "mmol<180.15588>/L": (18.015588, 0.0)
}  # fmt: skip
_DECIBEL: Final = {"dBASPL": _SAME, "dB": _SAME}

_QUANTITIES: Final[tuple[tuple[str, str, Mapping[str, Scale]], ...]] = (
    ("HeartRate", "heart_rate", _RATE),
    ("RestingHeartRate", "resting_heart_rate", _RATE),
    ("HeartRateVariabilitySDNN", "hrv_sdnn", _MILLISECOND),
    ("OxygenSaturation", "spo2", _FRACTION),
    ("RespiratoryRate", "respiratory_rate", _RATE),
    ("BodyTemperature", "body_temperature", _CELSIUS),
    ("AppleSleepingWristTemperature", "wrist_temperature", _CELSIUS),
    ("BloodPressureSystolic", "bp_systolic", _MMHG),
    ("BloodPressureDiastolic", "bp_diastolic", _MMHG),
    ("BloodGlucose", "glucose", _GLUCOSE),
    ("BodyMass", "weight", _KILOGRAM),
    ("BodyFatPercentage", "body_fat", _FRACTION),
    ("BodyMassIndex", "body_mass_index", {"count": _SAME, "kg/m^2": _SAME}),
    ("StepCount", "steps", {"count": _SAME}),
    ("DistanceWalkingRunning", "distance", _METRE),
    ("DistanceCycling", "distance", _METRE),
    ("ActiveEnergyBurned", "active_energy", _KILOCALORIE),
    ("AppleExerciseTime", "exercise_time", _MINUTE),
    ("AppleStandTime", "stand_time", _MINUTE),
    ("AtrialFibrillationBurden", "af_burden", _FRACTION),
    ("TimeInDaylight", "time_in_daylight", _MINUTE),
    ("EnvironmentalAudioExposure", "environmental_sound", _DECIBEL),
)
_PREFIX: Final = "HKQuantityTypeIdentifier"
# Two types in one metric would share an identity (patient, metric, origin, start, duration): the second is an
# origin of its own.
_SUFFIXES: Final = {"DistanceCycling": ".cycling"}


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a quantity goes: metric number, factor and offset to the catalogue's unit, suffix of its source app."""

    metric: int
    factor: float
    offset: float
    suffix: str


CHANNELS: Final[Mapping[tuple[str, str | None], Channel]] = MappingProxyType(
    {
        (_PREFIX + kind, unit): Channel(BY_CODE[code].number, *scale, _SUFFIXES.get(kind, ""))
        for kind, code, units in _QUANTITIES
        for unit, scale in units.items()
    }
)
"""(type, unit) of a quantity record -> its channel."""

QUANTITY_TYPES: Final = frozenset(_PREFIX + kind for kind, _, _ in _QUANTITIES)
SLEEP_TYPE: Final = "HKCategoryTypeIdentifierSleepAnalysis"

_IN_BED: Final = BY_CODE["in_bed"].number
_STAGE: Final = BY_CODE["sleep_stage"].number
_SLEEP_VALUE: Final = "HKCategoryValueSleepAnalysis"
# Names until iOS 15 ("Asleep") and since iOS 16; the numbers are HKCategoryValueSleepAnalysis's own.
SLEEP_VALUES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        _SLEEP_VALUE + "InBed": (_IN_BED, 1),
        _SLEEP_VALUE + "Asleep": (_STAGE, 1),
        _SLEEP_VALUE + "AsleepUnspecified": (_STAGE, 1),
        _SLEEP_VALUE + "Awake": (_STAGE, 2),
        _SLEEP_VALUE + "AsleepCore": (_STAGE, 3),
        _SLEEP_VALUE + "AsleepDeep": (_STAGE, 4),
        _SLEEP_VALUE + "AsleepREM": (_STAGE, 5),
    }
)
"""Value of a sleep record -> (metric number, category): in bed and asleep are two metrics (CLINICAL.md)."""

OTHER_WORKOUT: Final = 3_000
_WORKOUT: Final = "HKWorkoutActivityType"
WORKOUTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        _WORKOUT + "Cycling": 13,
        _WORKOUT + "Elliptical": 16,
        _WORKOUT + "FunctionalStrengthTraining": 20,
        _WORKOUT + "Hiking": 24,
        _WORKOUT + "Rowing": 35,
        _WORKOUT + "Running": 37,
        _WORKOUT + "Swimming": 46,
        _WORKOUT + "TraditionalStrengthTraining": 50,
        _WORKOUT + "Walking": 52,
        _WORKOUT + "Yoga": 57,
        _WORKOUT + "HighIntensityIntervalTraining": 63,
    }
)
"""Workout type -> HKWorkoutActivityType's raw value; every other type is `OTHER_WORKOUT`."""
