"""Edge: archived samples come back into `restored_samples`, each once, however often the restore is broken off.

A restore goes day by day and some patients at a time; rows, and the note that these patients' day is done, are one
transaction. The same call again goes on with what is not done. Files that were archived after it began are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import numpy as np
from pyarrow import fs

from timeseries import archive_table as table
from timeseries.archive_chain import ArchivedFile
from timeseries.archive_read import files_of_day, versions_of
from timeseries.archive_table import checked_person, patient_key_of
from timeseries.archive_versions import standing
from timeseries.arrays import NumpyArrayDumper
from timeseries.queries import load
from timeseries.rows import COLUMNS, Rows
from vitals.clock import from_datetime
from vitals.errors import VigilError

_SQL: Final = load("archive")
STEP_ROWS: Final = 1 << 18
"""So many archived rows, or one patient's day, are in memory and in one transaction."""
ALWAYS: Final = (datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC))
"""No sample is older or younger."""
_TIMES: Final = frozenset({"time", "written_at", "received_at"})


class AlreadyRestored(VigilError):
    """Rows of this selection stand in `restored_samples` already; nothing was brought back."""


class NoSuchRestore(VigilError):
    """There is no restore of this number, or it was discarded before."""


@dataclass(frozen=True, slots=True)
class Restore:
    """One restore: whose rows (None: everybody's), from which time on and before which, what it came to."""

    restore_id: int
    patient_key: int | None
    start: datetime
    end: datetime
    last_file: int
    finished_at: datetime | None
    rows: int


@dataclass(frozen=True, slots=True)
class Step:
    """Patients of one class and UTC day, and how many archived rows (of all versions) they have there."""

    retention_class: str
    utc_day: date
    patients: tuple[int, ...]
    rows: int


def restore(
    connection: Any,
    storage: fs.FileSystem,
    patient: str | None,
    start: datetime,
    end: datetime,
    who: str,
    *,
    again: bool = False,
    on_step: Callable[[int, int], None] = lambda _done, _total: None,
) -> Restore:
    """Bring back a patient's (or everybody's) samples of [start, end); go on where the same restore was broken off.

    The standing version of each identity comes, tombstones too. `on_step` is told archived rows done and in all.
    `again` brings them back once more, under another number. Every patient's rows are held against their hash before
    any is stored. Raises `UnknownPatient`, `AlreadyRestored`, `ArchiveDamaged` (what came before it stands, and the
    restore goes on once the file is put back), `ArchiveBusy` where the same restore is under way elsewhere.
    """
    checked_person(who)
    key = None if patient is None else patient_key_of(connection, patient)
    begun = _begin(connection, key, start, end, who, again=again)
    lock = {"restore": begun.restore_id}
    with table.turn(connection, "lock_restore", "unlock_restore", **lock):
        values = _values(begun)
        total = connection.execute(_SQL["restore_extent"], values).fetchone()[0]
        steps = list(_steps(connection.execute(_SQL["restore_todo"], values)))
        done = max(total - sum(step.rows for step in steps), 0)
        on_step(done, total)
        for step in steps:
            _bring_back(connection, storage, begun, step)
            done += step.rows
            on_step(done, total)
        connection.execute(_SQL["finish_restore"], lock)
        return _restore(connection, begun.restore_id)


def discard(connection: Any, restore_id: int) -> int:
    """Delete a restore's rows; return how many there were. Raises `NoSuchRestore`, `ArchiveBusy`."""
    lock = {"restore": restore_id}
    with table.turn(connection, "lock_restore", "unlock_restore", **lock), connection.transaction():
        _restore(connection, restore_id)
        rows = connection.execute(_SQL["discard_restored"], lock).rowcount
        connection.execute(_SQL["discard_steps"], lock)
        connection.execute(_SQL["discard_restore"], lock)
    return int(rows)


def _restore(connection: Any, restore_id: int) -> Restore:
    row = connection.execute(_SQL["restore"], {"restore": restore_id}).fetchone()
    if row is None or row[-1]:
        raise NoSuchRestore(f"there is no restore {restore_id}, or it was discarded (vigil archive list)")
    return Restore(*row[:-1])


def _values(one: Restore) -> dict[str, Any]:
    return {
        "restore": one.restore_id, "patient": one.patient_key, "from": one.start, "to": one.end,
        "last_file": one.last_file,
    }  # fmt: skip


