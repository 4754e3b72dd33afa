"""Edge: samples that come below the raw horizon end in the archive and in the history, once, and are dropped again.

A late sample is stored like any other. Its hour is remembered (`late_hours`, by a trigger where the refresh of the
rollups forgets it), and here its day goes the same way once more: what is new into the archive, the touched hours of
the history computed anew from all that the archive has of them, then `moved`, so that the next drop takes the rows. A
day is noted as `late` before anything else, and stays so until its history is right: a run that is broken off between
is done again.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import Any, Final

import numpy as np

from timeseries.lifecycle_model import Archive, RawClass, Work
from timeseries.lifecycle_raw import archive
from timeseries.queries import load
from timeseries.rollup import recompute_history
from timeseries.rows import Rows
from vitals.clock import from_datetime
from vitals.errors import VigilError

_SQL: Final = load("lifecycle")
_HOUR_US: Final = 3_600_000_000

Mark = tuple[int, datetime]
"""(patient key, hour) in which something came, changed or went."""


def late(work: Work, classes: Collection[RawClass]) -> None:
    """Bring archive and history up to date wherever something changed below a class's horizon."""
    marks = work.connection.execute(_SQL["late_marks"]).fetchall()
    through = True
    for one in classes:
        if one.horizon is None:
            continue
        days = {hour.date() for _, hour, _ in marks if hour < one.horizon}
        unfinished = work.connection.execute(_SQL["late_days"], {"class": one.retention_class})
        for day in sorted(days | {day for (day,) in unfinished}):
            through = _late_day(work, one.retention_class, day) and through
    if through:
        ours = [mark for mark in marks if mark[2] is not None]
        patients, hours, versions = ([mark[column] for mark in ours] for column in range(3))
        work.connection.execute(_SQL["forget_late"], {"patients": patients, "hours": hours, "versions": versions})
        work.reached("late forgotten")


def _late_day(work: Work, retention_class: str, day: date) -> bool:
    """Do what is to do for one day; tell whether nothing is left."""
    values = {"class": retention_class, "day": day, "state": "late"}
    state = work.connection.execute(_SQL["day_state"], values).fetchone()
    covered = work.connection.execute(_SQL["is_covered"], values).fetchone() == (True,)
    if covered and state != ("late",):
        return True
    work.connection.execute(_SQL["set_day"], values)
    work.reached("late noted")
    if not archive(work, retention_class, day, "late") or work.archive is None:
        return False
    try:
        _recompute(work, work.archive, values)
    except (VigilError, OSError) as error:
        work.report.failed.append(f"{retention_class} {day}: came late, its history is not made anew, {error}")
        return False
    work.report.late.append((retention_class, day))
    work.reached("recomputed")
    return True


def _recompute(work: Work, whence: Archive, values: dict[str, Any]) -> None:
    """Make the touched hours of the history anew and note the day as moved, in one transaction."""
    retention_class, day = values["class"], values["day"]
    with work.connection.transaction():
        marks = [(patient, hour) for patient, hour, _ in work.connection.execute(_SQL["late_marks"])]
        touched = [mark for mark in marks if mark[1].date() == day]
        if touched and work.connection.execute(_SQL["is_expired"], values).fetchone() == (True,):
            why = "what its rollups were made of has left the archive, so they stay as they are"
            work.report.waits.append(f"{retention_class} {day}: came late; {why}")
        elif touched:
            patients = sorted({patient for patient, _ in touched})
            rows = whence.read_rows(work.connection, retention_class, day, patients)
            recompute_history(work.connection, of_hours(rows, touched))
        work.connection.execute(_SQL["set_day"], values | {"state": "moved"})
        work.reached("recomputing")


def of_hours(rows: Rows, marks: Collection[Mark]) -> Rows:
    """Return the rows of these patients in these hours. Pure."""
    wanted = np.array([_key(patient, from_datetime(hour)) for patient, hour in marks], np.int64)
    keys = rows["patient_key"].astype(np.int64) << 32 | rows["time"] // _HOUR_US
    kept: Rows = rows[np.isin(keys, wanted)]
    return kept


def _key(patient: int, hour_us: int) -> Any:
    return patient << 32 | hour_us // _HOUR_US
