"""Edge: GET and DELETE /v1/jobs/{id}: how far the reading of an upload has come, and its end before its time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from ingest.gateway.document_taking import patient_of
from ingest.gateway.door import json_answer, principal_of
from ingest.gateway.job_book import Job, JobState, JobsUnusable
from ingest.gateway.jobs import Jobs
from ingest.gateway.problems import Code, Refused, of_status
from vitals.clock import to_datetime

_RETRY_S = 30


def show_job(jobs: Jobs) -> Callable[[Request], Awaitable[Response]]:
    """Return the route that tells of a job."""

    async def route(request: Request) -> Response:
        job = await _job(request, jobs)
        return json_answer(told(job, jobs.progress(job), request.state.request_id))

    return route


def cancel_job(jobs: Jobs) -> Callable[[Request], Awaitable[Response]]:
    """Return the route that ends a job and deletes its upload; one that has ended stays as it is."""

    async def route(request: Request) -> Response:
        job = await _job(request, jobs)
        try:
            await jobs.cancel(job)
        except JobsUnusable as error:
            raise _unusable() from error
        now = await _job_again(jobs, job)
        return json_answer(told(now, jobs.progress(now), request.state.request_id))

    return route


async def _job(request: Request, jobs: Jobs) -> Job:
    """Return the job that is asked for. Raises `Refused`: 404 also for another patient's, which is as good as none."""
    patient = patient_of(await principal_of(request))
    job = await _found(jobs, request.path_params["job_id"])
    if job is None or job.patient_id != patient:
        raise of_status(404)
    return job


async def _job_again(jobs: Jobs, job: Job) -> Job:
    found = await _found(jobs, job.job_id)
    return job if found is None else found


async def _found(jobs: Jobs, job_id: str) -> Job | None:
    try:
        return await jobs.get(job_id)
    except JobsUnusable as error:
        raise _unusable() from error


def _unusable() -> Refused:
    return Refused(503, Code.NOT_ANSWERING, "jobs cannot be looked up now", retry_after_s=_RETRY_S)


def told(job: Job, progress: tuple[int, int], request_id: str) -> dict[str, object]:
    """Return what a sender learns of its job: counts and times, no name of a file, no id of a person."""
    done, total = progress
    percent = 100.0 if job.state is JobState.SUCCEEDED else min(99.9, round(100 * done / total, 1)) if total else 0.0
    return {
        "request_id": request_id,
        "job": job.job_id,
        "state": str(job.state),
        "progress": {"done_bytes": done, "total_bytes": total, "percent": percent},
        "tries": job.tries,
        "created": _time(job.created_us),
        "started": _time(job.started_us),
        "ended": _time(job.ended_us),
        "summary": job.summary,
        "problem": {"code": job.code, "detail": job.detail} if job.code else None,
    }


def _time(time_us: int | None) -> str | None:
    if time_us is None:
        return None
    return to_datetime(time_us).isoformat(timespec="milliseconds").replace("+00:00", "Z")
