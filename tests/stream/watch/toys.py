"""Small detectors whose findings are easy to foresee: what the engine does with any detector is tested with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alerts.event import AlertEvent, Audience, Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Judged, Person
from stream.detectors.sustain import NEVER, Code, Sustained, Timing, Window, follow
from stream.watch.engine import Engine
from vitals.catalogue import number_of
from vitals.quality import TRUSTWORTHY, Context

HEART = number_of("heart_rate")
SPO2 = number_of("spo2")
STEPS = number_of("steps")


@dataclass(frozen=True, slots=True)
class ToyState:
    """Where the rule stands, what it saw, and the open episode's."""

    held: Sustained = field(default_factory=Sustained)
    seen: int = 0
    last_us: int = NEVER
    context: int = 0


@dataclass(frozen=True, slots=True)
class Toy:
    """A heart rate above `limit` for `delay_s`. `last_us` proves that it is told each sample once and in order."""

    limit: float = 100.0
    delay_s: float = 20.0
    priority: Priority = Priority.HIGH
    audience: Audience = Audience.CARE
    rule: str = "toy"
    name: ClassVar[str] = "toy"
    metrics: ClassVar[frozenset[int]] = frozenset({HEART})
    max_bytes: ClassVar[int] = 4_096
    per_patient: ClassVar[bool] = False

    def fresh(self) -> ToyState:
        return ToyState()

    def step(
        self, state: ToyState, seen: Observations, until_us: int, person: Person
    ) -> tuple[ToyState, list[Finding]]:
        seen = seen[seen["metric"] == HEART]
        seen = seen[seen["metric"] == HEART]  # a stretch may hold more than it asked for
        if not len(seen):
            return state, []
        start = seen["start_us"]
        assert (np.diff(start) > 0).all()
        assert start[0] > state.last_us
        assert start[-1] <= until_us
        usable = seen["quality"] >= TRUSTWORTHY
        code = np.where(usable, np.where(seen["value"] > self.limit, Code.BREACH, Code.CALM), Code.SKIP)
        window = Window(start, code.astype(np.int8), seen["value"], seen["quality"])
        timing = Timing(delay_s=self.delay_s, clear_delay_s=20, min_samples=2, clear_samples=2)
        held, told = follow(state.held, timing, window.pick(code != Code.SKIP))
        context = state.context | int(np.bitwise_or.reduce(seen["context"]))
        after = ToyState(held, state.seen + len(seen), int(start[-1]), context)
        return after, [self._finding(one) for one in told]

    def _finding(self, told: Any) -> Finding:
        state = State.CLEARED if told.cleared else State.RAISED
        return Finding(
            self.rule, 1, "heart_rate", Kind.PHYSIOLOGICAL, self.priority, state, told.opened_us, told.raised_us,
            told.at_us, told.run.readings[-1][0], told.run.since_us, "heart rate of a toy", told.run.seen,
            told.run.readings, figures={"worst_bpm": 1.0, "broken": float("nan")}, audience=self.audience,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PatientToy(Toy):
    """The same of a patient: it only counts what comes of all origins."""

    name: ClassVar[str] = "patient_toy"
    metrics: ClassVar[frozenset[int]] = frozenset({HEART, SPO2, STEPS})
    per_patient: ClassVar[bool] = True

    def step(
        self, state: ToyState, seen: Observations, until_us: int, person: Person
    ) -> tuple[ToyState, list[Finding]]:
        return replace(state, seen=state.seen + len(seen)), []


@dataclass(frozen=True, slots=True)
class Doubter:
    """Distrusts hearts of exactly 111 /min, from the stretch in which they come."""

    name: ClassVar[str] = "doubter"
    metrics: ClassVar[frozenset[int]] = frozenset({HEART})
    max_bytes: ClassVar[int] = 64
    per_patient: ClassVar[bool] = False

    def fresh(self) -> ToyState:
        return ToyState()

    def step(self, state: ToyState, seen: Observations, until_us: int, person: Person) -> Judged:
        wrong: NDArray[np.bool_] = (seen["metric"] == HEART) & (seen["value"] == 111.0)
        return Judged(replace(state, seen=state.seen + int(wrong.sum())), [], wrong)

    def distrusted(self, state: ToyState) -> frozenset[int]:
        return frozenset({HEART}) if state.seen else frozenset()

    def overdue(self, state: ToyState, now_us: int, person: Person) -> tuple[ToyState, list[Finding]]:
        return replace(state, last_us=now_us), []


@dataclass(frozen=True, slots=True)
class Broken(Toy):
    """Breaks at the first sample of a worker."""

    name: ClassVar[str] = "broken"

    def step(
        self, state: ToyState, seen: Observations, until_us: int, person: Person
    ) -> tuple[ToyState, list[Finding]]:
        raise ZeroDivisionError


EXERCISE = int(Context.MOTION_ACTIVE)


def overdue(engine: Engine, now_us: int) -> list[AlertEvent]:
    """What the clock alone says of all patients."""
    return [event for events in engine.overdue(now_us) for event in events]
