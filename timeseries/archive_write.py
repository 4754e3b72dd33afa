"""Edge: one new file of the archive: rows out of `samples` in snapshots, into Parquet, read back, made known.

Only a patient's own rows must be of one snapshot, for what covers them is noted by patient; so a file takes many short
ones, and no vacuum waits for a day to be archived.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import numpy as np
import structlog
from pyarrow import fs

from timeseries import archive_table as table
from timeseries.archive_chain import ArchiveDamaged, Leaf
from timeseries.archive_file import FileWriter, read_back
from timeseries.archive_format import UnknownKey, Words
from timeseries.archive_leaf import LeafHash, LeafHasher
from timeseries.archive_read import files_of_day, versions_of
from timeseries.archive_storage import folder_of, listed, new_name, part_of, write_whole
from timeseries.archive_versions import not_in
from timeseries.queries import load
from timeseries.rows import COLUMNS, ROW, Rows, from_copy, to_copy
from vitals.errors import VigilError

log = structlog.get_logger(__name__)
_SQL: Final = load("archive")
_COLUMNS: Final = ", ".join(f"s.{name}" for name in COLUMNS)

FILE_ROWS: Final = 1 << 24
"""A file is closed before the patient who would take it beyond so many rows."""
BATCH_ROWS: Final = 1 << 19
"""So many rows, or one patient's day, are read in one snapshot."""
SLICE_ROWS: Final = 1 << 16
"""So many rows stand in memory in COPY's form."""

_EMPTY: Final = to_copy(np.empty(0, ROW))
_HEADER, _TRAILER = _EMPTY[:-2], _EMPTY[-2:]
_WIDTH: Final = len(to_copy(np.zeros(1, ROW))) - len(_EMPTY)


class UnknownWords(VigilError):
    """Samples name a patient, an origin or a metric that the tables lack: they cannot be archived, and stay."""


@dataclass(frozen=True, slots=True)
class Day:
    """What is being archived, from where, to where."""

    connection: Any
    storage: fs.FileSystem
    retention_class: str
    utc_day: date

    @property
    def values(self) -> dict[str, Any]:
        """Class and day as parameters of the queries."""
        return {"class": self.retention_class, "day": self.utc_day}


@dataclass(frozen=True, slots=True)
class Due:
    """A patient of whom `samples` hold something of the day that may not be archived, and whether the archive has
    rows of that day and patient already."""

    patient_key: int
    patient_id: str
    rows: int
    known: bool


@dataclass(slots=True)
class _Covered:
    """What was in `samples`, by patient, in the snapshots that were read."""

    patients: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    checksums: list[Any] = field(default_factory=list)


def due_patients(day: Day) -> list[Due]:
    """Return whose rows may lack in the archive, in the order of a file. Raises `UnknownWords`."""
    due = [Due(*row) for row in day.connection.execute(_SQL["due_patients"], day.values)]
    if any(one.patient_id is None for one in due):
        raise UnknownWords(f"samples of {day.utc_day} name patients that the tables lack: nothing of it is archived")
    return due


def by_file(due: Sequence[Due]) -> Iterator[list[Due]]:
    """Yield the patients of each file to write."""
    return _groups(due, FILE_ROWS, apart=False)


def _groups(due: Sequence[Due], at_most: int, *, apart: bool) -> Iterator[list[Due]]:
    """Yield neighbours with `at_most` rows together, or one with more; `apart` leaves those who are known alone."""
    group: list[Due] = []
    rows = 0
    for one in due:
        if group and (rows + one.rows > at_most or (apart and (one.known or group[-1].known))):
            yield group
            group, rows = [], 0
        group.append(one)
        rows += one.rows
    if group:
        yield group


def write_file(day: Day, due: Sequence[Due]) -> int | None:
    """Write one file, read it back and make it known; return its id, None if the archive had every row already.

    Raises `UnknownWords`, `ArchiveDamaged`, psycopg's and pyarrow's errors; then nothing is known of it.
    """
    covered, words = _Covered(), Words({one.patient_key: one.patient_id for one in due}, _metrics(day.connection))
    part = _next_part(day)
    uri = new_name(day.retention_class, day.utc_day, part)
    with closing(_fresh_rows(day, due, words, covered)) as fresh:  # the connection is in the middle of a COPY
        first = next(fresh, None)
        if first is not None:
            hashed = _write(day, uri, first, fresh, words)
    if first is not None:
        return _make_known(day, part, uri, hashed, covered)
    with day.connection.transaction():
        _put_coverage(day, covered)
    return None


