"""Who must know, and how: a pure decision over a frozen policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from alerts.episode import Episode
from alerts.event import AlertEvent, Audience, Kind, Priority, State
from alerts.notification import Notification, notification_id
from vitals.synthetic import PATIENT as SYNTHETIC

LOG: Final = "log"
WEBHOOK: Final = "webhook"
HEARTBEAT: Final = "heartbeat"
"""The channel of the synthetic patient, and of nobody else."""


@dataclass(frozen=True, slots=True)
class Route:
    """One recipient over one channel, and what they are told.

    A route that `pages` interrupts a person: it never tells a retrospective finding, nor what was acknowledged. What is
    for review only reaches routes of that `audience`, and those nothing else.
    """

    recipient: str
    channel: str
    kinds: frozenset[Kind]
    min_priority: Priority = Priority.LOW
    states: frozenset[State] = frozenset(State)
    pages: bool = False
    audience: Audience = Audience.CARE


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """All routes, and the age of a measurement (seconds) from which a message says that it comes late."""

    routes: tuple[Route, ...]
    delayed_after_s: float = 900.0

    @property
    def channels(self) -> frozenset[str]:
        """The channels that the notifier must know."""
        return frozenset(route.channel for route in self.routes)


def default_policy(*, webhook: bool) -> RoutingPolicy:
    """Technical alerts to the operators' log, all physiological ones to the digest, a page from medium upwards.

    There is one webhook, and two are paged over it: the clinician of what is physiological, the operators of what is
    technical (somebody is not monitored, the watch is behind); the message's `recipient` tells them apart. Without a
    webhook nothing pages: everything stands in the log. What is of the synthetic patient goes the way of any
    alert, to a channel that notes that it came.
    """
    routes = [
        Route("operators", LOG, frozenset({Kind.TECHNICAL})),
        Route("digest", LOG, frozenset({Kind.PHYSIOLOGICAL})),
        Route("heartbeat", HEARTBEAT, frozenset(Kind)),
    ]
    if webhook:
        told = frozenset({State.RAISED, State.ESCALATED})
        for recipient, kind in (("clinician", Kind.PHYSIOLOGICAL), ("operators", Kind.TECHNICAL)):
            routes.append(Route(recipient, WEBHOOK, frozenset({kind}), Priority.MEDIUM, told, pages=True))
    return RoutingPolicy(tuple(routes))


def decide(policy: RoutingPolicy, episode: Episode, event: AlertEvent, now: datetime) -> tuple[Notification, ...]:
    """Return whom to tell about `event`, which `episode` has taken in already. `now` is aware, dispatch's clock.

    Asking twice gives the same notification ids. Whether `event` is news at all the caller asks `is_news`.
    """
    delayed = now - event.measured_at > timedelta(seconds=policy.delayed_after_s)
    return tuple(
        Notification(
            notification_id=notification_id(event, route.recipient, route.channel),
            alert=event,
            recipient=route.recipient,
            channel=route.channel,
            created_at=now,
            delayed=delayed,
        )
        for route in policy.routes
        if _concerns(route, episode, event)
    )


def _concerns(route: Route, episode: Episode, event: AlertEvent) -> bool:
    if (event.patient_id == SYNTHETIC) is not (route.channel == HEARTBEAT):
        return False  # the synthetic patient's alerts reach nobody, and nobody else's go where nobody looks
    if event.audience is not route.audience or event.kind not in route.kinds or event.state not in route.states:
        return False
    if event.priority.rank < route.min_priority.rank:
        return False
    seen = episode.acknowledged_priority
    muted = seen is not None and event.priority.rank <= seen.rank
    return not (route.pages and (event.retrospective or muted))
