"""Edge: what of days below a raw horizon is in the archive: their nights and activity can only be made of that."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from timeseries.daily.groups import Ints, PatientDays, number
from timeseries.daily.pieces import CATEGORY_METRICS, INTERVAL_METRICS
from timeseries.lifecycle_model import Archive
from timeseries.queries import load
from timeseries.rows import ROW, Rows
from vitals.catalogue import BY_NUMBER, RetentionClass
from vitals.clock import from_datetime
from vitals.quality import TRUSTWORTHY, Flag

_SQL: Final = load("days")
_DAY_US: Final = 86_400_000_000
_EPOCH: Final = date(1970, 1, 1)
CLASSES: Final = tuple(RetentionClass)
TOLD_METRICS: Final = np.array((*INTERVAL_METRICS, *CATEGORY_METRICS), np.int16)
CLASS_OF_TOLD: Final = np.array([CLASSES.index(BY_NUMBER[int(m)].retention) for m in TOLD_METRICS], np.int32)
EARLIER_DAYS: Final = 3
"""A day's sleep is that of the nights before it: what a day is made of begins so many days earlier."""
_LATER_DAYS: Final = 2

Horizons = dict[str, datetime]
"""Retention class -> before when its samples are gone."""


def read_horizons(connection: psycopg.Connection[Any]) -> Horizons:
    """Return the raw horizon of every class that has one."""
    return dict(connection.execute(_SQL["horizons"]).fetchall())


def below(horizons: Horizons, days: PatientDays) -> NDArray[np.bool_]:
    """Tell which days (rows) need samples from before the horizon of which of `CLASSES` (columns)."""
    begins = (days.day - EARLIER_DAYS) * _DAY_US
    lowest = np.iinfo(np.int64).min
    until = [from_datetime(horizons[one.value]) if one.value in horizons else lowest for one in CLASSES]
    return begins[:, None] < np.array(until)


def archived_rows(
    connection: psycopg.Connection[Any],
    archive: Archive,
    horizons: Horizons,
    keys: Ints,
    days: PatientDays,
    frozen: NDArray[np.bool_],
) -> Rows:
    """Return the archive's standing versions, deleted ones too, of what `frozen` days (`below`) are made of."""
    parts = [np.zeros(0, ROW)]
    for column in np.unique(CLASS_OF_TOLD).tolist():
        rows, name = np.flatnonzero(frozen[:, column]), CLASSES[column].value
        if len(rows):
            lasts = [BY_NUMBER[int(m)].max_duration_s for m in TOLD_METRICS[column == CLASS_OF_TOLD]]
            earlier = EARLIER_DAYS + timedelta(seconds=max(lasts)).days
            wanted: dict[date, set[int]] = defaultdict(set)
            for key, day in zip(keys[days.patient[rows]].tolist(), days.day[rows].tolist(), strict=True):
                for at in range(day - earlier, day + _LATER_DAYS + 1):
                    wanted[_EPOCH + timedelta(days=at)].add(key)
            for utc_day, patients in sorted(wanted.items()):
                if utc_day < horizons[name].date():
                    parts.append(archive.read_rows(connection, name, utc_day, sorted(patients)))
    return np.concatenate(parts)


def with_archived(table: list[NDArray[Any]], rows: Rows) -> list[NDArray[Any]]:
    """Return (patient key, metric, origin, time, duration, value, zone) of the table's samples and the archive's.

    What both have is the archive's to tell: a newer version in the table goes to the archive before it counts, and the
    day is marked again then.
    """
    names = ("patient_key", "metric_key", "origin_key", "time", "duration_ms", "value", "zone_offset_min")
    both = [np.append(rows[name].astype(mine.dtype), mine) for name, mine in zip(names, table, strict=True)]
    counts = np.ones(len(both[0]), np.bool_)
    counts[: len(rows)] = (rows["quality"] >= TRUSTWORTHY) & (rows["flags"] & int(Flag.TOMBSTONE) == 0)
    counts[: len(rows)] &= np.isin(rows["metric_key"], TOLD_METRICS)
    identity, first = number(*both[:5])
    kept = np.flatnonzero(counts & (np.arange(len(counts)) == first[identity]))
    return [column[kept] for column in both]
