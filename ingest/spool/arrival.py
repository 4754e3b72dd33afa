"""Edge: where accepted records go: to the broker while it answers, else to the spool, and later from there.

Live records never wait behind old ones: the spool is drained onto the topic each of its records was kept for (for
samples the backfill lane) while what is new goes direct. A record whose acknowledgement got lost may be in both places;
the recorder knows it by its identity and stores it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Protocol, Self

import structlog
from prometheus_client import Counter, Gauge

from ingest.publisher import BrokerUnreachable, RecordRefused
from ingest.record import Record
from ingest.spool.draining import Drain, acknowledged_prefixes
from ingest.spool.store import Spool, Spooled, SpoolError, SpoolState
from ingest.topics import SAMPLES, SAMPLES_BACKFILL
from vitals.clock import Clock, system_clock

log = structlog.get_logger(__name__)

_ARRIVED: Final = Counter("vigil_arrival_records", "records accepted, by where they went", ["place"])
_REFUSED: Final = Counter("vigil_arrival_refused_records", "records that neither broker nor spool took")
_WAITING: Final = Gauge("vigil_spool_records", "records that wait on disk for the broker")
_BYTES: Final = Gauge("vigil_spool_bytes", "their bytes")
_OLDEST: Final = Gauge("vigil_spool_oldest_age_seconds", "how long the oldest of them has waited")
_STOP_S: Final = 10.0
_SAY_EVERY_S: Final = 60.0


class Place(StrEnum):
    """Where a record is safe: with the broker (acks=all) or on this machine's disk (fsynced)."""

    BROKER = "broker"
    SPOOL = "spool"


@dataclass(frozen=True, slots=True)
class ArrivalPolicy:
    """How the broker is looked for again (pauses double from `first_s` to `longest_s`), how much is drained at once."""

    first_s: float = 0.5
    longest_s: float = 15.0
    drain_records: int = 500
    look_every_s: float = 5.0


class NotTaken(SpoolError):
    """The broker is there and refuses this record; it is the sender's still."""


class Sink(Protocol):
    """Whom records are given to: `ingest.publisher.Publisher` (Kafka), or `ingest.client.GatewayPublisher` (HTTP)."""

    async def start(self) -> None:
        """Connect. Raises `BrokerUnreachable`; may be called again then."""

    async def stop(self) -> None:
        """Send what is under way, then disconnect."""

    async def send(self, record: Record, *, topic: str) -> asyncio.Future[Any]:
        """Return the future of a record's acknowledgement. Raises `BrokerUnreachable`."""

    async def confirm(self, acks: list[asyncio.Future[Any]]) -> None:
        """Wait until every record is acknowledged. Raises `BrokerUnreachable` if one is not."""


