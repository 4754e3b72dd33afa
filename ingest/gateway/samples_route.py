"""Edge: POST /v1/samples, in JSON and in Arrow."""

from __future__ import annotations

from functools import partial
from typing import Final

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ingest.gateway.door import JSON, body_of, door_of, media_type_of, principal_of
from ingest.gateway.openapi import ARROW, SAMPLES
from ingest.gateway.parse_arrow import parse_arrow
from ingest.gateway.parse_json import parse_json
from ingest.gateway.parsed import Parsed
from ingest.gateway.parts import Parts
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.problems import Code, Refused
from ingest.gateway.replies import Reply, digest, key_of, name_of
from ingest.gateway.taking import Names, adapter_of, make_safe, read_and_judge
from vitals.access import Principal

_WHO: Final = ("vigil-device", "vigil-source-app", "vigil-adapter")


def samples_router(parts: Parts, policy: GatewayPolicy) -> APIRouter:
    """Return the route that takes samples."""
    router = APIRouter()

    async def post_samples(request: Request) -> Response:
        principal = await principal_of(request)
        media_type = media_type_of(request, (JSON, ARROW))
        key = _key(request)
        body = await body_of(request, most_bytes=policy.arrow_bytes if media_type == ARROW else policy.json_bytes)
        if key is None:
            return _accepted(await _take(request, principal, media_type, body))
        words = (request.url.path, media_type, *(request.headers.get(name, "") for name in _WHO))
        return await _once(request, principal, key, media_type, body, digest(body, *words))

    async def _once(
        request: Request, principal: Principal, key: str, media_type: str, body: bytes, sent: bytes
    ) -> Response:
        replies = door_of(request).replies
        name = name_of(principal.holder, key)
        with replies.under_way(name):
            found = await replies.find(name, sent, parts.clock())
            if found is not None:
                return Response(found.answer, found.status, {"idempotent-replayed": "true"}, JSON)
            answer = await _take(request, principal, media_type, body)
            await replies.keep(name, sent, Reply(202, answer), parts.clock())
        return _accepted(answer)

    router.add_api_route("/v1/samples", post_samples, methods=["POST"], **SAMPLES)
    return router


async def _take(request: Request, principal: Principal, media_type: str, body: bytes) -> bytes:
    headers = request.headers

    def read(received_us: int) -> Parsed:
        if media_type == JSON:
            return parse_json(body, received_us=received_us)
        device, source_app = headers.get("vigil-device"), headers.get("vigil-source-app")
        return parse_arrow(body, received_us=received_us, device=device, source_app=source_app)

    names = Names(request.state.request_id, request.state.traceparent)
    taken = await read_and_judge(
        request, principal, read, len(body), adapter_of(request), names, arrow=media_type == ARROW
    )
    return orjson.dumps(await make_safe(request, principal, taken, names))


_accepted: Final = partial(Response, status_code=202, media_type=JSON)


def _key(request: Request) -> str | None:
    given = request.headers.getlist("idempotency-key")
    if len(given) > 1:
        raise Refused(400, Code.BAD_KEY, "a request has one Idempotency-Key")
    return key_of(given[0] if given else None)
