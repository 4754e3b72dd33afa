"""Edge: annotations from their topic into the database. With that down it waits, for ever; nothing waits for it.

What no consent covers is counted and not stored. Offsets are committed after the database, so a note that is told again
because this process was killed in between is one row, and may be counted twice.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Counter

from alerts.annotation import Annotation, AnnotationKind
from ingest.topics import ANNOTATIONS
from stream.kafka import MAX_BACKOFF_S, commit, decoded, forever, group_consumer
from stream.recorder import GateSource, open_gate
from timeseries.annotation_store import AnnotationRow
from timeseries.model import StoreRefused, StoreUnavailable
from vitals.catalogue import BY_CODE, UNKNOWN_METRIC, number_of
from vitals.clock import from_datetime
from vitals.gate import Gate

GROUP: Final = "vigil-annotations"
STORED: Final = Counter("vigil_annotations_stored", "Annotations stored, those told again among them")
REFUSED: Final = Counter("vigil_annotations_refused", "Annotations that the database refused and that were left out")

NOT_CONSENTED: Final = Counter("vigil_annotations_not_consented", "Annotations that no consent covers, not stored")

ADAPTER: Final = "annotations"
"""Under this word they are counted in the table `not_consented`."""

_log = structlog.get_logger(__name__)
_SERVICE: Final = "annotations"
_POLL_MS: Final = 200


class Store(Protocol):
    """Where annotations are kept; storing the same again changes nothing."""

    async def save(self, rows: Sequence[AnnotationRow]) -> None:
        """Store all or nothing. Raises `StoreUnavailable` where trying again can help, otherwise `StoreRefused`."""

    async def count_not_consented(self, counts: Mapping[tuple[str, int], int]) -> None:
        """Add counts by (adapter, metric number). Raises like `save`."""


async def run(
    bootstrap_servers: str,
    store: Store,
    *,
    topic: str = ANNOTATIONS,
    group_id: str = GROUP,
    session_timeout_ms: int = 10_000,
    max_backoff_s: float = MAX_BACKOFF_S,
    gate: GateSource = open_gate,
) -> None:
    """Store annotations until cancelled. Offsets are committed after the database's commit."""
    patient = forever(_SERVICE, "store", StoreUnavailable, max_backoff_s=max_backoff_s)
    async with group_consumer(bootstrap_servers, group_id, [topic], session_timeout_ms=session_timeout_ms) as consumer:
        while True:
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=500)
            told = [decoded(_SERVICE, Annotation, record) for records in batches.values() for record in records]
            rows = [row_of(one) for one in told if one is not None]
            if rows:
                covered, missing = judged(await patient(gate), rows)
                await save(store, covered, max_backoff_s)
                if missing:
                    await patient(store.count_not_consented, missing)
                    NOT_CONSENTED.inc(sum(missing.values()))
            await commit(consumer, _SERVICE, {where: records[-1].offset + 1 for where, records in batches.items()})


async def save(store: Store, rows: Sequence[AnnotationRow], max_backoff_s: float = MAX_BACKOFF_S) -> None:
    """Store rows, however long the database is away. One that it refuses is left out, counted and logged."""
    if not rows:
        return
    try:
        await forever(_SERVICE, "store", StoreUnavailable, max_backoff_s=max_backoff_s)(store.save, rows)
    except StoreRefused as error:
        if len(rows) == 1:
            REFUSED.inc()
            _log.error("row left out", error=str(error))
            return
        for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            await save(store, half, max_backoff_s)
    else:
        STORED.inc(len(rows))


def judged(gate: Gate, rows: Sequence[AnnotationRow]) -> tuple[list[AnnotationRow], dict[tuple[str, int], int]]:
    """Return the notes that consent covers where they begin, and how many others there are by (adapter, metric).

    A note is of the classes of the metrics that it is about, a report of `reported`, activity and environment of
    `activity`; any other that names no metric takes consent to every class.
    """
    if gate.is_open:
        return list(rows), {}
    covered: list[AnnotationRow] = []
    missing: Tally[tuple[str, int]] = Tally()
    for row in rows:
        metrics = _metrics_of(row)
        start_us = np.full(len(metrics), from_datetime(row["from_time"]))
        if gate.without_consent(row["patient_id"], start_us, metrics) is None:
            covered.append(row)
        else:
            missing[ADAPTER, row["metric_key"] or UNKNOWN_METRIC] += 1
    return covered, dict(missing)


_STANDS_FOR: Final = {
    AnnotationKind.REPORT.value: number_of("symptom"),
    AnnotationKind.ACTIVITY.value: number_of("activity_class"),
    AnnotationKind.ENVIRONMENT.value: number_of("ambient_temperature"),
}
"""A metric of the class of notes that name none, by kind."""


def _metrics_of(row: AnnotationRow) -> NDArray[np.int16]:
    told = row["detail"].get("metrics")
    named = [number_of(code) for code in told if isinstance(code, str)] if isinstance(told, list) else []
    if row["metric_key"] is not None:
        named.append(row["metric_key"])
    return np.array(named or [_STANDS_FOR.get(row["kind"], UNKNOWN_METRIC)], np.int16)


def row_of(one: Annotation) -> AnnotationRow:
    """Return the annotation as the table has it."""
    return AnnotationRow(
        annotation_key=one.annotation_key, patient_id=one.patient_id,
        metric_key=None if one.metric is None else BY_CODE[one.metric].number,
        from_time=one.from_time, to_time=one.to_time, kind=one.kind.value, source=one.source, rule=one.rule,
        rule_version=one.rule_version, label=one.label, detail=dict(one.detail), retracted=one.retracted,
    )  # fmt: skip
