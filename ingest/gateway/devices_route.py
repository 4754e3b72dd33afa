"""Edge: what the server knows of a sender (GET /v1/devices/me), and a new token for an old (POST /v1/tokens/rotate)."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ingest.gateway.door import JSON, credential_of, door_of, gate_of, json_answer, principal_of
from ingest.gateway.openapi import ARROW, DEVICES, ROTATE
from ingest.gateway.parts import Parts
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.ports import Unavailable
from ingest.gateway.problems import Code, Refused
from ingest.spool import SpoolError
from vitals.access import Credential, Principal, token_id_of
from vitals.clock import US_PER_S, to_datetime
from vitals.errors import VigilError
from vitals.gate import Gate

_RETRY_S: Final = 30
_KNOWN_S, _LOOK_S = 3.0, 0.05


def devices_router(parts: Parts, policy: GatewayPolicy) -> APIRouter:
    """Return the routes about a sender itself."""
    router = APIRouter()

    async def get_devices_me(request: Request) -> Response:
        principal = await principal_of(request)
        gate = await gate_of(request)
        credential = credential_of(request)
        return json_answer(
            {
                "request_id": request.state.request_id,
                "token": {
                    "id": principal.token_id,
                    "kind": principal.kind.value,
                    "expires": _iso(credential.expires_us),
                },
                "devices": _devices(principal, gate),
                "last_samples": await _last_samples(parts, principal),
                "anchors": await _anchors(parts, principal),
                "send": _send(policy),
                "backlog": await _backlog(parts, policy),
            }
        )

    async def post_rotate(request: Request) -> Response:
        principal = await principal_of(request)
        if credential_of(request).subject is not None:
            raise Refused(403, Code.NOT_FOR_THIS_TOKEN, "this credential comes from the platform's own sign-in")
        try:
            token = await parts.books.rotate(principal.token_id, parts.clock())
        except Unavailable as error:
            raise Refused(
                503, Code.NOT_ANSWERING, "a new token cannot be made now; the old one stands", retry_after_s=_RETRY_S
            ) from error
        except VigilError as error:
            raise Refused(403, Code.NOT_FOR_THIS_TOKEN, "this token cannot be rotated") from error
        # One that is not known yet has the lifetime of the old one, so that it does not end before it.
        made = await _when_known(request, token) or credential_of(request)
        return json_answer({"token": token, "expires": _iso(made.expires_us)})

    router.add_api_route("/v1/devices/me", get_devices_me, methods=["GET"], **DEVICES)
    router.add_api_route("/v1/tokens/rotate", post_rotate, methods=["POST"], **ROTATE)
    return router


async def _when_known(request: Request, token: str) -> Credential | None:
    """Return a new token's credential once this gateway knows it, so that the sender can use it at once."""
    access = door_of(request).sign_in.access
    with contextlib.suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(_KNOWN_S):
            while (made := (await access.current(anew=True)).tokens.get(token_id_of(token) or "")) is None:  # noqa: ASYNC110  no event tells of it
                await asyncio.sleep(_LOOK_S)
            return made
    return None


def _devices(principal: Principal, gate: Gate) -> list[str]:
    """Return what it may name, as far as that is a list: its own devices, or those that its patient wears."""
    if principal.devices is not None:
        return sorted(principal.devices)
    patient = principal.patient_id
    return sorted(
        name for name, rule in gate.devices.items() if any(one.patient_id == patient for one in rule.bindings)
    )


async def _last_samples(parts: Parts, principal: Principal) -> list[dict[str, object]] | None:
    with contextlib.suppress(Unavailable):
        return [
            {
                "device": one.device_id,
                "metric": one.metric,
                "start": _iso(one.start_us),
                "received": _iso(one.received_us),
            }
            for one in await parts.books.last_samples(principal)
        ]
    return None


async def _anchors(parts: Parts, principal: Principal) -> dict[str, str] | None:
    with contextlib.suppress(Unavailable):
        return dict(await parts.books.anchors(principal.token_id))
    return None


def _send(policy: GatewayPolicy) -> dict[str, object]:
    return {
        "max_samples": policy.json_samples,
        "max_bytes": policy.json_bytes,
        "arrow_max_samples": policy.arrow_samples,
        "arrow_max_bytes": policy.arrow_bytes,
        "batch": policy.batch,
        "accepts": [JSON, ARROW],
        "encodings": ["gzip", "zstd", "identity"],
        "rate": {name: value for name, value in asdict(policy.rate).items() if name != "credentials"},
    }


async def _backlog(parts: Parts, policy: GatewayPolicy) -> dict[str, object]:
    try:
        state = await parts.spool_state()
    except SpoolError:
        return {"spooled_records": None, "oldest_age_s": None, "hint": "wait"}
    waiting = "send live data first" if state.count else "send"
    hint = "wait" if state.size_bytes >= policy.spool.max_bytes else waiting
    return {"spooled_records": state.count, "oldest_age_s": state.oldest_age_s, "hint": hint}


def _iso(time_us: int) -> str:
    return to_datetime(time_us - time_us % US_PER_S).isoformat().replace("+00:00", "Z")
