"""What the watch remembers of a patient: bounded, and nothing that the log could not give back.

A patient has at most `MAX_ORIGINS` origins; for one more the one heard least recently is forgotten, and counted. Of
fewer nobody is forgotten who was heard within a day or has something open, whatever it takes: `MAX_BYTES` of arrays
(`stream.watch.size`) is what two devices stay below, and what devices out of use must make room for. What bounds each:
`max_waiting` samples an origin, the detectors' own bounds, `MAX_OPEN` episodes a patient (`stream.watch.book`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from stream.detectors.limits import Rule
from stream.detectors.observation import NOTHING, Observations
from stream.detectors.protocol import Person
from stream.detectors.sustain import NEVER, Sustained
from stream.detectors.track import Track
from stream.watch.book import Book
from stream.watch.inbox import Inbox
from stream.watch.plan import METRICS, Plan

MAX_PATIENTS: Final = 100_000
MAX_ORIGINS: Final = 8

OriginKey = tuple[str, str]
"""Device id and source application."""


@dataclass(slots=True)
class Trail:
    """Where each of `rules` stands before the recent samples of a series (`base`) and after the first `count` of them
    (`states`).

    `alarm_us` is the start of the last of those that alarms. Nothing but what judging them once more would give: no
    snapshot has it.
    """

    rules: tuple[Rule, ...]
    base: tuple[Sustained, ...]
    states: tuple[Sustained, ...]
    count: int = 0
    alarm_us: int = NEVER


@dataclass(slots=True)
class Series:
    """One metric of one origin that is looked at closely: something of it was suspicious a moment ago, or is open.

    All samples up to `base_us` are taken in for good; `recent` holds later ones, ordered by start, which a late
    neighbour may still precede. `active` has the rules that are not quiet as of `base_us` (or, after a transition, as
    of that), `retrospective` the names of raised rules whose finding was too old to be called live.
    """

    base_us: int = NEVER
    recent: Observations = field(default_factory=lambda: NOTHING)
    alarming: bool = False  # some of `recent` is worth a closer look
    active: dict[str, Sustained] = field(default_factory=dict)
    retrospective: set[str] = field(default_factory=set)
    trail: Trail | None = None  # of the first of `recent`; the others are not judged yet


def _never() -> NDArray[np.int64]:
    return np.full(METRICS, NEVER, np.int64)


@dataclass(slots=True)
class Origin:
    """One device read through one application.

    `newest_us` is the latest end of a measurement, `heard_us` when the last was received, `until_us` up to where
    stretches are settled, `due_us` what the newest must reach for the next. By metric number: `done_us` the end,
    `begun_us` the start of the last sample that was settled, `sound_us` the end of the last that can be trusted.
    `bases`: up to where a metric that is no longer looked at closely was judged.
    """

    key: OriginKey
    person: Person
    table: int  # of the engine's tables: the limits of whom it measures
    newest_us: int = NEVER
    heard_us: int = NEVER
    until_us: int = NEVER
    due_us: int = NEVER
    inbox: Inbox = field(default_factory=Inbox)
    done_us: NDArray[np.int64] = field(default_factory=_never)
    begun_us: NDArray[np.int64] = field(default_factory=_never)
    sound_us: NDArray[np.int64] = field(default_factory=_never)
    awake: dict[int, Series] = field(default_factory=dict)
    bases: dict[int, int] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    distrusted: frozenset[int] = frozenset()


@dataclass(slots=True)
class Patient:
    """Everything of one patient. `seen_us`: when, on the watch's clock, the last record came."""

    patient_id: str
    plan: Plan
    phase_us: int
    seen_us: int = NEVER
    withdrawn: bool = False
    origins: OrderedDict[OriginKey, Origin] = field(default_factory=OrderedDict)
    states: dict[str, Any] = field(default_factory=dict)
    track: Track = field(default_factory=Track)
    book: Book = field(default_factory=Book)


def patient_of(patient_id: str, plan: Plan, *, withdrawn: bool) -> Patient:
    """Return the memory of somebody never seen."""
    return Patient(patient_id, plan, crc32(patient_id.encode()) % plan.grid_us, withdrawn=withdrawn)
