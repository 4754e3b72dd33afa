"""Edge: room on the spool's own disk, kept for the moment in which that is full.

Forgetting a record takes room too (a log is written before the file is changed). On a disk that somebody else has
filled to the last byte a spool could not be emptied, however well the broker is. So a file of zeros is kept beside it,
and given back to the disk when it is needed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from ingest.topics import MAX_MESSAGE_BYTES

BYTES: Final = 8 * MAX_MESSAGE_BYTES
"""Room for SQLite's log at its usual longest (4 MB), and for forgetting the largest record twice over."""


class Reserve:
    """The file in one folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "spool.reserve"

    def keep(self) -> None:
        """Take the room, where there is plenty; where not, a later call will."""
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size >= BYTES:
                return
            if free_bytes(self._path.parent) < 2 * BYTES:
                return
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(file, 0, BYTES)
            finally:
                os.close(file)

    def give_back(self) -> None:
        """Return the room to the disk."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def free_bytes(folder: Path) -> int:
    """Return how much the disk of a folder has left for this process. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
