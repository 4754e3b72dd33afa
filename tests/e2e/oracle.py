"""What an Apple export says, read in the plainest way: the test's own reader, sharing no code with ours."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

Row = tuple[str, datetime, int, float]
"""Metric code, start in UTC, duration in ms, value in the catalogue's unit (rounded to 6 digits)."""

_QUANTITIES = {
    "StepCount": "steps",
    "DistanceWalkingRunning": "distance",
    "HeartRate": "heart_rate",
    "ActiveEnergyBurned": "active_energy",
    "AppleExerciseTime": "exercise_time",
    "AppleStandTime": "stand_time",
    "BodyMassIndex": "body_mass_index",
    "OxygenSaturation": "spo2",
    "BodyMass": "weight",
}
_FACTORS = {
    "count": 1,
    "count/min": 1,
    "kcal": 1,
    "Cal": 1,
    "min": 1,
    "km": 1000,
    "mi": 1609.344,
    "m": 1,
    "%": 100,
    "kg": 1,
}
_SLEEP = {
    "InBed": ("in_bed", 1),
    "AsleepUnspecified": ("sleep_stage", 1),
    "Asleep": ("sleep_stage", 1),
    "Awake": ("sleep_stage", 2),
    "AsleepCore": ("sleep_stage", 3),
    "AsleepDeep": ("sleep_stage", 4),
    "AsleepREM": ("sleep_stage", 5),
}
_WORKOUTS = {"HKWorkoutActivityTypeRunning": 37, "HKWorkoutActivityTypeWalking": 52}


def rows_of(export: Path) -> Counter[Row]:
    """Every sample that the export stands for: as the file beside it says, or read from its records and workouts."""
    beside = export.with_suffix(".expected.json")
    if beside.is_file():
        return Counter(
            (metric, datetime.fromisoformat(start), duration_ms, round(float(value), 6))
            for start, duration_ms, _, metric, value, _ in json.loads(beside.read_text())["samples"]
        )
    found: Counter[Row] = Counter()
    for element in ElementTree.parse(export).getroot():
        kind = element.get("type", "")
        if element.tag == "Workout":
            found[_row("workout", element, _WORKOUTS.get(element.get("workoutActivityType", ""), 3000))] += 1
        elif element.tag == "Record" and kind.endswith("SleepAnalysis"):
            metric, value = _SLEEP[element.get("value", "").removeprefix("HKCategoryValueSleepAnalysis")]
            found[_row(metric, element, value)] += 1
        elif element.tag == "Record":
            metric = _QUANTITIES[kind.removeprefix("HKQuantityTypeIdentifier")]
            found[_row(metric, element, float(element.get("value", "")) * _FACTORS[element.get("unit", "")])] += 1
    return found


def _row(metric: str, element: ElementTree.Element, value: float) -> Row:
    start, end = (_time(element.get(name, "")) for name in ("startDate", "endDate"))
    return metric, start, round((end - start).total_seconds() * 1000), round(value, 6)


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").astimezone(UTC)
