"""A storm of repeats: a stuck phone that sends the same stretch again and again.

Repeats never reach a detector: the engine leaves them out, counts them, and asks here. So this is no `Technical`, but
its counterpart on the engine's own count: pure, one state an origin, by the clock of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from vitals.clock import US_PER_S

RULE: Final = "repeat_storm"
VERSION: Final = 1
METRIC: Final = "wear_state"


@dataclass(frozen=True, slots=True)
class StormPolicy:
    """A window is a storm with at least `at_least` repeats that are more than `share` of all that came in it. A calm
    one clears. Raises ValueError."""

    window_s: float = 600.0
    at_least: int = 1_000
    share: float = 0.5
    priority: Priority = Priority.LOW

    def __post_init__(self) -> None:
        if self.window_s < 60:
            raise ValueError("window_s is at least 60")
        if self.at_least < 1 or not 0 < self.share < 1:
            raise ValueError("at_least is 1 or more, and share lies between 0 and 1")


@dataclass(frozen=True, slots=True)
class StormState:
    """What came in this window (its number), how much of it was known, and the open episode (0: none)."""

    window: int = 0
    repeats: int = 0
    samples: int = 0
    opened_us: int = 0
    raised_us: int = 0


@dataclass(frozen=True, slots=True)
class Storm:
    """Repeats, counted."""

    policy: StormPolicy = field(default_factory=StormPolicy)
    name: ClassVar[str] = "storm"
    max_bytes: ClassVar[int] = 192

    def fresh(self) -> StormState:
        """Return the state of an origin never seen."""
        return StormState()

    def take(self, state: StormState, repeats: int, samples: int, at_us: int) -> tuple[StormState, list[Finding]]:
        """Take in how many of the `samples` that came at `at_us` (arrival, never falling) were `repeats`."""
        findings: list[Finding] = []
        number = at_us // round(self.policy.window_s * US_PER_S)
        if number > state.window:
            if state.opened_us and not self._stormy(state):
                findings.append(self._finding(state, State.CLEARED, max(at_us, state.raised_us)))
                state = replace(state, opened_us=0, raised_us=0)
            state = replace(state, window=number, repeats=0, samples=0)
        state = StormState(
            state.window, state.repeats + repeats, state.samples + samples, state.opened_us, state.raised_us
        )
        if not state.opened_us and self._stormy(state):
            opened_us = state.window * round(self.policy.window_s * US_PER_S)
            state = replace(state, opened_us=opened_us, raised_us=max(at_us, opened_us))
            findings.append(self._finding(state, State.RAISED, state.raised_us))
        return state, findings

    def _stormy(self, state: StormState) -> bool:
        policy = self.policy
        return state.repeats >= policy.at_least and state.repeats > policy.share * state.samples

    def _finding(self, state: StormState, what: State, at_us: int) -> Finding:
        says = f"the device sent {state.repeats} samples again that were known"
        if what is State.CLEARED:
            says = "the device no longer sends known samples again"
        figures = {"repeats": state.repeats, "samples": state.samples}
        return Finding(
            RULE, VERSION, METRIC, Kind.TECHNICAL, self.policy.priority, what, state.opened_us, state.raised_us, at_us,
            at_us, state.opened_us, says, state.samples, figures=figures, individualised=True,
        )  # fmt: skip
