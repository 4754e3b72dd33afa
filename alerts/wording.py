"""Plain words: what was measured, against which limit, when. Names what is seen, never a disorder (CLINICAL)."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from alerts.event import Kind, State

NOTICE: Final = "Vigil informs, it does not diagnose. It is not a medical device and not an alarm or emergency system."
"""Stands under every message to a person."""

_NAMES: Final = MappingProxyType({"spo2": "oxygen saturation", "rr_interval": "beat interval"})
_UNITS: Final = MappingProxyType({"Cel": "°C", "mm[Hg]": "mmHg", "/min": "/min", "1": ""})


def name(metric: str) -> str:
    """Return a metric code as a person says it."""
    return _NAMES.get(metric, metric.replace("_", " "))


def quantity(value: float, unit: str) -> str:
    """Return a value with its unit (UCUM in, the usual sign out), to one decimal where it has one."""
    return f"{round(value, 1):g} {_UNITS.get(unit, unit)}".rstrip()


def moment(time: datetime) -> str:
    """Return a time as readers of any country read it, always in UTC and saying so."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def limit_clause(
    state: State, metric: str, side: str, threshold: float, unit: str, lasted_s: float, value: float
) -> str:
    """Return what is seen where a limit was crossed (`side` is `above` or `below`) or is no longer."""
    limit = quantity(threshold, unit)
    if state is State.CLEARED:
        said = f"{name(metric)} is no longer {side} {limit}"
    else:
        said = f"{name(metric)} {side} {limit} for {_lasted(lasted_s)}"
    return f"{said}; last value {quantity(value, unit)}"


def signal_clause(state: State, metric: str, lasted_s: float) -> str:
    """Return what is seen of a sensor that measures nothing, or measures again. It quotes no value."""
    if state is State.CLEARED:
        return f"sensor: {name(metric)} is measured again"
    return f"sensor: {name(metric)} not measured for {_lasted(lasted_s)} (no contact or no usable signal)"


def going_on_clause(says: str) -> str:
    """Return what is seen of an episode that was found late and has not ended since."""
    return f"{says}; found in data that arrived late, and not over yet"


def sentence(says: str, kind: Kind, measured_at: datetime, *, individualised: bool, retrospective: bool) -> str:
    """Return the sentence of an alert from a clause that says what is seen, with when and the remarks it needs."""
    when = ", measured" if kind is Kind.PHYSIOLOGICAL else "; as of"
    says = says if len(says) <= _LONGEST else f"{says[: _LONGEST - 3]}..."
    return _finish(f"{says}{when} {moment(measured_at)}", individualised=individualised, retrospective=retrospective)


_LONGEST: Final = 380  # an alert's sentence has at most 500 characters


def _lasted(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _finish(said: str, *, individualised: bool, retrospective: bool) -> str:
    remarks = "" if individualised else "; limits not individualised"
    late = "; found in data that arrived late" if retrospective else ""
    return f"{said[0].upper()}{said[1:]}{remarks}{late}."
