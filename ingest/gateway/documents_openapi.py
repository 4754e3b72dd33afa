"""How documents, uploads and jobs stand in the OpenAPI description: bodies, answers, examples. Pure."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingest.gateway.problems import MEDIA_TYPE

_HAE_EXAMPLE: Final = {
    "data": {
        "metrics": [
            {
                "name": "heart_rate",
                "units": "count/min",
                "data": [
                    {"date": "2026-11-21 09:00:00 +0100", "Min": 61, "Avg": 64.5, "Max": 70, "source": "Watch"},
                ],
            },
            {
                "name": "step_count",
                "units": "count",
                "data": [{"date": "2026-11-21 09:00:00 +0100", "qty": 112, "source": "Watch|iPhone"}],
            },
        ],
        "workouts": [],
    }
}
_OBSERVATION_EXAMPLE: Final = {
    "resourceType": "Observation",
    "id": "hr-1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "device": {"reference": "Device/watch-1"},
    "effectiveDateTime": "2026-11-21T09:00:00+01:00",
    "valueQuantity": {"value": 64, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
}
_NDJSON_EXAMPLE: Final = json.dumps(_OBSERVATION_EXAMPLE) + "\n"
_BUNDLE_EXAMPLE: Final = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [{"resource": _OBSERVATION_EXAMPLE}, {"resource": {"resourceType": "Patient"}}],
}
_COUNTS_EXAMPLE: Final[dict[str, Any]] = {
    "request_id": "0f8c6a52d7d94f0c8e9f3b1a2c4d5e6f", "read": 2, "accepted": 2, "rejected": {}, "ignored": {},
    "samples_by_metric": {"heart_rate": 1, "steps": 1}, "samples_accepted": 2, "samples_rejected": {}, "duplicates": 0,
    "waveforms": 0, "waveforms_rejected": {}, "sessions": 0, "sessions_rejected": {}, "safe": "broker",
}  # fmt: skip
_JOB_EXAMPLE: Final[dict[str, Any]] = {
    "request_id": "0f8c6a52d7d94f0c8e9f3b1a2c4d5e6f", "job": "5f0c2c9a4b7e4d1f8a6b3c2d1e0f9a8b", "state": "running",
    "progress": {"done_bytes": 314_572_800, "total_bytes": 1_073_741_824, "percent": 29.3}, "tries": 1,
    "created": "2026-11-21T08:00:00.000Z", "started": "2026-11-21T08:00:01.000Z", "ended": None,
    "summary": None, "problem": None,
}  # fmt: skip


class DocumentAnswer(BaseModel):
    """What became of a document: `read` = `accepted` + `rejected` + `ignored` records, and the samples they made."""

    model_config = ConfigDict(json_schema_extra={"example": _COUNTS_EXAMPLE})

    request_id: str
    read: int = Field(description="records in the document")
    accepted: int = Field(description="records of which something was taken, before registry and consent")
    rejected: dict[str, int] = Field(description="records that break the format's rules, by reason")
    ignored: dict[str, int] = Field(description="records that Vigil has no metric for, by their type")
    samples_by_metric: dict[str, int] = Field(description="samples that the accepted records made")
    samples_accepted: int
    samples_rejected: dict[str, int] = Field(description="samples refused by validation, registry or consent")
    duplicates: int = Field(description="samples that stand in the document more than once")
    waveforms: int
    waveforms_rejected: dict[str, int]
    sessions: int = Field(description="workouts, nights, recordings")
    sessions_rejected: dict[str, int]
    safe: Literal["broker", "spool"] | None = Field(description="where all of it is; null where nothing had to be kept")


class EntryOutcome(BaseModel):
    """What became of one entry that was not taken whole; a refused sample stands under the entry it came from."""

    index: int = Field(description="the entry's place in the Bundle, or among the lines, from 0")
    status: Literal["rejected", "ignored", "duplicate"]
    reason: str | None = None
    retry: Literal["never", "later"] | None = None
    field: str | None = None


class FhirAnswer(DocumentAnswer):
    """The same, and entry by entry what was not taken."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                **_COUNTS_EXAMPLE,
                "accepted": 1,
                "ignored": {"Patient": 1},
                "samples_by_metric": {"heart_rate": 1},
                "samples_accepted": 1,
                "outcomes": [{"index": 1, "status": "ignored", "reason": "Patient"}],
            }
        }
    )

    outcomes: list[EntryOutcome] = Field(description="at most 1,000; the counts are exact")
    more_outcomes: bool = False


class JobProgress(BaseModel):
    """How much is read; of an archive, of what it unpacks to."""

    done_bytes: int
    total_bytes: int
    percent: float


class JobProblem(BaseModel):
    """Why a job failed, or why it waits to be tried again."""

    code: str
    detail: str


