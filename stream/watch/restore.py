"""Edge: what is known of partitions that were taken over: snapshots, the place to go on from, what was told already."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

import structlog
from aiokafka import TopicPartition
from pydantic import ValidationError

from alerts.event import AlertEvent
from ingest.topics import ALERTS, WATCH_STATE
from stream.recorder import Partition
from stream.watch import watch_metrics as metrics
from stream.watch.adoption import NOT_MONITORED, is_not_monitored
from stream.watch.log_end import beginnings, log_begins, offsets_since, reader, to_the_end
from stream.watch.partition import PartitionWatch, newest_by_epoch
from stream.watch.pipeline import open_among
from stream.watch.ports import Watching
from stream.watch.standing import Standing
from stream.watch.state_record import MARKER, Kept, Place
from stream.watch.strays import READ_BACK_S, strays_among
from stream.watch.told import Told
from vitals.clock import Clock, system_clock
from vitals.errors import VigilError

log = structlog.get_logger(__name__)

ALLOWANCE_S: Final = 60.0
"""Alert events are read back from so long before they can have been told: the workers' clocks may differ."""
FORGET_AFTER_S: Final = 90 * 86_400.0
"""Who was not heard of for so long is forgotten."""
_SLICE_S: Final = 0.01


class TooFewPartitions(VigilError):
    """The topic of the state has fewer partitions than that of the samples: give it as many, then start again."""

    def __init__(self, topic: str, has: int, needs: int) -> None:
        super().__init__(f"{topic} has {has} partitions and needs {needs}, as many as the samples: add them")


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A partition as it goes on; `gone` are patients to forget on the topic, `pipeline` its open alert, if any;
    `lost` whose state is lost, `strays` what may be open of them, `withdrawn` whom nobody may watch."""

    watched: PartitionWatch
    gone: list[str]
    pipeline: AlertEvent | None
    sizes: dict[str, int]
    marked_ms: int | None
    strays: list[AlertEvent] = field(default_factory=list)
    lost: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Restorer:
    """Knows where everything stands. `holds` tells whether the log has, before an offset, a record with this CRC-32."""

    bootstrap_servers: str
    engine: Callable[[], Watching]
    holds: Callable[[Partition, int, int | None], Any]
    warm_up_s: float
    clock: Clock = system_clock
    topic: str = WATCH_STATE
    alerts_topic: str = ALERTS

    async def take_over(self, partitions: Sequence[Partition], told: Told) -> dict[Partition, TakenOver]:
        """Return what is known of these partitions; `told` is filled anew. Raises KafkaError, OSError, TimeoutError."""
        begun = time.monotonic()
        standing = await self._standing(partitions)
        old_ms = self.clock() // 1_000 - round(self.warm_up_s * 1_000)
        fallback = await offsets_since(self.bootstrap_servers, partitions, old_ms)
        first = await log_begins(self.bootstrap_servers, partitions)
        found: dict[Partition, TakenOver] = {}
        since_ms = self.clock() // 1_000
        for partition in partitions:
            one = standing[partition]
            known = await self._recognised(partition, one)
            found[partition] = await self._restored(partition, one, known, fallback[partition], first[partition])
            since_ms = min(since_ms, one.marker.taken_ms if one.is_whole(known) and one.marker else old_ms)
            if one.is_lost or one.unreadable:
                since_ms = min(since_ms, self.clock() // 1_000 - round(READ_BACK_S * 1_000))
        events = await self._told_since(since_ms - round(ALLOWANCE_S * 1_000))
        told.clear()
        told.remember(events)
        metrics.RESTORE.observe(time.monotonic() - begun)
        log.info(
            "watch_restored",
            partitions=sorted(number for _, number in partitions),
            patients=sum(len(one.watched.kept) for one in found.values()),
            told=len(told),
            seconds=round(time.monotonic() - begun, 3),
        )
        return {partition: _with_open(one, standing[partition], events) for partition, one in found.items()}

    async def _standing(self, partitions: Sequence[Partition]) -> dict[Partition, Standing]:
        own = {TopicPartition(self.topic, number): (topic, number) for topic, number in partitions}
        found = {partition: Standing() for partition in partitions}
        async with reader(self.bootstrap_servers, self.topic) as consumer:
            there = consumer.assignment()
            if not own.keys() <= there:
                raise TooFewPartitions(self.topic, len(there), max(number for _, number in partitions) + 1)
            consumer.pause(*(there - own.keys()))
            async for tp, records in to_the_end(consumer, await beginnings(consumer, list(own))):
                for record in records:
                    found[own[tp]].take(record.key, record.value)
        return found

    async def _recognised(self, partition: Partition, standing: Standing) -> set[str]:
        """Return the epochs whose newest record is still in the log."""
        kept = dict(standing.kept)
        if standing.marker is not None:
            kept[MARKER.decode()] = standing.marker
        known: set[str] = set()
        for epoch, place in newest_by_epoch(kept).items():
            if not place.is_recognisable or await self.holds(partition, place.offset - 1, place.crc):
                known.add(epoch)
            else:
                log.warning("watch_log_recreated", partition=partition[1])
        return known

    async def _restored(
        self, partition: Partition, standing: Standing, known: set[str], fallback: int, first: int
    ) -> TakenOver:
        engine, now_ms = self.engine(), self.clock() // 1_000
        below: dict[bytes, int] = {}
        sizes: dict[str, int] = {}
        gone: list[str] = []
        withdrawn: set[str] = set()
        since = time.monotonic()
        for patient, kept in standing.kept.items():
            try:
                if now_ms - kept.taken_ms > FORGET_AFTER_S * 1_000 and not self._has_open(patient, kept):
                    gone.append(patient)
                    continue
                engine.restore(patient, kept.body)
            except Exception:  # noqa: BLE001 - damaged, or of another version; whatever it is, others are to be watched
                metrics.UNREADABLE.labels("other_version").inc()
                standing.unreadable.add(patient)
                continue
            sizes[patient] = len(kept.body)
            if is_not_monitored(engine.open_alerts(patient)):
                withdrawn.add(patient)
            if kept.place.epoch in known:
                below[patient.encode()] = kept.below
            if time.monotonic() - since > _SLICE_S:
                await asyncio.sleep(0)
                since = time.monotonic()
        if standing.unreadable:
            log.warning("watch_snapshots_unreadable", partition=partition[1], patients=len(standing.unreadable))
        place = _begin(standing, known, fallback)
        if place.offset < first:  # retention took the rest: behind an empty log nobody would ever be caught up
            place = Place(place.epoch, first)
        marked = standing.marker if standing.marker is not None and standing.marker.place.epoch in known else None
        watched = PartitionWatch(
            partition, engine, place.epoch, place.offset,
            floor=0 if marked is None else marked.place.offset, below=below, kept=set(sizes),
            guard=None if place.crc is None or place.timestamp_ms is None else (place.timestamp_ms, place.crc),
        )  # fmt: skip
        return TakenOver(
            watched, gone, None, sizes, None if marked is None else marked.taken_ms,
            lost=frozenset(standing.unreadable), withdrawn=frozenset(withdrawn),
        )  # fmt: skip

    def _has_open(self, patient: str, kept: Kept) -> bool:
        """Tell whether an alert is open of somebody long unheard: forgotten, it would be for ever."""
        alone = self.engine()
        alone.restore(patient, kept.body)
        return bool(alone.open_alerts(patient))

    async def _told_since(self, since_ms: int) -> list[AlertEvent]:
        events: list[AlertEvent] = []
        async with reader(self.bootstrap_servers, self.alerts_topic) as consumer:
            tps = sorted(consumer.assignment())
            found = await consumer.offsets_for_times(dict.fromkeys(tps, max(0, since_ms))) if tps else {}
            since = {tp: int(found[tp].offset) for tp in tps if found.get(tp) is not None}
            consumer.pause(*(tp for tp in tps if tp not in since))
            async for _, records in to_the_end(consumer, since):
                for record in records:
                    try:
                        events.append(AlertEvent.model_validate_json(record.value or b""))
                    except ValidationError:
                        continue  # none of ours: dispatch counts it
        return events


def _begin(standing: Standing, known: set[str], fallback: int) -> Place:
    """Return where to go on: at the marker; where somebody's snapshot could not be used, no later than `fallback`,
    the first record of the last half hour; without a marker there, in the epoch of the snapshots or a new one."""
    marker = standing.marker
    if marker is not None and marker.place.epoch in known:
        if not standing.unreadable or fallback >= marker.place.offset:
            return marker.place
        return Place(marker.place.epoch, fallback)
    epochs = [kept.place.epoch for kept in standing.kept.values() if kept.place.epoch in known]
    return Place(epochs[-1] if epochs else uuid4().hex[:12], fallback)


def _with_open(one: TakenOver, standing: Standing, events: Sequence[AlertEvent]) -> TakenOver:
    before: list[AlertEvent] = []
    if standing.marker is not None and standing.marker.body:
        try:
            before.append(AlertEvent.model_validate_json(standing.marker.body))
        except ValidationError:
            log.warning("watch_marker_unreadable", partition=one.watched.partition[1])
    opened: Mapping[int, AlertEvent] = open_among(events, before)
    strays = strays_among(events, None if standing.is_lost else standing.unreadable)
    if not standing.is_lost:
        strays += _noticed_anew(one, events)
    return replace(one, pipeline=opened.get(one.watched.partition[1]), strays=strays)


def _noticed_anew(one: TakenOver, events: Iterable[AlertEvent]) -> list[AlertEvent]:
    """Return the alerts that somebody is not monitored of which the states do not know: their ids have the time at
    which it was noticed, so after a crash in that moment it is noticed, and told, as another."""
    told = strays_among((event for event in events if event.rule == NOT_MONITORED), one.watched.kept)
    known = one.watched.engine.open_alerts
    return [event for event in told if event.alert_id not in known(event.patient_id)]
