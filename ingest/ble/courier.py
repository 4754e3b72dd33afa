"""Edge: one device's notifications, batched, decoded and handed over in their order, to the broker or the spool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol

from devices.gatt.session import DeviceSession
from ingest.ble.frames import Batch, Notification, next_stamp_us, to_batch
from ingest.ble.policy import BatchPolicy, batch_wait_s
from ingest.ble.telling import Event, Teller
from ingest.record import Record, encode, split
from ingest.spool import SpoolError
from ingest.topics import SAMPLES, SAMPLES_BACKFILL, WAVEFORMS
from ingest.waveform_record import encode_chunk
from vitals.batch import BatchHeader
from vitals.clock import Clock

_AGAIN_S: Final = 2.0


class WayIn(Protocol):
    """Where records go: `ingest.spool.Arrival`."""

    async def accept(self, record: Record, *, topic: str = ..., later: str = ...) -> object:
        """Return once the record is safe. Raises `SpoolError`."""


class Courier:
    """Takes notifications at once, delivers them a batch at a time; what is under way holds up no notification."""

    def __init__(
        self,
        header: BatchHeader,
        way_in: WayIn,
        teller: Teller,
        *,
        policy: BatchPolicy,
        clock: Clock,
        on_safe: Callable[[Sequence[Notification]], None] = lambda _: None,
    ) -> None:
        self._header, self._way_in, self._teller = header, way_in, teller
        self._policy, self._clock, self._on_safe = policy, clock, on_safe
        self._session = DeviceSession()
        self._inbox: list[Notification] = []
        self._under_way: list[Notification] = []
        self._undelivered: list[tuple[Record, str, str]] = []
        self._first_s = 0.0
        self._last_us = 0
        self._discarded = 0
        self._news = asyncio.Event()

    def zone(self, offset_min: int) -> None:
        """Say in which zone the device's wall clock is kept, minutes ahead of UTC."""
        self._session.clock = replace(self._session.clock, zone_offset_min=offset_min)

    def started(self, measurement: int, rate_hz: float, factor: float) -> None:
        """Say how a Polar stream runs."""
        self._session.started(measurement, rate_hz, factor)

    def stamp_us(self) -> int:
        """Return the time of arrival of what just came: now, and later than whatever came before."""
        self._last_us = next_stamp_us(self._clock(), self._last_us)
        return self._last_us

    def add(self, notification: Notification) -> None:
        """Take a notification; never waits."""
        if len(self._inbox) >= self._policy.held_frames:
            self._discarded += 1
            return
        if not self._inbox:
            self._first_s = asyncio.get_running_loop().time()
        self._inbox.append(notification)
        if len(self._inbox) in {1, self._policy.frames}:
            self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled; then call `finish`."""
        loop = asyncio.get_running_loop()
        while True:
            wait_s = batch_wait_s(self._policy, self._first_s, len(self._inbox), loop.time())
            if not self._undelivered and (not self._inbox or wait_s):
                self._news.clear()
                await _either(self._news, wait_s if self._inbox else None)
                continue
            await self._deliver_next()

    async def finish(self) -> None:
        """Deliver what is left, once: what neither broker nor spool takes then is lost, and that is said."""
        while self._inbox or self._undelivered:
            await self._deliver_next(last=True)

    async def _deliver_next(self, *, last: bool = False) -> None:
        """Deliver the oldest notifications: decoded once, kept until they are safe, also where this is cancelled."""
        if not self._undelivered:
            self._decode_next()
        while self._undelivered:
            while not await self._delivered(*self._undelivered[0], last=last):  # noqa: ASYNC110  nothing tells of room
                await asyncio.sleep(_AGAIN_S)
            del self._undelivered[0]
        self._on_safe(self._under_way)
        self._under_way = []

    def _decode_next(self) -> None:
        self._under_way = self._inbox[: self._policy.frames]
        del self._inbox[: len(self._under_way)]
        batch = to_batch(self._session, self._under_way)
        self._undelivered = list(self._records(batch))
        self._teller.heard(len(self._under_way))
        self._teller.malformed(batch.malformed)
        if self._discarded:
            self._teller.tell(Event.DISCARDED, notifications=self._discarded)
            self._discarded = 0

    def _records(self, batch: Batch) -> Iterator[tuple[Record, str, str]]:
        """Yield each record with its topic, and with the topic it takes if it must wait on disk."""
        for part, topic in ((batch.live, SAMPLES), (batch.past, SAMPLES_BACKFILL)):
            for piece in [] if part is None else split(part):
                yield encode(self._header, piece), topic, SAMPLES_BACKFILL
        for chunk in batch.waveforms:
            yield encode_chunk(self._header, chunk), WAVEFORMS, WAVEFORMS

    async def _delivered(self, record: Record, topic: str, later: str, *, last: bool) -> bool:
        try:
            await self._way_in.accept(record, topic=topic, later=later)
        except SpoolError as error:
            self._teller.tell(Event.UNDELIVERED, lost=last, error=str(error))
            return last
        return True


async def _either(event: asyncio.Event, within_s: float | None) -> None:
    """Wait for the event, or for `within_s`."""
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait({waiting}, timeout=within_s)
    waiting.cancel()
