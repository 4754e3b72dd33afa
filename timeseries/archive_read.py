"""Edge: rows out of the archive: proved against their leaves, told in this database's keys; and files held against
their manifest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
from pyarrow import fs

from timeseries import archive_table as table
from timeseries.archive_chain import ArchiveDamaged, ArchivedFile
from timeseries.archive_file import faults, leaf_rows, read_back
from timeseries.archive_keys import KeysOfWords
from timeseries.archive_versions import standing
from timeseries.queries import load
from timeseries.rows import ROW, Rows

_SQL: Final = load("archive")


def files_of_day(connection: Any, retention_class: str, utc_day: date) -> list[ArchivedFile]:
    """Return the files of a class and UTC day in the order in which they were archived."""
    return table.files(connection, retention_class, utc_day, utc_day + timedelta(days=1))


def read_rows(
    connection: Any, storage: fs.FileSystem, retention_class: str, utc_day: date, patients: Sequence[int]
) -> Rows:
    """Return the standing version of each archived sample (tombstones too) of a class, UTC day and patient keys.

    Sorted by identity, with this database's keys. Every patient's rows are held against their hash on the way. Raises
    `ArchiveDamaged`.
    """
    return standing(versions_of(connection, storage, files_of_day(connection, retention_class, utc_day), patients))


def versions_of(
    connection: Any, storage: fs.FileSystem, files: Sequence[ArchivedFile], patients: Sequence[int]
) -> Rows:
    """Return every archived version of these patients' samples in these files, in the order of archiving.

    Memory: those rows. Raises `ArchiveDamaged`.
    """
    keys = KeysOfWords(connection)
    found = [
        keys.translated(part)
        for one in files
        for part in leaf_rows(storage, one, table.leaves(connection, one.file_id, patients))
    ]
    return np.concatenate(found) if found else np.empty(0, ROW)


def verify_file(connection: Any, storage: fs.FileSystem, one: ArchivedFile) -> list[str]:
    """Read a whole file and tell how it differs from its manifest; where it does not, note when it was verified."""
    held = table.leaves(connection, one.file_id)
    if one.uri is None:
        standing_leaves = any(leaf.erased_at is None for leaf in held)
        return ["its row names no file, and rows that nobody erased belong to it"] if standing_leaves else []
    started = table.now(connection)
    try:
        wrong = faults(one, held, read_back(storage, one.uri, held))
    except FileNotFoundError:
        return ["it is missing"]
    except ArchiveDamaged as damage:
        return [str(damage)]
    if not wrong:
        connection.execute(_SQL["set_verified"], {"file": one.file_id, "sha256": one.sha256, "now": started})
    return wrong
