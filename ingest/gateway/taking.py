"""Edge: samples of one request or one message of a stream: read, judged, made safe, answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from starlette.requests import HTTPConnection

from ingest.gateway.contract import answer, nothing_taken
from ingest.gateway.door import count_samples, deliver, door_of, gate_of
from ingest.gateway.judge import judge
from ingest.gateway.metrics import BODY_BYTES, count_outcomes
from ingest.gateway.parsed import BodyRefused, Judged, Parsed
from ingest.gateway.pieces import nothing_of
from ingest.gateway.problems import Code, Refused
from vitals.access import Principal
from vitals.gate import Gate

ADAPTERS: Final = frozenset({"gateway", "ble", "simulator"})
Read = Callable[[int], Parsed]
"""Reads a body that was received at some time. Raises `BodyRefused`."""


class Names(NamedTuple):
    """What a request, or a message of a stream, is called in headers and logs."""

    request_id: str
    traceparent: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What was read of a body and what is to become of it, before anything is safe."""

    parsed: Parsed
    judged: Judged
    adapter: str


def adapter_of(connection: HTTPConnection) -> str:
    """Return the sort of sender, as it says itself. Raises `BodyRefused` (422) for an unknown word."""
    adapter = connection.headers.get("vigil-adapter", "gateway")
    if adapter not in ADAPTERS:
        raise BodyRefused(422, "bad_field", f"Vigil-Adapter is one of: {', '.join(sorted(ADAPTERS))}")
    return adapter


async def read_and_judge(
    connection: HTTPConnection, principal: Principal, read: Read, size: int, adapter: str, names: Names, *, arrow: bool
) -> Taken:
    """Read a body of `size` bytes and judge its samples. Raises `Refused` and `BodyRefused`.

    A large one is read in a thread: it takes as long there, but others are answered meanwhile.
    """
    door = door_of(connection)
    gate = await gate_of(connection)
    received_us = door.parts.clock()
    BODY_BYTES.inc(size)
    if size > (door.policy.arrow_thread_bytes if arrow else door.policy.thread_bytes):
        taken = await asyncio.to_thread(_read, read, principal, gate, adapter, received_us, names)
    else:
        taken = _read(read, principal, gate, adapter, received_us, names)
    count_samples(connection, taken.parsed.count + len(taken.parsed.deletions))
    return taken


def _read(read: Read, principal: Principal, gate: Gate, adapter: str, received_us: int, names: Names) -> Taken:
    parsed = read(received_us)
    judged = judge(
        parsed, principal, gate, adapter=adapter, received_us=received_us,
        request_id=names.request_id, traceparent=names.traceparent,
    )  # fmt: skip
    patient = principal.patient_id
    if parsed.anchors and patient is not None and nothing_of(gate, patient):
        # Who is paired before a consent is noted tells all again once it is: no anchor gets past what nobody may keep.
        parsed = replace(parsed, anchors={})
    return Taken(parsed, judged, adapter)


async def make_safe(connection: HTTPConnection, principal: Principal, taken: Taken, names: Names) -> dict[str, object]:
    """Put what was accepted where it is safe and return the answer. Raises `Refused`: 503, 422 (nothing accepted)."""
    parts = door_of(connection).parts
    judged = taken.judged
    safe = await deliver(judged, parts.way_in) if judged.deliveries else None
    count_outcomes(judged)
    if judged.not_consented:
        parts.books.not_consented(taken.adapter, judged.not_consented)
    told = answer(taken.parsed, judged, safe=safe, request_id=names.request_id)
    confirmed = told["anchors"]
    if isinstance(confirmed, list) and confirmed:
        anchors = {name: taken.parsed.anchors[name] for name in confirmed}
        parts.books.anchored(principal.token_id, anchors)
    if nothing_taken(judged):
        raise Refused(422, Code.NOTHING_ACCEPTED, "no sample of this request was accepted", members=told)
    return told
