"""What the console is given to show: frozen values between its pages and the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from vitals.errors import VigilError


class ReaderUnavailable(VigilError):
    """The database does not answer, or not in time. Try again; `vigil doctor` says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class LatestValue:
    """The newest sample of one series. `quality` 0 to 1, `context` bits of vitals.quality.Context."""

    patient_id: str
    metric: str
    device_id: str
    source_app: str
    time: datetime
    value: float
    quality: float
    context: int


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert as stored: its words and times are those of its newest event; `evidence` is that event's JSON.

    `raised_sentence` and `raised_evidence` are of its newest event while it was open, `policy` is what it was found by;
    None where nobody kept them.
    """

    alert_id: str
    patient_id: str
    kind: str
    priority: str
    rule: str
    rule_version: int
    metric: str
    state: str
    opened_at: datetime
    raised_at: datetime
    changed_at: datetime
    cleared_at: datetime | None
    measured_at: datetime
    retrospective: bool
    individualised: bool
    sentence: str
    evidence: Mapping[str, Any]
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    device_id: str = ""
    policy: str | None = None
    raised_sentence: str | None = None
    raised_evidence: Mapping[str, Any] | None = None


class Level(StrEnum):
    """What a chart is drawn from: the samples themselves, or a rollup of them."""

    SAMPLES = "samples"
    MINUTES = "minutes"
    QUARTERS = "quarters of an hour"
    HOURS = "hours"


WIDTHS_S: Final = {Level.HOURS: 3_600, Level.QUARTERS: 900, Level.MINUTES: 60}
"""The width of each rollup's buckets in seconds, the coarsest first."""


def level_of(step_s: int) -> Level:
    """Return the coarsest level whose buckets make up whole steps of `step_s` seconds."""
    return next((level for level, width_s in WIDTHS_S.items() if step_s % width_s == 0), Level.SAMPLES)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Trustworthy values of one series from `time` on, one step long. A step without any has no bucket."""

    time: datetime
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one patient by one origin; two origins are two series and never pool."""

    patient_id: str
    metric: str
    device_id: str
    source_app: str
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over everybody. `open` and `waiting` (not acknowledged) by priority; `silent`: nothing measured lately."""

    patients: int
    silent: int
    open: Mapping[str, int]
    waiting: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Overview:
    """One page of people, in the order of urgency, with their newest values, and the open alerts of everybody."""

    totals: Totals
    alerts: tuple[StoredAlert, ...]
    patients: tuple[str, ...]
    latest: tuple[LatestValue, ...]


@dataclass(frozen=True, slots=True)
class PatientRecord:
    """One person's newest values and alerts."""

    patient_id: str
    latest: tuple[LatestValue, ...]
    alerts: tuple[StoredAlert, ...]


class Acknowledgement(StrEnum):
    """What became of a click on "acknowledge"."""

    DONE = "done"
    ALREADY = "already"  # somebody else was first; that stays
    CHANGED = "changed"  # cleared, or of another priority than the person saw
    UNKNOWN = "unknown"
