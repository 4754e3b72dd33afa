"""Last values as tiles. Pure. A missing value is never zero, an old one never looks current, a doubt is always told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final

from console.moment import Moment, Now
from console.words import is_continuous, metric_name, said_value, stale_after_s, unit_of
from timeseries.console_model import LatestValue
from vitals.catalogue import BY_CODE, Kind, RetentionClass
from vitals.quality import TRUSTWORTHY, Context

HEART: Final = ("heart_rate", "pulse_rate")
"""What the first tile and the sparkline show: the first of these that a person has."""
_ORDER: Final = (
    "spo2",
    "respiratory_rate",
    "bp_systolic",
    "body_temperature",
    "glucose",
    "pulse_rate",
    "hrv_rmssd",
    "hrv_sdnn",
)
_NOT_A_TILE: Final = frozenset({"bp_diastolic", "bp_mean", "rr_interval", "wrist_temperature"})
MAX_TILES: Final = 5


@dataclass(frozen=True, slots=True)
class Tile:
    """One last value. `value` is None where the sensor says that it measured nothing; `doubt` says what is wrong.

    `spot`: nobody measures this all the time, so an old value means that nobody measured, not that data are missing.
    """

    metric: str
    name: str
    value: str | None
    unit: str
    measured: Moment
    stale: bool
    stale_after_s: float
    spot: bool
    doubt: str


def tile(latest: LatestValue, now: Now) -> Tile:
    """Return the tile of one series."""
    metric = BY_CODE[latest.metric]
    limit = stale_after_s(metric)
    return Tile(
        metric=metric.code,
        name=metric_name(metric.code),
        value=None if _measured_nothing(latest) else said_value(latest.value, metric.code),
        unit=unit_of(metric.code),
        measured=now.moment(latest.time),
        stale=now.age_s(latest.time) > limit,
        stale_after_s=limit,
        spot=not is_continuous(metric),
        doubt=_doubt(latest),
    )


def _measured_nothing(latest: LatestValue) -> bool:
    """CLINICAL: off the body is null. What a sensor without contact says is kept, but it is no measurement."""
    return latest.quality <= 0 or bool(latest.context & Context.NO_CONTACT)


def _doubt(latest: LatestValue) -> str:
    if latest.context & Context.NO_CONTACT:
        return "no contact with the skin"
    if latest.quality <= 0:
        return "no usable signal"
    if latest.context & Context.LOW_PERFUSION:
        return "low perfusion"
    return "low quality" if latest.quality < TRUSTWORTHY else ""


def choose(values: Sequence[LatestValue], now: Now) -> LatestValue:
    """Return the value to show of one metric's origins: a current and trustworthy one if any, otherwise the newest."""
    limit = stale_after_s(BY_CODE[values[0].metric])

    def worth(one: LatestValue) -> tuple[bool, object]:
        trusted = one.quality >= TRUSTWORTHY and not _measured_nothing(one)
        return (trusted and now.age_s(one.time) <= limit, one.time)

    return max(values, key=worth)


def by_metric(latest: Iterable[LatestValue], now: Now) -> dict[str, LatestValue]:
    """Return the value to show of each metric of one patient; unknown metrics and waveforms are left out."""
    known = [one for one in latest if one.metric in BY_CODE and BY_CODE[one.metric].kind is not Kind.WAVEFORM]
    found = groupby(sorted(known, key=attrgetter("metric")), key=attrgetter("metric"))
    return {metric: choose(list(values), now) for metric, values in found}


def heart_tile(chosen: dict[str, LatestValue], now: Now) -> Tile | None:
    """Return the tile of the heart rate, or of the pulse rate where that is all there is."""
    return next((tile(chosen[metric], now) for metric in HEART if metric in chosen), None)


def vital_tiles(chosen: dict[str, LatestValue], now: Now) -> tuple[Tile, ...]:
    """Return the other tiles, the ones that clinicians look at first in front, at most `MAX_TILES`."""
    heart = next((metric for metric in HEART if metric in chosen), None)
    first = [metric for metric in _ORDER if metric in chosen]
    others = [metric for metric in chosen if metric not in first and _is_vital(metric)]
    metrics = [metric for metric in (*first, *sorted(others)) if metric != heart and metric not in _NOT_A_TILE]
    return tuple(_tile_of(metric, chosen, now) for metric in metrics[:MAX_TILES])


def _is_vital(metric: str) -> bool:
    return BY_CODE[metric].retention is RetentionClass.VITAL


def _tile_of(metric: str, chosen: dict[str, LatestValue], now: Now) -> Tile:
    return pressure(chosen, now) if metric == "bp_systolic" else tile(chosen[metric], now)


def pressure(chosen: dict[str, LatestValue], now: Now) -> Tile:
    """Return the blood pressure as one reading, `128/82`, where both numbers are of one moment of one device."""
    upper, lower = chosen["bp_systolic"], chosen.get("bp_diastolic")
    shown = tile(upper, now)
    if lower is None or (lower.time, lower.device_id) != (upper.time, upper.device_id) or shown.value is None:
        return shown
    below = tile(lower, now)
    return Tile(
        metric="bp_systolic",
        name="Blood pressure",
        value=None if below.value is None else f"{shown.value}/{below.value}",
        unit=shown.unit,
        measured=shown.measured,
        stale=shown.stale,
        stale_after_s=shown.stale_after_s,
        spot=True,
        doubt=shown.doubt or below.doubt,
    )
