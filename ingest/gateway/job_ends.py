"""What becomes of a job once the reading of its upload has ended, one way or another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ingest.gateway.job_book import Job, JobState
from ingest.gateway.ports import Unavailable
from vitals.clock import US_PER_S
from vitals.errors import VigilError

Task = asyncio.Task[Mapping[str, object]]
"""What reads an upload, and ends with its summary."""


@dataclass(frozen=True, slots=True)
class JobPolicy:
    """How many jobs may wait, how often one is tried, when its end is forgotten. Pauses double from `first_s`."""

    receiving: int = 4  # uploads under way at once
    waiting: int = 32  # unfinished jobs, uploads under way among them
    waiting_of_one: int = 8  # of one patient
    free_bytes: int = 512 << 20  # of the disk that uploads leave to others
    tries: int = 5
    first_s: float = 1.0
    longest_s: float = 60.0
    keep_s: float = 7 * 86_400.0
    look_every_s: float = 5.0


class Interrupted(VigilError):
    """Reading an upload ended before its end, for no fault of the upload that is known: it may be tried again."""


class CredentialsUnknown(Unavailable):
    """Whether whoever sent an upload may still send cannot be looked up now."""


class ImportFailed(VigilError):
    """An upload cannot be read (to its end). `code` is a word for programs, `summary` what became of its beginning."""

    def __init__(self, code: str, message: str, summary: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.code, self.summary = code, summary


def after(job: Job, task: Task, now_us: int, policy: JobPolicy) -> Job:
    """Return what a job becomes once the task that read its upload is done."""
    if task.cancelled():
        return replace(job, state=JobState.CANCELLED, ended_us=now_us)
    error = task.exception()
    if error is None:
        return replace(job, state=JobState.SUCCEEDED, ended_us=now_us, summary=task.result(), code="", detail="")
    age_s = (now_us - job.created_us) / US_PER_S
    if isinstance(error, Unavailable) and age_s < policy.keep_s:
        code = "credentials_unknown" if isinstance(error, CredentialsUnknown) else "broker_away"
        waiting = replace(job, state=JobState.QUEUED, tries=job.tries - 1, code=code, detail=str(error))
        return replace(waiting, again_us=now_us + _pause_us(policy, age_s / 4))
    if isinstance(error, Interrupted) and job.tries < policy.tries:
        waiting = replace(job, state=JobState.QUEUED, code="interrupted", detail=str(error))
        return replace(waiting, again_us=now_us + _pause_us(policy, policy.first_s * 2.0**job.tries))
    code, detail, summary = _why(error)
    return replace(job, state=JobState.FAILED, ended_us=now_us, code=code, detail=detail, summary=summary)


def _pause_us(policy: JobPolicy, pause_s: float) -> int:
    return round(max(policy.first_s, min(policy.longest_s, pause_s)) * US_PER_S)


def _why(error: BaseException) -> tuple[str, str, Mapping[str, object] | None]:
    if isinstance(error, ImportFailed):
        return error.code, str(error), error.summary
    if isinstance(error, Unavailable | Interrupted):
        return "given_up", str(error), None
    if isinstance(error, VigilError):
        return "not_readable", str(error), None
    return "internal", f"reading it failed in a way that nobody foresaw ({type(error).__name__})", None
