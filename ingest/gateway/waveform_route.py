"""Edge: POST /v1/waveforms: one chunk of an ECG, PPG or acceleration signal, as a bridge would put it on Kafka.

Whose it is and whether it is let in is decided as for samples: the moment that the signal begins stands in for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ingest.gateway.contract import SamplesAccepted
from ingest.gateway.door import JSON, body_of, count_samples, door_of, gate_of, media_type_of, principal_of
from ingest.gateway.judge import judge
from ingest.gateway.openapi import ARROW, problems
from ingest.gateway.parsed import BodyRefused, Delivery, Judged, Parsed
from ingest.gateway.parts import Parts
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.taking import Names, Taken, adapter_of, make_safe
from ingest.gateway.verdicts import Refusal, rejected
from ingest.record import decode_header
from ingest.record_arrow import MalformedRecord
from ingest.topics import MAX_MESSAGE_BYTES, WAVEFORMS
from ingest.waveform_record import encode_chunk, open_chunk
from vitals.access import Principal
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.gate import Gate
from vitals.quality import Reason
from vitals.waveform import WaveformChunk
from vitals.waveform_validity import fault

_NONE: Final = np.empty(0, np.int64)


def waveforms_router(parts: Parts, policy: GatewayPolicy) -> APIRouter:  # noqa: ARG001  as its siblings
    """Return the route that takes waveforms. Sent twice, a chunk is stored once: it is known by its identity."""
    router = APIRouter()

    async def post_waveforms(request: Request) -> Response:
        principal = await principal_of(request)
        media_type_of(request, (ARROW,))
        adapter = adapter_of(request)
        body = await body_of(request, most_bytes=MAX_MESSAGE_BYTES)
        gate, received_us = await gate_of(request), door_of(request).parts.clock()
        chunk = replace(opened(body), received_us=received_us)
        count_samples(request, 1)
        parsed = stand_in(chunk, request.headers.get("vigil-device"), request.headers.get("vigil-source-app"))
        names = Names(request.state.request_id, request.state.traceparent)
        judged = judged_chunk(chunk, parsed, principal, gate, adapter, names)
        told = await make_safe(request, principal, Taken(parsed, judged, adapter), names)
        return Response(orjson.dumps(told), 202, media_type=JSON)

    router.add_api_route("/v1/waveforms", post_waveforms, methods=["POST"], **WAVEFORM)
    return router


def opened(body: bytes) -> WaveformChunk:
    """Return the chunk of a body. Raises `BodyRefused`."""
    try:
        return open_chunk(body)
    except MalformedRecord as error:
        status, code = _REFUSED[error.reason]
        raise BodyRefused(status, code, str(error)) from error


_REFUSED: Final = {
    Reason.OVERSIZED: (413, Refusal.TOO_MANY),
    Reason.UNDECODABLE: (400, Refusal.BAD_ARROW),
    Reason.SCHEMA_MISMATCH: (422, Refusal.BAD_COLUMNS),
}


def stand_in(chunk: WaveformChunk, device: str | None, source_app: str | None) -> Parsed:
    """Return the request as if it had one sample, of the signal's first moment and of a value that can be."""
    return Parsed(1, _columns(chunk), np.zeros(1, np.int64), (), device, source_app, written_us=chunk.written_us)


def _columns(chunk: WaveformChunk) -> SampleColumns:
    metric = BY_CODE.get(chunk.metric, BY_CODE["ecg"])
    return sample_columns(
        np.array([chunk.start_us], np.int64),
        np.array([metric.number], np.int16),
        np.array([(metric.low + metric.high) / 2]),
        received_us=chunk.received_us,
        written_us=chunk.written_us,
    )


def judged_chunk(
    chunk: WaveformChunk,
    parsed: Parsed,
    principal: Principal,
    gate: Gate,
    adapter: str,
    names: Names,
) -> Judged:
    """Return the verdict on a chunk and the record that goes out. Raises `BodyRefused`: `other_device`, ..."""
    judged = judge(
        parsed, principal, gate, adapter=adapter, received_us=chunk.received_us, request_id=names.request_id,
        traceparent=names.traceparent,
    )  # fmt: skip
    if not judged.accepted:
        return judged
    why = fault(chunk)
    if why is not None:
        return replace(judged, deliveries=(), accepted=0, outcomes=(rejected(0, why),))
    sent = judged.deliveries[0].record
    record = encode_chunk(decode_header(sent.key, sent.headers), chunk)
    return replace(judged, deliveries=(Delivery(record, WAVEFORMS, WAVEFORMS),))


_WHO: Final = (
    ("Vigil-Device", "the device; may be left out where the credential has one"),
    ("Vigil-Source-App", "the application that sends"),
    ("Vigil-Adapter", "what sort of sender it is: gateway, ble or simulator"),
)
WAVEFORM: Final[dict[str, Any]] = {
    "operation_id": "post_waveforms",
    "summary": "Take one chunk of an ECG, PPG or acceleration signal",
    "description": (
        "The body is one Kafka record's value: an Arrow IPC stream of one row with the columns of"
        " `vitals.waveform.WAVEFORM_SCHEMA`, 1 MiB at most. It is taken or refused whole; sent twice, stored once."
    ),
    "tags": ["samples"],
    "status_code": 202,
    "response_model": SamplesAccepted,
    "responses": problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
    "openapi_extra": {
        "parameters": [
            {"name": name, "in": "header", "required": False, "description": says, "schema": {"type": "string"}}
            for name, says in _WHO
        ],
        "requestBody": {"required": True, "content": {ARROW: {"schema": {"type": "string", "format": "binary"}}}},
    },
}
