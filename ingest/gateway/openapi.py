"""How the gateway's own routes stand in the OpenAPI description: bodies, answers, examples. Pure."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from ingest.gateway import examples
from ingest.gateway.answers import ID_EXAMPLE, DeviceMe, Health, NothingAccepted, Problem, TokenRotated
from ingest.gateway.contract import SamplesAccepted, SamplesIn
from ingest.gateway.problems import MEDIA_TYPE

ARROW: Final = "application/vnd.apache.arrow.stream"

SAYS: Final = {
    400: "the request is malformed",
    401: "no credential that stands: none, unknown, wrong, expired and revoked are answered alike",
    403: "this credential may not do this: another's device",
    405: "this method does not go with this address",
    408: "the body came too slowly",
    409: "a request with this Idempotency-Key is under way",
    413: "the body is too large, or compressed too much",
    415: "a media type, charset or encoding that this does not take",
    422: "it can be read, but nothing in it was accepted, or a field of the request is wrong, or the key was reused",
    429: "too much from this credential or address; Retry-After says when",
    503: "cannot be made safe or checked now; Retry-After says when to send it again",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the refusals of a route as FastAPI wants them."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": SAYS[status], "content": content} for status in statuses}


DEVICES: Final[dict[str, Any]] = {
    "operation_id": "get_devices_me",
    "summary": "What the server knows of this credential, and what it takes",
    "tags": ["devices"],
    "response_model": DeviceMe,
    "responses": problems(401, 429, 503),
}
ROTATE: Final[dict[str, Any]] = {
    "operation_id": "post_tokens_rotate",
    "summary": "Get a new token with the same rights",
    "tags": ["devices"],
    "response_model": TokenRotated,
    "responses": problems(401, 403, 429, 503),
}
HEALTHZ: Final[dict[str, Any]] = {
    "operation_id": "get_healthz",
    "summary": "Does the gateway live?",
    "tags": ["health"],
    "response_model": Health,
    "openapi_extra": {"security": []},
}
READYZ: Final[dict[str, Any]] = {
    "operation_id": "get_readyz",
    "summary": "May it be sent requests: credentials and registry are known, the spool has room?",
    "tags": ["health"],
    "response_model": Health,
    "responses": problems(503),
    "openapi_extra": {"security": []},
}


def describe(app: FastAPI) -> None:
    """Give an app the description that its own generator cannot make: problems, security, no made-up refusals."""

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _made(app)
        return app.openapi_schema

    app.openapi = made  # type: ignore[method-assign] # FastAPI's documented way


def _made(app: FastAPI) -> dict[str, Any]:
    description = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes, tags=_TAGS)
    components = description.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (Problem, NothingAccepted, SamplesIn):
        schemas.update(_schemas_of(model))
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "description": _CREDENTIAL}}
    description["security"] = [{"token": []}]
    for path in description["paths"].values():
        for operation in path.values():
            _finish(operation)
    return description


def _schemas_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's schema and those it refers to, by name."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _finish(operation: dict[str, Any]) -> None:
    """Say what every route shares: the request's names come back, a refusal that waits says how long."""
    operation["responses"]["default"] = {
        "description": "any other refusal",
        "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
    }
    for status, answer in operation["responses"].items():
        headers = answer.setdefault("headers", {})
        headers["X-Request-Id"] = {"schema": {"type": "string"}, "description": "as sent where opaque, else made"}
        if status in {"429", "503"}:
            headers["Retry-After"] = {"schema": {"type": "integer"}, "description": "seconds"}
        if status == "401":
            headers["WWW-Authenticate"] = {"schema": {"type": "string"}}


_CREDENTIAL: Final = (
    "vgl_<token id>_<secret>, as `vigil token create` shows it once; or a platform's token by OpenID Connect. A token"
    " may be bound to a client certificate."
)
_TAGS: Final = [
    {"name": "samples", "description": "what devices measured"},
    {"name": "documents", "description": "what other systems made of it"},
    {"name": "devices", "description": "what the server knows of a sender"},
    {"name": "health", "description": "of the gateway itself"},
]
_ABOUT: Final = (
    "How phones, bridges and platforms get samples in. 202 means safe: the broker has them, or this machine's disk."
    " Whatever was accepted may be sent again: it is known by its identity and stored once. Whose samples they are the"
    " credential says, never the body. A live bridge uses the WebSocket /v1/stream (subprotocol vigil.v1).\n\n"
    "Every refusal is application/problem+json (RFC 9457), every answer carries X-Request-Id and traceparent."
)
_HEADERS: Final = [
    ("Vigil-Device", "the device, for Arrow; may be left out where the credential has one", "watch-1"),
    ("Vigil-Source-App", "the application that sends, for Arrow", "vigil-ios"),
    ("Vigil-Adapter", "what sort of sender it is: gateway, ble or simulator", "gateway"),
    (
        "Idempotency-Key",
        "1 to 255 visible ASCII characters: the same request gets the same answer for a day",
        "",
    ),
    ("X-Request-Id", "an opaque id; comes back, and goes with the samples", ID_EXAMPLE),
    ("traceparent", "W3C Trace Context; comes back as a step of its own", f"00-{ID_EXAMPLE}-b7ad6b7169203331-01"),
]
_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_NOTHING: Final = {"$ref": "#/components/schemas/NothingAccepted"}
_SAMPLES_IN: Final = {"$ref": "#/components/schemas/SamplesIn"}
_ARROW_SAYS: Final = (
    "an Arrow IPC stream, plain buffers, of the columns start (timestamp, UTC), metric, value and, as wanted, duration,"
    " zone_offset_min, quality, context, written, sample_id, deleted"
)
SAMPLES: Final[dict[str, Any]] = {
    "operation_id": "post_samples",
    "summary": "Take samples, corrections and deletions of one device",
    "description": (
        "Answers when all that was accepted is safe. `outcomes` tells of what was not accepted as new, with a word on"
        " whether to send it again. A correction is the same metric, start and duration with a later `written`."
    ),
    "tags": ["samples"],
    "status_code": 202,
    "response_model": SamplesAccepted,
    "response_model_exclude_none": True,
    "responses": {
        **problems(400, 401, 403, 408, 409, 413, 415, 429, 503),
        202: {"content": {"application/json": {"examples": examples.ANSWERS}}},
        422: {
            "description": SAYS[422],
            "content": {MEDIA_TYPE: {"schema": {"anyOf": [_PROBLEM, _NOTHING]}, "example": examples.NOTHING}},
        },
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _SAMPLES_IN, "examples": examples.REQUESTS},
                ARROW: {"schema": {"type": "string", "format": "binary", "description": _ARROW_SAYS}},
            },
        },
        "parameters": [
            {
                "name": name, "in": "header", "required": False, "description": says, "schema": {"type": "string"},
                **({"example": example} if example else {}),
            }
            for name, says, example in _HEADERS
        ],
    },
}  # fmt: skip
