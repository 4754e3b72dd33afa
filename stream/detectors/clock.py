"""A device's clock that is off: what it measured seems to come before it was measured, or always so much too late.

By how much is the least delay between end of measurement and arrival, of all that arrived within ten minutes: uploads
are late, but the newest sample of an upload hardly is. Ahead is beyond doubt; behind looks like a slow upload, and
counts only while it stays the same to some seconds. Where a bridge compares the clocks (`clock_offset`, in seconds,
positive ahead) that counts at once. Nothing is distrusted: values are right, their time is not. Beyond five minutes
ahead validation refuses a sample, so it must be known before.

Beyond a quarter of an hour behind, everything that the device tells looks like history: it goes down the backfill lane,
and nobody is paged for it. So that is medium priority, and on any lane it is news of when the samples came.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.by_metric import by_metric
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Judged, Person
from vitals.catalogue import BY_CODE, METRICS, RetentionClass
from vitals.clock import US_PER_S

RULE: Final = "clock_off"
VERSION: Final = 2
METRIC: Final = "clock_offset"
_OFFSET: Final = BY_CODE[METRIC].number
_CLASSES: Final = frozenset({RetentionClass.VITAL, RetentionClass.ACTIVITY})
_KEPT: Final = 3  # windows that must agree that it is behind
_NOTHING: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class ClockPolicy:
    """Seconds. Off is `ahead_s` ahead in two windows, or `behind_s` behind in three that agree to `agree_s`; it clears
    at less than half. From `far_s` on, either way, it is of `far_priority`. A window has at least `min_samples`. Raises
    ValueError."""

    ahead_s: float = 30.0
    behind_s: float = 120.0
    agree_s: float = 10.0
    window_s: float = 600.0
    min_samples: int = 10
    priority: Priority = Priority.LOW
    far_s: float = 900.0
    far_priority: Priority = Priority.MEDIUM

    def __post_init__(self) -> None:
        if min(self.ahead_s, self.behind_s, self.agree_s) <= 0:
            raise ValueError("ahead_s, behind_s and agree_s are above 0")
        if self.window_s < 60 or self.min_samples < 1:
            raise ValueError("window_s is at least 60 and min_samples 1")
        if self.far_s < max(self.ahead_s, self.behind_s) or self.far_priority.rank < self.priority.rank:
            raise ValueError("far_s is at least ahead_s and behind_s, and far_priority not below priority")


@dataclass(frozen=True, slots=True)
class ClockState:
    """The window of arrival going on (its number, its samples, their least delay in us), the least delays of those
    before it, oldest first, and the open episode (0: none) and whether it was told to be far off."""

    window: int = 0
    samples: int = 0
    least_us: int = _NOTHING
    before_us: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    opened_us: int = 0
    raised_us: int = 0
    far: bool = False


@dataclass(frozen=True, slots=True)
class Clock:
    """The technical detector of a clock that is off."""

    policy: ClockPolicy = field(default_factory=ClockPolicy)
    name: ClassVar[str] = "clock"
    metrics: ClassVar[frozenset[int]] = frozenset(
        one.number for one in METRICS if one.retention in _CLASSES or one.number == _OFFSET
    )
    max_bytes: ClassVar[int] = 384
    per_patient: ClassVar[bool] = False

    def fresh(self) -> ClockState:
        """Return the state of an origin never seen."""
        return ClockState()

    def step(self, state: ClockState, seen: Observations, until_us: int, person: Person) -> Judged:  # noqa: ARG002
        """Take in when samples came after they were measured."""
        stretch = by_metric(seen)
        received = stretch.received[0]
        delay = received - stretch.ends_us
        window_us = round(self.policy.window_s * US_PER_S)
        findings: list[Finding] = []
        if stretch.of(_OFFSET) is None and int(np.maximum.reduce(received)) // window_us <= state.window:
            least_us = min(state.least_us, int(np.minimum.reduce(delay)))
            samples = state.samples + len(seen)
            after = ClockState(
                state.window, samples, least_us, state.before_us, state.opened_us, state.raised_us, state.far
            )
            return Judged(after, findings, stretch.none)
        arrival = np.maximum.accumulate(received) // window_us
        compared = seen["metric"] == _OFFSET
        window = np.maximum(arrival, state.window)
        cuts = np.flatnonzero((window[1:] > window[:-1]) | compared[1:] | compared[:-1]) + 1
        for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(seen)], strict=True):
            if compared[first]:
                # By when it came: the device's own time is what is in doubt.
                at_us, offset_s = int(received[first]), float(seen["value"][first])
                state, told = self._told(state, at_us, offset_s, abs(offset_s) >= self.policy.ahead_s)
                findings += told
                continue
            if int(window[first]) > state.window:
                state, told = self._next(state, int(window[first]))
                findings += told
            least_us = min(state.least_us, int(delay[first:last].min()))
            state = replace(state, samples=state.samples + last - first, least_us=least_us)
        return Judged(state, findings, np.zeros(len(seen), np.bool_))

    def distrusted(self, state: ClockState) -> frozenset[int]:  # noqa: ARG002
        """Return nothing: values of a wrong time are right values."""
        return frozenset()

    def overdue(self, state: ClockState, now_us: int, person: Person) -> tuple[ClockState, list[Finding]]:  # noqa: ARG002
        """Say nothing: silence has no clock."""
        return state, []

    def _next(self, state: ClockState, number: int) -> tuple[ClockState, list[Finding]]:
        """Judge the window that is over and begin another."""
        begun = replace(state, window=number, samples=0, least_us=_NOTHING)
        if state.samples < self.policy.min_samples:
            return begun, []
        end_us = (state.window + 1) * round(self.policy.window_s * US_PER_S)
        before = np.append(state.before_us, state.least_us)[-_KEPT:]
        begun = replace(begun, before_us=before)
        offset_s = -state.least_us / US_PER_S
        return self._told(begun, end_us, offset_s, self._is_off(before))

    def _is_off(self, least_us: NDArray[np.int64]) -> bool:
        ahead = len(least_us) >= 2 and bool((least_us[-2:] <= -self.policy.ahead_s * US_PER_S).all())
        behind = len(least_us) == _KEPT and int(least_us.min()) >= self.policy.behind_s * US_PER_S
        return ahead or (behind and int(np.ptp(least_us)) <= self.policy.agree_s * US_PER_S)

    def _told(self, state: ClockState, at_us: int, offset_s: float, off: bool) -> tuple[ClockState, list[Finding]]:
        policy = self.policy
        far = off and abs(offset_s) >= policy.far_s
        if off and not state.opened_us:
            state = replace(state, opened_us=at_us, raised_us=at_us, far=far)
            return state, [self._finding(state, State.RAISED, at_us, offset_s)]
        if far and not state.far:
            state = replace(state, far=True)
            return state, [self._finding(state, State.ESCALATED, max(at_us, state.opened_us), offset_s)]
        right = -policy.behind_s / 2 < offset_s < policy.ahead_s / 2
        if right and state.opened_us:
            at_us = max(at_us, state.opened_us)
            cleared = self._finding(state, State.CLEARED, at_us, offset_s)
            return replace(state, opened_us=0, raised_us=0, far=False), [cleared]
        return state, []

    def _finding(self, state: ClockState, what: State, at_us: int, offset_s: float) -> Finding:
        says = f"the device's clock is {abs(offset_s):.0f} s {'ahead' if offset_s > 0 else 'behind'}"
        if what is State.CLEARED:
            says = "the device's clock is right again"
        priority = self.policy.far_priority if state.far else self.policy.priority
        return Finding(
            RULE, VERSION, METRIC, Kind.TECHNICAL, priority, what, state.opened_us, state.raised_us, at_us, at_us,
            state.opened_us, says,
            figures={"offset_s": round(offset_s, 1)}, individualised=True, max_age_s=86_400.0, by_arrival=True,
        )  # fmt: skip
