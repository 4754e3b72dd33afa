"""What clients see of samples: the answer, and models with examples for OpenAPI. Pure.

Requests are not read through these models (`parse_json` reads columns); a test holds the two against each other.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingest.gateway import examples
from ingest.gateway.parse_json import MAX_ANCHOR_CHARS, MAX_ANCHORS, MAX_DELETIONS, MAX_JSON_SAMPLES
from ingest.gateway.parsed import Judged, Outcome, Parsed, Retry, Status
from ingest.spool import Place
from vitals.catalogue import BY_CODE

MAX_OUTCOMES: Final = 1_000


def answer(parsed: Parsed, judged: Judged, *, safe: Place | None, request_id: str) -> dict[str, object]:
    """Return the 202 body, ready for orjson. `safe` is None where nothing had to be made safe.

    Anchors are confirmed only where all that is to be kept is safe and nothing may pass later: a client goes on from an
    anchor and never tells again what lies before it.
    """
    reasons = Counter(one.reason for one in judged.outcomes if one.status is Status.REJECTED)
    rejected = reasons.total()
    body: dict[str, object] = {
        "request_id": request_id,
        "received": parsed.count,
        "accepted": judged.accepted,
        "duplicates": len(judged.outcomes) - rejected,
        "rejected": rejected,
        "reasons": dict(reasons),
        "outcomes": [_outcome(one) for one in judged.outcomes[:MAX_OUTCOMES]],
        "deletions": judged.deletions,
        "anchors": list(parsed.anchors) if _may_go_on(judged, safe) else [],
        "safe": None if safe is None else safe.value,
    }
    if len(judged.outcomes) > MAX_OUTCOMES:
        body["more_outcomes"] = True
    return body


def nothing_taken(judged: Judged) -> bool:
    """Tell whether a request is to be answered 422: something was rejected, and nothing else came of it."""
    if judged.accepted or judged.deletions or not judged.outcomes:
        return False
    return all(one.status is Status.REJECTED for one in judged.outcomes)


def _may_go_on(judged: Judged, safe: Place | None) -> bool:
    kept = safe is not None or not judged.deliveries
    return kept and all(one.retry is not Retry.LATER for one in judged.outcomes)


def _outcome(one: Outcome) -> dict[str, object]:
    told: dict[str, object] = {"index": one.index, "status": one.status.value}
    if one.status is Status.REJECTED:
        told |= {"reason": one.reason, "retry": (one.retry or Retry.NEVER).value}
    return {**told, "field": one.field} if one.field else told


_OPAQUE: Final = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"
_UUID: Final = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})$"
Time = Annotated[str, Field(pattern=_TIME, json_schema_extra={"format": "date-time"})]
Uuid = Annotated[str, Field(pattern=_UUID, json_schema_extra={"format": "uuid"})]
Opaque = Annotated[str, Field(pattern=_OPAQUE)]
Anchor = Annotated[str, Field(min_length=1, max_length=MAX_ANCHOR_CHARS, pattern=r"^[\x20-\x7e]+$")]
ContextWord = Literal[
    "motion_sedentary", "motion_active", "user_entered", "asleep", "workout", "no_contact", "low_perfusion", "charging"
]
Count = Annotated[int, Field(ge=0)]


class SampleIn(BaseModel):
    """One reading. Its identity is device, source application, metric, start and duration: told twice, stored once.

    The same identity with a later `written` is a correction.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    metric: str = Field(description=f"the catalogue's code: {', '.join(sorted(BY_CODE))}")
    start: Time = Field(description="ISO 8601 with an offset, which is kept as the wearer's zone; Z: zone unknown")
    value: float | None = Field(None, description="in the catalogue's unit; left out only of a deletion")
    end: Time | None = Field(None, description="when it ended; or say duration_ms")
    duration_ms: int | None = Field(None, description="how long it lasted, in milliseconds")
    unit: str | None = Field(None, description="UCUM; if given it must be the catalogue's unit of this metric")
    quality: float | None = Field(None, description="0 useless to 1 good; 1 if not given")
    context: list[ContextWord] | None = Field(None, description="the circumstances, as the source tells them")
    written: Time | None = Field(None, description="when the phone wrote it down; decides which version stands")
    id: Uuid | None = Field(None, description="the source's own id, to delete it by later; not all zero")
    deleted: bool | None = Field(None, description="the source says that this sample is no more")


class SamplesIn(BaseModel):
    """Samples of one device of one person. Whose they are, the credential tells; nothing here may name a patient."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [examples.LIVE]})

    device: Opaque | None = Field(None, description="may be left out where the credential is for one device")
    source_app: Opaque | None = Field(None, description="which application tells; `gateway` if not given")
    written: Time | None = Field(None, description="when the request was written: what samples without `written` have")
    samples: list[SampleIn] | None = Field(None, max_length=MAX_JSON_SAMPLES)
    deletions: list[Uuid] | None = Field(None, max_length=MAX_DELETIONS, description="ids of samples that are no more")
    anchors: dict[Opaque, Anchor] | None = Field(
        None, max_length=MAX_ANCHORS, description="how far a HealthKit client has come, by type; opaque to Vigil"
    )


class OutcomeOut(BaseModel):
    """What became of one sample that was not accepted."""

    index: Count = Field(description="its place in the request, from 0")
    status: Literal["duplicate", "rejected"]
    reason: str | None = None
    retry: Literal["never", "later"] | None = Field(
        None, description="later: somebody may change what stands against it, send it again in an hour"
    )
    field: str | None = Field(None, description="the field at fault")


class SamplesAccepted(BaseModel):
    """What became of a request: received = accepted + duplicates + rejected. What was accepted is safe."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.ACCEPTED, examples.IN_PART]})

    request_id: Opaque
    received: Count
    accepted: Count
    duplicates: Count = Field(description="the same sample stands earlier in this request")
    rejected: Count
    reasons: dict[str, int] = Field(description="rejected samples by reason; exact")
    outcomes: list[OutcomeOut] = Field(max_length=MAX_OUTCOMES, description="by index, only what was not accepted")
    more_outcomes: bool = Field(False, description=f"there are more than {MAX_OUTCOMES}; the counts are exact")
    deletions: Count = Field(description="deletions that are taken over")
    anchors: list[str] = Field(description="anchors that are confirmed: everything before them is safe")
    safe: Literal["broker", "spool"] | None = Field(description="the weakest place; null where nothing had to be kept")
