"""What every settled detector is: a frozen policy, an explicit state, and a pure step over samples in event order.

Two tiers watch a sample. Limits and contact (`stream.detectors.limits`) are judged the moment a record comes, and
again where a late neighbour is inserted. Everything else is settled: a detector gets each sample of an origin exactly
once, in event order, doubles and corrections resolved, when it is older than the policy's lateness (10 s) against
the newest of its origin. Event order is the order in which measurements *ended* (`start_us` plus `duration_ms`), then
of metrics: steps of the last minute come after the heart rates of that minute. So `start_us` rises within a metric
without durations, not across metrics that have some. That order holds within a stretch, and of each metric from one
stretch to the next. Across metrics it is not promised: what a phone uploads late (steps of two minutes ago, after newer
heart rates) comes in a later stretch, since nothing newer of its own metric has come. A detector of several metrics
must bear that. How the stream was cut must make no difference: `step(step(s, a), b)` finds what `step(s, a + b)` finds.
Both are tested of each (tests/stream/detectors/running.py and test_any_order.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from alerts.event import Priority
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from vitals.care_profile import UNKNOWN, CareProfile

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Person:
    """Who is watched, as far as a detector may know. `ceiling`: the device's intended use allows no higher priority.

    The engine enforces it, save of detectors of the patient as a whole: those know which device told what, and raise no
    higher than it allows.
    """

    profile: CareProfile = UNKNOWN
    ceiling: Priority = Priority.MEDIUM


NOBODY: Final = Person()


class Detector(Protocol[S]):
    """A physiological detector of one origin; an implementation is a frozen dataclass holding its policy.

    `metrics` are the catalogue numbers that it wants to see. State is a frozen dataclass whose fields are numbers,
    strings, None, tuples, numpy arrays or such dataclasses again (`stream.detectors.packing` carries it to the
    snapshot), bounded: `max_bytes` is the most that it takes packed as arrays.
    """

    name: ClassVar[str]
    metrics: ClassVar[frozenset[int]]
    max_bytes: ClassVar[int]
    per_patient: ClassVar[bool]
    """True: one state a patient, to which every origin's settled samples come (each origin in order, origins as they
    come; findings carry the pseudo origin of the patient). False: one state an origin."""

    def fresh(self) -> S:
        """Return the state of somebody never seen."""
        ...

    def step(self, state: S, seen: Observations, until_us: int, person: Person) -> tuple[S, list[Finding]]:
        """Take in `seen` and return the new state and what changed, in event time.

        `seen` holds at least one sample of `metrics`, and may hold others: all detectors of a stretch get the same
        rows, and each picks its own (`stream.detectors.by_metric` cuts them once for all). They are ordered by end of
        measurement (`start_us` + `duration_ms`), then metric; never empty, never written to. Their `context` and
        `quality` are already what trust makes of them: `Context.MOTION_ACTIVE`, `WORKOUT` and `ASLEEP` come from all
        that is known of the person, and what a technical detector distrusts has quality 0 (kept, to be stepped over or
        to break a run). All samples of the origin up to `until_us` are now known. Samples marked `deleted` are gone
        already. Where the person's profile no longer lets the rule apply, it ends what it has open. Raises nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Judged:
    """What a technical detector makes of a stretch: its new state, findings, and which samples not to trust."""

    state: Any
    findings: list[Finding]
    distrust: NDArray[np.bool_]  # one a sample of `seen`


class Technical(Protocol[S]):
    """A detector of the measuring, not of the measured: it runs before the physiological ones, says what to distrust.

    Its attributes are those of `Detector`: `metrics` are what it needs to see at all. Two passes: those of one origin
    (`per_patient` False) all see the stretch as the device told it, and what any of them distrusts gets quality 0. Then
    those of the patient see it so, one state for all origins: they distrust nothing, and
    their findings carry the pseudo origin of the patient.
    """

    name: ClassVar[str]
    metrics: ClassVar[frozenset[int]]
    max_bytes: ClassVar[int]
    per_patient: ClassVar[bool]

    def fresh(self) -> S:
        """Return the state of an origin never seen."""
        ...

    def step(self, state: S, seen: Observations, until_us: int, person: Person) -> Judged:
        """Take in `seen`, in event order; never empty. It may hold metrics beyond `metrics`: each picks its own, and
        `Judged.distrust` has one flag a sample of all of `seen`."""
        ...

    def distrusted(self, state: S) -> frozenset[int]:
        """Return the metric numbers of this origin that are not to be trusted as of now: the limits, judged at once,
        step over their samples until it ends."""
        ...

    def overdue(self, state: S, now_us: int, person: Person) -> tuple[S, list[Finding]]:
        """Return what the clock alone says (nothing came for too long); only asked while the log is caught up."""
        ...
