"""Edge: is the archive what it was when it was archived? Says which file or manifest is missing or was changed, and
where the chain breaks. It changes nothing but the time at which a file was last found right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from pyarrow import fs

from timeseries import archive_table as table
from timeseries.archive_chain import GENESIS, ArchivedFile, event_record, file_record, link_hash, manifest
from timeseries.archive_read import verify_file
from timeseries.archive_storage import listed, manifest_name, read_whole
from timeseries.queries import load

_SQL: Final = load("archive")


@dataclass(slots=True)
class Verdict:
    """What was looked at and what is wrong: (what, why) each.

    `unknown` are files of the storage that the table does not name: left by a run that was killed, which the next run
    of that day removes, or archived after the backup that this database was restored from. `unfinished` files wait for
    the next run to write their manifest or to remove what they replace.
    """

    files: int = 0
    rows: int = 0
    size_bytes: int = 0
    links: int = 0
    head: bytes = GENESIS
    faults: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def verify(
    connection: Any,
    storage: fs.FileSystem,
    retention_class: str | None = None,
    start: date | None = None,
    end: date | None = None,
    *,
    on_file: Callable[[ArchivedFile, int], None] = lambda _file, _total: None,
) -> Verdict:
    """Read the files of a class and of UTC days from `start` on and before `end`, and the whole chain.

    `on_file` is told of each file before it is read, and how many there are. Memory: a few row groups and the leaves of
    one file. Raises `UnknownClass`, psycopg's errors, and pyarrow's where the storage cannot be reached.
    """
    verdict = Verdict()
    if retention_class is not None:
        table.check_class(connection, retention_class)
    _chain(connection, verdict)
    chosen = table.files(connection, retention_class, start, end)
    for one in chosen:
        on_file(one, len(chosen))
        _file(connection, storage, one, verdict)
    if (retention_class, start, end) == (None, None, None):
        verdict.unknown = _unknown(storage, chosen)
    return verdict


def _chain(connection: Any, verdict: Verdict) -> None:
    with connection.transaction():  # one snapshot: what is archived meanwhile is no fault
        connection.execute(_SQL["one_snapshot"])
        links = connection.execute(_SQL["chain"]).fetchall()
        head = connection.execute(_SQL["head"]).fetchone()
        unexplained = connection.execute(_SQL["erased_without_event"]).fetchall()
    at, previous = 0, GENESIS
    for row in links:
        at += 1
        verdict.faults += _link(at, previous, row)
        at, previous = row[0], row[3]
    if head != (at, previous):
        named = "there is none" if head is None else f"it names link {head[0]}"
        verdict.faults.append(("the head of the chain", f"{named}, the last one is {at}, and its hash is another"))
    for file_id, position in unexplained:
        verdict.faults.append((f"file {file_id}, leaf {position}", "it is marked as erased, and no event says so"))
    verdict.links, verdict.head = at, previous


def _link(at: int, previous: bytes, row: Sequence[Any]) -> list[tuple[str, str]]:
    """Return what is wrong with one row of the query `chain`, which should be link `at` and hold `previous`."""
    link, file_id, before, chain, name, day, part, root, of_leaves, kind, positions, who, why, when = row
    wrong = []
    if link != at:
        wrong.append(f"links {at} to {link - 1} before it are missing")
    elif before != previous:
        wrong.append("it does not hold the link before it")
    if kind is None:
        what = f"link {link} ({name} {day} part {part})"
        record = file_record(link, file_id, name, day, part, root)
        if root != of_leaves:
            wrong.append("its leaves in the table are not those that were archived")
    else:
        what = f"link {link} ({kind}, file {file_id})"
        record = event_record(link, kind, file_id, positions, who, why, when)
    if link_hash(before, record) != chain:
        wrong.append("its row in the table was changed")
    return [(what, one) for one in wrong]


def _file(connection: Any, storage: fs.FileSystem, one: ArchivedFile, verdict: Verdict) -> None:
    faults = _faults(connection, storage, one)
    while faults and (now := table.file(connection, one.file_id)).uri != one.uri:  # rewritten while it was read
        one, faults = now, _faults(connection, storage, now)
    verdict.faults += faults
    verdict.files += 1
    verdict.rows += one.rows
    verdict.size_bytes += one.size_bytes
    if _unfinished(one):
        verdict.unfinished.append(str(one))


def _unfinished(one: ArchivedFile) -> bool:
    return not one.manifest_written or one.replaces is not None


def _faults(connection: Any, storage: fs.FileSystem, one: ArchivedFile) -> list[tuple[str, str]]:
    wrong = [(str(one), why) for why in verify_file(connection, storage, one)]
    if _unfinished(one):
        return wrong
    path = manifest_name(one.retention_class, one.utc_day, one.part)
    told = manifest(one, table.leaves(connection, one.file_id), table.events(connection, one.file_id))
    found = read_whole(storage, path)
    if found is None:
        wrong.append((path, "the manifest is missing"))
    elif found != told:
        wrong.append((path, "the manifest does not say what the table says: one of them was edited"))
    return wrong


def _unknown(storage: fs.FileSystem, known: list[ArchivedFile]) -> list[str]:
    names = {manifest_name(one.retention_class, one.utc_day, one.part) for one in known}
    names |= {path for one in known for path in (one.uri, one.replaces) if path is not None}
    return [path for path in listed(storage) if path not in names]
