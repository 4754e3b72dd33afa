"""Edge: the heartbeat: a synthetic patient whose samples pass the whole way every minute, and who notices if not.

Every period one sample of `vigil-synthetic` goes in as any device's does, in turn far beyond a limit and calm. So watch
raises and clears an alert, dispatch publishes it, the notifier delivers it to a channel of its own, the recorder stores
the sample; and this process looks for it at the end of both ways. Nothing of it reaches a person. What must be said
when it does not come through passes nothing of that: `stream.heartbeat_telling`. Nor does it import the watch: a fault
there must not end this process too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge, Histogram

from alerts.notification import DeliveryAttempt, Notification, Outcome
from alerts.routing import HEARTBEAT
from ingest.topics import NOTIFICATIONS, NOTIFICATIONS_STATUS
from stream import header_names
from stream.heartbeat_doors import Door, NotSent
from stream.heartbeat_pulse import Patience, Pulse, Stage, late, look, passed
from stream.heartbeat_telling import Operators
from stream.kafka import PROMPT, decoded
from timeseries.model import StoreUnavailable
from vitals.clock import US_PER_S, Clock, from_datetime, system_clock
from vitals.synthetic import CALM_BPM, HIGH_BPM, METRIC, PATIENT

BEATS: Final = Counter("vigil_heartbeat_beats", "Beats of the synthetic patient", ["outcome"])
SECONDS: Final = Histogram(
    "vigil_heartbeat_seconds", "From the making of a beat to its passing a stage", ["stage"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600),
)  # fmt: skip
LAST: Final = Gauge("vigil_heartbeat_last_seconds", "How long the last beat took until it was delivered")
MISSING: Final = Gauge("vigil_heartbeat_missing", "1 while no beat passes the stage any more", ["stage"])

_log = structlog.get_logger(__name__)
_SERVICE: Final = "heartbeat"
_KEY: Final = PATIENT.encode()
_POLL_MS: Final = 200
_REMEMBERED: Final = 1_000
_PAUSE_S: Final = 2.0


class Shelf(Protocol):
    """Where stored beats are seen."""

    async def newest_us(self) -> int | None:
        """Return when the newest stored beat was made. Raises `StoreUnavailable`."""


class Heart:
    """Which beats were made and how far they came; `shelf` None: nobody looks into the database."""

    def __init__(
        self, door: Door, operators: Operators, patience: Patience, *, shelf: Shelf | None, clock: Clock = system_clock
    ) -> None:
        self._door, self._operators, self._patience, self._shelf = door, operators, patience, shelf
        self._clock = clock
        self._pulse = Pulse(_whole_ms(clock()))
        self._is_high = True  # what the next beat is
        self._made: OrderedDict[int, None] = OrderedDict()
        self._notified: OrderedDict[str, int] = OrderedDict()
        self._delivered: OrderedDict[str, None] = OrderedDict()
        self._tick_s = min(1.0, patience.period_s / 8)

    async def beat(self) -> None:
        """Make a beat every period, for ever. One that did not get in is made again as it was: the alert it would have
        changed stands as before."""
        due_s = time.monotonic()
        while True:
            await self._beat_once()
            due_s = max(due_s + self._patience.period_s, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())

    async def _beat_once(self) -> None:
        beat_us = _whole_ms(self._clock())
        _remember(self._made, beat_us, None)
        try:
            await self._door.send(beat_us, METRIC, HIGH_BPM if self._is_high else CALM_BPM)
        except NotSent as error:
            BEATS.labels("not_sent").inc()
            _log.warning("heartbeat_not_sent", door=self._door.name, why=str(error))
            return
        self._is_high = not self._is_high
        BEATS.labels("sent").inc()
        self._passed(Stage.SENT, beat_us)

    async def look_at_clock(self) -> None:
        """Tell operations what is to be told, for ever; never waits for anything but the clock."""
        while True:
            now_us = self._clock()
            self._pulse, told = look(self._pulse, self._patience, now_us)
            missing = late(self._pulse, self._patience, now_us)
            for stage in Stage:
                MISSING.labels(stage.value).set(stage in missing)
            if told is not None:
                self._operators.tell(told)
            await asyncio.sleep(self._tick_s)

    async def look_at_shelf(self) -> None:
        """See what is stored, for ever: asked only while a beat that was sent is not there yet."""
        is_blind = False
        while self._shelf is not None:
            pause_s = self._tick_s
            if self._pulse.newest_us(Stage.STORED) < self._pulse.newest_us(Stage.SENT):
                try:
                    newest_us = await self._shelf.newest_us()
                    if newest_us is not None:
                        self._passed(Stage.STORED, newest_us)
                    is_blind = False
                except StoreUnavailable as error:
                    if not is_blind:
                        _log.warning("heartbeat_blind", error=str(error))
                    pause_s, is_blind = _PAUSE_S, True
            await asyncio.sleep(pause_s)

    def hear(self, record: Any) -> None:
        """Take in a record of the notifications or of what became of them."""
        if record.key != _KEY:
            return
        if record.topic == NOTIFICATIONS:
            told = decoded(_SERVICE, Notification, record)
            if told is not None and told.channel == HEARTBEAT:
                beat_us = from_datetime(told.alert.measured_at)
                _remember(self._notified, told.notification_id, beat_us)
                self._passed(Stage.NOTIFIED, beat_us)
                self._close(told.notification_id)
            return
        attempt = decoded(_SERVICE, DeliveryAttempt, record)
        if attempt is not None and attempt.outcome is Outcome.DELIVERED:
            _remember(self._delivered, attempt.notification_id, None)
            self._close(attempt.notification_id)

    def _close(self, notification_id: str) -> None:
        """A beat is delivered once both records of it were heard: they stand on two topics and come in any order."""
        if notification_id in self._notified and notification_id in self._delivered:
            self._passed(Stage.DELIVERED, self._notified[notification_id])

    def _passed(self, stage: Stage, beat_us: int) -> None:
        after = passed(self._pulse, stage, beat_us)
        if after is not self._pulse and beat_us in self._made:
            took_s = (self._clock() - beat_us) / US_PER_S
            SECONDS.labels(stage.value).observe(took_s)
            if stage is Stage.DELIVERED:
                LAST.set(took_s)
        self._pulse = after


def _whole_ms(time_us: int) -> int:
    return time_us // 1_000 * 1_000


def _remember(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    while len(kept) > _REMEMBERED:
        kept.popitem(last=False)


async def run(bootstrap_servers: str, heart: Heart, operators: Operators) -> None:
    """Beat, listen and look until cancelled, whatever is away. Door, shelf and channel are the caller's to close."""
    async with asyncio.TaskGroup() as group:
        for task in (heart.beat, heart.look_at_shelf, heart.look_at_clock, operators.run):
            group.create_task(_kept_up(task))
        group.create_task(_kept_up(lambda: _listen(bootstrap_servers, heart)))


