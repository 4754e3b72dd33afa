"""Which HealthKit types Vigil reads, into which metric, and from which units: the one table of quantities.

Units are read from each record, never assumed: they follow the phone's locale (`devices.apple.units`). HealthKit writes
percentages as fractions (0.97 with the unit `%`). A type that is neither here nor in `devices.apple.categories` is
counted as `unknown_metric`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from devices.apple import units
from vitals.catalogue import BY_CODE

_QUANTITIES: Final[tuple[tuple[str, str, units.Scales], ...]] = (
    ("HeartRate", "heart_rate", units.RATE),
    ("RestingHeartRate", "resting_heart_rate", units.RATE),
    ("WalkingHeartRateAverage", "walking_heart_rate", units.RATE),
    ("HeartRateRecoveryOneMinute", "heart_rate_recovery", units.RATE),
    ("HeartRateVariabilitySDNN", "hrv_sdnn", units.MILLISECOND),
    ("AtrialFibrillationBurden", "af_burden", units.FRACTION),
    ("OxygenSaturation", "spo2", units.FRACTION),
    ("PeripheralPerfusionIndex", "perfusion_index", units.FRACTION),
    ("RespiratoryRate", "respiratory_rate", units.RATE),
    ("VO2Max", "vo2_max", units.OXYGEN_UPTAKE),
    ("BodyTemperature", "body_temperature", units.CELSIUS),
    ("BasalBodyTemperature", "body_temperature", units.CELSIUS),
    ("AppleSleepingWristTemperature", "wrist_temperature", units.CELSIUS),
    ("BloodPressureSystolic", "bp_systolic", units.MMHG),
    ("BloodPressureDiastolic", "bp_diastolic", units.MMHG),
    ("BloodGlucose", "glucose", units.GLUCOSE),
    ("InsulinDelivery", "insulin", units.INTERNATIONAL_UNIT),
    ("DietaryCarbohydrates", "carbohydrates", units.GRAM),
    ("BodyMass", "weight", units.KILOGRAM),
    ("LeanBodyMass", "lean_body_mass", units.KILOGRAM),
    ("BodyFatPercentage", "body_fat", units.FRACTION),
    ("BodyMassIndex", "body_mass_index", units.BODY_MASS_INDEX),
    ("Height", "body_height", units.CENTIMETRE),
    ("StepCount", "steps", units.COUNT),
    ("FlightsClimbed", "flights_climbed", units.COUNT),
    ("NumberOfTimesFallen", "falls", units.COUNT),
    ("DistanceWalkingRunning", "distance", units.METRE),
    ("DistanceCycling", "distance", units.METRE),
    ("DistanceSwimming", "distance", units.METRE),
    ("DistanceWheelchair", "distance", units.METRE),
    ("DistanceRowing", "distance", units.METRE),
    ("DistancePaddleSports", "distance", units.METRE),
    ("DistanceSkatingSports", "distance", units.METRE),
    ("DistanceCrossCountrySkiing", "distance", units.METRE),
    ("DistanceDownhillSnowSports", "distance", units.METRE),
    ("WalkingSpeed", "speed", units.SPEED),
    ("RunningSpeed", "speed", units.SPEED),
    ("CyclingSpeed", "speed", units.SPEED),
    ("CyclingCadence", "cadence", units.RATE),
    ("ActiveEnergyBurned", "active_energy", units.KILOCALORIE),
    ("BasalEnergyBurned", "resting_energy", units.KILOCALORIE),
    ("AppleExerciseTime", "exercise_time", units.MINUTE),
    ("AppleStandTime", "stand_time", units.MINUTE),
    ("TimeInDaylight", "time_in_daylight", units.MINUTE),
    ("EnvironmentalAudioExposure", "environmental_sound", units.DECIBEL),
)
_PREFIX: Final = "HKQuantityTypeIdentifier"
# Two types in one metric would share an identity (patient, metric, origin, start, duration), and a waking temperature
# and any other are not one series: the second is an origin of its own.
_SUFFIXES: Final = {
    "DistanceCycling": ".cycling", "DistanceSwimming": ".swimming", "DistanceWheelchair": ".wheelchair",
    "DistanceRowing": ".rowing", "DistancePaddleSports": ".paddling", "DistanceSkatingSports": ".skating",
    "DistanceCrossCountrySkiing": ".skiing", "DistanceDownhillSnowSports": ".downhill", "RunningSpeed": ".running",
    "CyclingSpeed": ".cycling", "BasalBodyTemperature": ".basal",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a quantity goes: metric number, scale to the catalogue's unit, suffix of its source app."""

    metric: int
    scale: units.Scale
    suffix: str


_TYPES: Final[Mapping[str, tuple[str, units.Scales]]] = MappingProxyType(
    {_PREFIX + kind: (code, scales) for kind, code, scales in _QUANTITIES}
)
QUANTITY_TYPES: Final = frozenset(_TYPES)


@lru_cache(maxsize=4_096)
def channel_of(kind: str, unit: str) -> Channel | None:
    """Return where records of a type and unit go, None for a type that is not read or a unit that is not its own."""
    code, scales = _TYPES.get(kind, ("", {}))
    scale = units.scale_of(scales, unit)
    if scale is None:
        return None
    return Channel(BY_CODE[code].number, scale, _SUFFIXES.get(kind.removeprefix(_PREFIX), ""))


def code_of(kind: str) -> str | None:
    """Return the code of the metric that a quantity type is read into, None for a type that is not read."""
    return _TYPES[kind][0] if kind in _TYPES else None
