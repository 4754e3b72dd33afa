"""What the gateway's own answers look like, for OpenAPI: models with examples. Pure."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingest.gateway import examples
from ingest.gateway.contract import SamplesAccepted

ID_EXAMPLE: Final = "0f8c6a52d7d94f0c8e9f3b1a2c4d5e6f"
_PROBLEM: Final[dict[str, Any]] = {
    "type": "urn:vigil:problem:too_many_requests",
    "title": "Too Many Requests",
    "status": 429,
    "detail": "this credential sends too many requests",
    "instance": f"urn:vigil:request:{ID_EXAMPLE}",
    "code": "too_many_requests",
    "retry_after_s": 2,
}


class Problem(BaseModel):
    """RFC 9457 problem details. `code` is for programs; nothing of what was sent is quoted."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PROBLEM]})

    type: str = Field(description="urn:vigil:problem: and the code")
    title: str
    status: int
    detail: str
    instance: str = Field(description="urn:vigil:request: and the request's id, which is in the logs too")
    code: str
    pointer: str | None = Field(None, description="JSON pointer to what is wrong in the body")
    retry_after_s: int | None = Field(None, description="as in the header Retry-After")


class NothingAccepted(Problem, SamplesAccepted):
    """422 of a request that could be read and of which nothing was taken: a problem with the members of an answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.NOTHING]})


class TokenState(BaseModel):
    """The credential that asks."""

    id: str
    kind: Literal["device", "bridge", "platform"]
    expires: str


class LastSampleState(BaseModel):
    """The newest stored sample of a device's metric."""

    device: str
    metric: str
    start: str
    received: str


class RateState(BaseModel):
    """What one credential may send."""

    requests_per_s: float
    requests_burst: float
    samples_per_s: float
    samples_burst: float


class SendState(BaseModel):
    """The limits of a request, and how many samples to send at a time."""

    max_samples: int
    max_bytes: int
    arrow_max_samples: int
    arrow_max_bytes: int
    batch: int = Field(description="samples a request; larger ones are answered later, not faster")
    accepts: list[str]
    encodings: list[str]
    rate: RateState


class BacklogState(BaseModel):
    """What waits here for the broker; null where that cannot be told."""

    spooled_records: int | None
    oldest_age_s: float | None
    hint: Literal["send", "send live data first", "wait"]


class DeviceMe(BaseModel):
    """What the server knows of a sender; `last_samples` and `anchors` are null while the database is away."""

    request_id: str
    token: TokenState
    devices: list[str] = Field(description="those it may name, or those that its patient wears")
    last_samples: list[LastSampleState] | None
    anchors: dict[str, str] | None
    send: SendState
    backlog: BacklogState


class TokenRotated(BaseModel):
    """A new token, shown once. The old one ends when the new one is first used, in a day at the latest."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"token": "vgl_k3v5q7x2m4n6p7r2_" + "0" * 43, "expires": "2027-02-19T08:00:00Z"}]
        }
    )

    token: str
    expires: str


class Health(BaseModel):
    """Alive or ready."""

    status: Literal["alive", "ready"]
