"""Edge: what every route shares: who asks, the body, and putting records where they are safe.

A route is `async def route(request: Request) -> Response`; it raises `Refused` or `BodyRefused`, which the guard turns
into problem details. `request.state` has `request_id` and `traceparent`, and after `principal_of` the `credential`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, replace
from email.message import Message
from typing import Final

import orjson
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from ingest.gateway import body as bodies
from ingest.gateway.body import Held
from ingest.gateway.last_known import LastKnown
from ingest.gateway.limits import Rates, UnderWay
from ingest.gateway.parsed import Judged
from ingest.gateway.parts import Parts
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.ports import Unavailable, WayIn
from ingest.gateway.problems import Code, Refused, of_status
from ingest.gateway.replies import Replies
from ingest.gateway.sign_in import SignIn, bearer
from ingest.spool import Place, SpoolError, SpoolFull
from vitals.access import Credential, Principal, token_id_of
from vitals.clock import US_PER_S
from vitals.gate import Gate

JSON: Final = "application/json"
_SPOOL_RETRY_S: Final = 30
_UTF8: Final = frozenset({"utf-8", "utf8"})


@dataclass(slots=True)
class Door:
    """What the routes of one gateway share; it is at `request.app.state.door`."""

    parts: Parts
    policy: GatewayPolicy
    sign_in: SignIn
    registry: LastKnown[Gate]
    rates: Rates
    under_way: UnderWay
    held: Held
    replies: Replies


def make_door(parts: Parts, policy: GatewayPolicy) -> Door:
    """Return the shared things of a new gateway."""
    return Door(
        parts,
        policy,
        SignIn(parts.access, parts.oidc, policy, parts.clock),
        LastKnown(parts.gate, policy.stale_s),
        Rates(policy.rate),
        UnderWay(policy.requests_of_one),
        Held(policy.held_bytes, policy.busy_retry_s),
        Replies(parts.folder, policy.replies),
    )


def door_of(connection: HTTPConnection) -> Door:
    """Return the door that a request came to."""
    door: Door = connection.app.state.door
    return door


async def principal_of(request: HTTPConnection) -> Principal:
    """Return whom a request's credential speaks for, and count the request. Raises `Refused`: 401, 429, 503.

    `request.state.credential` has the credential itself afterwards.
    """
    door = door_of(request)
    client = request.client
    authorization = _only(request, "authorization")
    request.state.token_id = token_id_of(bearer(authorization) or "")  # for the log, whatever it is worth
    credential = await door.sign_in.credential(authorization, client.host if client else "", certificate_of(request))
    principal = credential.principal
    request.state.credential, request.state.token_id = credential, principal.token_id
    now_us = door.parts.clock()
    wait_s = door.rates.request(principal.holder, now_us / US_PER_S)
    if wait_s > 0:
        raise Refused(429, Code.TOO_MANY_REQUESTS, "this credential sends too many requests", retry_after_s=wait_s)
    if isinstance(request, Request):  # streams have a bound of their own
        _begin(request, door, principal.holder)
    door.parts.books.used(principal.token_id, now_us)
    return principal


def _begin(request: Request, door: Door, holder: str) -> None:
    """Take a place among the requests of this credential; the guard gives it back when the request is over."""
    if not door.under_way.begin(holder):
        raise Refused(
            429, Code.TOO_MANY_REQUESTS, "too many requests of this credential are under way; end some first",
            retry_after_s=door.policy.busy_retry_s,
        )  # fmt: skip
    request.state.under_way_of = holder


async def still_stands(request: Request) -> None:
    """Look at a request's credential again, after a body that took its time. Raises `Refused`: 401, 503.

    One that was rotated meanwhile still stands in its successor; a revocation ends both.
    """
    if not await door_of(request).sign_in.holds(credential_of(request).principal.holder):
        raise of_status(401)


def _only(request: HTTPConnection, name: str) -> str | None:
    given = request.headers.getlist(name)
    return given[0] if len(given) == 1 else None


def credential_of(request: HTTPConnection) -> Credential:
    """Return the credential that `principal_of` found."""
    credential: Credential = request.state.credential
    return credential


def certificate_of(request: HTTPConnection) -> str | None:
    """Return the SHA-256, in hex, of the certificate that the client proved to have."""
    tls: Mapping[str, str] = (request.scope.get("extensions") or {}).get("tls") or {}
    return tls.get("client_cert_sha256")


def count_samples(request: HTTPConnection, count: int) -> None:
    """Count samples against the credential's rate. Raises `Refused` (429)."""
    door = door_of(request)
    holder = credential_of(request).principal.holder
    wait_s = door.rates.samples(holder, count, door.parts.clock() / US_PER_S)
    if wait_s > 0:
        raise Refused(429, Code.TOO_MANY_SAMPLES, "this credential sends too many samples", retry_after_s=wait_s)