def _write(day: Day, uri: str, first: Rows, rest: Iterator[Rows], words: Words) -> list[LeafHash]:
    hashed: list[LeafHash] = []

    def write(sink: Any) -> None:
        about = {"vigil.retention_class": day.retention_class, "vigil.utc_day": day.utc_day.isoformat()}
        with FileWriter(sink, LeafHasher(lambda _, _patient: secrets.token_bytes(16)), about) as writer:
            writer.add(first, words)
            for rows in rest:
                writer.add(rows, words)
            hashed.extend(writer.close(words))

    try:
        write_whole(day.storage, uri, write)
    except UnknownKey as key:
        raise UnknownWords(
            f"samples of {day.utc_day} name an origin or a metric, number {key}, that the tables lack: nothing of it "
            "is archived"
        ) from None
    return hashed


def _make_known(day: Day, part: int, uri: str, hashed: Sequence[LeafHash], covered: _Covered) -> int:
    held = [Leaf(one.position, one.patient_key, one.patient_id, one.rows, one.sha256, one.salt) for one in hashed]
    found = read_back(day.storage, uri, held)
    if found.leaves != list(hashed):
        raise ArchiveDamaged(f"{uri} came back otherwise than it was written: the storage cannot be trusted")
    with day.connection.transaction():
        file_id = table.append_file(day.connection, day.retention_class, day.utc_day, part, uri, found, held)
        _put_coverage(day, covered)
    log.info(
        "archive_file_written", retention_class=day.retention_class, utc_day=day.utc_day.isoformat(), part=part,
        rows=found.rows, size_bytes=found.size_bytes,
    )  # fmt: skip
    return file_id


def _put_coverage(day: Day, covered: _Covered) -> None:
    columns = {"patients": covered.patients, "rows": covered.rows, "checksums": covered.checksums}
    day.connection.execute(_SQL["put_coverage"], day.values | columns)


def _next_part(day: Day) -> int:
    """The next number that neither the table nor a manifest of a table that is lost has given away."""
    parts = [part_of(path) for path in listed(day.storage, folder_of(day.retention_class, day.utc_day))]
    known = day.connection.execute(_SQL["next_part"], day.values).fetchone()[0]
    return max(int(known), max(parts, default=-1) + 1)


def _metrics(connection: Any) -> dict[int, tuple[str, str]]:
    return {key: (code, unit) for key, code, unit in connection.execute(_SQL["metrics"])}


def _fresh_rows(day: Day, due: Sequence[Due], words: Words, covered: _Covered) -> Generator[Rows, None, None]:
    """Yield, in the order of a file, what of these patients the archive has not, and note what `samples` held."""
    for batch in _groups(due, BATCH_ROWS, apart=True):
        if batch[0].known:
            files = files_of_day(day.connection, day.retention_class, day.utc_day)
            archived = versions_of(day.connection, day.storage, files, [batch[0].patient_key])
            rows = np.concatenate([np.empty(0, ROW), *_snapshot(day, batch, words, covered)])
            rows = rows[not_in(rows, archived)]
            if len(rows):
                yield rows
        else:
            yield from _snapshot(day, batch, words, covered)


def _snapshot(day: Day, due: Sequence[Due], words: Words, covered: _Covered) -> Generator[Rows, None, None]:
    """Yield the rows of these patients in slices, and note what they come to, both as one snapshot has them."""
    values = day.values | {"patients": [one.patient_key for one in due]}
    count = 0
    with day.connection.transaction():
        day.connection.execute(_SQL["one_snapshot"])
        held = day.connection.execute(_SQL["held_of_patients"], values).fetchall()
        for key, device, app in day.connection.execute(_SQL["origins_of_patients"], values):
            words.origins[key] = (device, app)
        for rows in _copied(day.connection, values):
            count += len(rows)
            yield rows
    if count != sum(rows for _, rows, _ in held):
        raise ArchiveDamaged(f"the database told of {day.utc_day} two things in one snapshot; nothing was archived")
    for patient, rows_held, checksum in held:
        covered.patients.append(patient)
        covered.rows.append(rows_held)
        covered.checksums.append(checksum)


def _copied(connection: Any, values: dict[str, Any]) -> Generator[Rows, None, None]:
    """Yield what COPY tells, in slices of fixed size: the wire form of a row has one width."""
    statement = f"COPY ({_SQL['rows_of_patients'].format(columns=_COLUMNS)}) TO STDOUT (FORMAT BINARY)"
    held: list[bytes] = []
    size = -len(_HEADER)
    with connection.cursor() as cursor, cursor.copy(statement, values) as copy:
        for message in copy:
            held.append(bytes(message))
            size += len(message)
            if size >= SLICE_ROWS * _WIDTH:
                told = b"".join(held).removeprefix(_HEADER)
                whole = size // _WIDTH * _WIDTH
                yield from_copy(_HEADER + told[:whole] + _TRAILER)
                held, size = [_HEADER, told[whole:]], size - whole
    told = b"".join(held)
    if len(told) > len(_EMPTY):
        yield from_copy(told)