async def _kept_up(task: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a task, again where it breaks: a process that ends and begins anew never misses anything for long enough."""
    while True:
        try:
            return await task()
        except Exception:  # noqa: BLE001 - whatever it is, the other parts must be able to tell
            _log.exception("heartbeat_broken")
            await asyncio.sleep(_PAUSE_S)


async def _listen(bootstrap_servers: str, heart: Heart) -> None:
    """Hear what comes from now on, in no group: each heartbeat is to hear all of it, and what came before is over."""
    is_deaf = False
    while True:
        try:
            async with _consumer(bootstrap_servers) as consumer:
                is_deaf = False
                while True:
                    for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                        for record in records:
                            heart.hear(record)
        except (KafkaError, OSError) as error:
            if not is_deaf:
                _log.warning("heartbeat_deaf", error=type(error).__name__)
            is_deaf = True
            await asyncio.sleep(_PAUSE_S)


@contextlib.asynccontextmanager
async def _consumer(bootstrap_servers: str) -> AsyncIterator[AIOKafkaConsumer]:
    header_names.tolerate()
    consumer = AIOKafkaConsumer(
        NOTIFICATIONS, NOTIFICATIONS_STATUS, bootstrap_servers=bootstrap_servers, enable_auto_commit=False,
        auto_offset_reset="latest", **PROMPT.settings(),
    )  # fmt: skip
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
