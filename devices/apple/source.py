"""Opens an export, `export.xml` or the zip around it, as a bounded stream of XML bytes and the ECG files beside it.

Of a zip only those members are opened: routes (`workout-routes/*.gpx`) are places, and are never read.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import SEEK_END, PathLike
from pathlib import Path
from typing import IO, BinaryIO, Final

from devices.errors import MalformedExport

CHUNK_BYTES: Final = 1 << 18
MAX_XML_BYTES: Final = 64 << 30
"""No export is larger: the largest seen are 1 to 2 GB."""
MAX_RATIO: Final = 250
"""Exports pack about 20 to 60 times; deflate can reach 1,032."""
_RATIO_FLOOR: Final = 64 << 20
_SNIFF_BYTES: Final = 1 << 17
_MAX_CANDIDATES: Final = 64
MAX_RECORDINGS: Final = 10_000
_ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
# What a damaged, encrypted or exotic archive raises from zipfile and its decompressors.
_ZIP_ERRORS: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)

ExportFile = str | PathLike[str] | BinaryIO


@dataclass(frozen=True, slots=True)
class ExportStream:
    """The XML of an export: `total` bytes as announced, how many may come at most, and the zip that they come from."""

    file: IO[bytes]
    total: int
    allowed: int
    archive: zipfile.ZipFile | None = None

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes. Raises `MalformedExport` where unpacking fails or gives more than is allowed."""
        done = 0
        while chunk := self._read(done):
            done += len(chunk)
            if done > self.allowed:
                raise MalformedExport(f"the export unpacks to more than {self.allowed} bytes, which it cannot be")
            yield chunk

    def _read(self, done: int) -> bytes:
        if self.archive is None:
            return self.file.read(CHUNK_BYTES)
        try:
            return self.file.read(CHUNK_BYTES)
        except _ZIP_ERRORS:
            # The cause is not chained: zipfile's messages quote member names.
            raise MalformedExport("the zip file is damaged: unpacking its export fails", offset=done) from None

    def recordings(self, max_bytes: int) -> Iterator[bytes | None]:
        """Yield what each ECG file of the zip holds, None for one that cannot be unpacked or has more than `max_bytes`.

        In the order of their names, which are dates; a csv file in a folder of the Mac's own is none.
        """
        members = [] if self.archive is None else [one for one in self.archive.infolist() if _is_recording(one)]
        for member in sorted(members, key=lambda one: one.filename)[:MAX_RECORDINGS]:
            yield self._unpacked(member, max_bytes)

    def _unpacked(self, member: zipfile.ZipInfo, max_bytes: int) -> bytes | None:
        try:
            with self.archive.open(member) as file:  # type: ignore[union-attr]  # there are members
                data = file.read(max_bytes + 1)
        except _ZIP_ERRORS:
            return None
        return data if len(data) <= max_bytes else None


def _is_recording(member: zipfile.ZipInfo) -> bool:
    name = member.filename.lower()
    return name.endswith(".csv") and member.file_size > 0 and not name.startswith("__macosx/")


@contextmanager
def open_export(source: ExportFile) -> Iterator[ExportStream]:
    """Open a path or a seekable binary file (left open). Raises `MalformedExport`, OSError where there is no file."""
    with ExitStack() as stack:
        file = stack.enter_context(Path(source).open("rb")) if isinstance(source, str | PathLike) else source
        total = file.seek(0, SEEK_END)
        file.seek(0)
        magic = file.read(4)
        file.seek(0)
        if not magic.startswith(_ZIP_MAGIC):
            yield ExportStream(file, total, MAX_XML_BYTES)
            return
        archive = stack.enter_context(_open_zip(file))
        member = _find_export(archive)
        allowed = min(MAX_XML_BYTES, max(_RATIO_FLOOR, MAX_RATIO * member.compress_size))
        if member.file_size > allowed:
            raise MalformedExport(f"the export says it unpacks to more than {allowed} bytes, which it cannot be")
        yield ExportStream(stack.enter_context(_open_member(archive, member)), member.file_size, allowed, archive)


def _open_zip(file: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _ZIP_ERRORS:
        raise MalformedExport("the zip file is cut short or damaged: its directory cannot be read") from None


def _find_export(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Find the member that is an export by what it holds: phones write its name in their own language."""
    candidates = [one for one in archive.infolist() if one.filename.lower().endswith(".xml") and one.file_size]
    candidates.sort(key=lambda one: (not one.filename.endswith("/export.xml"), -one.file_size))
    for member in candidates[:_MAX_CANDIDATES]:
        if b"<HealthData" in _head(archive, member):
            return member
    raise MalformedExport("the zip file holds no Apple Health export: no .xml member begins with HealthData")


def _head(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with _open_member(archive, member) as file:
        try:
            return file.read(_SNIFF_BYTES)
        except _ZIP_ERRORS:
            raise MalformedExport("the zip file is damaged: a member cannot be unpacked") from None


def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return archive.open(member)
    except _ZIP_ERRORS:
        raise MalformedExport("the zip file is damaged or encrypted: a member cannot be unpacked") from None
