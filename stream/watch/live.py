"""Edge: the partitions that this worker watches live: taken over, fed fetch by fetch, given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from alerts.event import AlertEvent
from stream.assemble import RawRecord
from stream.kafka import forever
from stream.recorder import Partition
from stream.watch import watch_metrics as metrics
from stream.watch.crowd import Crowd, remembering
from stream.watch.held import Held
from stream.watch.keeper import Keeper
from stream.watch.lag import Lag
from stream.watch.outbox import SERVICE, Outbox
from stream.watch.partition import PartitionWatch
from stream.watch.pipeline import Pipeline
from stream.watch.ports import LogAccess
from stream.watch.restore import Restorer, TakenOver
from vitals.clock import Clock

log = structlog.get_logger(__name__)

_FLUSH_S: Final = 2.0


class Live:
    """What this worker has. Every method runs on the one event loop: between two awaits nothing changes."""

    def __init__(
        self,
        restorer: Restorer,
        outbox: Outbox,
        keeper: Keeper,
        log_access: LogAccess,
        *,
        crowd: Callable[[], Awaitable[Crowd]],
        pipeline: Pipeline,
        clock: Clock,
    ) -> None:
        self._restorer, self._log, self._clock = restorer, log_access, clock
        self.outbox, self.keeper, self.pipeline = outbox, keeper, pipeline
        self._first_crowd = crowd
        self._crowd: Crowd | None = None
        self._withdrawn: set[str] = set()
        self.held: dict[Partition, Held] = {}
        self._turn = asyncio.Lock()
        self._losses = 0
        self.holds = False

    async def where_to_read(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return where to read each partition from; what is not known yet is restored first.

        Empty where the partitions were taken away again meanwhile.
        """
        losses = self._losses  # as of this assignment: until it is its turn, the next one may have come
        async with self._turn:
            await self._know_people()
            new = [partition for partition in partitions if partition not in self.held]
            if not await self._taken_over(new, losses):
                return {}
            for partition in set(self.held) - set(partitions):
                del self.held[partition]
            self.holds = True
            return {partition: self.held[partition].watched.position for partition in partitions}

    async def _know_people(self) -> None:
        """Wait a little for profiles, so that nobody is judged by another's."""
        if self._crowd is None:
            found = await self._first_crowd()
            if self._crowd is None:  # else `adopt` was told of a newer one meanwhile
                self._crowd = found

    async def _taken_over(self, new: Sequence[Partition], losses: int) -> bool:
        """Restore partitions; False where all that this worker had was taken away since there were so many `losses`."""
        if new and losses == self._losses:
            # What is under way already cannot be called back: read back before it arrives, it would be told again.
            await self.outbox.acknowledged(self.outbox.so_far)
            patiently = forever(SERVICE, "restore", KafkaError, OSError, max_backoff_s=5.0)
            found: dict[Partition, TakenOver] = await patiently(self._restorer.take_over, new, self.outbox.told)
            if losses == self._losses:
                for partition, one in found.items():
                    self._install(partition, one)
        return losses == self._losses

    def _install(self, partition: Partition, one: TakenOver) -> None:
        held = self.held[partition] = Held(
            one.watched, Lag(time.monotonic()), one.gone,
            strays=one.strays, lost=one.lost, taken_us=self._clock(),
        )  # fmt: skip
        self.keeper.renew(partition[1], one.lost)
        self.keeper.restored(partition[1], one.sizes, one.marked_ms)
        if one.pipeline is not None:
            self.pipeline.take_over(one.pipeline)
        self._withdrawn |= one.withdrawn
        self._adopt(held)

    async def revoked(self) -> None:
        """Another worker may have them from now on: nothing more is found here, and what was found is told first."""
        numbers = [number for _, number in self.held]
        self.held.clear()
        self.holds = False
        self._losses += 1
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self.outbox.acknowledged(self.outbox.so_far)
                await self.keeper.settled()
        except TimeoutError:
            log.warning("watch_partitions_lost", partitions=sorted(numbers))
        else:
            self.pipeline.hand_over()
        await self.outbox.forget(numbers)
        self.keeper.forget(numbers)

    async def see(self, records: Sequence[RawRecord]) -> None:
        """Take one fetch of one partition in; its alert events are on their way when this returns."""
        await self.outbox.room()
        held = self.held.get((records[0].topic, records[0].partition))
        if held is None:
            return  # it went away while this fetch waited
        watched = held.watched
        if watched.begins_after(records) and not await self._has_hole(watched, records[0].offset):
            return
        if records[-1].offset < watched.position and not await self._is_same_log(watched):
            await self._begin_anew(watched)
            return
        seen = watched.see(records, self._clock())
        self.tell(watched, seen.events, records[-1].timestamp_ms)
        metrics.RECORDS.labels("seen").inc(seen.records)
        metrics.RECORDS.labels("unreadable").inc(seen.unreadable)
        metrics.RECORDS.labels("known").inc(seen.skipped)
        metrics.SAMPLES.labels("live").inc(seen.samples)

    async def _has_hole(self, watched: PartitionWatch, offset: int) -> bool:
        """Tell whether the log itself has no record before `offset`; else read from where we stand.

        A fetch that was under way during a seek may come after it.
        """
        position = watched.position
        found = await self._log.next_after(watched.partition, position)
        if not self.has(watched) or watched.position != position:
            return False
        if found == offset:
            return True
        metrics.GAPS.inc()
        log.info("watch_gap_read_again", partition=watched.partition[1])
        await self._log.seek(watched.partition, position)
        return False

    async def _is_same_log(self, watched: PartitionWatch) -> bool:
        """Tell whether records from before our place come again, rather than a log that began anew."""
        place = watched.place()
        if not place.is_recognisable:
            return True
        return await self._log.holds(watched.partition, place.offset - 1, place.crc) or not self.has(watched)

    async def _begin_anew(self, watched: PartitionWatch) -> None:
        partition, losses = watched.partition, self._losses
        self.held.pop(partition, None)
        self.keeper.forget([partition[1]])
        async with self._turn:  # a rebalance may have had the turn, and all of this be another's by now
            if losses != self._losses or not await self._taken_over([partition], losses):
                return
        await self._log.seek(partition, self.held[partition].watched.position)

    def end_strays(self, held: Held) -> None:
        """Tell the ends of alerts that nobody follows; then what the topic says of those patients may be replaced."""
        waited = bool(held.watched.withheld)
        self.tell(held.watched, held.take_strays(self._clock()))
        if waited and not held.watched.withheld:
            self.keeper.renew(held.watched.partition[1], held.lost)

    def tell(self, watched: PartitionWatch, events: Iterable[AlertEvent], came_ms: int | None = None) -> None:
        """Send what is news, and have the states that it tells of written down soon."""
        number = watched.partition[1]
        fresh = self.outbox.put(events, number, came_ms)
        if fresh:
            self.keeper.hasten(number, fresh)

    def has(self, watched: PartitionWatch) -> bool:
        """Tell whether this worker still has the partition, and as it was given it last."""
        held = self.held.get(watched.partition)
        return held is not None and held.watched is watched

    @property
    def crowd(self) -> Crowd:
        """Return profiles, policies and consents as they are known; there are some before the first partition."""
        if self._crowd is None:
            raise RuntimeError("no partition was assigned yet")
        return remembering(self._crowd, self._withdrawn)

    async def adopt(self, crowd: Crowd) -> None:
        """Judge by these profiles, policies and consents from now on.

        Of whom no consent stands, only that is kept: their next snapshot, written at once, holds nothing else.
        """
        if crowd is not self._crowd:
            self._crowd = crowd
            for held in list(self.held.values()):
                if self.has(held.watched):
                    self._adopt(held)
                    await asyncio.sleep(0)

    def _adopt(self, held: Held) -> None:
        events = held.watched.engine.adopt(self.crowd, self._clock())
        self.tell(held.watched, events)
        self.keeper.renew(held.watched.partition[1], {event.patient_id for event in events})

    @property
    def is_caught_up(self) -> bool:
        """Whether all partitions are: history may have its turn."""
        return self.holds and all(held.lag.caught_up for held in self.held.values())
