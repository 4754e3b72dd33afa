"""Edge: the archive's manifest in the database: files, leaves, the chain, and the turn to work on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Final

import structlog
from pyarrow import fs

from timeseries.archive_chain import (
    ArchiveBusy,
    ArchivedFile,
    Event,
    Leaf,
    event_record,
    file_record,
    leaf_root,
    link_hash,
    manifest,
)
from timeseries.archive_file import Content
from timeseries.archive_storage import folder_of, left_over, listed, manifest_name, remove, write_whole
from timeseries.queries import load
from vitals.errors import VigilError
from vitals.ids import InvalidId, is_opaque, patient_id

log = structlog.get_logger(__name__)
_SQL: Final = load("archive")
_FILE_COLUMNS: Final = ", ".join(field.name for field in fields(ArchivedFile))
_PATIENCE_S: Final = 15.0
"""A server may take a moment to notice that a killed process is gone and its locks are free."""


class UnknownClass(VigilError):
    """There is no retention class of samples of this name."""


class UnknownPatient(VigilError):
    """Nothing is stored under this patient id."""


class NoReason(VigilError):
    """Erasing takes a reason: the number of the matter, never a name."""


def _put(text: bytes, sink: Any) -> None:
    sink.write(text)


@contextmanager
def turn(connection: Any, take: str = "take_turn", let_go: str = "let_go", **values: Any) -> Iterator[None]:
    """Hold the lock of whoever works on the life of data. Raises `ArchiveBusy` if another has it for 15 seconds."""
    deadline = time.monotonic() + _PATIENCE_S
    while connection.execute(_SQL[take], values).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise ArchiveBusy("another process works on the archive or on the life of data: try again when it is done")
        time.sleep(0.1)
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute(_SQL[let_go], values)


def patient_key_of(connection: Any, patient: str) -> int:
    """Return the key of a patient (opaque id). Raises `InvalidId`, `UnknownPatient`."""
    row = connection.execute(_SQL["patient"], {"patient": patient_id(patient)}).fetchone()
    if row is None:
        raise UnknownPatient("no patient has that id: nothing is stored under it, and nothing was done")
    return int(row[0])


def check_class(connection: Any, retention_class: str) -> None:
    """Raise `UnknownClass` for a name that no metric of samples has."""
    classes = sorted(name for (name,) in connection.execute(_SQL["classes"]))
    if retention_class not in classes:
        raise UnknownClass(f"no samples are of class {retention_class}; there are {', '.join(classes)}")


def checked_person(who: str, why: str | None = None) -> None:
    """Raise `InvalidId` unless who did it is an opaque id, and `NoReason` for an empty reason."""
    if not is_opaque(who):
        raise InvalidId("who does this")
    if why is not None and not why.strip():
        raise NoReason("say why: the number of the matter, never a name")


def now(connection: Any) -> datetime:
    """Return the database's time: one clock for all that is noted."""
    moment: datetime = connection.execute(_SQL["now"]).fetchone()[0]
    return moment


def files(
    connection: Any, retention_class: str | None = None, start: date | None = None, end: date | None = None
) -> list[ArchivedFile]:
    """Return the files of a class and of UTC days from `start` on and before `end`, in the order of the chain."""
    return _files(connection, "files", {"class": retention_class, "from": start, "to": end})


def files_of_patient(connection: Any, patient_key: int) -> list[ArchivedFile]:
    """Return the files in which rows of a patient stand."""
    return _files(connection, "files_of_patient", {"patient": patient_key})


def expired(connection: Any, retention_class: str, before: date) -> list[ArchivedFile]:
    """Return the files of a class from before a day in which anybody has rows who is not on hold."""
    return _files(connection, "expired", {"class": retention_class, "before": before})


def _files(connection: Any, query: str, values: Mapping[str, Any]) -> list[ArchivedFile]:
    rows = connection.execute(_SQL[query].format(columns=_FILE_COLUMNS), values)
    return [ArchivedFile(*row) for row in rows]


