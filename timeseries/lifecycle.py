"""Edge: the life of data by its policies: what is due, and doing it; one run at a time, safe to break off, to repeat.

Raw samples: `lifecycle_raw`, and `lifecycle_late` for those that come after their time. Everything else the database
lets go by itself, a slice a transaction (`drop_tier`, sql/migrations/0015): waveforms, rollups, quarantine, audit,
evidence. See docs/decisions/0012-lifecycle.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from timeseries.lifecycle_late import late
from timeseries.lifecycle_model import AnotherRun, Due, KeepingArchive, RawClass, Report, Work
from timeseries.lifecycle_raw import archive_class, classes, days_present, drop, move_class, patiently, policies
from timeseries.queries import load
from vitals.errors import VigilError

_SQL: Final = load("lifecycle")
_TABLES: Final = {
    ("waveform", "raw"): ("waveforms", "time"), ("evidence", "raw"): ("alert_evidence", "taken_at"),
    ("sample_ids", "raw"): ("sample_ids", "time"), ("deletions", "raw"): ("deletions_told", "received_at"),
    "minute": ("vitals_1m_history", "bucket"), "quarter": ("vitals_15m_history", "bucket"),
    "hour": ("vitals_1h_history", "bucket"), "day": ("vitals_1d", "day"),
}  # fmt: skip
_PATIENCE_S = 10.0
_LOCK_TIMEOUT_MS = 10_000


def due(url: str, *, moment: datetime | None = None, prepare_threshold: int | None = 5) -> list[Due]:
    """Return what every policy asks for now. Changes nothing. Raises psycopg's errors."""
    moment = moment or datetime.now(UTC)
    with _connect(url, prepare_threshold) as connection:
        raw = {one.retention_class: one for one in classes(connection, moment)}
        found: list[Due] = []
        for name, tier, archive_after, drop_after, _, before in policies(connection, moment):
            if tier == "raw" and name in raw:
                found += [
                    _to_archive(connection, raw[name], archive_after),
                    _to_drop(connection, raw[name], drop_after),
                ]
            else:
                rows, held = _counted(connection, name, tier, before, raw.get(name))
                waits = (f"{held:,} rows are on hold",) if held else ()
                found.append(Due(name, tier, "drop", drop_after, rows - held, waits=waits))
        return found


def run(
    url: str,
    archive: KeepingArchive | None,
    *,
    moment: datetime | None = None,
    prepare_threshold: int | None = 5,
    done: Callable[[str, int], None] = lambda _step, _rows: None,
    reached: Callable[[str], None] = lambda _point: None,
) -> Report:
    """Do what is due and return what was done and what waits. Without an archive no sample goes.

    Raises `AnotherRun` where somebody does so already, the archive's errors, and psycopg's.
    """
    report = Report()
    with _connect(url, prepare_threshold) as connection, _one_at_a_time(connection):
        work = Work(connection, archive, moment or datetime.now(UTC), report, done, reached)
        for one in classes(connection, work.moment):
            archive_class(work, one)
        for one in classes(connection, work.moment):
            move_class(work, one)
        late(work, classes(connection, work.moment))
        drop(work)
        horizons = {one.retention_class: one.horizon for one in classes(connection, work.moment)}
        for name, tier, _, _, _, before in policies(connection, work.moment):
            if tier == "archive":
                _expire(work, name, _below(before, horizons.get(name)))
            else:
                _drop_tier(work, name, tier)
    return report


def _expire(work: Work, name: str, before: datetime | None) -> None:
    if before is None or work.archive is None:
        return
    try:
        rows = work.archive.expire(work.connection, name, before.date())
    except (VigilError, OSError) as error:
        work.report.failed.append(f"{name} archive: not let go, {error}")
        return
    work.report.drop(name, "archive", rows)
    work.done(f"drop {name} archive", rows)
    work.reached("expired")


def _below(before: datetime | None, horizon: datetime | None) -> datetime | None:
    """Return before when a class may leave what raw samples are made good from: nothing above the raw horizon."""
    return None if before is None or horizon is None else min(before, horizon)


