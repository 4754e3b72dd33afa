"""Edge: samples into Parquet files that are read back before anybody relies on them, and out of them again.

Each file is a step by itself: written, read back, then made known in one transaction with what it covers. A run that
is killed leaves at most a file that nobody names, and the next run of that day removes it. `samples` are only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final, Self

from psycopg.pq import TransactionStatus
from pyarrow import fs

from timeseries import archive_table as table
from timeseries.archive_chain import ArchiveDamaged, ArchivedFile
from timeseries.archive_read import files_of_day, read_rows, verify_file
from timeseries.archive_storage import open_storage, size_of
from timeseries.archive_table import UnknownClass
from timeseries.archive_write import Day, by_file, due_patients, write_file
from timeseries.queries import load
from timeseries.rows import Rows

__all__ = ["ParquetArchive", "UnknownClass", "archive_day", "is_covered", "read_rows"]

_SQL: Final = load("archive")
RECHECK: Final = timedelta(days=1)


class ParquetArchive:
    """The archive as the lifecycle speaks of it: a storage, and what can be asked of it."""

    def __init__(self, storage: fs.FileSystem) -> None:
        self.storage = storage

    @classmethod
    def at(cls, uri: str) -> Self:
        """Return the archive at a URI (see `archive_storage.open_storage`). Raises `ArchiveUnreachable`."""
        return cls(open_storage(uri))

    def archive_day(self, connection: Any, retention_class: str, utc_day: date) -> None:
        """See `archive_day`."""
        archive_day(connection, self.storage, retention_class, utc_day)

    def read_rows(self, connection: Any, retention_class: str, utc_day: date, patients: Sequence[int]) -> Rows:
        """See `read_rows`."""
        return read_rows(connection, self.storage, retention_class, utc_day, patients)


def archive_day(
    connection: Any, storage: fs.FileSystem, retention_class: str, utc_day: date, *, recheck: timedelta = RECHECK
) -> list[ArchivedFile]:
    """Write what `samples` hold of a class and UTC day and no file has; return the new files, verified.

    Files that are there are read again if that was longer ago than `recheck`. `connection` is in autocommit mode.
    Memory: two slices, a few row groups and a leaf a patient; of a patient of whom the archive has rows of that day
    already, the day. Raises `UnknownClass`, `UnknownWords`, `ArchiveDamaged`, `ArchiveBusy`, psycopg's and pyarrow's
    errors; whatever is raised, nothing is lost and the call may be repeated.
    """
    _may_begin(connection, retention_class)
    day = Day(connection, storage, retention_class, utc_day)
    with table.turn(connection):
        table.finish(connection, storage)
        table.tidy(connection, storage, retention_class, utc_day)
        _recheck(day, recheck)
        written = [write_file(day, group) for group in by_file(due_patients(day))]
        table.finish(connection, storage)
    return [table.file(connection, file_id) for file_id in written if file_id is not None]


def is_covered(connection: Any, retention_class: str, utc_day: date) -> bool:
    """Tell whether every row that `samples` hold of this class and UTC day is in files that were read back of late.

    It speaks of the snapshot of its statement: whoever drops rows by it locks writers out before, or asks in the
    snapshot that drops.
    """
    return bool(connection.execute(_SQL["covers"], {"class": retention_class, "day": utc_day}).fetchone()[0])


def _may_begin(connection: Any, retention_class: str) -> None:
    if connection.info.transaction_status is not TransactionStatus.IDLE or not connection.autocommit:
        raise ValueError("archiving takes a connection in autocommit mode, outside a transaction")
    table.check_class(connection, retention_class)


def _recheck(day: Day, recheck: timedelta) -> None:
    stale = table.now(day.connection) - recheck
    for one in files_of_day(day.connection, day.retention_class, day.utc_day):
        if one.uri is None:
            continue
        wrong = verify_file(day.connection, day.storage, one) if one.verified_at < stale else _standing(day, one)
        if wrong:
            raise ArchiveDamaged(f"the archived file {one}: {'; '.join(wrong)}")


def _standing(day: Day, one: ArchivedFile) -> list[str]:
    size = size_of(day.storage, one.uri or "")
    return ["it is missing"] if size is None else [] if size == one.size_bytes else ["it has another size"]
