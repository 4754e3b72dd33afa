"""Edge: answers that were given, for a sender that asks again with the same Idempotency-Key.

They lie in SQLite beside the spool and outlive the process. Losing them is harmless: the same samples sent again are
known by their identity and stored once; the sender only hears another request id. So no answer waits for an fsync here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from ingest.gateway.policy import ReplyPolicy
from ingest.gateway.problems import Code, Refused
from vitals.clock import US_PER_S

log = structlog.get_logger(__name__)
FILE: Final = "replies.sqlite"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS replies (
    name BLOB PRIMARY KEY,  -- SHA-256 of token id and key: a key is the sender's own text
    request BLOB NOT NULL,  -- SHA-256 of what was sent
    made_us INTEGER NOT NULL,
    status INTEGER NOT NULL,
    answer BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS replies_by_age ON replies (made_us);
"""


_SUMS: Final = "SELECT count(*), coalesce(sum(length(answer)), 0) FROM replies"
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it was given."""

    status: int
    answer: bytes


class Replies:
    """The kept answers. A file that cannot be used means that nothing is kept, and is said once."""

    def __init__(self, folder: Path, policy: ReplyPolicy) -> None:
        self._path = folder / FILE
        self._policy = policy
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._count = self._bytes = 0
        self._under_way: set[bytes] = set()

    async def open(self) -> None:
        """Open the file, or make it, readable by its owner only."""
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Close it; what is kept stays."""
        await asyncio.to_thread(self._close)

    @contextlib.contextmanager
    def under_way(self, name: bytes) -> Iterator[None]:
        """Be the only request of this name. Raises `Refused` (409) where another is under way."""
        if name in self._under_way:
            raise Refused(409, Code.UNDER_WAY, "a request with this Idempotency-Key is under way", retry_after_s=1)
        self._under_way.add(name)
        try:
            yield
        finally:
            self._under_way.discard(name)

    async def find(self, name: bytes, request: bytes, now_us: int) -> Reply | None:
        """Return the answer this request got before. Raises `Refused` (422) where the name had another request."""
        row = await asyncio.to_thread(self._find, name, now_us)
        if row is None:
            return None
        sent, status, answer = row
        if sent != request:
            raise Refused(422, Code.KEY_REUSED, "this Idempotency-Key came with another request before: take a new one")
        return Reply(status, answer)

    async def keep(self, name: bytes, request: bytes, reply: Reply, now_us: int) -> None:
        """Keep an answer, and forget the oldest where there are too many."""
        if len(reply.answer) <= self._policy.most_answer_bytes:
            await asyncio.to_thread(self._keep, (name, request, now_us, reply.status, reply.answer))

    def _open(self) -> None:
        with self._lock, self._said():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            try:
                self._db = self._prepared()
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _BROKEN:
                    raise
                for suffix in ("", "-wal", "-shm"):  # what is in it can be done without
                    Path(f"{self._path}{suffix}").unlink(missing_ok=True)
                self._db = self._prepared()

    def _prepared(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1.0)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "journal_size_limit = 4194304"):
                db.execute(f"PRAGMA {pragma}")
            db.executescript(_SCHEMA)
            self._count, self._bytes = db.execute(_SUMS).fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def _close(self) -> None:
        with self._lock:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    def _find(self, name: bytes, now_us: int) -> tuple[bytes, int, bytes] | None:
        oldest_us = now_us - round(self._policy.keep_s * US_PER_S)
        with self._lock, self._said():
            if self._db is None:
                return None
            found: tuple[bytes, int, bytes] | None = self._db.execute(
                "SELECT request, status, answer FROM replies WHERE name = ? AND made_us > ?", (name, oldest_us)
            ).fetchone()
            return found
        return None

    def _keep(self, row: tuple[bytes, bytes, int, int, bytes]) -> None:
        with self._lock, self._said():
            db = self._db
            if db is None:
                return
            db.execute("BEGIN IMMEDIATE")
            try:
                self._forget(db, "name = ?", row[0])
                self._forget(db, "made_us <= ?", row[2] - round(self._policy.keep_s * US_PER_S))
                db.execute("INSERT INTO replies (name, request, made_us, status, answer) VALUES (?, ?, ?, ?, ?)", row)
                self._count, self._bytes = self._count + 1, self._bytes + len(row[4])
                while self._count > self._policy.most or self._bytes > self._policy.most_bytes:
                    self._forget(db, "name IN (SELECT name FROM replies ORDER BY made_us LIMIT ?)", 100)
            finally:
                db.execute("COMMIT")

    def _forget(self, db: sqlite3.Connection, which: str, value: bytes | int) -> None:
        gone = db.execute(f"DELETE FROM replies WHERE {which} RETURNING length(answer)", (value,)).fetchall()  # noqa: S608  no input
        self._count, self._bytes = self._count - len(gone), self._bytes - sum(size for (size,) in gone)

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            log.warning("gateway_replies_unusable", error=type(error).__name__)
            db, self._db = self._db, None
            if db is not None:
                with contextlib.suppress(sqlite3.Error):
                    db.close()


def name_of(holder: str, key: str) -> bytes:
    """Return under what an answer is kept: a key stays the same one when its sender's token is rotated."""
    return hashlib.sha256(f"{holder}\n{key}".encode()).digest()


def digest(body: bytes, *words: str) -> bytes:
    """Return what tells requests apart: the unpacked body, and the words around it that change what it means."""
    made = hashlib.sha256("\n".join(words).encode())
    made.update(b"\n\n")
    made.update(body)
    return made.digest()


def key_of(given: str | None) -> str | None:
    """Return a request's Idempotency-Key, None without one. Raises `Refused` (400) unless 1 to 255 visible ASCII."""
    if given is None:
        return None
    if not 1 <= len(given) <= 255 or any(not "!" <= letter <= "~" for letter in given):
        raise Refused(400, Code.BAD_KEY, "an Idempotency-Key has 1 to 255 visible ASCII characters")
    return given