def _drop_tier(work: Work, name: str, tier: str) -> None:
    values = {"class": name, "tier": tier, "moment": work.moment}

    def one_slice() -> int:
        return int(work.connection.execute(_SQL["drop_tier"], values).fetchone()[0])

    try:
        while rows := patiently(one_slice):
            work.report.drop(name, tier, rows)
            work.done(f"drop {name} {tier}", rows)
            work.reached("slice")
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        work.report.waits.append(f"{name} {tier}: in use; the next run tries again")


def _to_archive(connection: Any, one: RawClass, after: str | None) -> Due:
    days = days_present(connection, one.retention_class, one.archived_until, one.archive_before)
    return Due(one.retention_class, "raw", "archive", after, sum(rows for _, rows, _ in days), len(days))


def _to_drop(connection: Any, one: RawClass, after: str | None) -> Due:
    days = days_present(connection, one.retention_class, one.horizon, one.drop_before)
    held_before = sum(held for _, _, held in days)
    rows = sum(rows for _, rows, _ in days) - held_before
    waits = []
    unarchived = [day for day, _, _ in days if not _is_archived(connection, one.retention_class, day)]
    if unarchived:
        waits.append(f"{len(unarchived):,} days are not archived")
    if days:
        values = {"from": one.horizon or "-infinity", "to": one.drop_before}
        behind = connection.execute(_SQL["ranges_behind"], values).fetchone()[0]
        if behind:
            waits.append(f"{behind:,} hours are not refreshed")
    if one.horizon is not None:
        values = {"class": one.retention_class, "horizon": one.horizon}
        below, held = connection.execute(_SQL["below_horizon"], values).fetchone()
        rows += below - held
        held_before += held
        if below > held:
            waits.append(f"{below - held:,} rows came late or are half done")
    if held_before:
        waits.append(f"{held_before:,} rows are on hold")
    return Due(one.retention_class, "raw", "drop", after, rows, len(days), tuple(waits))


def _is_archived(connection: Any, retention_class: str, day: Any) -> bool:
    return connection.execute(_SQL["day_state"], {"class": retention_class, "day": day}).fetchone() is not None


def _counted(connection: Any, name: str, tier: str, before: datetime | None, raw: RawClass | None) -> tuple[int, int]:
    """Return (rows that are due, those of them on hold)."""
    if raw is not None and tier != "day":
        before = _below(before, raw.horizon)
    if before is None:
        return 0, 0
    values = {"class": name, "horizon": before}
    if name in {"quarantine", "audit"} or tier == "archive":
        statement = _SQL["due_archive" if tier == "archive" else f"due_{name}"]
    else:
        table, column = _TABLES.get((name, tier)) or _TABLES[tier]
        also = _SQL["of_class"] if tier != "raw" else "true"
        statement = _SQL["due_rows"].format(table=table, column=column, also=also)
    rows, held = connection.execute(statement, values).fetchone()
    return rows, held


def _connect(url: str, prepare_threshold: int | None) -> psycopg.Connection[Any]:
    return psycopg.connect(
        url, autocommit=True, prepare_threshold=prepare_threshold, application_name="vigil db lifecycle",
        options=f"-c timezone=UTC -c lock_timeout={_LOCK_TIMEOUT_MS}",
    )  # fmt: skip


@contextmanager
def _one_at_a_time(connection: psycopg.Connection[Any]) -> Iterator[None]:
    deadline = time.monotonic() + _PATIENCE_S  # the database's own job gives the turn back after each slice
    while connection.execute(_SQL["take_turn"]).fetchone() != (True,):
        if time.monotonic() > deadline:
            who = connection.execute(_SQL["who_works"]).fetchone()
            told = (
                "somebody"
                if who is None
                else f"{who[0]} (process {who[1]} of the database, since {who[2]:%H:%M:%S} UTC)"
            )
            raise AnotherRun(f"{told} works on it: one run at a time, try again when that is done")
        time.sleep(0.1)
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute(_SQL["let_go"])
