"""What the gateway counts. Labels are words of the code; no id is among them."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from ingest.gateway.parsed import Judged, Status

REQUESTS: Final = Counter("vigil_gateway_requests", "requests answered, by route and status", ["route", "status"])
SECONDS: Final = Histogram(
    "vigil_gateway_request_seconds", "from the end of a request's head to its answer", ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0),
)  # fmt: skip
SAMPLES: Final = Counter("vigil_gateway_samples", "samples, by what became of them", ["outcome"])
BODY_BYTES: Final = Counter("vigil_gateway_body_bytes", "bytes of bodies and messages, unpacked")
STREAMS: Final = Gauge("vigil_gateway_streams", "open streams")
REFUSED: Final = Counter("vigil_gateway_refused", "requests and messages refused, by problem", ["code"])


def count_outcomes(judged: Judged) -> None:
    """Count what became of a request's samples."""
    duplicates = sum(one.status == Status.DUPLICATE for one in judged.outcomes)
    SAMPLES.labels("accepted").inc(judged.accepted)
    SAMPLES.labels(Status.DUPLICATE.value).inc(duplicates)
    SAMPLES.labels(Status.REJECTED.value).inc(len(judged.outcomes) - duplicates)
