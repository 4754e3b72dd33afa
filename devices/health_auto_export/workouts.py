"""Workouts: the session, its totals over its time, its heart rates. Routes are places, and never read.

What a workout tells stands in the metrics as well, if the user exports both: so it has an origin of its own (suffix
`.workout`), and whoever adds up believes one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from devices.apple.categories import OTHER, WORKOUTS
from devices.apple.units import converted, scale_of
from devices.documents import number
from devices.health_auto_export.dates import MINUTE, SECOND, Moment
from devices.health_auto_export.intake import Ignored, Intake, Record, Refused, id_of
from devices.health_auto_export.metrics import CHANNELS, Channel, plain
from devices.health_auto_export.points import take_point
from devices.local_time import BadTime
from vitals.catalogue import BY_CODE, Kind
from vitals.quality import Context

_WORKOUT: Final = BY_CODE["workout"].number
_SUFFIX: Final = ".workout"
_PREFIX: Final = "HKWorkoutActivityType"
_PLACES: Final = ("indoor_", "outdoor_", "pool_", "open_water_")
_SHORT: Final = {
    "walk": "walking", "run": "running", "cycle": "cycling", "bike": "cycling", "swim": "swimming", "hike": "hiking",
    "row": "rowing", "rower": "rowing", "strength_training": "traditional_strength", "hiit": "hiit",
    "functional_strength_training": "functional_strength", "traditional_strength_training": "traditional_strength",
    "high_intensity_interval_training": "hiit",
}  # fmt: skip
_BY_WORD: Final = {word: (value, word) for value, word in WORKOUTS.values()}
_TOTALS: Final = {
    "activeEnergyBurned": "active_energy", "activeEnergy": "active_energy", "stepCount": "step_count",
    "distance": "walking_running_distance", "flightsClimbed": "flights_climbed",
}  # fmt: skip
_SERIES: Final = {
    "activeEnergy": "active_energy", "basalEnergy": "basal_energy_burned", "stepCount": "step_count",
    "walkingAndRunningDistance": "walking_running_distance", "cyclingDistance": "cycling_distance",
    "swimDistance": "swimming_distance", "heartRateData": "heart_rate", "heartRateRecovery": "heart_rate",
}  # fmt: skip
_DISTANCES: Final = {"cycling": "cycling_distance", "swimming": "swimming_distance"}


def read_workouts(intake: Intake, records: object) -> Iterator[None]:
    """Take workouts, and count each with what it holds as one record."""
    yield from intake.each(records, lambda record: _workout(intake, record))


def _workout(intake: Intake, record: Record) -> None:
    at, duration_ms = intake.span(record)
    number_, word = activity(record.get("name"))
    origin = intake.origin(record.get("source"))
    intake.add(origin, _WORKOUT, float(number_), at, duration_ms=duration_ms, sample_id=id_of(record))
    told = {"workout"}
    for key, name in _SERIES.items():
        told |= _series(intake, record.get(key), CHANNELS[name], record.get("source"))
    for key, name in _TOTALS.items():
        channel = CHANNELS[_DISTANCES.get(word, name) if key == "distance" else name]
        if channel.metric.code not in told:
            told |= _total(intake, record, record.get(key), channel, at, duration_ms)
    span = (at.time_us, at.time_us + duration_ms * 1_000)
    intake.session(origin, "workout", span, ("workout", *sorted(told - {"workout"})), label=word)


def activity(name: object) -> tuple[int, str]:
    """Return (number, word) of a workout by its name; a name in a language that is not known here is `other`."""
    if isinstance(name, str) and name.startswith(_PREFIX):
        return WORKOUTS.get(name, OTHER)
    word = plain(name)
    for place in _PLACES:
        word = word.removeprefix(place)
    return _BY_WORD.get(_SHORT.get(word, word), OTHER)


def _series(intake: Intake, points: object, channel: Channel, source: object) -> set[str]:
    """Keep the points of a workout that can be read; return the codes of which there are any."""
    told = set()
    for point in points if isinstance(points, list) else []:
        if not isinstance(point, dict):
            continue
        one = {"source": source} | point
        resolution = MINUTE if channel.metric.kind is Kind.INTERVAL else SECOND
        try:
            take_point(intake, channel, one, point.get("units"), resolution, _SUFFIX, Context.WORKOUT)
        except (Refused, Ignored, BadTime):
            intake.tally.ignored["workout_point"] += 1
            intake.tally.read += 1
            continue
        told.add(channel.metric.code)
    return told


def _total(intake: Intake, record: Record, told: object, channel: Channel, at: Moment, duration_ms: int) -> set[str]:
    """Keep a total over the workout's time, if there is one and it can be read."""
    if not isinstance(told, dict) or duration_ms == 0:
        return set()
    value, unit = number(told.get("qty")), told.get("units")
    scale = scale_of(channel.scales, unit) if isinstance(unit, str) else None
    if value is None or scale is None:
        return set()
    origin = intake.origin(record.get("source"), channel.suffix + _SUFFIX)
    intake.add(
        origin, channel.metric.number, converted(value, scale), at, duration_ms=duration_ms, context=Context.WORKOUT
    )
    return {channel.metric.code}
