"""Edge: what senders tell to be no more, by sample id, becomes tombstones on the backfill lane.

Two halves that only the database joins. What comes on `vigil.deletions` is noted there, then the offsets are committed.
What is noted and due is looked for: each sample that still stands under its id gets a tombstone, and the deletion is
settled once none stands. Until then it is looked for again, after pauses that grow; the recorder that stores a sample
under an id that waits makes it due at once. Whatever dies in between is done again, and a tombstone told twice is one.

A tombstone has the identity and the version (`written`) of what its id told, so it takes away that version and every
older one, and none that was written later, under whichever id.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import structlog
from aiokafka import AIOKafkaConsumer
from prometheus_client import Counter, Gauge

from ingest.deletion_record import decode_deletions
from ingest.publisher import BrokerUnreachable, Publisher
from ingest.record import Record, encode, split
from ingest.record_arrow import MalformedRecord
from ingest.topics import DELETIONS, SAMPLES_BACKFILL
from stream.kafka import MAX_BACKOFF_S, UNDECODABLE, commit, forever, group_consumer
from timeseries.deletion_store import Mark, Open, Outcome, Standing, Told
from timeseries.model import StoreRefused, StoreUnavailable
from vitals.batch import BatchHeader, sample_columns
from vitals.ids import device_id, patient_id

GROUP: Final = "vigil-deletions"
NOTED: Final = Counter("vigil_deletions_noted", "Sample ids that were told to be no more, those told again among them")
LEFT_OUT: Final = Counter("vigil_deletions_refused", "Records of deletions that the database refused")
TOMBSTONES: Final = Counter("vigil_deletions_tombstones", "Tombstones published, those published again among them")
SETTLED: Final = Counter("vigil_deletions_settled", "Deletions settled, by outcome", ["outcome"])
OPEN: Final = Gauge("vigil_deletions_open", "Deletions whose samples are not known or still stand")
OLDEST: Final = Gauge("vigil_deletions_oldest_seconds", "How long ago the oldest open deletion was received")

_log = structlog.get_logger(__name__)
_SERVICE: Final = "deletions"
_RECORDS: Final = 10


class Store(Protocol):
    """What the deleter needs of `timeseries.deletion_store.DeletionStore`; each call may raise `StoreUnavailable`."""

    async def note(self, told: Told) -> None:
        """Note ids that are to be deleted. Raises `StoreRefused`."""

    async def due(self, most: int) -> list[Open]:
        """Return up to `most` deletions that are to be looked at now."""

    async def standing(self, deletions: Sequence[Open], most: int) -> list[Standing]:
        """Return up to `most` samples that stand and that these deletions name."""

    async def mark(self, marks: Sequence[Mark]) -> list[Outcome]:
        """Note what was found; return the outcomes of those that are settled now."""

    async def waiting(self) -> tuple[int, float]:
        """Return how many deletions are open, and how old the oldest is in seconds."""


class Lane(Protocol):
    """Where tombstones go: `ingest.publisher.Publisher`."""

    async def send(self, record: Record, *, topic: str) -> Any:
        """Queue a record and return the future of its acknowledgement. Raises `BrokerUnreachable`."""

    async def confirm(self, acks: list[Any]) -> None:
        """Wait until all are acknowledged. Raises `BrokerUnreachable`."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When a deletion is looked for again: after `first_s`, then `growth` times as long each time, at most `most_s`.

    After `looks` of these, 30 days by these figures, it is given up. At once up to `due` deletions are looked at, and
    up to `samples` get a tombstone.
    """

    first_s: float = 5.0
    growth: float = 1.5
    most_s: float = 86_400.0
    looks: int = 53
    due: int = 2_000
    samples: int = 10_000
    idle_ms: int = 500

    def pause_s(self, looks: int) -> float:
        """Return how long to wait after the given number of looks before this one."""
        return float(min(self.most_s, self.first_s * self.growth ** min(looks, 1_000)))


async def run(
    bootstrap_servers: str,
    store: Store,
    *,
    topic: str = DELETIONS,
    lane: str = SAMPLES_BACKFILL,
    group_id: str = GROUP,
    session_timeout_ms: int = 10_000,
    max_backoff_s: float = MAX_BACKOFF_S,
    patience: Patience = Patience(),
) -> None:
    """Delete what is told to be no more, until cancelled. Waits for broker and database, for ever."""
    publisher = Publisher(bootstrap_servers)
    await forever(_SERVICE, "connect", BrokerUnreachable, max_backoff_s=max_backoff_s)(publisher.start)
    told_at = -_TELL_EVERY_S
    try:
        async with group_consumer(
            bootstrap_servers, group_id, [topic], session_timeout_ms=session_timeout_ms
        ) as consumer:
            more = False
            while True:
                await take_in(consumer, store, wait_ms=0 if more else patience.idle_ms, max_backoff_s=max_backoff_s)
                settling = forever(_SERVICE, "settle", StoreUnavailable, BrokerUnreachable, max_backoff_s=max_backoff_s)
                more = await settling(settle, store, publisher, lane, patience)
                if time.monotonic() - told_at >= _TELL_EVERY_S:
                    told_at = await _tell(store)
    finally:
        await publisher.stop()


_TELL_EVERY_S: Final = 15.0


async def _tell(store: Store) -> float:
    try:
        count, age_s = await store.waiting()
        OPEN.set(count)
        OLDEST.set(age_s)
    except StoreUnavailable:
        pass  # a figure that is a little old; whoever needs the database waits for it
    return time.monotonic()


async def take_in(consumer: AIOKafkaConsumer, store: Store, *, wait_ms: int, max_backoff_s: float) -> None:
    """Note what the topic has for us, and commit its offsets once the database has it."""
    batches = await consumer.getmany(timeout_ms=wait_ms, max_records=_RECORDS)
    for record in (one for records in batches.values() for one in records):
        told = _decoded(record)
        if told is not None:
            await note(store, told, max_backoff_s)
    await commit(consumer, _SERVICE, {where: records[-1].offset + 1 for where, records in batches.items()})


def _decoded(record: Any) -> Told | None:
    try:
        told = decode_deletions(record.key, record.value, record.headers)
    except MalformedRecord as error:
        UNDECODABLE.labels(_SERVICE).inc()
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        _log.warning("message skipped", service=_SERVICE, reason=error.reason.value, **place)
        return None
    by = told.header
    return Told(by.patient_id, by.device_id, by.source_app, by.adapter, told.sample_ids, told.told_us, told.received_us)


async def note(store: Store, told: Told, max_backoff_s: float = MAX_BACKOFF_S) -> None:
    """Note ids, however long the database is away. A record that it refuses is left out, counted and logged."""
    if not len(told.sample_ids):
        return
    try:
        await forever(_SERVICE, "store", StoreUnavailable, max_backoff_s=max_backoff_s)(store.note, told)
    except StoreRefused as error:
        LEFT_OUT.inc()
        _log.error("deletions_left_out", ids=len(told.sample_ids), error=str(error))
    else:
        NOTED.inc(len(told.sample_ids))


async def settle(store: Store, lane: Lane, topic: str, patience: Patience) -> bool:
    """Look at what is due; publish tombstones for what stands, settle the rest. Tell whether more may be due.

    Raises `StoreUnavailable` and `BrokerUnreachable`: nothing is marked then, and the same is done again.
    """
    due = await store.due(patience.due)
    if not due:
        return False
    standing = await store.standing([one for one in due if one.stands], patience.samples)
    acks = [await lane.send(record, topic=topic) for record in tombstones(standing)]
    await lane.confirm(acks)
    TOMBSTONES.inc(len(standing))
    is_cut = len(standing) == patience.samples
    _count(await store.mark([mark_of(one, patience, is_cut=is_cut) for one in due]))
    return len(due) == patience.due


def mark_of(one: Open, patience: Patience, *, is_cut: bool) -> Mark:
    """Return what to note of a deletion that was looked at; `is_cut`: not all that stand got their tombstones yet."""
    if one.is_known and not one.stands:
        return Mark(one, one.looks + 1, outcome=Outcome.REFUSED if one.outlasts else Outcome.DONE)
    if is_cut and one.stands:
        return Mark(one, 0, patience.first_s)
    if one.looks + 1 >= patience.looks:
        return Mark(one, one.looks + 1, outcome=Outcome.REFUSED if one.is_known else Outcome.UNKNOWN)
    return Mark(one, one.looks + 1, patience.pause_s(one.looks))


def _count(settled: Sequence[Outcome]) -> None:
    for outcome in Outcome:
        SETTLED.labels(outcome.value).inc(settled.count(outcome))
    given_up = {outcome.value: settled.count(outcome) for outcome in (Outcome.UNKNOWN, Outcome.REFUSED)}
    if any(given_up.values()):
        _log.warning("deletions_given_up", **given_up)


def tombstones(standing: Sequence[Standing]) -> list[Record]:
    """Return the records that delete these samples: of each the identity, and the version that its id told."""
    by_header: dict[BatchHeader, list[Standing]] = {}
    for one in standing:
        by_header.setdefault(_header(one), []).append(one)
    return [record for header, group in by_header.items() for record in _records(header, group)]


def _header(one: Standing) -> BatchHeader:
    return BatchHeader(patient_id(one.patient_id), device_id(one.device_id), one.source_app, one.adapter)


def _records(header: BatchHeader, group: Sequence[Standing]) -> list[Record]:
    start_us = np.array([one.start_us for one in group], np.int64)
    columns = sample_columns(
        start_us,
        np.array([one.metric for one in group], np.int16),
        np.zeros(len(group)),
        # A deletion that overtook its sample may have been received before the sample was measured.
        received_us=np.maximum(np.array([one.received_us for one in group], np.int64), start_us),
        written_us=np.array([one.written_us for one in group], np.int64),
        duration_ms=np.array([one.duration_ms for one in group], np.int64),
        deleted=True,
    )
    return [encode(header, piece) for piece in split(columns)]
