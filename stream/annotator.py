"""Edge: annotations from their topic into the database. With that down it waits, for ever; nothing waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import structlog
from prometheus_client import Counter

from alerts.annotation import Annotation
from ingest.topics import ANNOTATIONS
from stream.kafka import MAX_BACKOFF_S, commit, decoded, forever, group_consumer
from timeseries.annotation_store import AnnotationRow
from timeseries.model import StoreRefused, StoreUnavailable
from vitals.catalogue import BY_CODE

GROUP: Final = "vigil-annotations"
STORED: Final = Counter("vigil_annotations_stored", "Annotations stored, those told again among them")
REFUSED: Final = Counter("vigil_annotations_refused", "Annotations that the database refused and that were left out")

_log = structlog.get_logger(__name__)
_SERVICE: Final = "annotations"
_POLL_MS: Final = 200


class Store(Protocol):
    """Where annotations are kept; storing the same again changes nothing."""

    async def save(self, rows: Sequence[AnnotationRow]) -> None:
        """Store all or nothing. Raises `StoreUnavailable` where trying again can help, otherwise `StoreRefused`."""


async def run(
    bootstrap_servers: str,
    store: Store,
    *,
    topic: str = ANNOTATIONS,
    group_id: str = GROUP,
    session_timeout_ms: int = 10_000,
    max_backoff_s: float = MAX_BACKOFF_S,
) -> None:
    """Store annotations until cancelled. Offsets are committed after the database's commit."""
    async with group_consumer(bootstrap_servers, group_id, [topic], session_timeout_ms=session_timeout_ms) as consumer:
        while True:
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=500)
            told = [decoded(_SERVICE, Annotation, record) for records in batches.values() for record in records]
            await save(store, [row_of(one) for one in told if one is not None], max_backoff_s)
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


def row_of(one: Annotation) -> AnnotationRow:
    """Return the annotation as the table has it."""
    return AnnotationRow(
        annotation_key=one.annotation_key, patient_id=one.patient_id,
        metric_key=None if one.metric is None else BY_CODE[one.metric].number,
        from_time=one.from_time, to_time=one.to_time, kind=one.kind.value, source=one.source, rule=one.rule,
        rule_version=one.rule_version, label=one.label, detail=dict(one.detail), retracted=one.retracted,
    )  # fmt: skip
