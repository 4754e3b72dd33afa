"""Why an alert was raised, fact by fact, so that a person can judge it. Pure: the facts are its own evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from alerts.event import Evidence
from console.moment import Now
from console.words import lasting, metric_name, number, unit_sign
from timeseries.console_model import StoredAlert
from vitals.catalogue import BY_CODE

_LATE: Final = "Found in data that arrived late: it is not happening now, and nobody was paged."
_TECHNICAL: Final = "It is about the measuring, not about the person."
_UNITS: Final = {
    "ms": "ms", "s": "s", "min": "min", "h": "h", "pct": "%", "percent": "%", "per_h": "an hour", "per_min": "/min",
    "bpm": "/min", "sd": "SD", "share": "of 1", "cel": "°C", "mg_dl": "mg/dL", "mg": "mg",
}  # fmt: skip
_SPELT: Final = {
    "rmssd": "RMSSD", "sdnn": "SDNN", "rr": "RR", "spo2": "SpO2", "cosen": "CosEn", "odi3": "3 % ODI",
    "odi4": "4 % ODI",
}  # fmt: skip
"""What a clinician knows by another spelling than that of a word."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line: what it is, and what it was."""

    name: str
    says: str


def facts(alert: StoredAlert, evidence: Evidence | None, now: Now) -> tuple[Fact, ...]:
    """Return what an alert was raised by: rule, limits, window, values, quality, figures."""
    return tuple(_facts(alert, evidence, now))


def _facts(alert: StoredAlert, evidence: Evidence | None, now: Now) -> Iterator[Fact]:
    if alert.retrospective:
        yield Fact("Late", _LATE)
    if alert.kind == "technical":
        yield Fact("Kind", _TECHNICAL)
    yield Fact("Rule", f"{alert.rule}, version {alert.rule_version}")
    if alert.kind != "technical":
        yield Fact("Limits", "this person's own" if alert.individualised else "not individualised: those of everybody")
    if alert.policy:
        yield Fact("Policy", alert.policy)
    if alert.device_id not in {"", "patient"}:
        yield Fact("Device", alert.device_id)
    if evidence is not None:
        yield from _of_evidence(alert.metric, evidence, now)


def _of_evidence(metric: str, evidence: Evidence, now: Now) -> Iterator[Fact]:
    start, end = evidence.window_start, evidence.window_end
    length = lasting((end - start).total_seconds())
    yield Fact("Window", f"{now.moment(start).exact} to {now.moment(end).exact} ({length})")
    if evidence.samples:
        yield Fact("Samples", f"{evidence.samples:,}")
    if evidence.readings:
        yield Fact("Values", _values(metric, evidence))
    if evidence.threshold is not None:
        yield Fact("Limit", f"{evidence.threshold:g} {unit_sign(evidence.unit)}".strip())
    if evidence.quality is not None:
        yield Fact("Lowest quality", f"{evidence.quality:.2f} of 1")
    for name, value in evidence.figures.items():
        yield _figure(name, value)


def _values(metric: str, evidence: Evidence) -> str:
    values = [one.value for one in sorted(evidence.readings, key=lambda one: one.at)]
    low, high, last = (_number(one, metric) for one in (min(values), max(values), values[-1]))
    span = f"{low} to {high}, last {last}" if low != high else last
    return f"{span} {unit_sign(evidence.unit)}".rstrip() + f" (the newest {len(values)})"


def _number(value: float, metric: str) -> str:
    return number(value, metric) if metric in BY_CODE else f"{round(value, 2):g}"


def _figure(name: str, value: float | str) -> Fact:
    """Return a figure as a person reads it: its name says its unit at the end (`longest_s`)."""
    words, unit = name, ""
    for ending, sign in _UNITS.items():
        if name.endswith(f"_{ending}"):
            words, unit = name.removesuffix(f"_{ending}"), sign
    if isinstance(value, float):
        value = f"{round(value, 2):,g}" if abs(value) >= 0.01 or not value else f"{value:.2g}"
        return Fact(_spelt(words), f"{value} {unit}".rstrip())
    return Fact(_spelt(name), value)


def _spelt(name: str) -> str:
    """Return the words of a figure's name, the first with a capital."""
    said = " ".join(_SPELT.get(word, word) for word in metric_name(name).lower().split())
    return said[:1].upper() + said[1:]
