"""Edge: what the look at people's days reads and writes; columns and pages, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from timeseries.days_read import prepare, read_columns, times
from timeseries.profiles import read_profile
from timeseries.queries import load
from timeseries.review_model import DayColumns, Look, Planned, ReviewRow, StoredReview
from vitals.clock import from_datetime

_SQL: Final = load("reviews")
_MEASURES: Final = ("steps", "sleep_midpoint_local_min", "sleep_total_min", "sleep_awake_min")
_FLOATS: Final = frozenset(range(3, 3 + len(_MEASURES)))


class ReviewStore:
    """Reviews over one connection that autocommits. Raises psycopg's errors."""

    def __init__(self, connection: psycopg.Connection[Any], now: datetime) -> None:
        """`now` (aware) says which days are over and which profiles hold."""
        prepare(connection)
        self._connection = connection
        self._now = now

    def take_turn(self) -> None:
        """Wait for whoever looks elsewhere; until this transaction ends."""
        self._connection.execute(_SQL["one_at_a_time"])

    def people(
        self, after: int, limit: int, *, patient: str | None, everybody: bool, require_consent: bool
    ) -> list[Planned]:
        """Return the next people under a plan whose days are due, or of `everybody`, by patient key behind `after`."""
        values = {
            "now": self._now, "after": after, "limit": limit, "patient": patient, "everybody": everybody,
            "require_consent": require_consent,
        }  # fmt: skip
        return [
            Planned(key, name, read_profile(version, limits, facts), since, activity, sleep, newest)
            for key, name, version, limits, facts, since, activity, sleep, newest in self._connection.execute(
                _SQL["people"], values
            )
        ]

    def days(self, keys: Sequence[int], firsts: Sequence[int], lasts: Sequence[int]) -> dict[int, DayColumns]:
        """Return the days of each patient key within [first, last], counted from 1970-01-01."""
        values = {"patients": _ints(keys), "firsts": _ints(firsts), "lasts": _ints(lasts)}
        patient, day, zone, *columns = read_columns(self._connection, _SQL["days"], values, _FLOATS)
        found = {}
        for key in keys:
            at = slice(*np.searchsorted(patient, [key, key + 1]))
            measures = {name: column[at] for name, column in zip(_MEASURES, columns, strict=True)}
            found[key] = DayColumns(day[at], zone[at], measures)
        return found

    def stored(self, keys: Sequence[int]) -> dict[int, list[StoredReview]]:
        """Return what is stored of these patients, by key, oldest first."""
        found: dict[int, list[StoredReview]] = {key: [] for key in keys}
        rows = self._connection.execute(_SQL["stored"], {"patients": list(keys)})
        for key, review, rule, opened, cleared in rows:
            ended_us = None if cleared is None else from_datetime(cleared)
            found[key].append(StoredReview(review, rule, from_datetime(opened), ended_us))
        return found

    def end(self, reviews: Sequence[tuple[str, str]]) -> None:
        """Close open reviews: (review id, why, as the column `ended` has it)."""
        if reviews:
            ids, endeds = (list(column) for column in zip(*reviews, strict=True))
            self._connection.execute(_SQL["end"], {"now": self._now, "reviews": ids, "endeds": endeds})

    def put(self, rows: Sequence[ReviewRow]) -> None:
        """Write reviews; what is stored just so already stays as it is."""
        if not rows:
            return
        values = {
            "now": self._now,
            "ids": [one.review_id for one in rows],
            "patients": _ints([one.patient_key for one in rows]),
            "rules": [one.rule for one in rows],
            "versions": _ints([one.version for one in rows]),
            "metrics": [one.metric for one in rows],
            "all_metrics": [",".join(one.metrics) for one in rows],
            "states": [one.state for one in rows],
            "opened": _times([one.opened_us for one in rows]),
            "raised": _times([one.raised_us for one in rows]),
            "changed": _times([one.changed_us for one in rows]),
            "bys": [one.review_by for one in rows],
            "policies": [one.policy for one in rows],
            "sentences": [one.sentence for one in rows],
            "evidence": [one.evidence for one in rows],
        }
        self._connection.execute(_SQL["put"], values)

    def note(self, looks: Sequence[Look]) -> None:
        """Note who was looked at."""
        if not looks:
            return
        values = {
            "now": self._now,
            "patients": _ints([one.patient_key for one in looks]),
            "untils": _ints([-1 if one.until is None else one.until for one in looks]),
            "activities": _ints([one.activity_days for one in looks]),
            "sleeps": _ints([one.sleep_days for one in looks]),
            "needed": _ints([one.needed_days for one in looks]),
        }
        self._connection.execute(_SQL["note_looks"], values)

    def end_without_plan(self, patient: str | None) -> int:
        """Close what is open of whoever (of this patient) is under no plan any more; return how many."""
        values = {"now": self._now, "patient": patient}
        return self._connection.execute(_SQL["end_without_plan"], values).rowcount


def _ints(numbers: Sequence[int]) -> NDArray[np.int32]:
    return np.array(numbers, np.int32)


def _times(times_us: Sequence[int]) -> NDArray[np.datetime64]:
    return times(np.array(times_us, np.int64))
