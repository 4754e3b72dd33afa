"""How patient a link is, and what it does next: frozen policies, pure decisions. Seconds are a monotonic clock's."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from devices.polar.control import Measurement


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts: `first_s`, then twice as long each time up to `longest_s`, each shortened by jitter.

    A bridge on mains power can afford short ones: a device that is back shall be heard within 10 s.
    """

    first_s: float = 0.25
    longest_s: float = 4.0
    jitter: float = 0.5


def delay_s(backoff: Backoff, attempt: int, draw: float) -> float:
    """Return the pause before attempt `attempt` (0: none); `draw` is uniform in [0, 1), so that devices spread out."""
    if attempt <= 0:
        return 0.0
    longest_s = min(backoff.longest_s, backoff.first_s * 2.0 ** min(attempt - 1, 32))
    return longest_s * (1 - backoff.jitter * draw)


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """A batch is closed `within_s` of its first notification, or at `frames`.

    Beyond `held_frames` that neither broker nor spool takes, new ones are lost, and that is said.
    """

    within_s: float = 1.0
    frames: int = 500
    held_frames: int = 200_000


def batch_wait_s(policy: BatchPolicy, first_s: float, frames: int, now_s: float) -> float:
    """Return how long to wait for more notifications; 0 where the batch, begun at `first_s`, is to be closed."""
    return 0.0 if frames >= policy.frames else max(0.0, first_s + policy.within_s - now_s)


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """Bounds of one link.

    `silence_s`: a device that streams and says nothing for so long is not connected, whatever BlueZ says. One that
    measures now and then is asked something as often. `prepare_s` bounds what follows a connection (subscribing,
    reading); D-Bus calls have no bound of their own.
    """

    silence_s: float = 30.0
    connect_s: float = 10.0
    prepare_s: float = 20.0
    leave_s: float = 3.0
    battery_every_s: float = 300.0
    pairing_pause_s: float = 15.0
    stored_silence_s: float = 30.0  # a RACP procedure's bound between two notifications (GLS 1.0, §3.5.4: 30 s)
    stored_again_s: float = 86_400.0
    polar: tuple[Measurement, ...] = ()  # which of Polar's own streams are started
    acquire: bool = False  # AcquireNotify (a socket) instead of StartNotify (D-Bus signals)
    backoff: Backoff = field(default_factory=Backoff)
    batch: BatchPolicy = field(default_factory=BatchPolicy)


class Step(Enum):
    """What a connected link does next."""

    WAIT = "wait"
    ASK = "ask"  # read the battery: news of it, and proof that somebody answers
    TEAR_DOWN = "tear_down"


@dataclass(frozen=True, slots=True)
class Heard:
    """When a connected link last heard its stream, and when it last had an answer to a question."""

    stream_s: float
    answer_s: float


def next_step(policy: LinkPolicy, heard: Heard, now_s: float, *, streams: bool, can_ask: bool) -> tuple[Step, float]:
    """Return what to do now, and after how many seconds at most to ask again."""
    silent_at_s = heard.stream_s + policy.silence_s
    if streams and now_s >= silent_at_s:
        return Step.TEAR_DOWN, 0.0
    ask_at_s = heard.answer_s + (policy.battery_every_s if streams else min(policy.battery_every_s, policy.silence_s))
    if can_ask and now_s >= ask_at_s:
        return Step.ASK, 0.0
    wakes = [at for at, applies in ((silent_at_s, streams), (ask_at_s, can_ask)) if applies]
    return Step.WAIT, min(wakes, default=now_s + policy.silence_s) - now_s


STEADY_S: Final = 10.0


def attempts_after(attempts: int, connected_s: float) -> int:
    """Count attempts: a connection that held for `STEADY_S` begins the count anew, one that broke at once does not."""
    return 0 if connected_s >= STEADY_S else attempts + 1
