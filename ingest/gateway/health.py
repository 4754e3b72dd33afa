"""Edge: does the gateway live (/healthz), and may it be sent requests (/readyz)?"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ingest.gateway.door import door_of, json_answer
from ingest.gateway.openapi import HEALTHZ, READYZ
from ingest.gateway.parts import Parts
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.ports import Unavailable
from ingest.gateway.problems import Code, Refused
from ingest.spool import SpoolError


def health_router(parts: Parts, policy: GatewayPolicy) -> APIRouter:
    """Return the two routes. They need no credential and say nothing of what is inside."""
    router = APIRouter()

    async def healthz(_: Request) -> Response:
        return json_answer({"status": "alive"})

    async def readyz(request: Request) -> Response:
        why = await _credentials_missing(request) or await _spool_missing(parts, policy)
        if why:
            raise Refused(503, Code.NOT_READY, why, retry_after_s=policy.busy_retry_s)
        return json_answer({"status": "ready"})

    router.add_api_route("/healthz", healthz, methods=["GET"], **HEALTHZ)
    router.add_api_route("/readyz", readyz, methods=["GET"], **READYZ)
    return router


async def _credentials_missing(request: Request) -> str:
    try:
        await door_of(request).sign_in.access.current()
        await door_of(request).registry.current()
    except Unavailable:
        return "credentials and registry have not been seen, or not for too long"
    return ""


async def _spool_missing(parts: Parts, policy: GatewayPolicy) -> str:
    try:
        state = await parts.spool_state()
    except SpoolError:
        return "the spool cannot be used"
    too_old = state.oldest_age_s is not None and state.oldest_age_s > policy.spool.max_age_s
    return "the spool is full" if too_old or state.size_bytes >= policy.spool.max_bytes else ""
