"""What became of an export: every record read is either accepted or rejected for a reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Rejected(StrEnum):
    """Why a record of an export gave no sample; the words of `vitals.quality.Reason` where they mean the same."""

    UNKNOWN_METRIC = "unknown_metric"  # a HealthKit type that Vigil does not read (see `unknown_types`)
    UNIT = "unit"  # a known type in a unit that is not in the table
    VALUE = "value"  # no number, or no category that the type has
    NOT_FINITE = "not_finite"
    DATE = "date"
    DURATION = "duration"  # it ends before it starts
    MISSING_ATTRIBUTE = "missing_attribute"
    NOT_WELL_FORMED = "not_well_formed"  # its XML is damaged
    OVERSIZED = "oversized"  # an ECG file that is larger than any


_TYPE_NAME: Final = re.compile(r"HK[A-Za-z0-9]{1,120}")
_MAX_TYPES: Final = 500


@dataclass(slots=True)
class ExportSummary:
    """Filled while an export is read. `read == accepted + sum(rejected.values())`, always, for Record elements.

    The same holds for workouts and for ECG files. `by_metric` counts samples as they are handed out, so at the end
    `sum(by_metric.values()) == accepted + accepted_workouts + rr_intervals`.
    """

    read: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    by_metric: Counter[str] = field(default_factory=Counter)
    unknown_types: Counter[str] = field(default_factory=Counter)
    workouts: int = 0
    accepted_workouts: int = 0
    rejected_workouts: Counter[str] = field(default_factory=Counter)
    rr_intervals: int = 0
    unread_beats: int = 0
    ecgs: int = 0
    accepted_ecgs: int = 0
    rejected_ecgs: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    waveforms: int = 0
    """Chunks of ECG handed out."""

    activity_summaries: int = 0
    correlations: int = 0
    nested_records: int = 0
    """Records inside a Correlation: they stand at top level too, and are counted there."""

    damaged_others: int = 0
    """Damaged elements that are neither Record nor Workout."""

    def unknown_type(self, name: str, count: int = 1) -> None:
        """Count records of a type that Vigil does not read; whatever is no HealthKit identifier counts as `other`."""
        known = _TYPE_NAME.fullmatch(name) and (name in self.unknown_types or len(self.unknown_types) < _MAX_TYPES)
        self.unknown_types[name if known else "other"] += count

    def to_json(self) -> dict[str, object]:
        """Return the summary as `vigil healthkit import --dry-run` prints it."""
        return {
            "read": self.read,
            "accepted": self.accepted,
            "rejected": dict(sorted(self.rejected.items())),
            "by_metric": dict(sorted(self.by_metric.items())),
            "unknown_types": dict(sorted(self.unknown_types.items())),
            "workouts": self.workouts,
            "accepted_workouts": self.accepted_workouts,
            "rejected_workouts": dict(sorted(self.rejected_workouts.items())),
            "rr_intervals": self.rr_intervals,
            "unread_beats": self.unread_beats,
            "ecgs": self.ecgs,
            "accepted_ecgs": self.accepted_ecgs,
            "rejected_ecgs": dict(sorted(self.rejected_ecgs.items())),
            "sessions": self.sessions,
            "waveforms": self.waveforms,
            "activity_summaries": self.activity_summaries,
            "correlations": self.correlations,
            "nested_records": self.nested_records,
            "damaged_others": self.damaged_others,
        }
