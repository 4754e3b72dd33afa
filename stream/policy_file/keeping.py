"""Edge: which policy is in force: the newest that could be read; a wrong one leaves the one before in force."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import Counter

from stream.policy_file.faults import FileRefused
from stream.policy_file.policies import Policies, built_in, policies_of
from stream.policy_file.reading import read_bounded

log = structlog.get_logger(__name__)

RELOADS: Final = Counter("vigil_policy_reloads", "Policies that were looked at", ["outcome"])
_TOLD: Final = 10


class PolicyKeeper:
    """Holds the policy in force and judges what is offered in its place."""

    def __init__(self, policies: Policies | None = None) -> None:
        self.policies = policies or built_in()
        self._tried = ""

    async def offer(self, body: bytes, whence: str) -> bool:
        """Take over a text where it is right, and tell whether it is in force now. `whence` is for the log.

        What was tried before is not tried again.
        """
        digest = hashlib.sha256(body).hexdigest()
        if digest == self._tried:
            return False
        self._tried = digest
        try:
            self.policies = await asyncio.to_thread(lambda: policies_of(body, whence).prepared())
        except FileRefused as error:
            RELOADS.labels("refused").inc()
            for fault in error.faults[:_TOLD]:
                log.warning("policy_refused", source=whence, line=fault.line, field=fault.discreet, kind=fault.kind)
            return False
        RELOADS.labels("loaded").inc()
        log.info("policy_loaded", source=whence, version=self.policies.told)
        return True


class FileWatch:
    """Looks at a file: what it holds, once it has been the same at two looks (editors write in steps)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._given: tuple[int, int] | None = None

    def look(self) -> bytes | None:
        """Return what the file holds where that is new, None otherwise or while it cannot be read."""
        try:
            now = self._path.stat()
            seen = (now.st_mtime_ns, now.st_size)
            is_settled, self._seen = seen == self._seen or self._given is None, seen
            if seen == self._given or not is_settled:
                return None
            body = read_bounded(self._path)
        except OSError as error:
            if self._seen is not None:
                RELOADS.labels("unreadable").inc()
                log.warning("policy_file_unreadable", error=type(error).__name__)
            self._seen = None
            return None
        self._given = seen
        return body


def keep_copy(path: Path, body: bytes) -> None:
    """Write a copy for a start while the database is away; readable by this user only. Logs where it cannot."""
    try:
        if path.exists() and path.read_bytes() == body:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        log.warning("policy_copy_failed", error=type(error).__name__)


def read_copy(path: Path) -> bytes | None:
    """Return the copy that was kept, None without one."""
    try:
        return path.read_bytes()
    except OSError:
        return None
