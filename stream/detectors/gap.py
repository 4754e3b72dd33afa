"""Silence: nothing at all came from an origin for longer than it ever leaves between its arrivals.

The clock raises it, so only while the log is caught up: an outage of the broker is one alert about the pipeline. When
it opened follows from the data alone (the last arrival and what was learned until then), so that raising it again,
after a restart, is no news. One a device and application, whatever they measure: its metric is `wear_state`. A channel
that stops while others go on is `stream.detectors.monitoring`'s. Nothing is expected of what was hardly heard yet, and
a charged device, or one that said that it is not worn, may be silent for longer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from alerts.event import Kind, Priority, State
from stream.detectors.by_metric import by_metric
from stream.detectors.cadence import Cadence, allowance_s, deadline_us, learn, usual_gap_s
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Judged, Person
from stream.detectors.sustain import NEVER
from vitals.catalogue import METRICS, RetentionClass
from vitals.clock import US_PER_S
from vitals.quality import Context

RULE: Final = "gap"
VERSION: Final = 1
METRIC: Final = "wear_state"
"""What an alert about an origin as a whole says it is about."""
_CLASSES: Final = frozenset({RetentionClass.VITAL, RetentionClass.ACTIVITY, RetentionClass.TECHNICAL})
_PLANNED: Final = int(Context.CHARGING | Context.NO_CONTACT)


@dataclass(frozen=True, slots=True)
class GapPolicy:
    """Seconds. A silence is allowed `least_s` or ten usual gaps (three of long ones), at most `most_s`; `planned_s`
    where the last samples said charging or not worn. Expected after `min_gaps` arrivals over `min_known_s`.
    Raises ValueError."""

    least_s: float = 300.0
    most_s: float = 7 * 86_400.0
    planned_s: float = 4 * 3_600.0
    min_gaps: int = 8
    min_known_s: float = 600.0
    priority: Priority = Priority.LOW

    def __post_init__(self) -> None:
        if not 0 < self.least_s <= self.most_s:
            raise ValueError("least_s lies above 0 and not above most_s")
        if self.planned_s < 0 or self.min_known_s < 0:
            raise ValueError("planned_s and min_known_s are not negative")
        if not 1 <= self.min_gaps <= 64:
            raise ValueError("min_gaps is 1 to 64")


@dataclass(frozen=True, slots=True)
class GapState:
    """The origin's cadence, whether its last sample spoke of a planned silence, and the open episode's opening."""

    cadence: Cadence = field(default_factory=Cadence)
    planned: bool = False
    opened_us: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """The technical detector of silence."""

    policy: GapPolicy = field(default_factory=GapPolicy)
    name: ClassVar[str] = RULE
    metrics: ClassVar[frozenset[int]] = frozenset(one.number for one in METRICS if one.retention in _CLASSES)
    max_bytes: ClassVar[int] = 1_024
    per_patient: ClassVar[bool] = False

    def fresh(self) -> GapState:
        """Return the state of an origin never seen."""
        return GapState()

    def step(self, state: GapState, seen: Observations, until_us: int, person: Person) -> Judged:  # noqa: ARG002
        """Learn when samples come; whatever comes ends a silence."""
        findings = []
        if state.opened_us is not None:
            came_us = int(seen["received_us"][0])
            findings.append(self._finding(state, State.CLEARED, max(came_us, state.opened_us)))
        stretch = by_metric(seen)
        planned = bool(stretch.any_context & _PLANNED and seen["context"][-1] & _PLANNED)
        after = GapState(learn(state.cadence, stretch.ends_us, *stretch.received), planned)
        return Judged(after, findings, stretch.none)

    def distrusted(self, state: GapState) -> frozenset[int]:  # noqa: ARG002
        """Return nothing: silence says no wrong values."""
        return frozenset()

    def overdue(self, state: GapState, now_us: int, person: Person) -> tuple[GapState, list[Finding]]:  # noqa: ARG002
        """Raise once the silence has lasted longer than allowed."""
        cadence, policy = state.cadence, self.policy
        if cadence.arrival_us == NEVER or now_us - cadence.arrival_us < policy.least_s * US_PER_S:
            return state, []
        if state.opened_us is not None or not cadence.expected(policy.min_gaps, policy.min_known_s):
            return state, []
        allowed_s = allowance_s(cadence.gaps_s, policy.least_s, policy.most_s)
        if state.planned:
            allowed_s = max(allowed_s, policy.planned_s)
        opened_us = deadline_us(cadence, cadence.arrival_us, allowed_s)
        if now_us < opened_us:
            return state, []
        after = replace(state, opened_us=opened_us)
        return after, [self._finding(after, State.RAISED, opened_us)]

    def _finding(self, state: GapState, what: State, changed_us: int) -> Finding:
        cadence, opened_us = state.cadence, state.opened_us or changed_us
        silent_s = (changed_us - cadence.arrival_us) / US_PER_S
        silent = f"for {silent_s / 60:.0f} min"
        says = f"nothing came from the device {silent}"
        if what is State.CLEARED:
            says = f"the device is heard again, after silence {silent}"
        figures = {"silent_s": round(silent_s, 1), "usual_gap_s": round(usual_gap_s(cadence.gaps_s), 1)}
        return Finding(
            RULE, VERSION, METRIC, Kind.TECHNICAL, self.policy.priority, what, opened_us, opened_us, changed_us,
            changed_us, cadence.arrival_us, says, figures=figures, individualised=True, max_age_s=86_400.0,
        )  # fmt: skip
