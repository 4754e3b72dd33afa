"""Edge: what was alerted, decided and delivered, from the topics into the database.

A group of its own: with the database down it waits (and tries again, for ever), while alerts go on being dispatched and
delivered. Offsets are committed after the database's commit, and every row has a key of its own: nothing is lost,
nothing stands there twice. What is of the synthetic patient (`stream.heartbeat`) is told to nobody and kept nowhere;
what is for review alone is kept by `stream.review_job`, and stands on no console. What the watch still says of somebody
who was erased is left out by the store, and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from prometheus_client import Counter

from alerts.event import AlertEvent, Audience
from alerts.notification import DeliveryAttempt, Notification
from ingest.topics import ALERTS, NOTIFICATIONS, NOTIFICATIONS_STATUS
from stream.kafka import MAX_BACKOFF_S, commit, decoded, forever, group_consumer
from timeseries.alert_store import AlertRow, AttemptRow, Erased, NotificationRow
from timeseries.model import StoreRefused, StoreUnavailable
from vitals.synthetic import PATIENT as SYNTHETIC

GROUP: Final = "vigil-ledger"
STORED: Final = Counter("vigil_ledger_stored", "Messages stored", ["what"])
ERASED: Final = Counter("vigil_ledger_erased", "Messages of somebody who was erased: they are not stored", ["what"])
REFUSED: Final = Counter("vigil_ledger_refused", "Messages that the database refused and that were left out", ["what"])

_log = structlog.get_logger(__name__)
_SERVICE: Final = "ledger"
_SYNTHETIC: Final = SYNTHETIC.encode()
_POLL_MS: Final = 200
_GATHER_S: Final = 0.1
"""What comes within so long is stored together: a transaction costs more than its rows."""


class AlertStore(Protocol):
    """Where the ledger keeps its rows; storing the same again changes nothing."""

    async def save(
        self,
        alerts: Sequence[AlertRow],
        notifications: Sequence[NotificationRow],
        attempts: Sequence[AttemptRow],
    ) -> Erased:
        """Store all or nothing, and return what was left out because its person was erased.

        Raises `StoreUnavailable` where trying again can help, otherwise `StoreRefused`.
        """


@dataclass(slots=True)
class Page:
    """The rows of one poll."""

    alerts: list[AlertRow] = field(default_factory=list)
    notifications: list[NotificationRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)

    def pages_of_one(self) -> list[Page]:
        """Return the same rows, each on a page of its own."""
        alone = [Page(alerts=[row]) for row in self.alerts]
        alone += [Page(notifications=[row]) for row in self.notifications]
        return alone + [Page(attempts=[row]) for row in self.attempts]

    def counts(self) -> dict[str, int]:
        """Return the number of rows by what they are."""
        return {"alert": len(self.alerts), "notification": len(self.notifications), "attempt": len(self.attempts)}


@dataclass(frozen=True, slots=True)
class Topics:
    """The three topics that the ledger reads."""

    alerts: str = ALERTS
    notifications: str = NOTIFICATIONS
    status: str = NOTIFICATIONS_STATUS


async def run(
    bootstrap_servers: str,
    store: AlertStore,
    *,
    topics: Topics = Topics(),
    group_id: str = GROUP,
    session_timeout_ms: int = 10_000,
    max_backoff_s: float = MAX_BACKOFF_S,
) -> None:
    """Keep the ledger until cancelled. The store is the caller's to close."""
    names = [topics.alerts, topics.notifications, topics.status]
    async with group_consumer(bootstrap_servers, group_id, names, session_timeout_ms=session_timeout_ms) as consumer:
        while True:
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=500)
            page = Page()
            for record in (record for records in batches.values() for record in records):
                if record.key != _SYNTHETIC:
                    _enter(page, topics, record)
            await save(store, page, max_backoff_s)
            await commit(consumer, _SERVICE, {where: records[-1].offset + 1 for where, records in batches.items()})
            await asyncio.sleep(_GATHER_S)


async def save(store: AlertStore, page: Page, max_backoff_s: float = MAX_BACKOFF_S) -> None:
    """Store a page, however long the database is away. A row that it refuses is left out, counted and logged."""
    if not any(page.counts().values()):
        return
    try:
        storing = forever(_SERVICE, "store", StoreUnavailable, max_backoff_s=max_backoff_s)
        erased: Erased = await storing(_put, store, page)
    except StoreRefused as error:
        alone = page.pages_of_one()
        if len(alone) == 1:
            _count(REFUSED, page.counts())
            _log.error("row left out", error=str(error))
            return
        for one in alone:
            await save(store, one, max_backoff_s)
    else:
        left_out = dict(zip(page.counts(), erased, strict=True))
        _count(ERASED, left_out)
        _count(STORED, {what: rows - left_out[what] for what, rows in page.counts().items()})


async def _put(store: AlertStore, page: Page) -> Erased:
    return await store.save(page.alerts, page.notifications, page.attempts)


def _count(counter: Counter, counts: Mapping[str, int]) -> None:
    for what, rows in counts.items():
        counter.labels(what).inc(rows)


def _enter(page: Page, topics: Topics, record: Any) -> None:
    if record.topic == topics.alerts:
        event = decoded(_SERVICE, AlertEvent, record)
        page.alerts += [] if event is None or event.audience is Audience.REVIEW else [alert_row(event)]
    elif record.topic == topics.notifications:
        notification = decoded(_SERVICE, Notification, record)
        page.notifications += [] if notification is None else [notification_row(notification)]
    else:
        attempt = decoded(_SERVICE, DeliveryAttempt, record)
        page.attempts += [] if attempt is None else [attempt_row(attempt, _patient(record.key))]


def alert_row(event: AlertEvent) -> AlertRow:
    """Return the event as the table has it."""
    return AlertRow(
        alert_id=event.alert_id,
        patient_id=event.patient_id,
        kind=event.kind.value,
        priority=event.priority.value,
        rule=event.rule,
        rule_version=event.rule_version,
        metric=event.metric,
        device_id=event.origin.device_id,
        source_app=event.origin.source_app,
        state=event.state.value,
        opened_at=event.opened_at,
        raised_at=event.raised_at,
        changed_at=event.changed_at,
        cleared_at=event.cleared_at,
        measured_at=event.measured_at,
        retrospective=event.retrospective,
        individualised=event.individualised,
        evidence=event.evidence.model_dump_json(),
        sentence=event.sentence,
        policy=event.policy,
    )


def notification_row(notification: Notification) -> NotificationRow:
    """Return the notification as the table has it."""
    alert = notification.alert
    return NotificationRow(
        notification_id=notification.notification_id,
        alert_id=alert.alert_id,
        patient_id=alert.patient_id,
        opened_at=alert.opened_at,
        state=alert.state.value,
        priority=alert.priority.value,
        recipient=notification.recipient,
        channel=notification.channel,
        created_at=notification.created_at,
        delayed=notification.delayed,
    )


def _patient(key: bytes | None) -> str:
    """Return the patient id of a record's key, without any where it is none of ours."""
    return (key or b"").decode(errors="replace").replace("\0", "")


def attempt_row(attempt: DeliveryAttempt, patient: str) -> AttemptRow:
    """Return the attempt as the table has it, and whose it is."""
    return AttemptRow(
        notification_id=attempt.notification_id,
        patient_id=patient,
        at=attempt.at,
        attempt=attempt.attempt,
        outcome=attempt.outcome.value,
        detail=attempt.detail,
    )
