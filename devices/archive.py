"""Opens the zip files that services hand out: every member bounded, nothing written to disk, no name repeated."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import SEEK_END, PathLike
from pathlib import Path
from typing import BinaryIO, Final, cast

from devices.adapter import Source
from devices.errors import MalformedExport

ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
MAX_MEMBER_BYTES: Final = 64 << 20
"""No member that is read whole is larger: a day of Fitbit is 2 MB, a FIT file of a day's ride 10 MB."""
_MAX_DIRECTORY_BYTES: Final = 64 << 20
_MAX_RATIO: Final = 250
"""Exports pack 10 to 60 times; deflate can reach 1,032."""
_RATIO_FLOOR: Final = 256 << 20
_TAIL_BYTES: Final = 65_535 + 22 + 20 + 56
# What a damaged, encrypted or exotic archive raises from zipfile and its decompressors.
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError, struct.error,
    AttributeError,  # zipfile's, for a seek in a member that has ended
)  # fmt: skip


class DamagedMember(Exception):
    """One member of an archive cannot be read; the archive may go on."""


class Archive:
    """The members of a zip file, in the order in which they lie in it."""

    def __init__(self, archive: zipfile.ZipFile, packed_bytes: int) -> None:
        self._archive = archive
        self._left = max(_RATIO_FLOOR, _MAX_RATIO * packed_bytes)

    def members(self) -> list[zipfile.ZipInfo]:
        """Return the files in it; their names may hold a person's."""
        # Not is_dir, which trips over a member without a name.
        found = [one for one in self._archive.infolist() if not one.filename.endswith("/")]
        return sorted(found, key=lambda one: one.header_offset)

    def read(self, member: zipfile.ZipInfo) -> bytes:
        """Return a member. Raises `DamagedMember`, `MalformedExport` where the archive unpacks beyond reason."""
        try:
            with self._archive.open(member) as file:
                data = file.read(MAX_MEMBER_BYTES + 1)
        except _ZIP_ERRORS:
            raise DamagedMember from None  # zipfile's messages quote member names
        self._left -= len(data)
        if len(data) > MAX_MEMBER_BYTES or self._left < 0:
            raise MalformedExport("the zip file unpacks to more than it can hold")
        return data

    @contextmanager
    def inner(self, member: zipfile.ZipInfo) -> Iterator[Archive]:
        """Open a zip file within this one. Raises `DamagedMember`."""
        reach = max(_RATIO_FLOOR, _MAX_RATIO * member.compress_size)
        if member.file_size > reach:  # to find its directory, all of it is unpacked once
            raise DamagedMember
        with ExitStack() as stack:
            try:
                file = cast(BinaryIO, stack.enter_context(self._archive.open(member)))
                archive = stack.enter_context(_open(file, member.file_size))
            except (*_ZIP_ERRORS, MalformedExport):
                raise DamagedMember from None
            yield Archive(archive, member.file_size)


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """Open a path, or rewind a seekable binary file, which is left open."""
    with ExitStack() as stack:
        file = stack.enter_context(Path(source).open("rb")) if isinstance(source, str | PathLike) else source
        file.seek(0)
        yield file


@contextmanager
def open_archive(source: Source) -> Iterator[Archive]:
    """Open a zip file. Raises `MalformedExport` for what is none, OSError where there is no file."""
    with opened(source) as file:
        total = file.seek(0, SEEK_END)
        file.seek(0)
        if not file.read(4).startswith(ZIP_MAGIC):
            raise MalformedExport("not a zip file: the service's export is expected as it was downloaded")
        with ExitStack() as stack:
            try:
                archive = stack.enter_context(_open(file, total))
            except _ZIP_ERRORS:
                raise MalformedExport("the zip file is cut short or damaged: its directory cannot be read") from None
            yield Archive(archive, total)


def _open(file: BinaryIO, total: int) -> zipfile.ZipFile:
    if _directory_bytes(file, total) > _MAX_DIRECTORY_BYTES:
        raise MalformedExport("the zip file has more members than an export can have")
    return zipfile.ZipFile(file)


def _directory_bytes(file: BinaryIO, total: int) -> int:
    """Return how long the directory says that it is: zipfile would read it whole."""
    file.seek(max(0, total - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    file.seek(0)
    at, at_64 = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    sizes = [int.from_bytes(tail[at + 12 : at + 16], "little")] if at >= 0 else []
    if sizes == [0xFFFF_FFFF]:
        sizes = []
    if at_64 >= 0:
        sizes.append(int.from_bytes(tail[at_64 + 40 : at_64 + 48], "little"))
    return max(sizes, default=0)
