"""Edge: keeps wearers' days up to date: which changed, and making them anew in batches.

`mark_dirty_days` turns dirty ranges into dirty days, in the transaction (or before the commit) that takes the ranges
away and after the rollups have followed. `refresh_days` makes what is due: each batch is one transaction that takes
the marks, reads, computes (`timeseries.daily`, pure) and writes `vitals_1d`, `daily_summary` and `trends`. Killed in
mid-batch, its marks are back; made twice, a day is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg

from timeseries.daily.groups import Ints, PatientDays, number
from timeseries.daily.summary import make_days
from timeseries.daily.zones import local_day, offsets_us, repeat
from timeseries.days_archive import EARLIER_DAYS, TOLD_METRICS, archived_rows, below, read_horizons
from timeseries.days_read import prepare, read_columns, read_days, times
from timeseries.days_trends import write_trends
from timeseries.days_write import write_days
from timeseries.lifecycle_model import Archive
from timeseries.queries import load
from vitals.catalogue import BY_NUMBER, RetentionClass
from vitals.clock import from_datetime

_SQL: Final = load("days")
_DEBOUNCE: Final = timedelta(minutes=15)
"""The day that is still going on is made this long after it was marked, at the latest; past days at once."""
_FIRST_DAY: Final = date(1, 1, 1)
# A changed night may move to the day before or after.
_AROUND: Final = [
    timedelta(hours=12) if BY_NUMBER[int(metric)].retention is RetentionClass.SLEEP else timedelta(0)
    for metric in TOLD_METRICS
]

Range = tuple[int, datetime, datetime]
"""(patient key, first time, last time) of a stretch that changed, as `dirty_ranges` has it."""


def mark_dirty_days(
    connection: psycopg.Connection[Any], ranges: Sequence[Range], *, now: datetime | None = None
) -> int:
    """Mark the days that changed ranges touch, in the caller's transaction, and return how many.

    To be called when the rollups have followed the ranges. Touched are the local days of the minutes in a range, by the
    offset each tells, those that intervals which begin in it reach into, and those of older versions, whose zone or
    length may have been another. Raises psycopg's errors.
    """
    if not ranges:
        return 0
    prepare(connection)
    patients, froms, tos = (list(column) for column in zip(*ranges, strict=True))
    values = {"patients": patients, "froms": froms, "tos": tos, "lowest": min(froms), "highest": max(tos),
              "metrics": TOLD_METRICS, "arounds": _AROUND}  # fmt: skip
    minutes = read_columns(connection, _SQL["changed_minutes"], values)
    _note_zones(connection, *minutes)
    parts = [read_columns(connection, _SQL[query], values) for query in ("changed_intervals", "changed_revisions")]
    patient, zone, first, last = (
        np.concatenate(columns) for columns in zip([minutes[0], *minutes[2:]], *parts, strict=True)
    )
    keys = np.unique(patient)
    found = dict(connection.execute(_SQL["patient_zones"], {"patients": keys.astype(np.int32)}).fetchall())
    now = now or datetime.now(UTC)
    dense, day, over = touched_days(
        np.searchsorted(keys, patient), zone, first, last, [found.get(int(k)) for k in keys], now
    )
    dues = np.where(over, np.datetime64(from_datetime(now), "us"), np.datetime64(from_datetime(now + _DEBOUNCE), "us"))
    marks = {"patients": keys[dense].astype(np.int32), "days": day.astype(np.int32), "dues": dues, "now": now}
    connection.execute(_SQL["mark_days"].encode(), marks)
    return len(day)


def _note_zones(
    connection: psycopg.Connection[Any], patient: Ints, origin: Ints, zone: Ints, first: Ints, last: Ints
) -> None:
    """Note the offsets that minutes told; what was noted once stays, and costs at most a closer look."""
    values = {"patients": patient.astype(np.int32), "origins": origin.astype(np.int32), "zones": zone.astype(np.int16),
              "firsts": times(first), "lasts": times(last)}  # fmt: skip
    connection.execute(_SQL["note_zones"].encode(), values)


def touched_days(
    patient: Ints, zone_offset_min: Ints, first_us: Ints, last_us: Ints, zones: Sequence[str | None], now: datetime
) -> tuple[Ints, Ints, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Return (patient, local day, whether that day is over) of all days that the stretches touch, each once."""
    first = local_day(first_us, offsets_us(first_us, zone_offset_min, patient, zones))
    offset = offsets_us(last_us, zone_offset_min, patient, zones)
    last = np.maximum(local_day(last_us, offset), first)
    index, within = repeat(last - first + 1)
    day, today = first[index] + within, local_day(np.full(len(patient), from_datetime(now)), offset)[index]
    dense, row = number(patient[index], day)
    going_on = np.bincount(dense, weights=day >= today, minlength=len(row)) > 0
    return patient[index][row], day[row], ~going_on


def refresh_days(
    url: str,
    *,
    limit: int = 256,
    now: datetime | None = None,
    archive: Archive | None = None,
    prepare_threshold: int | None = 5,
) -> int:
    """Make all days that are due and return how many; `limit` of them in a transaction.

    Days below a raw horizon are made last, of what `archive` has: if it is away, its error comes when all others are
    made. Without one, their nights and activity stay as they are unless the table holds as many samples of them as they
    were made of. Raises psycopg's errors, and the archive's (VigilError, OSError).
    """
    done = 0
    with psycopg.connect(
        url, autocommit=True, prepare_threshold=prepare_threshold, options="-c timezone=UTC"
    ) as connection:
        prepare(connection)
        horizons = read_horizons(connection)
        frozen_until = max(horizons.values()).date() + timedelta(days=EARLIER_DAYS + 1) if horizons else _FIRST_DAY
        for since in (frozen_until, _FIRST_DAY):
            while made := _batch(
                connection, {"limit": limit, "now": now or datetime.now(UTC), "since": since}, archive
            ):
                done += made
    return done


def _batch(connection: psycopg.Connection[Any], which: dict[str, Any], archive: Archive | None) -> int:
    """Make some days, and those after them, in one transaction; return how many were marked."""
    with connection.transaction():
        connection.execute(_SQL["one_at_a_time"])
        patient, day = read_columns(connection, _SQL["take_days"], which)
        if not len(day):
            return 0
        marked = {"patients": patient.astype(np.int32), "days": day.astype(np.int32)}
        keys, days = _all_days(patient, day, read_columns(connection, _SQL["days_after"], marked))
        horizons = read_horizons(connection)
        frozen = below(horizons, days)
        rows = None if archive is None else archived_rows(connection, archive, horizons, keys, days, frozen)
        read = read_days(connection, keys, days, frozen=bool(frozen.any()), archived=rows)
        write_days(connection, keys, days, make_days(read, days), frozen, which["now"], complete=archive is not None)
        write_trends(connection, keys, days, which["now"])
    return len(day)


def _all_days(patient: Ints, day: Ints, after: Sequence[Ints]) -> tuple[Ints, PatientDays]:
    """Return (patient keys, the marked days and those after them)."""
    patients, days = np.append(patient, after[0]), np.append(day, after[1])
    keys, dense = np.unique(patients, return_inverse=True)
    _, row = number(dense, days)
    return keys, PatientDays(dense[row], days[row])
