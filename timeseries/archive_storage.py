"""Edge: where the archive's files lie: a folder or an S3-compatible store, through pyarrow.

A file appears whole or not at all. In a folder it is written under a temporary name, flushed to the disk and moved; in
S3 an upload shows when it is complete. Readers of data sets pass over names that begin with a dot or an underscore:
temporary files and manifests.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pyarrow as pa
from pyarrow import fs

from vitals.errors import VigilError

_READ_BYTES: Final = 1 << 20
_MANIFEST: Final = re.compile(r"_part-(\d{4,})\.json")
_DATA: Final = re.compile(r"part-(\d{4,})-[0-9a-f]{8}\.parquet")


class ArchiveUnreachable(VigilError):
    """The archive's folder or store cannot be used: the message says what pyarrow said of it."""


def open_storage(uri: str) -> fs.FileSystem:
    """Return the storage of a URI, rooted there: a path, `file:///...` or `s3://bucket/prefix?endpoint_override=...`.

    Credentials of S3 come from where AWS's tools take them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, a profile, the
    machine's role), never from the URI. Raises `ArchiveUnreachable`.
    """
    if "://" not in uri:
        uri = Path(uri).expanduser().absolute().as_uri()
    elif "@" in uri:  # anywhere: a secret may hold a slash, and what stands before it is no authority then
        raise ArchiveUnreachable("the archive's URI holds credentials: give them as AWS_ACCESS_KEY_ID and so on")
    try:
        base, path = fs.FileSystem.from_uri(uri)
        if isinstance(base, fs.LocalFileSystem):
            base.create_dir(path, recursive=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        told = str(error).replace(uri, "its URI")  # pyarrow repeats what it cannot read, whatever is in it
        raise ArchiveUnreachable(f"the archive cannot be opened: {type(error).__name__}: {told}") from None
    return fs.SubTreeFileSystem(path, base)


def folder_of(retention_class: str, utc_day: date) -> str:
    """Return where the files of a class and UTC day lie; readers take both from the path (Hive's way)."""
    return f"retention_class={retention_class}/utc_day={utc_day.isoformat()}"


def new_name(retention_class: str, utc_day: date, part: int) -> str:
    """Return a path for a part that no file ever had, so that nothing is ever written over."""
    return f"{folder_of(retention_class, utc_day)}/part-{part:04d}-{secrets.token_hex(4)}.parquet"


def manifest_name(retention_class: str, utc_day: date, part: int) -> str:
    """Return the path of a part's manifest."""
    return f"{folder_of(retention_class, utc_day)}/_part-{part:04d}.json"


def part_of(path: str) -> int:
    """Return which part a data file or manifest is, -1 for another file."""
    name = PurePosixPath(path).name
    found = _MANIFEST.fullmatch(name) or _DATA.fullmatch(name)
    return -1 if found is None else int(found[1])


def _local(storage: fs.FileSystem) -> Path | None:
    if isinstance(storage, fs.SubTreeFileSystem) and isinstance(storage.base_fs, fs.LocalFileSystem):
        return Path(storage.base_path)
    return None


def write_whole(storage: fs.FileSystem, path: str, write: Callable[[Any], None]) -> None:
    """Let `write` fill the file at `path`, which appears when it is complete and, in a folder, on the disk."""
    local = _local(storage)
    if local is None:
        _upload(storage, path, write)
        return
    target = local / path
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file, pa.PythonFile(file, mode="w") as sink:
            write(sink)
            sink.flush()
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    for folder in (target.parent, target.parent.parent):
        _sync_folder(folder)


def _upload(storage: fs.FileSystem, path: str, write: Callable[[Any], None]) -> None:
    try:
        with storage.open_output_stream(path, compression=None) as sink:
            write(sink)
    except BaseException:  # pyarrow cannot give an upload up: it ends it, and half a file would stand there
        with contextlib.suppress(OSError):
            remove(storage, path)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_whole(storage: fs.FileSystem, path: str) -> bytes | None:
    """Return a small file's bytes, or None if there is none."""
    try:
        with storage.open_input_stream(path, compression=None) as source:
            return bytes(source.read())
    except FileNotFoundError:
        return None


def size_of(storage: fs.FileSystem, path: str) -> int | None:
    """Return a file's bytes, or None if there is none."""
    found = storage.get_file_info(path)
    return int(found.size) if found.type == fs.FileType.File else None


def hash_of(storage: fs.FileSystem, path: str) -> bytes:
    """Return a file's SHA-256, read a MiB at a time. Raises FileNotFoundError."""
    digest = hashlib.sha256()
    with storage.open_input_stream(path, compression=None) as source:
        while piece := source.read(_READ_BYTES):
            digest.update(piece)
    return digest.digest()


def remove(storage: fs.FileSystem, path: str) -> None:
    """Remove a file; it may be gone already."""
    try:
        storage.delete_file(path)
    except FileNotFoundError:
        return


def listed(storage: fs.FileSystem, folder: str = "") -> list[str]:
    """Return the files below a folder, sorted; none where there is no such folder."""
    found = storage.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    return sorted(one.path for one in found if one.type == fs.FileType.File)


def left_over(storage: fs.FileSystem, files: Iterable[str], known: set[str]) -> list[str]:
    """Return which files a killed run left: temporary ones, and data that neither table nor manifest names.

    Data that a manifest names and the table does not are no left-over: the table may be older than the archive.
    """
    files = list(files)
    named = set(known)
    for path in files:
        if _MANIFEST.fullmatch(PurePosixPath(path).name):
            named.add(_named_by(read_whole(storage, path)))
    names = [(path, PurePosixPath(path).name) for path in files]
    return [
        path
        for path, name in names
        if (name.startswith(".part-") and name.endswith(".tmp"))
        or (name.startswith("._part-") and name.endswith(".tmp"))
        or (_DATA.fullmatch(name) and path not in named)
    ]


def _named_by(text: bytes | None) -> str:
    try:
        told = json.loads(text or b"{}")
    except ValueError:
        return ""
    return str(told.get("uri")) if isinstance(told, dict) else ""
