"""Edge: a posted document of another system: read, judged, made safe, answered."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Final

from starlette.requests import Request

from devices.errors import MalformedExport
from ingest.gateway.document_answer import summary
from ingest.gateway.documents import Document, DocumentReader
from ingest.gateway.door import body_of, count_samples, deliver, door_of, gate_of
from ingest.gateway.metrics import BODY_BYTES, count_outcomes
from ingest.gateway.pieces import Envelope, Told, Weighed, weigh
from ingest.gateway.ports import Unavailable
from ingest.gateway.problems import Code, Refused
from vitals.access import Principal
from vitals.ids import PatientId

ANNOTATIONS: Final = "annotations"
"""Under this word sessions that no consent covers are counted, at the door as by the annotator."""
_BODY_S: Final = 600.0
"""A phone may need minutes for what it kept for weeks. The least rate holds for it, too."""


class DocumentCode(StrEnum):
    """Words for what is wrong with documents and uploads, beside `problems.Code`."""

    MALFORMED = "malformed_document"
    NO_CONSENT = "no_consent"
    NO_ROOM = "no_room"
    DIGEST_MISMATCH = "digest_mismatch"
    TOO_MANY_JOBS = "too_many_jobs"


def patient_of(principal: Principal) -> PatientId:
    """Return whose documents a credential may send. Raises `Refused` (403) unless it may send all of one patient's.

    A document tells of devices under pseudonyms made from their names: no credential for some devices can list them.
    """
    if principal.patient_id is None or principal.devices is not None:
        raise Refused(403, Code.NOT_FOR_THIS_TOKEN, "this takes a credential for all devices of one patient")
    return principal.patient_id


async def document_of(request: Request, *, most_bytes: int) -> bytes:
    """Return the whole body, unpacked. Raises `Refused` as `door.body_of` does, only later."""
    return await body_of(request, most_bytes=most_bytes, body_s=_BODY_S)


async def take(
    request: Request, principal: Principal, reader: DocumentReader, document: Document
) -> tuple[Told, Weighed, dict[str, object]]:
    """Return what a document told, what became of it, and the answer, once all that was accepted is safe.

    Raises `Refused`: 422 for what is no such document, 429 for too many samples, 503.
    """
    door, gate = door_of(request), await gate_of(request)
    BODY_BYTES.inc(len(document.body))
    told = await _read(reader, document, door.policy.busy_retry_s)
    count_samples(request, told.tally.by_metric.total())
    envelope = Envelope(
        principal, patient_of(principal), document.adapter, document.received_us,
        request.state.request_id, request.state.traceparent,
    )  # fmt: skip
    weighed = await asyncio.to_thread(weigh, told, envelope, gate, door.parts.notes)
    judged = weighed.judged
    safe = await deliver(judged, door.parts.way_in) if judged.deliveries else None
    count_outcomes(judged)
    for word, counts in ((document.adapter, judged.not_consented), (ANNOTATIONS, weighed.sessions_not_consented)):
        if counts:
            door.parts.books.not_consented(word, counts)
    return told, weighed, summary(told, weighed, safe=safe, request_id=request.state.request_id)


async def _read(reader: DocumentReader, document: Document, retry_s: float) -> Told:
    try:
        return await reader.read(document)
    except MalformedExport as error:
        raise Refused(422, DocumentCode.MALFORMED, str(error)) from None
    except Unavailable as error:
        raise Refused(503, Code.BUSY, str(error), retry_after_s=retry_s) from None


def refuse_if_nothing(told: Told, weighed: Weighed, answer: dict[str, object]) -> None:
    """Raise `Refused` (422) where nothing was taken and something rejected; the answer's members go with it."""
    rejected = told.tally.rejected.total() + weighed.refused.total()
    rejected += weighed.refused_waveforms.total() + weighed.refused_sessions.total()
    if weighed.is_empty and rejected:
        raise Refused(422, Code.NOTHING_ACCEPTED, "nothing of this document was accepted", members=answer)
