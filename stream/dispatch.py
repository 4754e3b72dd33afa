"""Edge: alert events to notifications. `vigil.alerts` -> episodes -> routing -> `vigil.notifications`.

Nothing here waits for the database. A page may be repeated, never missed: offsets are committed only after the broker
has every notification that the events before them ask for, and an episode is remembered only then. After a crash
between the two the same notifications are published again, with the same ids, by which notifier and ledger know them.

What was told before is read again from the log, up to where the group stands, when a partition is taken over: at most
`horizon_s` back and for `rebuild_timeout_s`. If that is not enough, an event that watch repeats is told again. A group
whose offsets the broker has forgotten begins at the oldest alert, and its messages say that they come late.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Counter

from alerts.episode import Episode, fold, is_news
from alerts.event import AlertEvent
from alerts.notification import Notification
from alerts.routing import RoutingPolicy, decide
from ingest.topics import ALERTS, NOTIFICATIONS
from stream.kafka import PROMPT, commit, decoded, group_consumer, safe_producer, send_until_taken
from vitals.clock import Clock, system_clock, to_datetime

GROUP: Final = "vigil-dispatch"
MAX_EPISODES: Final = 50_000
"""Episodes remembered a partition; past that those that changed least recently are forgotten."""
DAY_S: Final = 86_400.0

EVENTS: Final = Counter("vigil_dispatch_alert_events", "Alert events read, by whether they said anything new", ["news"])
PUBLISHED: Final = Counter("vigil_dispatch_notifications", "Notifications published", ["channel"])

Found = dict[TopicPartition, list[Any]]

_log = structlog.get_logger(__name__)
_SERVICE: Final = "dispatch"
_POLL_MS: Final = 200


class Desk:
    """The episodes of one partition."""

    def __init__(self, limit: int = MAX_EPISODES) -> None:
        self._episodes: OrderedDict[str, Episode] = OrderedDict()
        self._limit = limit

    def remember(self, events: Iterable[AlertEvent]) -> None:
        """Take events in that were told already."""
        for event in events:
            self._keep(fold(self._episodes.get(event.alert_id), event))

    def consider(
        self, policy: RoutingPolicy, events: Iterable[AlertEvent], now_us: int
    ) -> tuple[list[Notification], dict[str, Episode]]:
        """Return the notifications that `events` ask for and the episodes to `keep` once those are published."""
        changed: dict[str, Episode] = {}
        wanted: list[Notification] = []
        for event in events:
            before = changed.get(event.alert_id) or self._episodes.get(event.alert_id)
            after = changed[event.alert_id] = fold(before, event)
            news = is_news(before, event)
            EVENTS.labels("yes" if news else "no").inc()
            if news:
                wanted += decide(policy, after, event, to_datetime(now_us))
        return wanted, changed

    def keep(self, changed: dict[str, Episode]) -> None:
        """Remember episodes whose notifications the broker has."""
        for episode in changed.values():
            self._keep(episode)

    def _keep(self, episode: Episode) -> None:
        self._episodes[episode.event.alert_id] = episode
        self._episodes.move_to_end(episode.event.alert_id)
        if len(self._episodes) > self._limit:
            self._episodes.popitem(last=False)


class _Forget(ConsumerRebalanceListener):  # type: ignore[misc]
    """Another member may have told more meanwhile: what is taken over is read again."""

    def __init__(self, desks: dict[TopicPartition, Desk]) -> None:
        self._desks = desks

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for partition in revoked:
            self._desks.pop(partition, None)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Desks are rebuilt when their first record shows where the group stands."""


@dataclass(frozen=True, slots=True)
class _Settings:
    bootstrap_servers: str
    policy: RoutingPolicy
    notifications_topic: str
    clock: Clock
    horizon_s: float
    rebuild_timeout_s: float


async def run(
    bootstrap_servers: str,
    policy: RoutingPolicy,
    *,
    alerts_topic: str = ALERTS,
    notifications_topic: str = NOTIFICATIONS,
    group_id: str = GROUP,
    session_timeout_ms: int = 10_000,
    horizon_s: float = 2 * DAY_S,
    rebuild_timeout_s: float = 30.0,
    clock: Clock = system_clock,
) -> None:
    """Dispatch until cancelled; connections are closed then. Waits and tries again where the broker does not answer."""
    settings = _Settings(bootstrap_servers, policy, notifications_topic, clock, horizon_s, rebuild_timeout_s)
    desks: dict[TopicPartition, Desk] = {}
    async with (
        safe_producer(bootstrap_servers, _SERVICE) as producer,
        group_consumer(
            bootstrap_servers,
            group_id,
            [alerts_topic],
            session_timeout_ms=session_timeout_ms,
            listener=_Forget(desks),
            fetching=PROMPT,
        ) as consumer,
    ):
        while True:
            found: Found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=500)
            for partition, records in found.items():
                if partition not in desks:
                    desks[partition] = await _rebuilt(settings, partition, records[0].offset)
            ours = {where: found[where] for where in found if where in desks}  # not what was taken away meanwhile
            async with asyncio.TaskGroup() as together:  # no partition waits for another's acknowledgements
                for where, records in ours.items():
                    together.create_task(_handle(settings, producer, desks[where], records))
            await commit(consumer, _SERVICE, {where: records[-1].offset + 1 for where, records in ours.items()})


async def _handle(settings: _Settings, producer: AIOKafkaProducer, desk: Desk, records: list[Any]) -> None:
    events = [event for record in records if (event := decoded(_SERVICE, AlertEvent, record)) is not None]
    wanted, changed = desk.consider(settings.policy, events, settings.clock())
    pairs = [(one.alert.patient_id, one) for one in wanted]
    await send_until_taken(producer, _SERVICE, settings.notifications_topic, pairs)
    desk.keep(changed)
    for one in wanted:
        PUBLISHED.labels(one.channel).inc()


async def _rebuilt(settings: _Settings, partition: TopicPartition, until: int) -> Desk:
    """Return the partition's desk with what was told before offset `until`; sends nothing."""
    desk = Desk()
    since_ms = int(settings.clock() / 1_000 - settings.horizon_s * 1_000)
    begun = time.monotonic()
    try:
        async with asyncio.timeout(settings.rebuild_timeout_s):
            await _read_back(settings.bootstrap_servers, partition, since_ms, until, desk)
    except (KafkaError, OSError, TimeoutError) as error:
        _log.warning("what was told before is not known", partition=partition.partition, error=type(error).__name__)
    _log.info("partition taken over", partition=partition.partition, seconds=round(time.monotonic() - begun, 3))
    return desk


async def _read_back(bootstrap_servers: str, partition: TopicPartition, since_ms: int, until: int, desk: Desk) -> None:
    if until <= 0:
        return
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **PROMPT.settings(),
    )
    try:
        await consumer.start()
        consumer.assign([partition])
        found = (await consumer.offsets_for_times({partition: since_ms}))[partition]
        if found is None:
            return
        consumer.seek(partition, found.offset)
        while await consumer.position(partition) < until:
            records = (await consumer.getmany(partition, timeout_ms=_POLL_MS)).get(partition, [])
            told = [record for record in records if record.offset < until]
            desk.remember(event for record in told if (event := decoded(_SERVICE, AlertEvent, record)) is not None)
    finally:
        await consumer.stop()
