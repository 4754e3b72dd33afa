"""How far the beats of the synthetic patient come, and when operations must be told that they do not. Pure.

A beat goes two ways: sent, notified, delivered is the way of an alert; sent, stored is the way into the database. What
counts is when the newest beat that passed a stage was made, not when it passed: an hour's backlog that comes at last
proves nothing about now.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from vitals.clock import US_PER_S
from vitals.errors import VigilError


class Stage(StrEnum):
    """Where a beat has come to."""

    SENT = "sent"  # the gateway, or the broker, has it safe
    STORED = "stored"  # the recorder has written it into the database
    NOTIFIED = "notified"  # watch has raised or cleared it, and dispatch published the notification
    DELIVERED = "delivered"  # the notifier has recorded the delivery


_ALERT_WAY: Final = (Stage.SENT, Stage.NOTIFIED, Stage.DELIVERED)


class BadPatience(VigilError):
    """The numbers of the heartbeat do not go together."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long no beat may come through; seconds. `is_stored_seen`: whether there is a database to look into.

    Raises `BadPatience` for less than three beats: two may be lost by a restart (one that does not change the alert).
    """

    missing_s: float = 180.0
    period_s: float = 60.0
    is_stored_seen: bool = True

    def __post_init__(self) -> None:
        if self.period_s <= 0 or self.missing_s < 3 * self.period_s:
            raise BadPatience("VIGIL_HEARTBEAT_MISSING_S is at least three times VIGIL_HEARTBEAT_PERIOD_S")

    def limit_us(self, stage: Stage) -> int:
        """Return how old the newest beat that passed a stage may be. The database is given a beat more: where both ways
        break at once, the alert's is told."""
        extra_s = self.period_s if stage is Stage.STORED else 0.0
        return round((self.missing_s + extra_s) * US_PER_S)


@dataclass(frozen=True, slots=True)
class Told:
    """What operations are told, once: no beat passes `stage` any more, or (`is_back`) all pass again.

    `reached` is the farthest stage before it on its way, None where not even sending works. `since_us`: when the last
    beat was made that passed, the same for all that is told of one outage; `at_us`: now. `is_worse`: of an outage that
    was told before.
    """

    is_back: bool
    stage: Stage
    reached: Stage | None
    since_us: int
    at_us: int
    is_worse: bool = False


@dataclass(frozen=True, slots=True)
class Pulse:
    """When the newest beat that passed each stage was made (us UTC), and what operations were told and not taken back:
    `missing`, with the time `since_us` that they were told."""

    begun_us: int
    passed_us: dict[Stage, int] = field(default_factory=dict)
    missing: Stage | None = None
    since_us: int = 0

    def newest_us(self, stage: Stage) -> int:
        """Return when the newest beat that passed was made; before the first, when the pulse began."""
        return max(self.passed_us.get(stage, self.begun_us), self.begun_us)


def passed(pulse: Pulse, stage: Stage, beat_us: int) -> Pulse:
    """Return the pulse once the beat of this time has passed a stage; an older one than the newest changes nothing."""
    if beat_us <= pulse.passed_us.get(stage, pulse.begun_us - 1):
        return pulse
    return replace(pulse, passed_us={**pulse.passed_us, stage: beat_us})


def late(pulse: Pulse, patience: Patience, now_us: int) -> frozenset[Stage]:
    """Return the stages that no beat has passed for too long."""
    stages = [one for one in Stage if patience.is_stored_seen or one is not Stage.STORED]
    return frozenset(one for one in stages if now_us - pulse.newest_us(one) > patience.limit_us(one))


def look(pulse: Pulse, patience: Patience, now_us: int) -> tuple[Pulse, Told | None]:
    """Return the pulse after a look at the clock, and what operations are to be told.

    Once an outage, and once that it is over: when every stage is passed again. Only where the database was all that was
    missing, and then the alerts' way breaks too, that is told as well.
    """
    missing = late(pulse, patience, now_us)
    if not missing:
        if pulse.missing is None:
            return pulse, None
        told = Told(True, pulse.missing, Stage.DELIVERED, pulse.since_us, now_us)
        return replace(pulse, missing=None, since_us=0), told
    broken = not missing.isdisjoint(_ALERT_WAY)
    if pulse.missing is not None and not (broken and pulse.missing is Stage.STORED):
        return pulse, None
    stage = _to_blame(pulse, patience, now_us) if broken else Stage.STORED
    way = _ALERT_WAY if broken else (Stage.SENT, Stage.STORED)
    before = way.index(stage)
    is_worse = pulse.missing is not None
    since_us = pulse.since_us if is_worse else pulse.newest_us(stage)
    told = Told(False, stage, way[before - 1] if before else None, since_us, now_us, is_worse)
    return replace(pulse, missing=stage, since_us=told.since_us), told


def _to_blame(pulse: Pulse, patience: Patience, now_us: int) -> Stage:
    """Return the first stage of the alert's way whose newest beat is older than a beat's worth of patience allows.

    The stage whose limit was passed first may only be the last to have seen the beat before: where the broker goes away
    between sending and delivering, sending is what is missing.
    """
    soon_us = round((patience.missing_s - patience.period_s) * US_PER_S)
    return next(one for one in _ALERT_WAY if now_us - pulse.newest_us(one) > soon_us)
