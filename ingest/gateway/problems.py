"""What the gateway says when it refuses: RFC 9457 problem details. Pure; nothing here quotes what came in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import orjson
from starlette.responses import Response

from ingest.gateway.parsed import BodyRefused
from vitals.errors import VigilError

MEDIA_TYPE: Final = "application/problem+json"


class Code(StrEnum):
    """The stable words of the edge, each the last part of a problem's type; reading a body has more."""

    BAD_REQUEST = "bad_request"
    BODY_INCOMPLETE = "body_incomplete"
    BODY_NOT_READABLE = "body_not_readable"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOR_THIS_TOKEN = "not_for_this_token"  # noqa: S105  a word, no secret
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_SLOW = "too_slow"
    UNDER_WAY = "idempotency_key_under_way"
    TOO_LARGE = "too_large"
    COMPRESSED_TOO_MUCH = "compressed_too_much"
    MEDIA_TYPE = "media_type"
    CHARSET = "charset"
    CONTENT_ENCODING = "content_encoding"
    INVALID = "invalid"
    KEY_REUSED = "idempotency_key_reused"
    BAD_KEY = "idempotency_key_invalid"
    NOTHING_ACCEPTED = "nothing_accepted"
    LOCKED_OUT = "locked_out"
    TOO_MANY_REQUESTS = "too_many_requests"
    TOO_MANY_SAMPLES = "too_many_samples"
    HEAD_TOO_LARGE = "head_too_large"
    URL_TOO_LONG = "url_too_long"
    INTERNAL = "internal"
    BUSY = "busy"
    CREDENTIALS_UNKNOWN = "credentials_unknown"
    REGISTRY_UNKNOWN = "registry_unknown"
    NOT_ANSWERING = "not_answering"
    SPOOL_FULL = "spool_full"
    NOT_SAFE = "not_safe"
    NOT_READY = "not_ready"


class Refused(VigilError):
    """A request ends here. The message becomes the problem's detail: what is expected, never what was given."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        pointer: str = "",
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.pointer, self.retry_after_s = status, code, pointer, retry_after_s
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def from_body(error: BodyRefused) -> Refused:
    """Return what a body's reader found as a refusal."""
    return Refused(error.status, error.code, str(error), pointer=error.pointer)


_OF_STATUS: Final = {
    401: (Code.UNAUTHORIZED, "a valid credential is needed: Authorization: Bearer"),
    403: (Code.FORBIDDEN, "this credential may not do this"),
    404: (Code.NOT_FOUND, "there is nothing here"),
    405: (Code.METHOD_NOT_ALLOWED, "this method does not go with this address; the header Allow names those that do"),
    413: (Code.TOO_LARGE, "the body is larger than this address takes"),
    500: (Code.INTERNAL, "something failed that nobody foresaw; what was sent is not known to be safe: send it again"),
}


def of_status(status: int, headers: Mapping[str, str] | None = None) -> Refused:
    """Return the refusal of what a framework says with a bare status."""
    code, detail = _OF_STATUS.get(status, (Code.BAD_REQUEST, "this request cannot be answered"))
    return Refused(status, code, detail, headers=headers)


def document(refused: Refused, request_id: str) -> dict[str, object]:
    """Return the problem as JSON would have it. Members of its own come last and cannot replace the standard's."""
    phrase = HTTPStatus(refused.status).phrase if refused.status in _STATUSES else "Refused"
    problem: dict[str, object] = {
        "type": f"urn:vigil:problem:{refused.code}",
        "title": phrase,
        "status": refused.status,
        "detail": str(refused),
        "instance": f"urn:vigil:request:{request_id}",
        "code": str(refused.code),
    }
    if refused.pointer:
        problem["pointer"] = refused.pointer
    if refused.retry_after_s is not None:
        problem["retry_after_s"] = _whole(refused.retry_after_s)
    return {**refused.members, **problem}


_STATUSES: Final = frozenset(int(one) for one in HTTPStatus)


def headers_of(refused: Refused) -> dict[str, str]:
    """Return the headers that go with it. A 401 always says how to sign in (RFC 9110, section 11.6.1)."""
    headers = dict(refused.headers)
    if refused.retry_after_s is not None:
        headers["retry-after"] = str(_whole(refused.retry_after_s))
    if refused.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("www-authenticate", "Bearer")
    return headers


def response(refused: Refused, request_id: str) -> Response:
    """Return the answer."""
    body = orjson.dumps(document(refused, request_id))
    return Response(body, refused.status, headers_of(refused), MEDIA_TYPE)


def _whole(seconds: float) -> int:
    return max(1, -int(-seconds // 1))
