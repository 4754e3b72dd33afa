"""Edge: POST /v1/fhir, which takes Observations in FHIR R4: a Bundle, a single one, or ndjson."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ingest.gateway.document_answer import entries
from ingest.gateway.document_taking import document_of, patient_of, refuse_if_nothing, take
from ingest.gateway.documents import FHIR, Document, DocumentReader
from ingest.gateway.door import JSON, door_of, json_answer, media_type_of, principal_of

FHIR_JSON: Final = "application/fhir+json"
FHIR_NDJSON: Final = "application/fhir+ndjson"


def fhir(reader: DocumentReader) -> Callable[[Request], Awaitable[Response]]:
    """Return the route. A Patient that a resource refers to is nobody here: the credential says whose they are."""

    async def route(request: Request) -> Response:
        principal = await principal_of(request)
        patient_of(principal)
        media_type_of(request, (JSON, FHIR_JSON, FHIR_NDJSON))
        door = door_of(request)
        body = await document_of(request, most_bytes=door.policy.document_bytes)
        document = Document(FHIR, body, door.parts.clock(), door.parts.hash_key, door.parts.zone)
        told, weighed, answer = await take(request, principal, reader, document)
        answer["outcomes"], more = entries(told, weighed)
        if more:
            answer["more_outcomes"] = True
        refuse_if_nothing(told, weighed, answer)
        return json_answer(answer, 202)

    return route
