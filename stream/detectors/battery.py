"""Low battery: soon empty, told once a discharge.

Low is at most `low_percent` and, by how fast it went down so far, empty within `left_s`: a strap with 15 % may last for
days, a watch for an hour. Where the rate is not known yet, `unknown_percent` is low, and `empty_percent` is low at any
rate. It clears when it has been charged by `recharged_percent`. While it charges nothing is raised.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from alerts.event import Kind, Priority, State
from stream.detectors.by_metric import by_metric
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Judged, Person
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S
from vitals.quality import Context

RULE: Final = "battery_low"
VERSION: Final = 1
METRIC: Final = "battery"
_NUMBER: Final = BY_CODE[METRIC].number
_KNOWN_DROP: Final = 2.0  # percent by which it must have fallen until its rate says something
_ROUNDING: Final = 1.0
_MAX_AGE_S: Final = 4 * 3_600.0


@dataclass(frozen=True, slots=True)
class BatteryPolicy:
    """Percent, and seconds until empty. Raises ValueError."""

    low_percent: float = 15.0
    unknown_percent: float = 10.0
    empty_percent: float = 5.0
    left_s: float = 4 * 3_600.0
    recharged_percent: float = 10.0
    priority: Priority = Priority.LOW

    def __post_init__(self) -> None:
        if not 0 <= self.empty_percent <= self.unknown_percent <= self.low_percent <= 100:
            raise ValueError("empty_percent, unknown_percent and low_percent lie within 0 to 100, in that order")
        if self.left_s < 0 or self.recharged_percent <= 0:
            raise ValueError("left_s is not negative and recharged_percent above 0")


@dataclass(frozen=True, slots=True)
class BatteryState:
    """The discharge going on: from which level and when (`from_us` 0: none), the lowest level since; the episode."""

    from_us: int = 0
    from_percent: float = 0.0
    lowest_percent: float = 100.0
    opened_us: int = 0


@dataclass(frozen=True, slots=True)
class Battery:
    """The technical detector of a battery that is soon empty."""

    policy: BatteryPolicy = field(default_factory=BatteryPolicy)
    name: ClassVar[str] = "battery"
    metrics: ClassVar[frozenset[int]] = frozenset({_NUMBER})
    max_bytes: ClassVar[int] = 192
    per_patient: ClassVar[bool] = False

    def fresh(self) -> BatteryState:
        """Return the state of an origin never seen."""
        return BatteryState()

    def step(self, state: BatteryState, seen: Observations, until_us: int, person: Person) -> Judged:  # noqa: ARG002
        """Take in battery levels; there are few."""
        stretch = by_metric(seen)
        levels = stretch.of(_NUMBER)
        findings: list[Finding] = []
        if levels is None:
            return Judged(state, findings, stretch.none)
        charging = (levels.context & int(Context.CHARGING)) != 0
        rows = zip(levels.start_us.tolist(), levels.value.tolist(), charging.tolist(), strict=True)
        for at_us, percent, plugged in rows:
            state, told = self._level(state, at_us, percent, plugged)
            findings += told
        return Judged(state, findings, stretch.none)

    def distrusted(self, state: BatteryState) -> frozenset[int]:  # noqa: ARG002
        """Return nothing: a low battery measures well."""
        return frozenset()

    def overdue(
        self,
        state: BatteryState,
        now_us: int,  # noqa: ARG002
        person: Person,  # noqa: ARG002
    ) -> tuple[BatteryState, list[Finding]]:
        """Say nothing: silence is `stream.detectors.gap`'s."""
        return state, []

    def _level(
        self, state: BatteryState, at_us: int, percent: float, plugged: bool
    ) -> tuple[BatteryState, list[Finding]]:
        lowest = min(state.lowest_percent, percent)
        if state.opened_us:
            if percent < state.lowest_percent + self.policy.recharged_percent:
                return replace(state, lowest_percent=lowest), []
            begun = BatteryState(at_us, percent, percent)
            return begun, [self._finding(State.CLEARED, state.opened_us, at_us, percent, None)]
        # A level that rises by more than its rounding was charged.
        begins = not state.from_us or plugged or percent > state.lowest_percent + _ROUNDING
        state = BatteryState(at_us, percent, percent) if begins else replace(state, lowest_percent=lowest)
        left_s = _left_s(state, at_us, percent)
        if plugged or not self._low(percent, left_s):
            return state, []
        return replace(state, opened_us=at_us), [self._finding(State.RAISED, at_us, at_us, percent, left_s)]

    def _low(self, percent: float, left_s: float | None) -> bool:
        policy = self.policy
        if left_s is None:
            return percent <= policy.unknown_percent
        return percent <= policy.empty_percent or (percent <= policy.low_percent and left_s <= policy.left_s)

    def _finding(self, what: State, opened_us: int, at_us: int, percent: float, left_s: float | None) -> Finding:
        says = f"battery at {percent:.0f} %"
        figures = {"battery_percent": percent}
        if left_s is not None:
            says += f", empty in about {left_s / 3_600:.1f} h"
            figures["left_h"] = round(left_s / 3_600, 1)
        says = f"charged again, {says}" if what is State.CLEARED else says
        return Finding(
            RULE, VERSION, METRIC, Kind.TECHNICAL, self.policy.priority, what, opened_us, opened_us, at_us, at_us,
            opened_us, says, 1, figures=figures, individualised=True, max_age_s=_MAX_AGE_S,
        )  # fmt: skip


def _left_s(state: BatteryState, at_us: int, percent: float) -> float | None:
    """Return in how many seconds it is empty, if it goes on like that; None while it has hardly fallen."""
    fallen = state.from_percent - percent
    return percent * (at_us - state.from_us) / US_PER_S / fallen if fallen >= _KNOWN_DROP else None
