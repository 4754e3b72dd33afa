"""Edge: a large body onto the disk: readable by its owner only, checked, and never more than the disk has room for."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from ingest.gateway.document_taking import DocumentCode
from ingest.gateway.problems import Code, Refused

_WRITE_BYTES: Final = 1 << 20
_LOOK_EVERY: Final = 64
"""After so many writes the disk is asked again: others write to it, too."""
_RETRY_S: Final = 600
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# RFC 9530, and the header that it took the place of.
_DIGESTS: Final = {
    "repr-digest": re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):"),
    "content-digest": re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):"),
    "digest": re.compile(r"(?:^|,)\s*sha-256=([A-Za-z0-9+/]{43}=)", re.IGNORECASE),
}


def told_digest(headers: Mapping[str, str]) -> bytes | None:
    """Return the SHA-256 that the sender tells of the body, None where it tells none."""
    for name, form in _DIGESTS.items():
        found = form.search(headers.get(name, ""))
        if found:
            return base64.b64decode(found[1])
    return None


def look_for_room(folder: Path, wanted: int, leave: int) -> None:
    """Raise `Refused` (503) unless `wanted` bytes fit on the disk and `leave` stay free."""
    if shutil.disk_usage(folder).free < wanted + leave:
        raise no_room()


def no_room() -> Refused:
    """Return the refusal of what the disk has no room for."""
    return Refused(503, DocumentCode.NO_ROOM, "there is no room for this upload; send it later", retry_after_s=_RETRY_S)


async def store(chunks: AsyncIterator[bytes], file: Path, *, leave: int, digest: bytes | None) -> int:
    """Write a body into a new file, fsynced, and return its size.

    Raises `Refused`: 503 for a disk that is full or fails, 422 where the bytes are not those that were digested, and
    whatever ends `chunks`. The file is the caller's to delete.
    """
    try:
        out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            size, found = await _write_all(chunks, out, file.parent, leave)
            await asyncio.to_thread(os.fsync, out)
        finally:
            os.close(out)
    except OSError as error:
        if error.errno in _FULL:
            raise no_room() from error
        raise Refused(503, Code.NOT_SAFE, "the upload cannot be kept now; send it later", retry_after_s=_RETRY_S) from (
            error
        )
    if digest is not None and found != digest:
        raise Refused(422, DocumentCode.DIGEST_MISMATCH, "the body is not what its digest says; send it again")
    return size


async def _write_all(chunks: AsyncIterator[bytes], out: int, folder: Path, leave: int) -> tuple[int, bytes]:
    digest, waiting, size, writes = hashlib.sha256(), bytearray(), 0, 0
    async for chunk in chunks:
        waiting += chunk
        size += len(chunk)
        if len(waiting) >= _WRITE_BYTES:
            await asyncio.to_thread(_write, out, bytes(waiting), digest)
            waiting.clear()
            writes += 1
            if writes % _LOOK_EVERY == 0:
                look_for_room(folder, 0, leave)
    await asyncio.to_thread(_write, out, bytes(waiting), digest)
    return size, digest.digest()


def _write(out: int, data: bytes, digest: hashlib._Hash) -> None:
    digest.update(data)
    left = memoryview(data)
    while left:
        left = left[os.write(out, left) :]