async def gate_of(request: HTTPConnection) -> Gate:
    """Return what registry and consents say. Raises `Refused` (503)."""
    door = door_of(request)
    try:
        return await door.registry.current()
    except Unavailable as error:
        raise Refused(
            503, Code.REGISTRY_UNKNOWN, "who wears what cannot be looked up now; send it again later",
            retry_after_s=door.policy.busy_retry_s,
        ) from error  # fmt: skip


def media_type_of(request: Request, known: Collection[str]) -> str:
    """Return the body's media type, lower case. Raises `Refused` (415) for one not `known` or not in UTF-8."""
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    media_type = message.get_content_type() if message["content-type"] else ""
    if media_type not in known:
        raise Refused(
            415, Code.MEDIA_TYPE, f"Content-Type is one of: {', '.join(sorted(known))}",
            headers={"accept-post": ", ".join(sorted(known))},
        )  # fmt: skip
    charset = message.get_param("charset", "utf-8")
    if not isinstance(charset, str) or charset.lower() not in _UTF8:
        raise Refused(415, Code.CHARSET, "the charset of a body is utf-8")
    return media_type


async def body_of(request: Request, *, most_bytes: int, body_s: float | None = None) -> bytes:
    """Return the whole body, unpacked, at most `most_bytes`. Raises `Refused`: 400, 401, 408, 413, 415, 503.

    After `principal_of`: whose credential was revoked meanwhile is not served. `body_s` instead of the policy's.
    """
    door = door_of(request)
    policy = door.policy if body_s is None else replace(door.policy, body_s=body_s)
    body = await bodies.read(request, most_bytes=most_bytes, policy=policy, held=door.held)
    await still_stands(request)
    return body


def chunks_of(request: Request, *, most_bytes: int, most_s: float | None = None) -> AsyncIterator[bytes]:
    """Yield the body as it comes and as it was sent: for what goes to the disk. Raises `Refused`: 400, 408, 413."""
    return bodies.chunks(request, most_bytes=most_bytes, policy=door_of(request).policy, most_s=most_s)


async def deliver(judged: Judged, way_in: WayIn) -> Place:
    """Put all records of a request where they are safe, together, and return when every one is.

    The place is the broker only where it has all. Raises `Refused` (503) where one is not safe: then the sender sends
    all again, and what was safe already is known by its identity and stored once.
    """
    results = await asyncio.gather(
        *(way_in.accept(one.record, topic=one.topic, later=one.later) for one in judged.deliveries),
        return_exceptions=True,
    )
    failed = [one for one in results if isinstance(one, BaseException)]
    if failed:
        raise _not_safe(failed)
    return Place.SPOOL if Place.SPOOL in results else Place.BROKER


def _not_safe(failed: list[BaseException]) -> BaseException:
    unforeseen = [one for one in failed if not isinstance(one, SpoolError)]
    if unforeseen:
        return unforeseen[0]
    if any(isinstance(one, SpoolFull) for one in failed):
        code, says = Code.SPOOL_FULL, "the broker is away and the spool is full; keep it and send it again later"
    else:
        code, says = Code.NOT_SAFE, "neither broker nor spool took it; keep it and send it again later"
    refused = Refused(503, code, says, retry_after_s=_SPOOL_RETRY_S)
    refused.__cause__ = failed[0]
    return refused


def json_answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(orjson.dumps(content), status, dict(headers or {}), JSON)
