"""Messages to people: one notification a recipient and channel, and what became of each attempt to deliver it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from alerts.event import SCHEMA_VERSION, AlertEvent, HexId, Message, Text, Word, digest


class Notification(Message):
    """One message to one recipient over one channel: the JSON on `vigil.notifications` (key: patient id).

    `created_at` is dispatch's clock. `delayed`: it was decided so long after the measurement that the reader must be
    told (dispatch was down), which is not the same as a retrospective finding: this one was live when it was found.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    notification_id: HexId
    alert: AlertEvent
    recipient: Word
    channel: Word
    created_at: AwareDatetime
    delayed: bool = False


def notification_id(event: AlertEvent, recipient: str, channel: str) -> str:
    """Return the id of telling `recipient` over `channel` what is new in `event`; 32 hex digits.

    Priority and `retrospective` are part of it: an alert that escalates twice, or turns from an old finding into one
    that goes on now, is told again.
    """
    age = "retrospective" if event.retrospective else "live"
    return digest(event.alert_id, event.state, event.priority, age, recipient, channel)


class Outcome(StrEnum):
    """How one attempt to deliver ended."""

    DELIVERED = "delivered"
    FAILED = "failed"  # will be tried again
    ABANDONED = "abandoned"  # will not: too old, or a channel that nobody configured


class DeliveryAttempt(Message):
    """One attempt: the JSON on `vigil.notifications.status` (key: patient id).

    `detail` is a word about the channel's answer (`http 503`, `timeout`), never a URL, a secret or a message.
    (notification_id, at, attempt) identifies it: `attempt` counts from 1 in each life of the notifier.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    notification_id: HexId
    attempt: Annotated[int, Field(ge=1)]
    outcome: Outcome
    at: AwareDatetime
    detail: Text
