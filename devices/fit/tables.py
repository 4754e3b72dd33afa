"""Which FIT messages Vigil reads, into which metric. Units are those of the FIT profile after its scale and offset."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from vitals.catalogue import BY_CODE

FIT_EPOCH_S: Final = 631_065_600
"""1989-12-31T00:00:00Z, from which FIT counts seconds."""
ABSOLUTE_FROM: Final = 0x1000_0000
"""Times below it count from when the device was switched on, and name no moment (FIT profile, date_time)."""

Fields = tuple[tuple[str, int], ...]


def _fields(**codes: str) -> Fields:
    return tuple((field, BY_CODE[code].number) for field, code in codes.items())


# `temperature` of a record is the watch's own case, power and stress have no metric: none of them is here.
POINTS: Final[Mapping[str, Fields]] = MappingProxyType(
    {
        "record": _fields(heart_rate="heart_rate", core_temperature="body_temperature"),
        "monitoring": _fields(heart_rate="heart_rate"),
        "monitoring_hr_data": _fields(current_day_resting_heart_rate="resting_heart_rate"),
        "spo2_data": _fields(reading_spo2="spo2"),
        "respiration_rate": _fields(respiration_rate="respiratory_rate"),
        "hrv_value": _fields(value="hrv_rmssd"),
        "max_met_data": _fields(vo2_max="vo2_max"),
        "weight_scale": _fields(weight="weight", percent_fat="body_fat", bmi="body_mass_index"),
        "blood_pressure": _fields(
            systolic_pressure="bp_systolic",
            diastolic_pressure="bp_diastolic",
            mean_arterial_pressure="bp_mean",
            heart_rate="pulse_rate",
        ),
    }
)
"""Message -> fields that hold at its timestamp. A value of 0 or less says in all of them that nothing was measured."""

STAGES: Final = MappingProxyType({"awake": 2.0, "light": 3.0, "deep": 4.0, "rem": 5.0})
"""sleep_level -> category of sleep_stage; `unmeasurable` is no stage."""
SLEEP_EVENTS: Final = frozenset({74, "sleep"})

STEPPING: Final = frozenset({"walking", "running"})
ON_FOOT: Final = frozenset({"running", "walking", "hiking", "snowshoeing", "mountaineering"})
"""Sports whose cadence counts strides: two steps each."""
_WORKOUTS: Final = MappingProxyType(
    {
        "cycling": 13,
        "e_biking": 13,
        "hiking": 24,
        "rowing": 35,
        "running": 37,
        "swimming": 46,
        "walking": 52,
        "hiit": 63,
    }
)
_SUB_SPORTS: Final = MappingProxyType({"elliptical": 16, "strength_training": 50, "yoga": 57, "hiit": 63})


def workout_of(sport: object, sub_sport: object) -> tuple[int, str]:
    """Return (category of `workout`, word) of a session."""
    number = _SUB_SPORTS.get(str(sub_sport)) or _WORKOUTS.get(str(sport), 3_000)
    return number, sport if isinstance(sport, str) else "other"
