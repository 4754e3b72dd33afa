"""Edge: one Parquet file of the archive, written and read a row group at a time.

A row group has 65,536 rows (three quarters of a day at 1 Hz): its statistics let a reader pass over all others when it
asks for a patient, a metric or some hours. Memory, writing or reading, is a few row groups, whatever the file's size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from timeseries.archive_chain import ArchiveDamaged, ArchivedFile, Leaf
from timeseries.archive_format import SCHEMA, WORDS, Slice, Words, from_arrow, slice_of, to_arrow
from timeseries.archive_leaf import LeafHash, LeafHasher
from timeseries.archive_storage import hash_of, size_of
from timeseries.rows import Rows
from vitals.clock import to_datetime

GROUP_ROWS: Final = 65_536
_PAGE_BYTES: Final = 128 * 1024
# Words and small numbers repeat: dictionaries. Times and durations grow by steps that are alike: deltas.
_DELTA: Final = dict.fromkeys(("time", "duration_ms", "written_at", "received_at"), "DELTA_BINARY_PACKED")
_DICTIONARY: Final = [name for name in SCHEMA.names if name not in _DELTA]
_SORTED_BY: Final = ("patient_id", "metric_key", "origin_key", "time", "duration_ms")
_UNREADABLE: Final = (OSError, pa.ArrowException, ValueError, LookupError)


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file: rows, size, first and last time (None without rows), hash of the file, leaves."""

    rows: int
    size_bytes: int
    min_time: datetime | None
    max_time: datetime | None
    sha256: bytes
    leaves: list[LeafHash]


class Extent:
    """The first and last time of rows that pass by, and their number."""

    def __init__(self) -> None:
        self.rows = 0
        self._bounds: list[int] = []

    def add(self, rows: Rows) -> None:
        """Take some rows."""
        self.rows += len(rows)
        if len(rows):
            times = [*self._bounds, int(rows["time"].min()), int(rows["time"].max())]
            self._bounds = [min(times), max(times)]

    @property
    def times(self) -> tuple[datetime | None, datetime | None]:
        """First and last time."""
        return (to_datetime(self._bounds[0]), to_datetime(self._bounds[1])) if self._bounds else (None, None)


