"""What the look at people's days reads and writes, as frozen values: no driver, no SQL, and no opinion on days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitals.care_profile import CareProfile
from vitals.errors import VigilError


class ReviewUnavailable(VigilError):
    """No such review stands on that clinician's list, or its id is not whole enough; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Somebody under a plan. `profile` is None where this release cannot read it; `newest` is their newest day that is
    over, from 1970-01-01, None without any; `activity` and `sleep` tell whether consent covers these classes today."""

    patient_key: int
    patient_id: str
    profile: CareProfile | None
    since: datetime
    activity: bool
    sleep: bool
    newest: int | None


@dataclass(frozen=True, slots=True)
class DayColumns:
    """One person's days, ascending, from 1970-01-01; `values` by column of `daily_summary`, NaN where not counted."""

    day: NDArray[np.int64]
    zone_offset_min: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class StoredReview:
    """What is stored of a review that matters to the next look; times in us UTC, `ended_us` None while it is open."""

    review_id: str
    rule: str
    opened_us: int
    ended_us: int | None


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A review as it is to be stored; times in us UTC, `evidence` is JSON."""

    review_id: str
    patient_key: int
    rule: str
    version: int
    metric: str
    metrics: tuple[str, ...]
    state: str
    opened_us: int
    raised_us: int
    changed_us: int
    review_by: str
    policy: str
    sentence: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Look:
    """How far one person's days were looked at: see the table `review_looks`."""

    patient_key: int
    until: int | None
    activity_days: int
    sleep_days: int
    needed_days: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A review as its clinician reads it; times are aware."""

    review_id: str
    patient_id: str
    rule: str
    rule_version: int
    state: str
    opened_at: datetime
    raised_at: datetime
    cleared_at: datetime | None
    ended: str | None
    sentence: str
    evidence: dict[str, Any]
    policy: str
    seen_by: str | None
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class LookedAt:
    """How far a person's days were looked at, as their clinician reads it; None where nobody has looked yet."""

    patient_id: str
    looked_at: datetime | None
    until_day: date | None
    activity_days: int | None
    sleep_days: int | None
    needed_days: int | None
