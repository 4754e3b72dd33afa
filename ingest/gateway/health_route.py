"""Edge: POST /v1/health-auto-export, which takes the iOS app's requests as it makes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from devices.health_auto_export.adapter import MAX_BYTES
from ingest.gateway.document_taking import document_of, patient_of, refuse_if_nothing, take
from ingest.gateway.documents import HEALTH_AUTO_EXPORT, Document, DocumentReader
from ingest.gateway.door import JSON, door_of, json_answer, media_type_of, principal_of

_AGGREGATION: Final = "automation-aggregation"
"""The one header of the app that counts. The others name the automation, in its owner's words: they are not read."""


def health_auto_export(reader: DocumentReader) -> Callable[[Request], Awaitable[Response]]:
    """Return the route."""

    async def route(request: Request) -> Response:
        principal = await principal_of(request)
        patient_of(principal)
        media_type_of(request, (JSON,))
        body = await document_of(request, most_bytes=MAX_BYTES)
        parts = door_of(request).parts
        document = Document(
            HEALTH_AUTO_EXPORT, body, parts.clock(), parts.hash_key, parts.zone, request.headers.get(_AGGREGATION)
        )
        told, weighed, answer = await take(request, principal, reader, document)
        refuse_if_nothing(told, weighed, answer)
        return json_answer(answer, 202)

    return route