class Arrival:
    """The way in. It owns its publisher and its spool: enter it, and both are open; leave it, and both are closed."""

    def __init__(
        self, publisher: Sink, spool: Spool, *, policy: ArrivalPolicy | None = None, clock: Clock = system_clock
    ) -> None:
        self._publisher = publisher
        self._spool = spool
        self._policy = policy or ArrivalPolicy()
        self._clock = clock
        self._started = False
        self._broker_up = False
        self._look = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._drainer: asyncio.Task[None] | None = None
        self._to_keep: list[tuple[Record, str, asyncio.Future[None]]] = []
        self._said_s = -_SAY_EVERY_S

    @property
    def broker_up(self) -> bool:
        """Whether the broker took what it was last given."""
        return self._broker_up

    async def __aenter__(self) -> Self:
        """Open the spool and look for the broker; one that is away is no error. Raises `SpoolUnusable`."""
        await asyncio.to_thread(self._spool.open)
        with contextlib.suppress(BrokerUnreachable):
            await self._reach()
        if not self._broker_up:
            log.warning("broker_away", spooling=True)
        self._drainer = asyncio.create_task(self._drain_for_ever())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task, cancel in ((self._drainer, True), (self._keeper, False)):
            if task is not None:
                if cancel:
                    task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await self._publisher.stop()
        await asyncio.to_thread(self._spool.close)

    async def accept(self, record: Record, *, topic: str = SAMPLES, later: str = SAMPLES_BACKFILL) -> Place:
        """Return where the record is safe: on `topic`, or in the spool, to go onto `later`.

        Raises `SpoolError` where neither takes it; then it is the caller's still. So it is where the broker is there
        and refuses this very record (its topic is missing, say): kept, it would wait for ever.
        """
        if self._broker_up:
            try:
                await self._publisher.confirm([await self._publisher.send(record, topic=topic)])
            except RecordRefused as error:
                _REFUSED.inc()
                self._say_refused(error)
                raise NotTaken(str(error)) from error
            except BrokerUnreachable:
                self._went_away()
            else:
                _ARRIVED.labels(Place.BROKER).inc()
                return Place.BROKER
        try:
            await self._keep(record, later)
        except SpoolError:
            _REFUSED.inc()
            raise
        _ARRIVED.labels(Place.SPOOL).inc()
        self._look.set()
        return Place.SPOOL

    def _went_away(self) -> None:
        if self._broker_up:
            log.warning("broker_away", spooling=True)
        self._broker_up = False
        self._look.set()

    async def _keep(self, record: Record, topic: str) -> None:
        """Records that come while the disk is busy share its next fsync."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._to_keep.append((record, topic, kept))
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep_all())
        await kept

    async def _keep_all(self) -> None:
        while self._to_keep:
            group, self._to_keep = self._to_keep, []
            for topic in dict.fromkeys(topic for _, topic, _ in group):
                await self._keep_group(topic, [(record, kept) for record, to, kept in group if to == topic])

    async def _keep_group(self, topic: str, group: Sequence[tuple[Record, asyncio.Future[None]]]) -> None:
        error: Exception | None = None
        try:
            await asyncio.to_thread(self._spool.put, [one for one, _ in group], now_us=self._clock(), topic=topic)
        except Exception as failed:  # noqa: BLE001  raised again, in each caller
            error = failed
        if error is not None and len(group) > 1:  # what is too much together may have room one by one
            for one in group:
                await self._keep_group(topic, [one])
            return
        for _, kept in group:
            if not kept.done():  # its caller may have been cancelled
                kept.set_result(None) if error is None else kept.set_exception(error)

    async def _drain_for_ever(self) -> None:
        attempt = 0
        while True:
            try:
                await self._reach()
                await self._drain()
                attempt = 0
            except (BrokerUnreachable, SpoolError) as error:
                if isinstance(error, SpoolError):
                    log.error("spool_unusable", error=str(error))  # noqa: TRY400  the message says it all
                elif not isinstance(error, RecordRefused):
                    self._went_away()
                attempt += 1
            except Exception:
                log.exception("arrival_broken")
                attempt += 1
            await self._pause(attempt)

    async def _pause(self, attempt: int) -> None:
        await self._show()
        if attempt:
            policy = self._policy
            longest_s = min(policy.longest_s, policy.first_s * 2.0 ** min(attempt - 1, 16))
            await asyncio.sleep(longest_s * random.uniform(0.5, 1))  # noqa: S311  jitter is no secret
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._policy.look_every_s):  # wait_for may swallow being cancelled
                await self._look.wait()
        self._look.clear()

    async def _reach(self) -> None:
        """Connect if that has not worked yet. With an empty spool, the next live record finds out how things are."""
        if not self._started:
            await self._publisher.start()
            self._started = True
            self._came_back()
        elif not self._broker_up and not (await self._state()).count:
            self._came_back()

    def _came_back(self) -> None:
        if not self._broker_up:
            log.info("broker_reached")
        self._broker_up = True

    async def _drain(self) -> None:
        """Send all that waits, oldest first, once. Raises `BrokerUnreachable` with what is left still in the spool.

        What the broker refuses by itself holds up its own topic or patient only; that is what is left then.
        """
        drain = Drain()
        while waiting := await self._page(drain):
            for part in drain.parts(waiting):
                outcomes = await self._send(part)
                done = acknowledged_prefixes(part, [one is None for one in outcomes])
                await asyncio.to_thread(self._spool.drop, done)
                drain.took(part, outcomes, done)
                if not drain.is_open:
                    raise BrokerUnreachable(f"{len(part)} records of the spool were not acknowledged")
                self._came_back()
        if drain.drained:
            log.info("spool_drained", records=drain.drained)
        for error in drain.refusals.values():
            self._say_refused(error)
        if drain.left:
            raise RecordRefused(f"{drain.left} records of the spool are refused", whole_topic=False)

    async def _page(self, drain: Drain) -> list[Spooled]:
        return await asyncio.to_thread(self._spool.take, self._policy.drain_records, after=drain.after)

    async def _send(self, waiting: Sequence[Spooled]) -> list[BaseException | None]:
        """Return what became of each record: None where it was acknowledged."""
        acks: list[asyncio.Future[Any]] = []
        for one in waiting:
            try:
                acks.append(await self._publisher.send(one.record, topic=one.topic))
            except RecordRefused as error:
                acks.append(_failed(error))
            except BrokerUnreachable as error:
                acks += [_failed(error) for _ in range(len(waiting) - len(acks))]
                break
        outcomes = await asyncio.gather(*acks, return_exceptions=True)
        return [one if isinstance(one, BaseException) else None for one in outcomes]

    def _say_refused(self, error: RecordRefused) -> None:
        """Say once a minute that the broker is there and refuses a record: somebody has to do something."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_s >= _SAY_EVERY_S:
            self._said_s = now_s
            log.error("broker_refuses_record", error=str(error))

    async def _state(self) -> SpoolState:
        return await asyncio.to_thread(self._spool.state, self._clock())

    async def _show(self) -> None:
        with contextlib.suppress(SpoolError):
            state = await self._state()
            _WAITING.set(state.count)
            _BYTES.set(state.size_bytes)
            _OLDEST.set(state.oldest_age_s or 0.0)


def _failed(error: BaseException) -> asyncio.Future[Any]:
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    done.set_exception(error)
    return done
