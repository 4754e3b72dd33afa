"""Edge: the routes that take documents of other systems, and what works for them behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog
from fastapi import APIRouter, FastAPI

from ingest.gateway.documents import DocumentReader
from ingest.gateway.documents_openapi import CANCEL_JOB, EXPORT, FHIR, HEALTH_AUTO_EXPORT, SHOW_JOB
from ingest.gateway.export_route import healthkit_export
from ingest.gateway.fhir_route import fhir
from ingest.gateway.health_route import health_auto_export
from ingest.gateway.job_book import JobsUnusable
from ingest.gateway.job_ends import JobPolicy
from ingest.gateway.jobs import Jobs
from ingest.gateway.jobs_route import cancel_job, show_job
from ingest.gateway.last_known import LastKnown
from ingest.gateway.parts import Parts
from ingest.gateway.policy import GatewayPolicy

log = structlog.get_logger(__name__)


def uploads_router(parts: Parts, policy: GatewayPolicy, jobs_policy: JobPolicy | None = None) -> APIRouter:
    """Return the routes of uploaded documents. While it serves, the jobs are worked on."""
    reader = DocumentReader(thread_bytes=policy.thread_bytes)
    known = LastKnown(parts.access, policy.stale_s)

    async def stands(holder: str) -> bool:
        return (await known.current()).holds(holder, parts.clock())

    jobs = Jobs(parts.folder, parts.importer, policy=jobs_policy, clock=parts.clock, stands=stands)

    @contextlib.asynccontextmanager
    async def at_work(_: FastAPI) -> AsyncIterator[None]:
        async with _working(jobs):
            try:
                yield
            finally:
                reader.close()

    router = APIRouter(lifespan=at_work)
    for path, method, endpoint, words in (
        ("/v1/health-auto-export", "POST", health_auto_export(reader), HEALTH_AUTO_EXPORT),
        ("/v1/fhir", "POST", fhir(reader), FHIR),
        ("/v1/healthkit/export", "POST", healthkit_export(jobs), EXPORT),
        ("/v1/jobs/{job_id}", "GET", show_job(jobs), SHOW_JOB),
        ("/v1/jobs/{job_id}", "DELETE", cancel_job(jobs), CANCEL_JOB),
    ):
        router.add_api_route(path, endpoint, methods=[method], **words)
    return router


@contextlib.asynccontextmanager
async def _working(jobs: Jobs) -> AsyncIterator[None]:
    """Work on jobs meanwhile. A disk that fails costs uploads, not live traffic: it is tried again."""
    try:
        await jobs.start()
    except JobsUnusable as error:
        log.error("jobs_unusable", error=str(error))  # noqa: TRY400  the message says it all
    work = asyncio.create_task(jobs.run())
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await jobs.stop()
