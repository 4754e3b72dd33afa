"""Edge: notifications to people. `vigil.notifications` -> channels -> `vigil.notifications.status`.

Each notification is a task of its own, so that a receiver that does not answer holds up nobody else's message. Offsets
are committed up to the first one that is not finished: after a crash some are delivered again, none is lost. One that
was delivered lately (`remembered` ids) is not sent again by this process. What cannot be delivered is tried, with
growing pauses, until it is `give_up_after_s` old; then it is `abandoned`, which is logged as an error and counted.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from prometheus_client import Counter
from tenacity import AsyncRetrying, retry_if_result, wait_random_exponential

from alerts.channels import Channel, Try
from alerts.notification import DeliveryAttempt, Notification, Outcome
from ingest.topics import NOTIFICATIONS, NOTIFICATIONS_STATUS
from stream.in_flight import InFlight
from stream.kafka import PROMPT, commit, decoded, group_consumer, safe_producer, send_until_taken
from vitals.clock import US_PER_S, Clock, from_datetime, system_clock, to_datetime

GROUP: Final = "vigil-notifier"
MAX_IN_FLIGHT: Final = 2_000
"""Notifications under way, some 10 MB; past that no more are fetched."""

ATTEMPTS: Final = Counter("vigil_notifier_attempts", "Attempts to deliver", ["channel", "outcome"])
REPEATED: Final = Counter("vigil_notifier_repeated", "Notifications not sent again because they were delivered before")

_log = structlog.get_logger(__name__)
_SERVICE: Final = "notifier"
_POLL_MS: Final = 100


class Courier:
    """Delivers one notification after all it takes, and records each attempt."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        channels: Mapping[str, Channel],
        status_topic: str,
        *,
        clock: Clock,
        give_up_after_s: float,
        max_pause_s: float,
        remembered: int,
    ) -> None:
        self._producer = producer
        self._channels = channels
        self._status_topic = status_topic
        self._clock = clock
        self._give_up_after_us = round(give_up_after_s * US_PER_S)
        self._pause = wait_random_exponential(multiplier=1, max=max_pause_s)
        self._remembered = remembered
        self._delivered: OrderedDict[str, None] = OrderedDict()
        self._one_at_a_time: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def carry(self, notification: Notification) -> None:
        """Return when the notification is delivered or abandoned, and the broker has the record of it."""
        lock = self._one_at_a_time.setdefault(notification.notification_id, asyncio.Lock())
        async with lock:
            if notification.notification_id in self._delivered:
                REPEATED.inc()
            else:
                await self._until_done(notification)

    async def _until_done(self, notification: Notification) -> None:
        attempts = 0

        async def once() -> bool:
            nonlocal attempts
            tries = await self._deliver(notification)
            await self._record(notification, attempts, tries)
            attempts += len(tries)
            return tries[-1].outcome is not Outcome.FAILED

        await AsyncRetrying(retry=retry_if_result(lambda done: not done), wait=self._pause)(once)

    async def _deliver(self, notification: Notification) -> tuple[Try, ...]:
        channel = self._channels.get(notification.channel)
        if channel is None:
            return self._abandoned(notification, "no such channel is configured")
        tries = await channel.deliver(notification)
        if tries[-1].outcome is Outcome.DELIVERED:
            self._remember(notification.notification_id)
        elif self._clock() - from_datetime(notification.created_at) > self._give_up_after_us:
            return (*tries, *self._abandoned(notification, "too old to be tried again"))
        return tries

    def _abandoned(self, notification: Notification, why: str) -> tuple[Try, ...]:
        _log.error("notification abandoned", notification_id=notification.notification_id, why=why)
        return (Try(Outcome.ABANDONED, self._clock(), why),)

    def _remember(self, notification_id: str) -> None:
        self._delivered[notification_id] = None
        if len(self._delivered) > self._remembered:
            self._delivered.popitem(last=False)

    async def _record(self, notification: Notification, before: int, tries: tuple[Try, ...]) -> None:
        records = [
            DeliveryAttempt(
                notification_id=notification.notification_id,
                attempt=before + number,
                outcome=one.outcome,
                at=to_datetime(one.at_us),
                detail=one.detail,
            )
            for number, one in enumerate(tries, 1)
        ]
        for one in tries:
            ATTEMPTS.labels(notification.channel, one.outcome.value).inc()
        pairs = [(notification.alert.patient_id, record) for record in records]
        await send_until_taken(self._producer, _SERVICE, self._status_topic, pairs)


class _Rounds(ConsumerRebalanceListener):  # type: ignore[misc]
    """The deliveries under way, by partition; those of a partition that another member gets are left to it."""

    def __init__(self, courier: Courier, group: asyncio.TaskGroup) -> None:
        self._courier = courier
        self._group = group
        self.offsets: InFlight[TopicPartition] = InFlight()
        self._tasks: dict[TopicPartition, set[asyncio.Task[None]]] = {}

    def take(self, partition: TopicPartition, record: Any) -> None:
        """Begin the delivery of one record."""
        self.offsets.begin(partition, record.offset)
        task = self._group.create_task(self._one(partition, record))
        tasks = self._tasks.setdefault(partition, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _one(self, partition: TopicPartition, record: Any) -> None:
        notification = decoded(_SERVICE, Notification, record)
        if notification is not None:
            await self._courier.carry(notification)
        self.offsets.finish(partition, record.offset)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Stop what is under way; whoever gets the partition begins at the first unfinished offset."""
        partitions = list(revoked)
        self.offsets.forget(partitions)
        tasks = [task for partition in partitions for task in self._tasks.pop(partition, set())]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Nothing is known of them yet."""


async def run(
    bootstrap_servers: str,
    channels: Mapping[str, Channel],
    *,
    notifications_topic: str = NOTIFICATIONS,
    status_topic: str = NOTIFICATIONS_STATUS,
    group_id: str = GROUP,
    session_timeout_ms: int = 10_000,
    give_up_after_s: float = 86_400.0,
    max_pause_s: float = 60.0,
    remembered: int = 50_000,
    clock: Clock = system_clock,
) -> None:
    """Deliver until cancelled. The channels are the caller's to close."""
    async with safe_producer(bootstrap_servers, _SERVICE) as producer, asyncio.TaskGroup() as group:
        courier = Courier(
            producer,
            channels,
            status_topic,
            clock=clock,
            give_up_after_s=give_up_after_s,
            max_pause_s=max_pause_s,
            remembered=remembered,
        )
        rounds = _Rounds(courier, group)
        async with group_consumer(
            bootstrap_servers,
            group_id,
            [notifications_topic],
            session_timeout_ms=session_timeout_ms,
            listener=rounds,
            fetching=PROMPT,
        ) as consumer:
            try:
                while True:
                    await _once(consumer, rounds)
            finally:  # what is finished must not be sent again by whoever comes next
                await commit(consumer, _SERVICE, rounds.offsets.committable())


async def _once(consumer: AIOKafkaConsumer, rounds: _Rounds) -> None:
    """Fetch, begin, commit. While too much is under way nothing is fetched, but the group still hears of us."""
    if len(rounds.offsets) >= MAX_IN_FLIGHT:
        consumer.pause(*consumer.assignment())
    elif consumer.paused():
        consumer.resume(*consumer.paused())
    for partition, records in (await consumer.getmany(timeout_ms=_POLL_MS, max_records=500)).items():
        for record in records:
            rounds.take(partition, record)
    await commit(consumer, _SERVICE, rounds.offsets.committable())
