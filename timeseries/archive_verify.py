"""Edge: is the archive what it was when it was archived? Says which file or manifest is missing or was changed, and
where the chain breaks. It changes nothing but the time at which a file was last found right."""

from __future__ import annotations

from collections.abc import Callable
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
    one file. Raises psycopg's errors, and pyarrow's where the storage cannot be reached.
    """
    verdict = Verdict()
    _chain(connection, verdict)
    chosen = table.files(connection, retention_class, start, end)
    for one in chosen:
        on_file(one, len(chosen))
        _file(connection, storage, one, verdict)
    if (retention_class, start, end) == (None, None, None):
        verdict.unknown = _unknown(storage, chosen)
    return verdict


def _chain(connection: Any, verdict: Verdict) -> None:
    at, previous = 0, GENESIS
    for (
        link,
        file_id,
        before,
        chain,
        name,
        day,
        part,
        root,
        of_leaves,
        kind,
        positions,
        who,
        why,
        when,
    ) in connection.execute(_SQL["chain"]):
        at += 1
        what = f"link {link}" + (f" ({name} {day} part {part})" if kind is None else f" ({kind}, file {file_id})")
        if link != at:
            verdict.faults.append((what, f"links {at} to {link - 1} before it are missing"))
        elif before != previous:
            verdict.faults.append((what, "it does not hold the link before it"))
        if kind is None:
            record = file_record(link, file_id, name, day, part, root)
            if root != of_leaves:
                verdict.faults.append((what, "its leaves in the table are not those that were archived"))
        else:
            record = event_record(link, kind, file_id, positions, who, why, when)
        if link_hash(before, record) != chain:
            verdict.faults.append((what, "its row in the table was changed"))
        at, previous = link, chain
    head = connection.execute(_SQL["head"]).fetchone()
    if head != (at, previous):
        verdict.faults.append(("the head of the chain", f"it names link {head[0]}, the last one is {at}"))
    for file_id, position in connection.execute(_SQL["erased_without_event"]):
        verdict.faults.append((f"file {file_id}, leaf {position}", "it is marked as erased, and no event says so"))
    verdict.links, verdict.head = at, previous


def _file(connection: Any, storage: fs.FileSystem, one: ArchivedFile, verdict: Verdict) -> None:
    wrong = verify_file(connection, storage, one)
    if wrong and table.file(connection, one.file_id) != one:  # rewritten by an erasure while it was read
        one = table.file(connection, one.file_id)
        wrong = verify_file(connection, storage, one)
    verdict.faults += [(str(one), why) for why in wrong]
    verdict.files += 1
    verdict.rows += one.rows
    verdict.size_bytes += one.size_bytes
    if not one.manifest_written or one.replaces is not None:
        verdict.unfinished.append(str(one))
        return
    path = manifest_name(one.retention_class, one.utc_day, one.part)
    told = manifest(one, table.leaves(connection, one.file_id), table.events(connection, one.file_id))
    found = read_whole(storage, path)
    if found is None:
        verdict.faults.append((path, "the manifest is missing"))
    elif found != told:
        verdict.faults.append((path, "the manifest does not say what the table says: one of them was edited"))


def _unknown(storage: fs.FileSystem, known: list[ArchivedFile]) -> list[str]:
    names = {manifest_name(one.retention_class, one.utc_day, one.part) for one in known}
    names |= {path for one in known for path in (one.uri, one.replaces) if path is not None}
    return [path for path in listed(storage) if path not in names]
