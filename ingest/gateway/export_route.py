"""Edge: POST /v1/healthkit/export: an Apple Health export, kept on the disk and read by a job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ingest.gateway.document_taking import DocumentCode, patient_of
from ingest.gateway.door import chunks_of, door_of, gate_of, json_answer, media_type_of, principal_of, still_stands
from ingest.gateway.job_book import Job, JobsUnusable
from ingest.gateway.jobs import Jobs, TooManyJobs
from ingest.gateway.jobs_route import told
from ingest.gateway.pieces import nothing_of
from ingest.gateway.problems import Code, Refused
from ingest.gateway.unpack import encoding_of
from ingest.gateway.upload import look_for_room, store, told_digest
from vitals.ids import PatientId

ADAPTER: Final = "apple-export"
TYPES: Final = (
    "application/zip", "application/x-zip-compressed", "application/xml", "text/xml", "application/octet-stream",
)  # fmt: skip
_RETRY_S: Final = 60


def healthkit_export(jobs: Jobs) -> Callable[[Request], Awaitable[Response]]:
    """Return the route. The body is the file itself: no form, and no name of a file."""

    async def route(request: Request) -> Response:
        principal = await principal_of(request)
        patient = patient_of(principal)
        media_type_of(request, TYPES)
        _refuse_encoding(request)
        if nothing_of(await gate_of(request), patient):
            raise Refused(403, DocumentCode.NO_CONSENT, "no consent lets anything of this patient be stored")
        async with _place(jobs, patient) as (job_id, part):
            job = replace(await _received(request, jobs, patient, job_id, part), holder=principal.holder)
            await jobs.add(job, part)
        answer = told(job, jobs.progress(job), request.state.request_id)
        return json_answer(answer, 202, {"location": f"/v1/jobs/{job.job_id}"})

    return route


def _refuse_encoding(request: Request) -> None:
    if encoding_of(request.headers.get("content-encoding")) != "identity":
        raise Refused(415, Code.CONTENT_ENCODING, "an export is sent as it is: Content-Encoding must not be set")


@asynccontextmanager
async def _place(jobs: Jobs, patient: PatientId) -> AsyncIterator[tuple[str, Path]]:
    try:
        async with jobs.receiving(patient) as place:
            yield place
    except TooManyJobs as error:
        raise Refused(429, DocumentCode.TOO_MANY_JOBS, str(error), retry_after_s=_RETRY_S) from None
    except JobsUnusable as error:
        raise Refused(503, Code.NOT_SAFE, "uploads cannot be kept now", retry_after_s=_RETRY_S) from error


async def _received(request: Request, jobs: Jobs, patient: PatientId, job_id: str, part: Path) -> Job:
    """Return the job of an upload once that is on the disk. Raises `Refused`, also where its sender's was revoked."""
    door = door_of(request)
    declared = request.headers.get("content-length", "0")
    chunks = chunks_of(request, most_bytes=door.policy.upload_bytes, most_s=door.policy.upload_s)
    leave = jobs.policy.free_bytes
    if declared.isascii() and declared.isdigit() and int(declared) <= door.policy.upload_bytes:
        look_for_room(part.parent, int(declared), leave)
    size = await store(chunks, part, leave=leave, digest=told_digest(request.headers))
    if not size:
        raise Refused(422, DocumentCode.MALFORMED, "the body is empty: the export's bytes are expected")
    await still_stands(request)
    return Job(job_id, patient, ADAPTER, door.parts.zone, size, door.parts.clock())
