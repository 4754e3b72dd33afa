"""Requests and answers as clients send and see them, for OpenAPI and docs/gateway.md; tests hold the code to them."""

from __future__ import annotations

from typing import Any, Final

Example = dict[str, Any]

_REQUEST_ID: Final = "0f8c6a52d7d94f0c8e9f3b1a2c4d5e6f"
_UUID: Final = "8f14e45f-ceea-467f-a0e6-6b1f0a2d1c3b"
_OTHER_UUID: Final = "45c48cce-2e2d-4fbd-aa1a-fc51c7c6ad26"

LIVE: Final[Example] = {
    "device": "watch-1",
    "source_app": "vigil-ios",
    "samples": [
        {"metric": "heart_rate", "start": "2026-11-21T09:00:00+01:00", "value": 72, "unit": "/min"},
        {"metric": "spo2", "start": "2026-11-21T09:00:00+01:00", "value": 97.5, "quality": 0.9, "context": ["asleep"]},
        {
            "metric": "steps",
            "start": "2026-11-21T08:00:00+01:00",
            "end": "2026-11-21T09:00:00+01:00",
            "value": 412,
            "id": _UUID,
        },
    ],
}

CORRECTION: Final[Example] = {
    "device": "watch-1",
    "source_app": "vigil-ios",
    "written": "2026-11-21T09:05:00+01:00",
    "samples": [
        {
            "metric": "steps",
            "start": "2026-11-21T08:00:00+01:00",
            "duration_ms": 3_600_000,
            "value": 430,
            "id": _UUID,
        }
    ],
}

HEALTHKIT: Final[Example] = {
    "device": "watch-1",
    "source_app": "vigil-ios",
    "samples": [{"metric": "heart_rate", "start": "2026-11-21T08:59:30+01:00", "value": 71, "id": _OTHER_UUID}],
    "deletions": [_UUID],
    "anchors": {"heart_rate": "YnBsaXN0MDDUAQIDBAUGBwo="},
}

IN_DOUBT: Final[Example] = {
    "device": "watch-1",
    "source_app": "vigil-ios",
    "samples": [
        {"metric": "heart_rate", "start": "2026-11-21T09:00:00+01:00", "value": 72},
        {"metric": "heart_rate", "start": "2026-11-21T09:00:00+01:00", "value": 72},
        {"metric": "heart_rate", "start": "2026-11-21T09:00:05+01:00", "value": 720},
        {"metric": "heart_rate", "start": "yesterday", "value": 70},
    ],
}

REFUSED: Final[Example] = {
    "device": "watch-1",
    "samples": [{"metric": "heart_rate", "start": "2026-11-21T09:00:00+01:00", "value": 72, "unit": "bpm"}],
}

REQUESTS: Final[dict[str, Example]] = {
    "live": {"summary": "Readings as they come", "value": LIVE},
    "correction": {"summary": "The same hour told again, with a later `written`", "value": CORRECTION},
    "healthkit": {"summary": "New and deleted samples, and the anchor to go on from", "value": HEALTHKIT},
    "in_doubt": {"summary": "One accepted, one told twice, one out of range, one unreadable", "value": IN_DOUBT},
}
"""For the `examples` of a request body."""

ACCEPTED: Final[Example] = {
    "request_id": _REQUEST_ID,
    "received": 3,
    "accepted": 3,
    "duplicates": 0,
    "rejected": 0,
    "reasons": {},
    "outcomes": [],
    "deletions": 0,
    "anchors": [],
    "safe": "broker",
}

IN_PART: Final[Example] = {
    "request_id": _REQUEST_ID,
    "received": 4,
    "accepted": 1,
    "duplicates": 1,
    "rejected": 2,
    "reasons": {"out_of_range": 1, "bad_time": 1},
    "outcomes": [
        {"index": 1, "status": "duplicate"},
        {"index": 2, "status": "rejected", "reason": "out_of_range", "retry": "never", "field": "value"},
        {"index": 3, "status": "rejected", "reason": "bad_time", "retry": "never", "field": "start"},
    ],
    "deletions": 0,
    "anchors": [],
    "safe": "broker",
}

ANSWERS: Final[dict[str, Example]] = {
    "accepted": {"summary": "All of it is with the broker", "value": ACCEPTED},
    "in_part": {"summary": "What was not accepted, and why", "value": IN_PART},
}
"""For the `examples` of a 202."""

NOTHING: Final[Example] = {
    "request_id": _REQUEST_ID,
    "received": 1,
    "accepted": 0,
    "duplicates": 0,
    "rejected": 1,
    "reasons": {"wrong_unit": 1},
    "outcomes": [{"index": 0, "status": "rejected", "reason": "wrong_unit", "retry": "never", "field": "unit"}],
    "deletions": 0,
    "anchors": [],
    "safe": None,
    "type": "urn:vigil:problem:nothing_accepted",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "no sample of this request was accepted",
    "instance": f"urn:vigil:request:{_REQUEST_ID}",
    "code": "nothing_accepted",
}
"""The members of the 422 that `REFUSED` is answered with."""