def _begin(connection: Any, key: int | None, start: datetime, end: datetime, who: str, *, again: bool) -> Restore:
    """Return the restore of this selection that was broken off, or a new one."""
    values = {"patient": key, "from": start, "to": end, "who": who}
    with connection.transaction():
        connection.execute(_SQL["lock_restores"])
        found = [Restore(*row) for row in connection.execute(_SQL["overlapping_restores"], values)]
        for one in found:
            if one.finished_at is None and (one.patient_key, one.start, one.end) == (key, start, end):
                return one
        if found and not again:
            raise AlreadyRestored(_refusal(found[0]))
        restore_id, last_file = connection.execute(_SQL["begin_restore"], values).fetchone()
        return Restore(restore_id, key, start, end, last_file, None, 0)


def _refusal(one: Restore) -> str:
    state = "is unfinished" if one.finished_at is None else "stands"
    return (
        f"restore {one.restore_id} of the same samples {state} in restored_samples ({one.rows:,} rows). Use it, "
        f"or remove it first (vigil archive discard {one.restore_id}), or bring them back once more beside it (--again)"
    )


def _steps(todo: Sequence[tuple[str, date, int, int]]) -> Iterator[Step]:
    """Yield neighbours of one class and day together, as long as memory is bounded."""
    patients: list[int] = []
    at: tuple[str, date] | None = None
    rows = 0
    for name, day, patient, count in todo:
        if at is not None and (at != (name, day) or rows + count > STEP_ROWS):
            yield Step(*at, tuple(patients), rows)
            patients, rows = [], 0
        at = (name, day)
        patients.append(patient)
        rows += count
    if at is not None:
        yield Step(*at, tuple(patients), rows)


def _bring_back(connection: Any, storage: fs.FileSystem, one: Restore, step: Step) -> None:
    values = {
        "restore": one.restore_id, "class": step.retention_class, "day": step.utc_day,
        "patients": list(step.patients), "last_file": one.last_file,
    }  # fmt: skip
    files = files_of_day(connection, step.retention_class, step.utc_day)
    files = [file for file in files if file.file_id <= one.last_file]
    erased_before = _erased(connection, files, step.patients)
    rows = standing(versions_of(connection, storage, files, step.patients))
    rows = rows[(rows["time"] >= from_datetime(one.start)) & (rows["time"] < from_datetime(one.end))]
    with connection.transaction():
        if connection.execute(_SQL["keep_leaves"], values).fetchall():  # now, or before: then it was never read
            meanwhile = _erased(connection, files, step.patients) - erased_before
            rows = rows[~np.isin(rows["patient_key"], [patient for _, patient in meanwhile])]
        if len(rows):
            _put(connection, rows, one.restore_id)
        keys, counts = np.unique(rows["patient_key"], return_counts=True)
        counted_of = dict(zip(keys.tolist(), counts.tolist(), strict=True))
        told = [counted_of.get(patient, 0) for patient in step.patients]
        connection.execute(_SQL["put_steps"], values | {"rows": told})
        counted = connection.execute(_SQL["count_restored"], {"restore": one.restore_id, "rows": len(rows)})
        if counted.fetchone() is None:
            raise NoSuchRestore(f"restore {one.restore_id} was discarded meanwhile")


def _erased(connection: Any, files: Sequence[ArchivedFile], patients: Sequence[int]) -> set[tuple[int, int]]:
    """Return the erased leaves of these patients, as (file id, patient key)."""
    return {
        (file.file_id, leaf.patient_key)
        for file in files
        for leaf in table.leaves(connection, file.file_id, patients)
        if leaf.erased_at is not None
    }


def _put(connection: Any, rows: Rows, restore_id: int) -> None:
    columns: dict[str, Any] = {
        name: np.ascontiguousarray(rows[name]).view("M8[us]") if name in _TIMES else np.ascontiguousarray(rows[name])
        for name in COLUMNS
    }
    statement = _SQL["put_restored"].format(columns=", ".join(COLUMNS))
    with connection.cursor() as cursor:
        cursor.adapters.register_dumper(np.ndarray, NumpyArrayDumper)
        cursor.execute(statement, columns | {"restore": restore_id})