class FileWriter:
    """Writes rows, which come in the order of the file, into row groups of equal size, and hashes the leaves."""

    def __init__(self, sink: Any, hasher: LeafHasher, about: Mapping[str, str]) -> None:
        """Write to an open stream; `about` goes into the file's metadata."""
        schema = SCHEMA.with_metadata({**(SCHEMA.metadata or {}), **about})
        sorting = [pq.SortingColumn(SCHEMA.get_field_index(name)) for name in _SORTED_BY]
        self._writer = pq.ParquetWriter(
            sink, schema, version="2.6", compression="zstd", compression_level=3, use_dictionary=_DICTIONARY,
            column_encoding=_DELTA, write_statistics=True, write_page_index=True, write_page_checksum=True,
            sorting_columns=sorting, data_page_size=_PAGE_BYTES,
        )  # fmt: skip
        self._schema = schema
        self._hasher = hasher
        self._held: list[Rows] = []
        self._count = 0
        self.extent = Extent()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of a file that nobody wants any more; one that was closed is as it is."""
        with contextlib.suppress(OSError, ValueError, pa.ArrowException):
            self._writer.close()

    def add(self, rows: Rows, words: Words) -> None:
        """Take the next rows. Raises `UnknownKey` for a key without a word."""
        self._held.append(rows)
        self._count += len(rows)
        while self._count >= GROUP_ROWS:
            everything = np.concatenate(self._held)
            self._group(slice_of(everything[:GROUP_ROWS], words))
            self._held = [everything[GROUP_ROWS:].copy()]
            self._count = len(self._held[0])

    def add_slice(self, part: Slice) -> None:
        """Take the rows of another file, as a row group of its own."""
        if len(part.rows):
            self._group(part)

    def close(self, words: Words | None = None) -> list[LeafHash]:
        """Write what is held, end the file and return its leaves."""
        if self._count and words is not None:
            self._group(slice_of(np.concatenate(self._held), words))
        self._writer.close()
        return self._hasher.finish()

    def _group(self, part: Slice) -> None:
        self._hasher.add(part)
        self.extent.add(part.rows)
        self._writer.write_table(
            to_arrow(part).replace_schema_metadata(self._schema.metadata), row_group_size=GROUP_ROWS
        )


def slices(storage: fs.FileSystem, path: str, patients: Collection[str] | None = None) -> Iterator[Slice]:
    """Yield a file's rows, a row group at a time; with `patients`, only theirs, from the groups that can hold them.

    Raises FileNotFoundError, and `ArchiveDamaged` where the bytes are no file of ours.
    """
    wanted = None if patients is None else frozenset(patients)
    with storage.open_input_file(path) as source:
        try:
            file = pq.ParquetFile(source, read_dictionary=list(WORDS), page_checksum_verification=True)
            for group in range(file.metadata.num_row_groups):
                if wanted is None or _may_hold(file.metadata.row_group(group), wanted):
                    part = from_arrow(file.read_row_group(group, use_threads=False))
                    yield part if wanted is None else part.of_patients(wanted)
        except _UNREADABLE as error:
            raise ArchiveDamaged(f"{path} cannot be read as a file of the archive: {type(error).__name__}") from error


def _may_hold(group: Any, patients: frozenset[str]) -> bool:
    found = group.column(SCHEMA.get_field_index("patient_id")).statistics
    if found is None or not found.has_min_max:
        return True
    return any(found.min <= patient <= found.max for patient in patients)


def read_back(storage: fs.FileSystem, path: str, leaves: Collection[Leaf]) -> Content:
    """Read a whole file and return what is in it, hashed with the salts of these leaves.

    Raises FileNotFoundError, and `ArchiveDamaged` where it cannot be read or tells of a patient without a leaf.
    """
    salts = {leaf.patient_id: leaf.salt for leaf in leaves if leaf.salt is not None}
    hasher = LeafHasher(lambda _, patient: _salt(salts, patient, path))
    extent = Extent()
    sha256, size = hash_of(storage, path), size_of(storage, path) or 0
    for part in slices(storage, path):
        hasher.add(part)
        extent.add(part.rows)
    try:
        found = hasher.finish()
    except ValueError as error:
        raise ArchiveDamaged(f"{path}: {error}") from None
    return Content(extent.rows, size, *extent.times, sha256, found)


def _salt(salts: Mapping[str | None, bytes], patient: str, path: str) -> bytes:
    if patient not in salts:
        raise ArchiveDamaged(f"{path} tells of a patient whom its manifest does not name")
    return salts[patient]


def faults(file: ArchivedFile, leaves: Collection[Leaf], found: Content) -> list[str]:
    """Return in words how a file's content differs from its manifest; nothing: it does not. Pure."""
    told = [
        ("size", file.size_bytes, found.size_bytes), ("SHA-256", file.sha256, found.sha256),
        ("number of rows", file.rows, found.rows),
        ("first time", file.min_time, found.min_time), ("last time", file.max_time, found.max_time),
    ]  # fmt: skip
    wrong = [f"its {what} is not what the manifest says" for what, expected, seen in told if expected != seen]
    standing = [leaf for leaf in leaves if leaf.erased_at is None]
    if [leaf.patient_id for leaf in standing] != [leaf.patient_id for leaf in found.leaves]:
        return [*wrong, "it holds other patients than the manifest says"]
    differ = [
        leaf.position
        for leaf, seen in zip(standing, found.leaves, strict=True)
        if (leaf.sha256, leaf.rows) != (seen.sha256, seen.rows)
    ]
    return wrong + [f"the rows of leaf {position} are not those that were archived" for position in differ]


def leaf_rows(storage: fs.FileSystem, file: ArchivedFile, leaves: Collection[Leaf]) -> list[Slice]:
    """Return the rows of these leaves of a file, each leaf held against its hash; none where the file has none left.

    Raises `ArchiveDamaged` for a file that is missing, unreadable or holds something else of them.
    """
    standing = {leaf.patient_id: leaf for leaf in leaves if leaf.patient_id is not None and leaf.salt is not None}
    if file.uri is None or not standing:
        return []
    hasher = LeafHasher(lambda _, patient: standing[patient].salt or b"")
    found = []
    try:
        for part in slices(storage, file.uri, standing.keys()):
            hasher.add(part)
            found.append(part)
    except FileNotFoundError:
        raise ArchiveDamaged(f"the archived file {file} is missing") from None
    told = {leaf.patient_id: leaf.sha256 for leaf in hasher.finish()}
    if told != {patient: leaf.sha256 for patient, leaf in standing.items()}:
        raise ArchiveDamaged(f"the archived file {file} holds other rows than were archived")
    return found
