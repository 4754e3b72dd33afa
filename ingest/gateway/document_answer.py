"""The answer to a document: counts, and what became of each entry. Pure.

A document names records (a workout, an Observation); one may make several samples, or none. The answer keeps the two
apart: `read`, `accepted`, `rejected` and `ignored` count records, as the adapter saw them, what begins with `samples_`
counts the samples that they made, as registry and consent judged them.
"""

from __future__ import annotations

from ingest.gateway.parsed import Retry
from ingest.gateway.pieces import MAX_OUTCOMES, Told, Weighed
from ingest.spool import Place


def summary(told: Told, weighed: Weighed, *, safe: Place | None, request_id: str) -> dict[str, object]:
    """Return the answer of one document: counts, no name, no id but the request's."""
    tally = told.tally
    return {
        "request_id": request_id,
        "read": tally.read,
        "accepted": tally.accepted,
        "rejected": dict(sorted(tally.rejected.items())),
        "ignored": dict(sorted(tally.ignored.items())),
        "samples_by_metric": dict(sorted(tally.by_metric.items())),
        "samples_accepted": weighed.judged.accepted,
        "samples_rejected": dict(sorted(weighed.refused.items())),
        "duplicates": weighed.duplicates,
        "waveforms": weighed.waveforms,
        "waveforms_rejected": dict(sorted(weighed.refused_waveforms.items())),
        "sessions": weighed.sessions,
        "sessions_rejected": dict(sorted(weighed.refused_sessions.items())),
        "safe": None if safe is None else str(safe),
    }


def entries(told: Told, weighed: Weighed) -> tuple[list[dict[str, object]], bool]:
    """Return what became of each record that was not taken whole, by its place, and whether there are more.

    A sample that the gate refused stands under the record that it came from.
    """
    of_samples = sorted(weighed.judged.outcomes, key=lambda one: one.index)[: MAX_OUTCOMES + 1]
    listed = [
        *(_entry(one.index, str(one.status), str(one.reason), one.retry, one.field) for one in told.rejected),
        *(_entry(one.index, "ignored", one.reason, None, "") for one in told.ignored),
        *(_entry(one.index, str(one.status), str(one.reason), one.retry, one.field) for one in of_samples),
    ]
    listed.sort(key=lambda one: int(str(one["index"])))
    whole = told.tally.rejected.total() + told.tally.ignored.total() + len(weighed.judged.outcomes)
    return listed[:MAX_OUTCOMES], whole > MAX_OUTCOMES


def _entry(index: int, status: str, reason: str, retry: Retry | None, where: str) -> dict[str, object]:
    told: dict[str, object] = {"index": int(index), "status": status}
    if reason:
        told["reason"] = reason
    if retry is not None:
        told["retry"] = str(retry)
    if where:
        told["field"] = where
    return told
