"""How the console says things: metric names, values with units, ages, times. Pure; time is a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from types import MappingProxyType
from typing import Final

from alerts.wording import name
from timeseries.console_model import Level, level_of
from vitals.catalogue import BY_CODE, Kind, Metric

_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {"Cel": "°C", "mm[Hg]": "mmHg", "1": "", "[g]": "g", "m[g]": "mg", "[iU]": "IU", "kg/m2": "kg/m²"}
)
_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "hrv_sdnn": "HRV (SDNN)",
        "hrv_rmssd": "HRV (RMSSD)",
        "bp_systolic": "systolic pressure",
        "bp_diastolic": "diastolic pressure",
        "bp_mean": "mean arterial pressure",
        "wear_state": "worn",
        "af_burden": "AF burden",
        "ecg": "ECG",
        "ppg": "PPG",
        "enmo": "movement (ENMO)",
    }
)
_STEPS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_MADE_FROM: Final[Mapping[Level, str]] = MappingProxyType(
    {
        Level.SAMPLES: "single samples",
        Level.MINUTES: "1-minute values",
        Level.QUARTERS: "15-minute values",
        Level.HOURS: "hourly values",
    }
)
SPOT_LIMIT_S: Final = 900.0
"""CLINICAL: a measurement older than 15 minutes is not taken as current."""


def metric_name(code: str) -> str:
    """Return a metric code as a clinician says it, beginning with a capital."""
    said = _NAMES.get(code) or name(code)
    return said[:1].upper() + said[1:]


def unit_sign(unit: str) -> str:
    """Return a UCUM unit as people write it; what is counted stands in braces there ({steps})."""
    return _UNITS.get(unit, unit.strip("{}"))


def number(value: float, metric: str) -> str:
    """Return a value with as many decimals as its channel means: whole beats, tenths of a degree."""
    decimals = 1 if BY_CODE[metric].unit in {"Cel", "kg", "kg/m2", "[g]", "mV"} else 0
    if metric == "state_of_mind_valence":
        decimals = 2
    return f"{value:.{decimals}f}"


def said_value(value: float, metric: str) -> str:
    """Return a value of any kind: a category by its word, everything else as a number."""
    known = BY_CODE[metric]
    if known.kind is Kind.CATEGORY:
        return known.categories.get(round(value), "other").replace("_", " ")
    return number(value, metric)


def unit_of(metric: str) -> str:
    """Return the sign of a metric's unit; nothing for categories."""
    known = BY_CODE[metric]
    return "" if known.kind is Kind.CATEGORY else unit_sign(known.unit)


def age(seconds: float) -> str:
    """Return how long ago something was; the browser counts on in the same words (console.js)."""
    if seconds < 0:
        return "just now"
    if seconds < 100:
        return f"{seconds:.0f} s ago"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min ago"
    if seconds < 48 * 3_600:
        return f"{seconds / 3_600:.0f} h ago"
    return f"{seconds / 86_400:.0f} days ago"


def lasting(seconds: float) -> str:
    """Return a length of time."""
    return age(max(seconds, 0)).removesuffix(" ago")


def stale_after_s(metric: Metric) -> float:
    """Return the age in seconds from which a value is no longer current.

    A channel that measures all the time: five of its cadences, but at least a minute (links deliver in bursts) and at
    most 15 minutes. A daily one: two days. A spot reading (cuff, thermometer): 15 minutes.
    """
    cadence = metric.cadence_s
    if cadence is None:
        return SPOT_LIMIT_S
    if cadence > SPOT_LIMIT_S:
        return 2 * cadence
    return min(max(5 * cadence, 60.0), SPOT_LIMIT_S)


def resolution(step_s: int) -> str:
    """Return what one point of a chart in steps of `step_s` seconds stands for, and what it is made from."""
    unit, name = next((size, word) for size, word in _STEPS if step_s % size == 0)
    count = step_s // unit
    width = f"{count} {name}" if count == 1 else f"{count} {name}s"
    return f"One point is the mean of {width}, made from {_MADE_FROM[level_of(step_s)]}; bands span lowest to highest."


def is_continuous(metric: Metric) -> bool:
    """Tell whether silence of this channel means that data are missing, rather than that nobody measured."""
    return metric.cadence_s is not None and metric.cadence_s <= SPOT_LIMIT_S


def clock_time(moment: datetime, zone: tzinfo, now: datetime) -> str:
    """Return the exact time in the console's zone; with its date unless that is today's."""
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    return local.strftime("%H:%M:%S %Z" if local.date() == today else "%Y-%m-%d %H:%M:%S %Z")
