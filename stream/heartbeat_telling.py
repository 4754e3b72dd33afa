"""Edge: operations are told of a heartbeat that is missing, or back, past everything that may be broken.

The log has it first; then the operators' webhook, posted to from here: no broker, database or notifier is asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime
from typing import Final

import structlog

from alerts.channels import Channel
from alerts.event import AlertEvent, Evidence, Kind, Origin, Priority, State, alert_id
from alerts.notification import Notification, Outcome, notification_id
from stream.heartbeat_pulse import Stage, Told
from vitals.clock import US_PER_S, to_datetime
from vitals.synthetic import DEVICE, PATIENT, SOURCE_APP

RULE: Final = "heartbeat_missing"
METRIC: Final = "pipeline"
_AGAIN_S: Final = 30.0
_MOST: Final = 20
_WORDS: Final = {
    Stage.SENT: "samples do not get in at the gateway or the broker: patients' samples may not either",
    Stage.STORED: "samples get in and are not stored; alerts go on",
    Stage.NOTIFIED: "samples get in and no alert follows: patients' alerts may not come",
    Stage.DELIVERED: "alerts are found and not delivered: patients' alerts may reach nobody",
}

_log = structlog.get_logger(__name__)


class Operators:
    """Whom it concerns. Without a channel the log is all."""

    def __init__(self, channel: Channel | None, *, again_s: float = _AGAIN_S) -> None:
        self._channel = channel
        self._again_s = again_s
        self._waiting: deque[Notification] = deque(maxlen=_MOST)
        self._wake = asyncio.Event()

    def tell(self, told: Told) -> None:
        """Log it, and post it as soon as the webhook answers; never waits."""
        seconds = round((told.at_us - told.since_us) / US_PER_S)
        if told.is_back:
            _log.warning("heartbeat_back", stage=told.stage.value, after_s=seconds)
        else:
            reached = "none" if told.reached is None else told.reached.value
            _log.error("heartbeat_missing", stage=told.stage.value, reached=reached, for_s=seconds)
        if self._channel is not None:
            self._waiting.append(message_of(told))
            self._wake.set()

    async def run(self) -> None:
        """Post what is told, in order, each until it is delivered, until cancelled."""
        while self._channel is not None:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                tries = await self._channel.deliver(self._waiting[0])
                if tries[-1].outcome is Outcome.DELIVERED:
                    self._waiting.popleft()
                else:
                    _log.error("heartbeat_not_told", why=tries[-1].detail, again_in_s=self._again_s)
                    await asyncio.sleep(self._again_s)


def message_of(told: Told) -> Notification:
    """Return what is posted: a technical alert in the form of any notification. Telling it twice has one id."""
    state = State.CLEARED if told.is_back else State.ESCALATED if told.is_worse else State.RAISED
    since, at = to_datetime(told.since_us), to_datetime(told.at_us)
    origin = Origin(device_id=DEVICE, source_app=SOURCE_APP)
    event = AlertEvent(
        alert_id=alert_id(PATIENT, RULE, METRIC, origin, told.since_us),
        patient_id=PATIENT, kind=Kind.TECHNICAL, priority=Priority.HIGH, rule=RULE, rule_version=1, metric=METRIC,
        origin=origin, state=state, opened_at=since, raised_at=since, changed_at=at, measured_at=at,
        cleared_at=at if told.is_back else None, individualised=True, evidence=_evidence(told, since, at),
        sentence=_sentence(told, since),
    )  # fmt: skip
    return Notification(
        notification_id=notification_id(event, "operations", "webhook"),
        alert=event, recipient="operations", channel="webhook", created_at=at,
    )  # fmt: skip


def _evidence(told: Told, since: datetime, at: datetime) -> Evidence:
    reached = "none" if told.reached is None else told.reached.value
    figures: dict[str, float | str] = {
        "stage": told.stage.value, "reached": reached, "missing_s": round((told.at_us - told.since_us) / US_PER_S, 1)
    }  # fmt: skip
    return Evidence(window_start=since, window_end=at, samples=0, unit="", figures=figures)


def _sentence(told: Told, since: datetime) -> str:
    if told.is_back:
        return f"The synthetic patient's samples come through again; they had not since {since:%Y-%m-%d %H:%M:%S} UTC."
    return f"The synthetic patient's samples do not come through since {since:%H:%M:%S} UTC: {_WORDS[told.stage]}."
