"""Edge: rows leave the archive: those of one patient whose data are erased, or those of files that are old enough.

A file that holds such rows is written anew without them and proved, leaf by leaf, to be otherwise the same; then one
transaction puts it in the place of the old one, destroys the salts of the leaves that went and makes the next link;
then the old file is removed. Broken off anywhere, the archive is whole, and the same call goes on. Where an object
store keeps old versions, or somebody keeps copies, those are not reached from here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import structlog
from pyarrow import fs

from timeseries import archive_table as table
from timeseries.archive_chain import ArchiveDamaged, ArchivedFile, Leaf
from timeseries.archive_file import Content, FileWriter, read_back, slices
from timeseries.archive_leaf import LeafHasher
from timeseries.archive_storage import new_name, remove, write_whole
from timeseries.archive_table import checked_person, patient_key_of
from timeseries.queries import load
from vitals.errors import VigilError

log = structlog.get_logger(__name__)
_SQL: Final = load("archive")


class UnderHold(VigilError):
    """A legal hold stands on the patient: nothing is erased until it is lifted (`vigil hold list`)."""


@dataclass(slots=True)
class Erased:
    """What an erasure came to: files rewritten, archived rows, rows of restores; whether `samples` hold more."""

    files: int = 0
    rows: int = 0
    restored: int = 0
    still_in_samples: bool = False


def erase_patient(
    connection: Any,
    storage: fs.FileSystem,
    patient: str,
    who: str,
    why: str,
    *,
    classes: Collection[str] | None = None,
    on_file: Callable[[ArchivedFile, int], None] = lambda _file, _total: None,
) -> Erased:
    """Erase a patient (opaque id; only `classes`) from the archive and from restores; safe to break off and to repeat.

    What `samples` still hold is archived again when it is due, so erase there first. Raises `UnknownPatient`,
    `UnderHold`, `ArchiveDamaged` (a file's other rows are not as they were: nothing of it is changed),
    `ArchiveBusy`, `InvalidId` for `who`, `VigilError` without `why`.
    """
    checked_person(who, why)
    done = Erased()
    with table.turn(connection):
        key = patient_key_of(connection, patient)
        _refuse_held(connection, [key])
        table.finish(connection, storage)
        files = [
            one for one in table.files_of_patient(connection, key) if classes is None or one.retention_class in classes
        ]
        for one in files:
            on_file(one, len(files))
            gone = table.leaves(connection, one.file_id, [key])
            take_out(connection, storage, one, gone, ("erased", who, why))
            done.files += 1
            done.rows += sum(leaf.rows for leaf in gone)
        with connection.transaction():
            _refuse_held(connection, [key])
            which = {"patient": key, "classes": None if classes is None else list(classes)}
            done.restored = connection.execute(_SQL["erase_restored"], which).rowcount
            connection.execute(_SQL["erase_steps"], which)
        done.still_in_samples = connection.execute(_SQL["still_in_samples"], which).fetchone() == (True,)
    log.info("archive_erased", files=done.files, rows=done.rows, restored=done.restored)
    return done


def expire(
    connection: Any, storage: fs.FileSystem, retention_class: str, before: date, who: str, why: str
) -> tuple[int, int]:
    """Remove the files of a class from before a UTC day, but for the rows of patients on hold. Return (files, rows)."""
    checked_person(who, why)
    files = rows = 0
    with table.turn(connection):
        table.finish(connection, storage)
        for one in table.expired(connection, retention_class, before):
            leaves = [leaf for leaf in table.leaves(connection, one.file_id) if leaf.erased_at is None]
            held = _held(connection, [leaf.patient_key for leaf in leaves])
            gone = [leaf for leaf in leaves if leaf.patient_key not in held]
            take_out(connection, storage, one, gone, ("expired", who, why))
            files, rows = files + 1, rows + sum(leaf.rows for leaf in gone)
    if files:
        log.info("archive_expired", retention_class=retention_class, before=before.isoformat(), files=files, rows=rows)
    return files, rows


def take_out(
    connection: Any, storage: fs.FileSystem, one: ArchivedFile, gone: Sequence[Leaf], event: tuple[str, str, str]
) -> None:
    """Take leaves out of a file, as an event of (kind, who, why); the caller has the turn."""
    positions = [leaf.position for leaf in gone]
    leaves = table.leaves(connection, one.file_id)
    staying = [leaf for leaf in leaves if leaf.erased_at is None and leaf.position not in set(positions)]
    uri, content = _rewritten(storage, one, staying) if staying else (None, None)
    try:
        _swap(connection, one, gone, _columns(one, uri, content), event)
    except VigilError:  # ours: rolled back for certain. Where the database vanished nobody knows; the next run tidies
        if uri is not None:
            with contextlib.suppress(OSError):
                remove(storage, uri)
        raise
    table.finish(connection, storage)
    table.tidy(connection, storage, one.retention_class, one.utc_day)


def _swap(
    connection: Any, one: ArchivedFile, gone: Sequence[Leaf], columns: dict[str, Any], event: tuple[str, str, str]
) -> None:
    positions, patients = [leaf.position for leaf in gone], [leaf.patient_key for leaf in gone]
    with connection.transaction():
        _refuse_held(connection, patients)
        moment = table.now(connection)
        values = {"file_id": one.file_id, "now": moment, "positions": positions, "patients": patients}
        swapped = connection.execute(_SQL["replace_file"], values | columns)
        erased = connection.execute(_SQL["erase_leaves"], values)
        if (swapped.rowcount, erased.rowcount) != (1, len(positions)):
            raise ArchiveDamaged(f"{one} was changed by somebody else meanwhile: nothing was taken out of it")
        connection.execute(_SQL["forget_coverage"], values)
        kind, who, why = event
        table.append_event(connection, kind, one.file_id, positions, who, why, moment)


def _columns(one: ArchivedFile, uri: str | None, content: Content | None) -> dict[str, Any]:
    names = ("rows", "size_bytes", "min_time", "max_time", "sha256")
    nothing = {"rows": 0, "size_bytes": 0, "min_time": None, "max_time": None, "sha256": None}
    told = nothing if content is None else {name: getattr(content, name) for name in names}
    return {"uri": uri, "was": one.uri, **told}


def _rewritten(storage: fs.FileSystem, one: ArchivedFile, staying: Collection[Leaf]) -> tuple[str, Content]:
    """Write the leaves that stay into a new file; return its path and content, proved to be what they were."""
    uri = new_name(one.retention_class, one.utc_day, one.part)
    salts = {leaf.patient_id: leaf.salt or b"" for leaf in staying if leaf.patient_id is not None}

    def write(sink: Any) -> None:
        about = {"vigil.retention_class": one.retention_class, "vigil.utc_day": one.utc_day.isoformat()}
        with FileWriter(sink, LeafHasher(lambda _, patient: salts[patient]), about) as writer:
            for part in slices(storage, one.uri or "", salts.keys()):
                writer.add_slice(part)
            writer.close()

    try:
        write_whole(storage, uri, write)
    except FileNotFoundError:
        raise ArchiveDamaged(f"the archived file {one} is missing: nothing was taken out of it") from None
    found = read_back(storage, uri, staying)
    told = [(leaf.patient_id, leaf.rows, leaf.sha256) for leaf in staying]
    if told != [(leaf.patient_id, leaf.rows, leaf.sha256) for leaf in found.leaves]:
        remove(storage, uri)
        raise ArchiveDamaged(f"the archived file {one} is not what was archived: nothing was taken out of it")
    return uri, found


def _refuse_held(connection: Any, patients: Sequence[int]) -> None:
    if _held(connection, patients):
        raise UnderHold("a legal hold stands on the patient: nothing is erased until it is lifted (vigil hold list)")


def _held(connection: Any, patients: Sequence[int]) -> set[int]:
    """Return which of these are on hold; in a transaction no hold is placed or lifted until it ends."""
    if connection.execute(_SQL["holds_exist"]).fetchone() != (True,):
        return set()
    with connection.transaction():
        connection.execute(_SQL["lock_holds"])
        return {key for (key,) in connection.execute(_SQL["held"], {"patients": list(patients)})}
