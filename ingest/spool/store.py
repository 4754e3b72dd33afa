"""Edge: accepted records on disk, first in first out, until the broker has them.

SQLite keeps them: what `put` returned from is fsynced (WAL, synchronous=FULL) and outlives SIGKILL and a torn tail, for
a frame of the log whose checksum does not fit was never committed. The spool is bounded in bytes and in age, and a full
one refuses what is new: nothing that was accepted is ever dropped. One process owns a folder at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ingest.record import Record
from ingest.spool.reserve import BYTES as RESERVE_BYTES
from ingest.spool.reserve import Reserve, free_bytes
from ingest.topics import MAX_MESSAGE_BYTES, SAMPLES_BACKFILL
from ingest.transaction import transaction
from vitals.clock import US_PER_S
from vitals.errors import VigilError

FILE: Final = "spool.sqlite"
_VERSION: Final = 1
_PAGE_BYTES: Final = 4_096
_FULL, _LOCKED = {sqlite3.SQLITE_FULL}, {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_INSERT: Final = "INSERT INTO records (kept_us, size, topic, key, headers, value) VALUES (?, ?, ?, ?, ?, ?)"
_OLDEST_FIRST: Final = (
    "SELECT number, kept_us, size, topic, key, headers, value FROM records WHERE number > ? ORDER BY number LIMIT ?"
)


class SpoolError(VigilError):
    """The spool did not take a record; it is the sender's still."""


class SpoolFull(SpoolError):
    """The spool, or its disk, has no room, or its oldest record waits too long; the message says which bound."""


class SpoolUnusable(SpoolError):
    """The spool's file cannot be opened, read or written; the message says what to do. Nothing in it is deleted."""