class JobAnswer(BaseModel):
    """A job. `summary` counts what was read, also of a file that could be read only in part."""

    model_config = ConfigDict(json_schema_extra={"example": _JOB_EXAMPLE})

    request_id: str
    job: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    progress: JobProgress
    tries: int
    created: str
    started: str | None
    ended: str | None
    summary: dict[str, Any] | None
    problem: JobProblem | None


_SAYS: Final = {
    400: "the body is incomplete, damaged, or not what its headers say",
    401: "no credential that stands",
    403: "this credential may not do this, or no consent lets anything be stored",
    404: "no such job of this credential's patient",
    408: "the body came too slowly",
    413: "the body is too large, or compressed too much",
    415: "a media type, charset or encoding that this does not take",
    422: "no such document, or nothing in it was accepted",
    429: "too much from this credential or address; Retry-After says when",
    503: "cannot be made safe now; Retry-After says when to send it again",
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _SAYS[status], "content": problem} for status in statuses}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


_OBJECT: Final = {"type": "object"}
_EXPORT_TYPES: Final = ("application/zip", "application/xml", "application/octet-stream")
_BINARY: Final = {"type": "string", "format": "binary"}
_BODY_PROBLEMS: Final = (400, 401, 403, 408, 413, 415, 422, 429, 503)

HEALTH_AUTO_EXPORT: Final[dict[str, Any]] = {
    "operation_id": "post_health_auto_export",
    "summary": "Take what Health Auto Export posts",
    "description": (
        "Give the iOS app this address and a header Authorization; nothing else is to be set up on the phone. What it "
        "sends again is stored once. Of its headers only automation-aggregation is read."
    ),
    "tags": ["documents"],
    "status_code": 202,
    "response_model": DocumentAnswer,
    "responses": _problems(*_BODY_PROBLEMS),
    "openapi_extra": {
        **_body({"application/json": {"schema": _OBJECT, "example": _HAE_EXAMPLE}}),
        "parameters": [
            {
                "name": "automation-aggregation",
                "in": "header",
                "required": False,
                "description": "what a point stands for: seconds, minutes, hours, days, weeks, months, years",
                "schema": {"type": "string"},
                "example": "minutes",
            }
        ],
    },
}
FHIR: Final[dict[str, Any]] = {
    "operation_id": "post_fhir",
    "summary": "Take Observations in FHIR R4",
    "description": (
        "A Bundle, a single Observation, or ndjson with a resource a line. The patient is the credential's, whatever a "
        "resource refers to; all resources have to be of one subject."
    ),
    "tags": ["documents"],
    "status_code": 202,
    "response_model": FhirAnswer,
    "response_model_exclude_none": True,
    "responses": _problems(*_BODY_PROBLEMS),
    "openapi_extra": _body(
        {
            "application/fhir+json": {"schema": _OBJECT, "example": _BUNDLE_EXAMPLE},
            "application/json": {"schema": _OBJECT, "example": _OBSERVATION_EXAMPLE},
            "application/fhir+ndjson": {
                "schema": {"type": "string"},
                "example": json.dumps(_OBSERVATION_EXAMPLE) + "\n",
            },
        }
    ),
}
EXPORT: Final[dict[str, Any]] = {
    "operation_id": "post_healthkit_export",
    "summary": "Upload an Apple Health export",
    "description": (
        "The body is export.zip as the iPhone makes it, or the export.xml inside. It is read by a job; Location says "
        "where to ask for it. With Repr-Digest (sha-256) the bytes are checked."
    ),
    "tags": ["documents"],
    "status_code": 202,
    "response_model": JobAnswer,
    "responses": {
        202: {"headers": {"Location": {"schema": {"type": "string"}, "description": "where to ask for the job"}}},
        **_problems(*_BODY_PROBLEMS),
    },
    "openapi_extra": _body({one: {"schema": _BINARY} for one in _EXPORT_TYPES}),
}
_JOB_ID: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "job_id",
            "in": "path",
            "required": True,
            "description": "as the upload's Location says",
            "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "example": _JOB_EXAMPLE["job"],
        }
    ]
}
_JOB_PROBLEMS: Final = (401, 403, 404, 429, 503)
SHOW_JOB: Final[dict[str, Any]] = {
    "operation_id": "get_job",
    "summary": "How far an upload has been read",
    "tags": ["documents"],
    "response_model": JobAnswer,
    "responses": _problems(*_JOB_PROBLEMS),
    "openapi_extra": _JOB_ID,
}
CANCEL_JOB: Final[dict[str, Any]] = {
    "operation_id": "cancel_job",
    "summary": "End a job and delete its upload",
    "description": "What it sent already stays sent. A job that has ended stays as it is, and is forgotten in a week.",
    "tags": ["documents"],
    "response_model": JobAnswer,
    "responses": _problems(*_JOB_PROBLEMS),
    "openapi_extra": _JOB_ID,
}
