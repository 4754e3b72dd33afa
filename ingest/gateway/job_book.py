"""Edge: which exports wait to be read, which is being read, and how those before ended: kept on disk.

SQLite rather than a file for each job: the change from one state to the next is one transaction, so that whoever comes
first, the end of a job or its cancellation, stays; and the book of a killed gateway is whole. One process has it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Final

from ingest.transaction import transaction
from vitals.errors import VigilError
from vitals.ids import PatientId

FILE: Final = "jobs.sqlite"
_VERSION: Final = 1


class JobsUnusable(VigilError):
    """The book of jobs cannot be read or written now; the message says what to do."""


class JobState(StrEnum):
    """What a job is doing, or how it ended."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self in _ENDS


_ENDS: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Job:
    """One uploaded export. Times are microseconds UTC; `code` and `detail` say why it failed, or last did.

    `holder`: of the credential that sent it (`vitals.access.Principal.holder`), empty where nobody's is asked for.
    """

    job_id: str
    patient_id: PatientId
    adapter: str
    zone: str
    size_bytes: int
    created_us: int
    state: JobState = JobState.QUEUED
    tries: int = 0
    again_us: int = 0
    started_us: int | None = None
    ended_us: int | None = None
    summary: Mapping[str, object] | None = None
    code: str = ""
    detail: str = ""
    holder: str = ""


_COLUMNS: Final = tuple(one.name for one in fields(Job))
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM jobs"  # noqa: S608  names of our own
_INSERT: Final = f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_UPDATE: Final = """
    UPDATE jobs SET state = ?, tries = ?, again_us = ?, started_us = ?, ended_us = ?, summary = ?, code = ?, detail = ?
    WHERE job_id = ? AND ended_us IS NULL
"""


class JobBook:
    """The jobs in one folder. Any thread may call it; calls wait for each other, and for the disk.

    Everything raises `JobsUnusable` where the disk fails, or the book is not open.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._db is not None

    def open(self) -> None:
        """Open it, or make it, readable by its owner only. What was running waits again: its process is gone."""
        with self._lock, _named():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1.0)
            try:
                _prepare(db)
                db.execute("UPDATE jobs SET state = ? WHERE ended_us IS NULL", (JobState.QUEUED,))
            except BaseException:
                db.close()
                raise
            self._db = db

    def close(self) -> None:
        """Close it; what waits stays."""
        with self._lock:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    def add(self, job: Job) -> None:
        """Keep a new job, and return when it is on the disk."""
        row = list(astuple(job))
        row[_COLUMNS.index("summary")] = _packed(job.summary)
        with self._transaction() as db:
            db.execute(_INSERT, row)

    def get(self, job_id: str) -> Job | None:
        """Return a job, None where there is none of this id."""
        return self._one(f"{_SELECT} WHERE job_id = ?", job_id)

    def ready(self, now_us: int) -> Job | None:
        """Return the oldest job that may be begun now."""
        where = "WHERE ended_us IS NULL AND state = 'queued' AND again_us <= ? ORDER BY number LIMIT 1"
        return self._one(f"{_SELECT} {where}", now_us)

    def save(self, job: Job) -> bool:
        """Write down what became of a job; False where it had ended already, which stays."""
        values = (
            job.state, job.tries, job.again_us, job.started_us, job.ended_us, _packed(job.summary), job.code,
            job.detail, job.job_id,
        )  # fmt: skip
        with self._transaction() as db:
            return db.execute(_UPDATE, values).rowcount > 0

    def unfinished(self) -> list[tuple[str, PatientId]]:
        """Return (job, patient) of all that waits or runs."""
        with self._transaction() as db:
            rows = db.execute("SELECT job_id, patient_id FROM jobs WHERE ended_us IS NULL").fetchall()
        return [(job_id, PatientId(patient)) for job_id, patient in rows]

    def forget(self, before_us: int) -> int:
        """Drop jobs that ended before then, and return how many."""
        with self._transaction() as db:
            return db.execute("DELETE FROM jobs WHERE ended_us < ?", (before_us,)).rowcount

    def _one(self, query: str, value: object) -> Job | None:
        with self._transaction() as db:
            row = db.execute(query, (value,)).fetchone()
        return None if row is None else _job(dict(zip(_COLUMNS, row, strict=True)))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _named():
            if self._db is None:
                raise JobsUnusable("the book of jobs is not open")
            with transaction(self._db) as db:
                yield db


def _prepare(db: sqlite3.Connection) -> None:
    for pragma in (
        "auto_vacuum = FULL",
        "locking_mode = EXCLUSIVE",
        "journal_mode = WAL",
        "synchronous = FULL",
        "secure_delete = ON",
        "journal_size_limit = 1048576",
    ):
        db.execute(f"PRAGMA {pragma}")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version not in {0, _VERSION}:
        raise JobsUnusable(f"the book of jobs has format {version}, this Vigil writes {_VERSION}: use that one")
    if version == 0:
        db.executescript(files(__package__).joinpath("jobs.sql").read_text(encoding="utf-8"))


def _packed(summary: Mapping[str, object] | None) -> str | None:
    return None if summary is None else json.dumps(summary)


def _job(row: dict[str, object]) -> Job:
    summary = row.pop("summary")
    told = None if summary is None else json.loads(str(summary))
    return Job(**{**row, "state": JobState(str(row["state"])), "summary": told})  # type: ignore[arg-type]


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise JobsUnusable(f"the book of jobs cannot be used ({name}): look at its disk, or who else has it") from error
    except OSError as error:
        raise JobsUnusable(f"the folder of jobs cannot be used: {error.strerror}") from error
