"""Edge: the state of patients onto `vigil.watch.state`, a little at a time, and the markers that say how far it goes.

A snapshot is written only after the alert events that its state knows as told are acknowledged: a state that is ahead
of the topic would keep an alert from ever being raised. A marker is written only after its round's snapshots are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from alerts.event import AlertEvent
from ingest.topics import MAX_MESSAGE_BYTES, WATCH_STATE
from stream.kafka import forever, safe_producer
from stream.watch import watch_metrics as metrics
from stream.watch.broken import what_broke
from stream.watch.outbox import Outbox
from stream.watch.partition import PartitionWatch
from stream.watch.pulse import SESSION_S, Pulse
from stream.watch.rounds import SOON_S, Round, Rounds
from stream.watch.slices import Slices
from stream.watch.state_record import LOST, MARKER, Kept, pack
from vitals.clock import Clock, system_clock

log = structlog.get_logger(__name__)

SERVICE: Final = "watch-state"
_AT_ONCE: Final = 32
_LARGEST: Final = MAX_MESSAGE_BYTES - 4_096

Item = tuple[bytes, bytes | None]


class Keeper:
    """Writes down the partitions that this worker has. `keep` is called again and again, by one task."""

    def __init__(
        self,
        bootstrap_servers: str,
        outbox: Outbox,
        *,
        period_s: float,
        pulse: Pulse | None = None,
        clock: Clock = system_clock,
        topic: str = WATCH_STATE,
    ) -> None:
        self._bootstrap_servers, self._topic, self._clock = bootstrap_servers, topic, clock
        self._outbox, self._period_s = outbox, period_s
        self.pulse = pulse or Pulse(SESSION_S)
        self._rounds: dict[int, Rounds] = {}
        self._sizes: dict[int, dict[str, int]] = {}
        self._marked_ms: dict[int, int] = {}
        self._writing = asyncio.Lock()
        self._open = AsyncExitStack()
        self._producer: AIOKafkaProducer | None = None

    def hasten(self, partition: int, events: Iterable[AlertEvent]) -> None:
        """What these events are about is to be written down soon."""
        self._of(partition).hasten({event.patient_id for event in events}, time.monotonic() + SOON_S)

    def renew(self, partition: int, patients: Iterable[str]) -> None:
        """What stands of these patients cannot be read, or may not be kept: it is replaced at once."""
        self._of(partition).hasten(patients, time.monotonic())

    def forget(self, partitions: Iterable[int]) -> None:
        """Another worker has these partitions."""
        for number in partitions:
            for held in (self._rounds, self._sizes, self._marked_ms):
                held.pop(number, None)

    async def settled(self) -> None:
        """Return when nothing is being written."""
        async with self._writing:
            pass

    async def keep(
        self, watched: PartitionWatch, is_ours: Callable[[], bool], pipeline: Callable[[], AlertEvent | None]
    ) -> None:
        """Write down whose turn it is, and the marker where a round is complete. Waits for a broker that is away."""
        if watched.is_seen_anew:
            return
        rounds, now_s = self._of(watched.partition[1]), time.monotonic()
        if rounds.is_due(now_s):
            rounds.begin(now_s, watched.place(), self._clock() // 1_000, watched.engine.dirty())
        while patients := rounds.take(time.monotonic(), _AT_ONCE):
            items = await self._taken(watched, patients, is_ours)
            if not await self._write(watched, items, self._outbox.so_far, is_ours):
                return
        ended = rounds.ended()
        if ended is not None and MARKER.decode() not in watched.withheld:
            # It says what is open about the pipeline: it, too, comes only after what was told.
            marker: Item = (MARKER, _marker(ended, pipeline()))
            if await self._write(watched, [marker], self._outbox.so_far, is_ours):
                self._marked_ms[watched.partition[1]] = ended.taken_ms
        self._tell()

    async def _taken(self, watched: PartitionWatch, patients: list[str], is_ours: Callable[[], bool]) -> list[Item]:
        items: list[Item] = []
        slices = Slices()
        for patient in patients:
            if not is_ours():
                break
            if patient in watched.withheld:
                continue  # not asked, it stays changed, and has its turn in another round
            items.append((patient.encode(), self._value(watched, patient)))
            await slices.breathe()
        return items

    def _value(self, watched: PartitionWatch, patient: str) -> bytes | None:
        sizes = self._sizes.setdefault(watched.partition[1], {})
        sizes.pop(patient, None)
        watched.kept.discard(patient)
        try:
            kept = watched.snapshot(patient, self._clock() // 1_000)
            value = None if kept is None else pack(kept)
        except Exception as error:  # noqa: BLE001 - one person's state must not end the watch, again after each start
            log.error("watch_snapshot_broken", partition=watched.partition[1], **what_broke(error))  # noqa: TRY400
            metrics.UNREADABLE.labels("broken").inc()
            return LOST
        if value is None or kept is None:
            return None
        if len(value) > _LARGEST:
            log.error("watch_snapshot_too_large", partition=watched.partition[1], bytes=len(value))
            metrics.UNREADABLE.labels("too_large").inc()
            return LOST
        sizes[patient] = len(kept.body)
        watched.kept.add(patient)
        return value

    async def write(self, watched: PartitionWatch, gone: Iterable[str], is_ours: Callable[[], bool]) -> None:
        """Write tombstones: nothing is kept of these patients any more."""
        items: list[Item] = [(patient.encode(), None) for patient in gone]
        if items and await self._write(watched, items, self._outbox.so_far, is_ours):
            for key, _ in items:
                watched.kept.discard(key.decode())

    async def _write(self, watched: PartitionWatch, items: list[Item], after: int, is_ours: Callable[[], bool]) -> bool:
        """Send once the first `after` alert events are acknowledged; False where the partition has gone meanwhile."""
        await self._outbox.acknowledged(after)
        async with self._writing:
            if not is_ours():
                return False
            producer = await self.start()

            async def once() -> None:
                await self.pulse.sure(is_ours)
                if not is_ours():  # after an outage or a pause: a stale snapshot must not come behind a newer one
                    return
                number = watched.partition[1]
                acks = [await producer.send(self._topic, value, key=key, partition=number) for key, value in items]
                for ack in acks:
                    await ack

            await forever(SERVICE, "produce", KafkaError, OSError)(once)
            if not is_ours():
                return False
        for key, value in items:
            what = "marker" if key == MARKER else "tombstone" if value is None else "snapshot"
            metrics.SNAPSHOTS.labels(what).inc()
            metrics.SNAPSHOT_BYTES.inc(len(value or b""))
        return True

    async def start(self) -> AIOKafkaProducer:
        """Connect, where that is not done; waits for a broker that is away."""
        if self._producer is None:
            self._producer = await self._open.enter_async_context(safe_producer(self._bootstrap_servers, SERVICE))
        return self._producer

    def _of(self, partition: int) -> Rounds:
        return self._rounds.setdefault(partition, Rounds(self._period_s))

    def _tell(self) -> None:
        metrics.STATE.set(sum(sum(sizes.values()) for sizes in self._sizes.values()))
        metrics.PATIENTS.set(sum(len(sizes) for sizes in self._sizes.values()))
        if self._marked_ms:
            metrics.MARKER_AGE.set(self._clock() / 1e6 - min(self._marked_ms.values()) / 1e3)

    def restored(self, partition: int, sizes: dict[str, int], marked_ms: int | None) -> None:
        """Note what stands on the topic of a partition that was taken over."""
        self._sizes[partition] = sizes
        if marked_ms is not None:
            self._marked_ms[partition] = marked_ms

    async def stop(self) -> None:
        """Disconnect."""
        self._producer = None
        await self._open.aclose()


def _marker(ended: Round, pipeline: AlertEvent | None) -> bytes:
    body = b"" if pipeline is None else pipeline.to_bytes()
    return pack(Kept(ended.place, ended.place.offset, ended.taken_ms, body))
