"""Which metrics of Health Auto Export Vigil reads, and from which units: those of the user's preference.

Unlike HealthKit's own export, the app writes percentages as such (97, not 0.97).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from devices.apple import units
from vitals.catalogue import BY_CODE, Metric


class Channel(NamedTuple):
    """Where a metric goes: the catalogue's metric, scales by unit, suffix of the source app."""

    metric: Metric
    scales: units.Scales
    suffix: str = ""


def _channel(code: str, scales: units.Scales, suffix: str = "") -> Channel:
    return Channel(BY_CODE[code], scales, suffix)


CHANNELS: Final[Mapping[str, Channel]] = MappingProxyType(
    {
        "heart_rate": _channel("heart_rate", {**units.RATE, **units.COUNT}),
        "resting_heart_rate": _channel("resting_heart_rate", units.RATE),
        "walking_heart_rate_average": _channel("walking_heart_rate", units.RATE),
        "cardio_recovery": _channel("heart_rate_recovery", units.RATE),
        "heart_rate_variability": _channel("hrv_sdnn", units.MILLISECOND),
        "atrial_fibrillation_burden": _channel("af_burden", units.PERCENT),
        "blood_oxygen_saturation": _channel("spo2", units.PERCENT),
        "oxygen_saturation": _channel("spo2", units.PERCENT),
        "peripheral_perfusion_index": _channel("perfusion_index", units.PERCENT),
        "respiratory_rate": _channel("respiratory_rate", units.RATE),
        "vo2_max": _channel("vo2_max", units.OXYGEN_UPTAKE),
        "body_temperature": _channel("body_temperature", units.CELSIUS),
        "basal_body_temperature": _channel("body_temperature", units.CELSIUS, ".basal"),
        "apple_sleeping_wrist_temperature": _channel("wrist_temperature", units.CELSIUS),
        "sleeping_wrist_temperature": _channel("wrist_temperature", units.CELSIUS),
        "blood_pressure_systolic": _channel("bp_systolic", units.MMHG),
        "blood_pressure_diastolic": _channel("bp_diastolic", units.MMHG),
        "blood_glucose": _channel("glucose", units.GLUCOSE),
        "insulin_delivery": _channel("insulin", units.INTERNATIONAL_UNIT),
        "carbohydrates": _channel("carbohydrates", units.GRAM),
        "dietary_carbohydrates": _channel("carbohydrates", units.GRAM),
        "weight_body_mass": _channel("weight", units.KILOGRAM),
        "body_mass": _channel("weight", units.KILOGRAM),
        "lean_body_mass": _channel("lean_body_mass", units.KILOGRAM),
        "body_fat_percentage": _channel("body_fat", units.PERCENT),
        "body_mass_index": _channel("body_mass_index", units.BODY_MASS_INDEX),
        "height": _channel("body_height", units.CENTIMETRE),
        "step_count": _channel("steps", units.COUNT),
        "flights_climbed": _channel("flights_climbed", units.COUNT),
        "number_of_times_fallen": _channel("falls", units.COUNT),
        "walking_running_distance": _channel("distance", units.METRE),
        "cycling_distance": _channel("distance", units.METRE, ".cycling"),
        "swimming_distance": _channel("distance", units.METRE, ".swimming"),
        "distance_wheelchair": _channel("distance", units.METRE, ".wheelchair"),
        "wheelchair_distance": _channel("distance", units.METRE, ".wheelchair"),
        "walking_speed": _channel("speed", units.SPEED),
        "running_speed": _channel("speed", units.SPEED, ".running"),
        "cycling_speed": _channel("speed", units.SPEED, ".cycling"),
        "cycling_cadence": _channel("cadence", units.RATE, ".cycling"),
        "active_energy": _channel("active_energy", units.KILOCALORIE),
        "basal_energy_burned": _channel("resting_energy", units.KILOCALORIE),
        "apple_exercise_time": _channel("exercise_time", units.MINUTE),
        "apple_stand_time": _channel("stand_time", units.MINUTE),
        "time_in_daylight": _channel("time_in_daylight", units.MINUTE),
        "environmental_audio_exposure": _channel("environmental_sound", units.DECIBEL),
    }
)
"""Name of a metric -> its channel. Blood pressure, sleep and mindful minutes have shapes of their own."""

BLOOD_PRESSURE: Final = "blood_pressure"
SLEEP: Final = "sleep_analysis"
MINDFUL: Final = "mindful_minutes"
_SEPARATORS: Final = re.compile(r"[\W_]+")
_IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9]{0,30}(?:_[a-z0-9]{1,30}){0,7}", re.ASCII)


def plain(text: object) -> str:
    """Return a text as a word in lower case with underscores, for looking it up in a table; never kept itself."""
    return _SEPARATORS.sub("_", text[:100]).strip("_").lower() if isinstance(text, str) else ""


def name_of(text: object) -> str:
    """Return the name of a metric, or of a list of a payload, `other` for what is no plain identifier."""
    return text if isinstance(text, str) and _IDENTIFIER.fullmatch(text) else "other"
