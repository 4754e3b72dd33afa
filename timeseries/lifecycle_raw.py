"""Edge: samples leave: first into the archive, then their rollups into the history, then out of the database.

Every step commits and can be repeated, so a run may be broken off anywhere. What was archived is noted in `raw_days`;
the deletion itself is the database's (sql/migrations/0016), which looks under its own lock or in its own snapshot
whether the archive has every row, and whose rows a hold keeps. What comes late is in `lifecycle_late`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, Final, TypeVar

from psycopg import IsolationLevel, errors

from timeseries.lifecycle_model import DAY, RawClass, Work, midnight, weeks
from timeseries.queries import load
from timeseries.rollup import RollupsBehind, is_continuous, move_to_history
from vitals.errors import VigilError

_SQL: Final = load("lifecycle")
_TRIES: Final = 3
_BUSY: Final = (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure)
_T = TypeVar("_T")


def classes(connection: Any, moment: datetime) -> list[RawClass]:
    """Return the classes of samples that have a policy, and how far each has come."""
    archive_before = {name: before for name, tier, _, _, before, _ in policies(connection, moment) if tier == "raw"}
    rows = connection.execute(_SQL["raw_classes"], {"moment": moment})
    return [RawClass(name, archive_before[name], *rest) for name, *rest in rows]


def policies(connection: Any, moment: datetime) -> list[tuple[Any, ...]]:
    """Return (class, tier, archive after, drop after, archive before, drop before) of every policy."""
    found: list[tuple[Any, ...]] = connection.execute(_SQL["policies"], {"moment": moment}).fetchall()
    return found


def days_present(
    connection: Any, retention_class: str, start: datetime | None, end: datetime | None
) -> list[tuple[date, int, int]]:
    """Return (UTC day, rows, rows on hold) of the class between two times, oldest first; no end, no days."""
    if end is None:
        return []
    values = {"class": retention_class, "from": start or "-infinity", "to": end}
    found: list[tuple[date, int, int]] = connection.execute(_SQL["days_present"], values).fetchall()
    return found


def archive_class(work: Work, one: RawClass) -> None:
    """Archive the days of a class that are due and were never archived, oldest first."""
    for day, rows, _ in days_present(work.connection, one.retention_class, one.archived_until, one.archive_before):
        if not archive(work, one.retention_class, day):
            return
        work.done(f"archive {one.retention_class} {day}", rows)


def archive(work: Work, retention_class: str, day: date, state: str = "archived") -> bool:
    """Bring a day into the archive, note its state, and tell whether every row is in a verified file."""
    values = {"class": retention_class, "day": day, "state": state}
    for attempt in range(_TRIES + 1):
        if work.connection.execute(_SQL["is_covered"], values).fetchone() == (True,):
            work.connection.execute(_SQL["set_day"], values)
            work.reached("archived")
            return True
        if work.archive is None or attempt == _TRIES:
            break
        try:
            work.archive.archive_day(work.connection, retention_class, day)
        except (VigilError, OSError) as error:
            work.report.failed.append(f"{retention_class} {day}: not archived, {error}")
            return False
        work.report.archived.append((retention_class, day))
        work.reached("written")
    why = "no archive is set up" if work.archive is None else "it changes faster than it can be archived"
    work.report.waits.append(f"{retention_class} {day}: not archived, {why}")
    return False


def move_class(work: Work, one: RawClass) -> None:
    """Archive what is new of a class's days that go, and move their rollups into the history, a week at a time."""
    present = days_present(work.connection, one.retention_class, one.horizon, one.drop_before)
    for week in weeks([day for day, _, _ in present]):
        if not (
            all(archive(work, one.retention_class, day) for day in week)
            and move(work, one.retention_class, one.horizon, midnight(week[-1]) + DAY)
        ):
            return
        if not is_continuous(work.connection):
            drop_days(work, [(one.retention_class, day) for day in week])
    if one.drop_before is not None and (one.horizon is None or one.horizon < one.drop_before):
        move(work, one.retention_class, one.horizon, one.drop_before)


def move(work: Work, retention_class: str, start: datetime | None, end: datetime) -> bool:
    """Move a class's rollups below `end` into the history, if they have seen every sample; tell whether they have."""
    values = {"class": retention_class, "from": start or "-infinity", "to": end}

    def one_transaction() -> None:
        with work.connection.transaction():
            if work.connection.execute(_SQL["days_behind"], values).fetchone() == (True,):
                raise RollupsBehind("days that are still to be made")
            move_to_history(work.connection, retention_class, end)
            work.connection.execute(_SQL["set_moved"], values)
            work.reached("moving")

    try:
        patiently(one_transaction)
    except RollupsBehind:
        work.report.waits.append(f"{retention_class} before {end:%Y-%m-%d}: not refreshed, run `vigil db rollup`")
        return False
    work.reached("moved")
    return True


def drop(work: Work) -> None:
    """Drop whatever is archived and in the history and kept by no hold."""
    if is_continuous(work.connection):
        _drop_chunks(work)
    else:
        drop_days(work, work.connection.execute(_SQL["raw_days_to_drop"]).fetchall())


def drop_days(work: Work, days: Sequence[tuple[str, date]]) -> None:
    """Stock PostgreSQL: drop days, each in a transaction of its own."""
    for retention_class, day in days:
        values = {"class": retention_class, "day": day, "moment": work.moment}
        _drop_one(work, f"{retention_class} {day}", retention_class, partial(_drop_day, work, values))


def _drop_day(work: Work, values: dict[str, Any]) -> int:
    connection = work.connection
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction():
            connection.execute(_SQL["hold_still"])
            rows = connection.execute(_SQL["drop_raw_day"], values).fetchone()[0]
            work.reached("dropping")
    finally:
        connection.isolation_level = None
    return int(rows)


def _drop_chunks(work: Work) -> None:
    for (chunk,) in work.connection.execute(_SQL["raw_chunks_to_drop"], {"moment": work.moment}).fetchall():
        values = {"chunk": chunk, "moment": work.moment}
        _drop_one(work, "a chunk of samples", "samples", partial(_drop_chunk, work, values))


def _drop_chunk(work: Work, values: dict[str, Any]) -> int:
    with work.connection.transaction():
        found = work.connection.execute(_SQL["drop_raw_chunk"], values).fetchone()
        work.reached("dropping")
    return int(found[0]) if found else 0


def _drop_one(work: Work, what: str, retention_class: str, one_transaction: Callable[[], int]) -> None:
    try:
        rows = patiently(one_transaction)
    except _BUSY:
        work.report.waits.append(f"{what}: in use, or it changed meanwhile; the next run tries again")
        return
    work.report.drop(retention_class, "raw", rows)
    work.done(f"drop {what}", rows)
    work.reached("dropped")


def patiently(one_transaction: Callable[[], _T]) -> _T:
    """Call it again where it met somebody's lock or somebody's change, three times in all."""
    for _ in range(_TRIES - 1):
        try:
            return one_transaction()
        except _BUSY:
            continue
    return one_transaction()
