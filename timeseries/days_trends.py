"""Edge: makes the trends of the patients whose days were made anew."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from timeseries.daily.groups import Floats, Ints, PatientDays, starts_of
from timeseries.daily.trend import MEASURES, SPANS, Trends, judge, untils
from timeseries.days_read import read_columns
from timeseries.queries import load

_SQL: Final = load("days")
_LONGEST: Final = max(span.days for span in SPANS.values())
_FLOATS: Final = frozenset(range(3, 3 + len(MEASURES)))


def write_trends(connection: psycopg.Connection[Any], keys: Ints, days: PatientDays, now: datetime) -> None:
    """Make the trends anew that days which are over take part in, in the caller's transaction.

    Those up to the newest day that is over are made once it is, not each time that the day which is still going on is.
    """
    starts = starts_of(days.patient)
    first, last = days.day[starts], days.day[np.append(starts[1:], len(days)) - 1]
    patients = {"patients": keys.astype(np.int32), "now": now}
    key, newest, until = read_columns(connection, _SQL["newest_days"], patients)
    at = np.searchsorted(keys, key)
    since = np.minimum(first[at], np.maximum(until + 1, newest - _LONGEST))
    due = np.flatnonzero((first[at] <= newest) | (until != newest))
    if len(due):
        _make(connection, key[due], since[due], np.minimum(last[at], newest)[due], newest[due])


def _make(connection: psycopg.Connection[Any], key: Ints, first: Ints, last: Ints, newest: Ints) -> None:
    windows = [untils(*bounds) for bounds in zip(first.tolist(), last.tolist(), newest.tolist(), strict=True)]
    patient = np.repeat(np.arange(len(key)), [len(one) for one in windows])
    until = np.concatenate(windows)
    earliest = np.array([one[0] for one in windows], np.int32)
    bounds = {"patients": key.astype(np.int32), "firsts": earliest - _LONGEST + 1, "lasts": newest.astype(np.int32)}
    values, base = _dense(connection, key, bounds)
    latest = np.array([one[-1] for one in windows], np.int32)
    connection.execute(_SQL["forget_trends"], bounds | {"firsts": earliest, "lasts": latest, "newest": bounds["lasts"]})
    made = [
        _judged(name, measure, values[measure][patient[:, None], (until - base)[:, None] + np.arange(1 - span.days, 1)])
        for name, span in SPANS.items()
        for measure in MEASURES
    ]
    rows = [(bounds["patients"][patient[row]], until[row].astype(np.int32)) for row, *_ in made]
    connection.execute(
        _SQL["put_trends"],
        {
            "patients": np.concatenate([one for one, _ in rows]),
            "untils": np.concatenate([one for _, one in rows]),
            "spans": [name for row, name, *_ in made for _ in row],
            "measures": [measure for row, _, measure, _ in made for _ in row],
            "directions": [found.direction[one] for row, *_, found in made for one in row.tolist()],
            "slopes": np.concatenate([found.slope_per_day[row] for row, *_, found in made]),
            "confidences": np.concatenate([found.confidence[row] for row, *_, found in made]),
            "days": np.concatenate([found.days_used[row] for row, *_, found in made]).astype(np.int32),
        },
    )


def _judged(span: str, measure: str, values: Floats) -> tuple[NDArray[np.intp], str, str, Trends]:
    """Return (the windows in which the measure is known at all, span, measure, what it does in each window)."""
    found = judge(values, np.full(len(values), MEASURES[measure].matters), SPANS[span].least)
    return np.flatnonzero(found.days_used), span, measure, found


def _dense(connection: psycopg.Connection[Any], key: Ints, bounds: dict[str, Any]) -> tuple[dict[str, Floats], int]:
    """Return ({measure: one row a patient, one column a day, NaN where not known}, the first column's day)."""
    base = int(bounds["firsts"].min())
    patient, day, valid, *columns = read_columns(connection, _SQL["measured"], bounds, _FLOATS)
    at = (np.searchsorted(key, patient), day - base)
    values = {}
    for (measure, what), column in zip(MEASURES.items(), columns, strict=True):
        dense = np.full((len(key), int(bounds["lasts"].max()) - base + 1), np.nan)
        dense[at] = np.where(valid.astype(np.bool_) | (not what.valid_days), column, np.nan)
        values[measure] = dense
    return values, base