def file(connection: Any, file_id: int) -> ArchivedFile:
    """Return one file as its row is now."""
    return _files(connection, "file", {"file": file_id})[0]


def leaves(connection: Any, file_id: int, patients: Sequence[int] | None = None) -> list[Leaf]:
    """Return a file's leaves (of these patient keys) in their order."""
    values = {"file": file_id, "patients": None if patients is None else list(patients)}
    return [Leaf(*row) for row in connection.execute(_SQL["leaves"], values)]


def events(connection: Any, file_id: int) -> list[Event]:
    """Return what left a file, oldest first."""
    found = connection.execute(_SQL["events"], {"file": file_id})
    return [Event(link, kind, one, tuple(positions), *rest) for link, kind, one, positions, *rest in found]


def append_file(
    connection: Any, retention_class: str, day: date, part: int, uri: str, found: Content, held: Sequence[Leaf]
) -> int:
    """Make a verified file the next link, in the caller's transaction; return its id."""
    link, previous = connection.execute(_SQL["lock_head"]).fetchone()
    file_id = connection.execute(_SQL["next_file_id"]).fetchone()[0]
    root = leaf_root((leaf.rows, leaf.sha256) for leaf in held)
    chain = link_hash(previous, file_record(link + 1, file_id, retention_class, day, part, root))
    values = {
        "file_id": file_id, "class": retention_class, "day": day, "part": part, "uri": uri, "rows": found.rows,
        "size_bytes": found.size_bytes, "min_time": found.min_time, "max_time": found.max_time, "sha256": found.sha256,
        "leaf_root": root, "link": link + 1, "previous": previous, "chain": chain, "now": now(connection),
    }  # fmt: skip
    connection.execute(_SQL["put_file"], values)
    columns = {
        "patients": [leaf.patient_key for leaf in held], "positions": [leaf.position for leaf in held],
        "rows": [leaf.rows for leaf in held], "hashes": [leaf.sha256 for leaf in held],
        "salts": [leaf.salt for leaf in held],
    }  # fmt: skip
    connection.execute(_SQL["put_leaves"], {"file_id": file_id, **columns})
    connection.execute(_SQL["move_head"], {"link": link + 1, "chain": chain})
    return int(file_id)


def append_event(
    connection: Any, kind: str, file_id: int, positions: Sequence[int], who: str, why: str, at: datetime
) -> None:
    """Make an event the next link, in the caller's transaction."""
    link, previous = connection.execute(_SQL["lock_head"]).fetchone()
    chain = link_hash(previous, event_record(link + 1, kind, file_id, positions, who, why, at))
    values = {
        "link": link + 1, "kind": kind, "file_id": file_id, "positions": list(positions), "who": who, "why": why,
        "now": at, "previous": previous, "chain": chain,
    }  # fmt: skip
    connection.execute(_SQL["put_event"], values)
    connection.execute(_SQL["move_head"], {"link": link + 1, "chain": chain})


def finish(connection: Any, storage: fs.FileSystem) -> None:
    """Write the manifests and remove the forerunners that committed work, perhaps of a killed run, still owes."""
    for one in _files(connection, "unfinished_files", {}):
        told = manifest(one, leaves(connection, one.file_id), events(connection, one.file_id))
        write_whole(storage, manifest_name(one.retention_class, one.utc_day, one.part), partial(_put, told))
        if one.replaces is not None:
            remove(storage, one.replaces)
        connection.execute(_SQL["set_finished"], {"file": one.file_id})


def tidy(connection: Any, storage: fs.FileSystem, retention_class: str, utc_day: date) -> None:
    """Remove what a killed run left of a class and UTC day: temporary files, and data that nobody names."""
    known = {one.uri for one in files(connection, retention_class, utc_day, utc_day + timedelta(days=1)) if one.uri}
    for path in left_over(storage, listed(storage, folder_of(retention_class, utc_day)), known):
        remove(storage, path)
        log.info("archive_left_over_removed", path=path)