@dataclass(frozen=True, slots=True)
class SpoolPolicy:
    """How much may wait (bytes of keys, headers and values), and how long before new records are refused."""

    max_bytes: int = 1 << 30
    max_age_s: float = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Spooled:
    """One record that waits: its place in the order, when it was kept, and the topic it goes to."""

    number: int
    kept_us: int
    size_bytes: int
    topic: str
    record: Record


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What waits. `oldest_age_s` is None where nothing does."""

    count: int
    size_bytes: int
    oldest_age_s: float | None


class Spool:
    """The spool in one folder. Any thread may call it; calls wait for each other, and for the disk."""

    def __init__(self, folder: Path, policy: SpoolPolicy | None = None) -> None:
        self._path = folder / FILE
        self._policy = policy or SpoolPolicy()
        self._reserve = Reserve(folder)
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._count = 0
        self._size_bytes = 0

    def open(self) -> None:
        """Open it, or make it, readable by its owner only. Raises `SpoolUnusable`."""
        with self._lock, _named():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._db = self._opened()
            except (sqlite3.OperationalError, OSError):
                if free_bytes(self._path.parent) > RESERVE_BYTES:
                    raise
                self._reserve.give_back()
                self._db = self._opened()
            self._reserve.keep()

    def _opened(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1.0)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        for pragma in (
            "locking_mode = EXCLUSIVE",  # first: whoever owns the file alone needs no shared memory on its disk
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            "synchronous = FULL",
            "secure_delete = ON",  # what the broker has shall not linger on the bridge's disk
            "journal_size_limit = 4194304",
            # Keys and free pages need room beside the payload; this bound holds whatever the counting below says.
            f"max_page_count = {64 + self._policy.max_bytes * 5 // 4 // _PAGE_BYTES}",
        ):
            db.execute(f"PRAGMA {pragma}")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in {0, _VERSION}:
            raise SpoolUnusable(f"the spool has format {version}, this Vigil writes {_VERSION}: drain it with that one")
        if version == 0:
            db.executescript(files(__package__).joinpath("schema.sql").read_text(encoding="utf-8"))
        self._count, self._size_bytes = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM records").fetchone()

    def close(self) -> None:
        """Close it; what waits stays."""
        with self._lock:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, records: Sequence[Record], *, now_us: int, topic: str = SAMPLES_BACKFILL) -> None:
        """Keep records, all or none, and return when they are on the disk.

        Raises `SpoolFull` where there is no room, `SpoolUnusable` where the disk fails, ValueError for a record that no
        broker would take, which could never leave again.
        """
        rows = [_row(record, now_us, topic) for record in records]
        added = sum(row[1] for row in rows)
        with self._lock:
            with self._transaction() as db:
                self._refuse_if_full(db, added, now_us)
                db.executemany(_INSERT, rows)
            self._count += len(rows)
            self._size_bytes += added

    def take(self, limit: int, limit_bytes: int = 8 * MAX_MESSAGE_BYTES, *, after: int = 0) -> list[Spooled]:
        """Return the oldest records behind the number `after`, in order: `limit` at most, at least one if there is one.

        They stay until they are dropped.
        """
        taken: list[Spooled] = []
        with self._transaction() as db:
            for row in db.execute(_OLDEST_FIRST, (after, limit)):
                taken.append(_spooled(*row))
                limit_bytes -= taken[-1].size_bytes
                if limit_bytes <= 0:
                    break
        return taken

    def drop(self, taken: Sequence[Spooled]) -> None:
        """Forget records that the broker has. Gives their room back to the disk once nothing waits."""
        with self._lock:
            try:
                self._forget(taken)
            except SpoolFull:  # the disk, to the last byte: with the reserve there is room for one after the other
                self._reserve.give_back()
                for one in taken:
                    self._checkpoint()
                    self._forget([one])
            if not self._count:
                self._shrink()
                self._reserve.keep()

    def _forget(self, taken: Sequence[Spooled]) -> None:
        with self._transaction() as db:
            db.executemany("DELETE FROM records WHERE number = ?", [(one.number,) for one in taken])
        self._count -= len(taken)
        self._size_bytes -= sum(one.size_bytes for one in taken)

    def state(self, now_us: int) -> SpoolState:
        """Return how much waits, and how long the oldest has."""
        with self._transaction() as db:
            kept_us = _oldest_us(db)
        age_s = None if kept_us is None else max(0.0, (now_us - kept_us) / US_PER_S)
        return SpoolState(self._count, self._size_bytes, age_s)

    def _refuse_if_full(self, db: sqlite3.Connection, added: int, now_us: int) -> None:
        bound = self._policy
        if self._size_bytes + added > bound.max_bytes:
            raise SpoolFull(f"the spool holds {self._size_bytes} of {bound.max_bytes} bytes and has no room for more")
        if free_bytes(self._path.parent) < RESERVE_BYTES + 2 * added:  # what is kept must also be able to go again
            raise SpoolFull("the spool's disk is full")
        kept_us = _oldest_us(db)
        if kept_us is not None and now_us - kept_us > bound.max_age_s * US_PER_S:
            raise SpoolFull(f"the spool's oldest record waits for more than {bound.max_age_s / 86_400:g} days")

    def _shrink(self) -> None:
        """Give free pages back. A disk that refuses this has lost nothing."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                # A script runs to its end: `execute` takes one step of this pragma, which is one page.
                self._db.executescript("PRAGMA incremental_vacuum;")
        self._checkpoint()

    def _checkpoint(self) -> None:
        """Bring the log into the file, and cut it."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.executescript("PRAGMA wal_checkpoint(TRUNCATE);")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _named():
            if self._db is None:
                raise SpoolUnusable("the spool is not open")
            with transaction(self._db) as db:
                yield db


def _row(record: Record, now_us: int, topic: str) -> tuple[int, int, str, bytes, str, bytes]:
    headers = json.dumps([[name, value.decode("latin-1")] for name, value in record.headers])
    size = len(record.key) + len(headers) + len(record.value)
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"a record has at most {MAX_MESSAGE_BYTES} bytes, not {size}")
    return now_us, size, topic, record.key, headers, record.value


def _spooled(number: int, kept_us: int, size: int, topic: str, key: bytes, headers: str, value: bytes) -> Spooled:
    pairs = tuple((name, text.encode("latin-1")) for name, text in json.loads(headers))
    return Spooled(number, kept_us, size, topic, Record(key, value, pairs))


def _oldest_us(db: sqlite3.Connection) -> int | None:
    row = db.execute("SELECT kept_us FROM records ORDER BY number LIMIT 1").fetchone()
    return None if row is None else int(row[0])


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Turn what SQLite and the file system say into errors of ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _in_words(error) from error
    except OSError as error:
        raise SpoolUnusable(f"the spool's folder cannot be used: {error.strerror}") from error


def _in_words(error: sqlite3.Error) -> SpoolError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind (https://sqlite.org/rescode.html)
    if code in _FULL:
        return SpoolFull("the spool's disk is full")
    if code in _LOCKED:
        return SpoolUnusable("another process uses this spool: give each a folder of its own")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return SpoolUnusable("the spool's file is damaged: move its folder away and keep it, then start again")
    return SpoolUnusable(f"the spool's disk fails ({getattr(error, 'sqlite_errorname', type(error).__name__)})")
