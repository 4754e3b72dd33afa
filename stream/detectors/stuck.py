"""Stuck values: a flat line where there never was one, as a watch on a table or a hung sensor tells it.

By metric it learns how often consecutive values differ (share p of the last pairs) and how long the longest ordinary
run of one value was. A run of n repeats has the odds (1 - p)^n; values in it are distrusted once those are below 1e-3
and n is twice the longest run, and a technical alert is raised below 1e-6, five times and two minutes. So what is
constant by nature (a paced heart, a coarse device) is never suspicious, nor is SpO2 at 100 %, where it saturates. A
flutter can beat exactly 150 for hours: the distrust ends in "not monitored" (`stream.detectors.monitoring`), never in
silence. Samples of a run are distrusted from where it became suspicious; those before it were judged already.

A sensor that hangs often leaps first. After a leap (`LEAP`, from one sample to the next) odds of 0.1 are enough to
distrust, before a limit that waits for a minute has raised: a body that leaps does not stand still at once.

A run counts, when it ends, by its length up to what raises: a new firmware's coarser steps soon become usual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Judged, Person
from vitals.catalogue import BY_CODE, BY_NUMBER, HIGH
from vitals.clock import US_PER_S
from vitals.quality import TRUSTWORTHY, Context

RULE: Final = "stuck_value"
VERSION: Final = 1
CODES: Final = ("heart_rate", "pulse_rate", "spo2", "respiratory_rate", "body_temperature", "rr_interval")
LEAP: Final = np.array([10.0, 10.0, 4.0, 6.0, 1.0, np.inf])
"""By metric the change from one sample to the next from which it is a leap, in the unit; beats may leap."""
_NUMBERS: Final = np.array([BY_CODE[code].number for code in CODES])
_SLOT: Final = np.full(max(BY_NUMBER) + 1, -1, np.int8)
_SLOT[_NUMBERS] = np.arange(len(CODES))
_PACED: Final = frozenset(CODES.index(code) for code in ("heart_rate", "pulse_rate", "rr_interval"))
_SPO2: Final = CODES.index("spo2")
_FULL: Final = HIGH[BY_CODE["spo2"].number]
_NEVER: Final = 1 << 40  # repeats that no run has
_WELL_KNOWN: Final = 10  # times `min_pairs`, before a run is told


@dataclass(frozen=True, slots=True)
class StuckPolicy:
    """Odds below which a run is suspicious and told; what else it must be. Raises ValueError.

    `block` pairs of values are learned at a time, and the last one to two blocks count; nothing is suspicious before
    `min_pairs`. A hole longer than `max_gap_s` begins a run anew.
    """

    suspicious_odds: float = 1e-3
    leapt_odds: float = 0.1
    stuck_odds: float = 1e-6
    min_repeats: int = 10
    leapt_repeats: int = 5
    stuck_after_s: float = 120.0
    block: int = 600
    min_pairs: int = 30
    max_gap_s: float = 600.0
    priority: Priority = Priority.LOW

    def __post_init__(self) -> None:
        if not 0 < self.stuck_odds <= self.suspicious_odds <= self.leapt_odds < 1:
            raise ValueError("stuck_odds, suspicious_odds and leapt_odds lie between 0 and 1, in that order")
        if not 2 <= self.leapt_repeats <= self.min_repeats:
            raise ValueError("leapt_repeats is at least 2 and not above min_repeats")
        if min(self.min_pairs, self.block) < 2:
            raise ValueError("min_pairs and block are at least 2")
        if self.stuck_after_s < 0 or self.max_gap_s <= 0:
            raise ValueError("stuck_after_s is not negative and max_gap_s above 0")


@dataclass(frozen=True, slots=True)
class StuckState:
    """By metric (`CODES`): the last value and its time, the run it is in (`leapt`: it began so), and what ordinary runs
    were like.

    `learned` has pairs, changes and longest run of the block before and of this one. `opened_us` 0: not told.
    """

    value: NDArray[np.float64] = field(default_factory=lambda: np.full(len(CODES), np.nan))
    at_us: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CODES), np.int64))
    begin_us: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CODES), np.int64))
    repeats: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CODES), np.int64))
    learned: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(CODES), 6), np.int64))
    leapt: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(len(CODES), np.bool_))
    suspicious: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(len(CODES), np.bool_))
    opened_us: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CODES), np.int64))
    raised_us: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CODES), np.int64))

    def copy(self) -> StuckState:
        """Return a state of its own arrays."""
        return StuckState(
            self.value.copy(), self.at_us.copy(), self.begin_us.copy(), self.repeats.copy(), self.learned.copy(),
            self.leapt.copy(), self.suspicious.copy(), self.opened_us.copy(), self.raised_us.copy(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stuck:
    """The technical detector of stuck values."""

    policy: StuckPolicy = field(default_factory=StuckPolicy)
    name: ClassVar[str] = "stuck"
    metrics: ClassVar[frozenset[int]] = frozenset(_NUMBERS.tolist())
    max_bytes: ClassVar[int] = 1_536
    per_patient: ClassVar[bool] = False

    def fresh(self) -> StuckState:
        """Return the state of an origin never seen."""
        return StuckState()

    def step(self, state: StuckState, seen: Observations, until_us: int, person: Person) -> Judged:  # noqa: ARG002
        """Take in the trustworthy values of each metric; a value of poor quality neither repeats nor differs."""
        distrust = np.zeros(len(seen), np.bool_)
        slot = _SLOT[seen["metric"]]
        which = (slot >= 0) & (seen["quality"] >= TRUSTWORTHY) & ((seen["context"] & int(Context.NO_CONTACT)) == 0)
        place = np.flatnonzero(which)
        if not len(place):
            return Judged(state, [], distrust)
        place = place[np.argsort(slot[place], kind="stable")]
        state = state.copy()
        part = _part(state, slot[place], seen["start_us"][place], seen["value"][place])
        careful = _learn(state, part, self.policy)
        findings: list[Finding] = []
        for number in careful.tolist():
            told = _Series(self.policy, state, part, number).walk(person)
            distrust[place[part.first[number] + np.flatnonzero(told[1])]] = True
            findings += told[0]
        return Judged(state, sorted(findings, key=lambda one: one.changed_us), distrust)

    def distrusted(self, state: StuckState) -> frozenset[int]:
        """Return the metrics whose newest values stand in a suspicious run."""
        return frozenset(_NUMBERS[state.suspicious].tolist()) if state.suspicious.any() else frozenset()

    def overdue(self, state: StuckState, now_us: int, person: Person) -> tuple[StuckState, list[Finding]]:  # noqa: ARG002
        """Say nothing: silence is not flat."""
        return state, []


@dataclass(frozen=True, slots=True)
class _Part:
    """Samples by metric: `first` and `last` (exclusive) of each group, its `slot`; of each sample whether it differs
    from the one before (`change`), and far (`leap`), how long after it came, and its repeats so far."""

    slot: NDArray[np.int8]
    first: NDArray[np.intp]
    last: NDArray[np.intp]
    at_us: NDArray[np.int64]
    value: NDArray[np.float64]
    change: NDArray[np.bool_]
    leap: NDArray[np.bool_]
    repeats: NDArray[np.int64]
    gap_us: NDArray[np.int64]


def _part(state: StuckState, slots: NDArray[np.int8], at_us: NDArray[np.int64], value: NDArray[np.float64]) -> _Part:
    index = np.arange(len(slots))
    begins = np.empty(len(slots), np.bool_)
    begins[0] = True
    np.not_equal(slots[1:], slots[:-1], out=begins[1:])
    first = np.flatnonzero(begins)
    slot = slots[first]
    before = np.empty(len(slots))
    before[1:] = value[:-1]
    before[first] = state.value[slot]
    gap_us = np.empty(len(slots), np.int64)
    np.subtract(at_us[1:], at_us[:-1], out=gap_us[1:])
    gap_us[first] = at_us[first] - state.at_us[slot]
    change: Any = value != before  # the very first value differs from NaN
    # Repeats since the last change; a group's first run goes on from the state's.
    since = np.where(change, index, -1)
    since[first] = np.where(change[first], first, first - 1 - state.repeats[slot])
    repeats = index - _latest(since, begins)
    last = np.append(first[1:], len(slots))
    leap = np.abs(value - before) >= LEAP[slots]
    return _Part(slot, first, last, at_us, value, change, leap, repeats, gap_us)


def _latest(since: NDArray[np.intp], begins: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Carry each group's last known begin forward, never over the border of a group."""
    known = np.flatnonzero(begins | (since >= 0))
    marks = np.zeros(len(since), np.intp)
    marks[known] = known
    carried: NDArray[np.intp] = since[np.maximum.accumulate(marks)]
    return carried


def _learn(state: StuckState, part: _Part, policy: StuckPolicy) -> NDArray[np.intp]:
    """Bring the groups up to date where nothing can be suspicious; return the numbers of those that need a closer
    look, untouched."""
    slot, first, last = part.slot, part.first, part.last
    changes = np.add.reduceat(part.change, first, dtype=np.int64)
    longest = np.maximum.reduceat(part.repeats, first)
    gap_us = np.maximum.reduceat(part.gap_us, first)
    learned = state.learned[slot]
    careful = (np.maximum(longest, state.repeats[slot]) >= policy.min_repeats) | (gap_us > policy.max_gap_s * US_PER_S)
    careful |= (learned[:, 3] + state.repeats[slot] + last - first >= policy.block) | (state.opened_us[slot] != 0)
    if part.leap.any() or state.leapt.any():
        careful |= (longest >= policy.leapt_repeats) & (state.leapt[slot] | np.logical_or.reduceat(part.leap, first))
    plain = np.flatnonzero(~careful)
    if len(plain):
        own, end = slot[plain], last[plain] - 1
        repeats = part.repeats[end]
        learned[:, 4] += changes
        # Runs count once they have ended: all pairs but those of the run that goes on.
        learned[:, 3] += np.where(changes > 0, state.repeats[slot] + last - first - part.repeats[last - 1], 0)
        learned[:, 5] = np.maximum(learned[:, 5], _longest_ended(state, part))
        state.learned[own] = learned[plain]
        begun = changes[plain] > 0
        state.begin_us[own] = np.where(begun, part.at_us[end - repeats * begun], state.begin_us[own])
        state.repeats[own], state.value[own], state.at_us[own] = repeats, part.value[end], part.at_us[end]
        state.leapt[own] = np.where(begun, part.leap[end - repeats * begun], state.leapt[own])
        state.suspicious[own] = False
    return np.flatnonzero(careful)


def _longest_ended(state: StuckState, part: _Part) -> NDArray[np.int64]:
    """Return by group the repeats of the longest run that ended in it; 0 without."""
    before = np.empty(len(part.repeats), np.int64)
    before[1:] = part.repeats[:-1]
    before[part.first] = state.repeats[part.slot]
    ended: NDArray[np.int64] = np.maximum.reduceat(np.where(part.change, before, 0), part.first)
    return ended


class _Series:
    """One metric's stretch, run by run; `walk` writes the state's slot."""

    def __init__(self, policy: StuckPolicy, state: StuckState, part: _Part, number: int) -> None:
        self.policy, self.state = policy, state
        self.slot = slot = int(part.slot[number])
        group = slice(int(part.first[number]), int(part.last[number]))
        self.at_us, self.value = part.at_us[group], part.value[group]
        self.change = part.change[group]
        self.leap, self.leapt = part.leap[group], bool(state.leapt[slot])
        self.hole = part.gap_us[group] > policy.max_gap_s * US_PER_S
        self.distrust = np.zeros(len(self.at_us), np.bool_)
        self.findings: list[Finding] = []
        self.begin_us, self.repeats = int(state.begin_us[slot]), int(state.repeats[slot])
        self.opened_us, self.raised_us = int(state.opened_us[slot]), int(state.raised_us[slot])
        self.learned: list[int] = state.learned[slot].tolist()
        self.suspicious = False

    def walk(self, person: Person) -> tuple[list[Finding], NDArray[np.bool_]]:
        """Return the findings, and which samples to distrust."""
        fixed = self.slot in _PACED and person.profile.pacemaker
        cuts = [*np.flatnonzero(self.change | self.hole).tolist(), len(self.at_us)]
        self._go_on(0, cuts[0], fixed)
        for first, last in pairwise(cuts):
            begun = self._begin(first)
            self._go_on(first + begun, last, fixed)
        state, slot = self.state, self.slot
        state.value[slot], state.at_us[slot] = self.value[-1], self.at_us[-1]
        state.begin_us[slot], state.repeats[slot], state.learned[slot] = self.begin_us, self.repeats, self.learned
        state.opened_us[slot], state.raised_us[slot] = self.opened_us, self.raised_us
        state.leapt[slot], state.suspicious[slot] = self.leapt, self.suspicious
        return self.findings, self.distrust

    def _begin(self, at: int) -> bool:
        """Begin a run at a sample; an open episode goes on over a hole, to the same value: then return False."""
        changed = bool(self.change[at])
        if self.opened_us:
            if not changed:
                return False
            held = float(self.value[at - 1] if at else self.state.value[self.slot])
            self.findings.append(self._finding(State.CLEARED, int(self.at_us[at]), held, self.repeats))
            self.opened_us = self.raised_us = 0
        self._end(changed and not self.hole[at])
        self.begin_us, self.repeats, self.leapt = int(self.at_us[at]), 0, bool(self.leap[at])
        return True

    def _end(self, changed: bool) -> None:
        """Learn from the run that ended; `changed`: by another value, not by a hole."""
        repeats, learned = self.repeats, self.learned
        if repeats > self.policy.min_repeats:
            repeats = min(repeats, self._needed()[1])
        learned[3] += repeats + changed
        learned[4] += changed
        learned[5] = max(learned[5], repeats)
        if learned[3] >= self.policy.block:
            self.learned = [*learned[3:], 0, 0, 0]

    def _needed(self) -> tuple[int, int]:
        """Return how many repeats are suspicious, and how many are told."""
        policy, learned = self.policy, self.learned
        pairs, longest = learned[0] + learned[3], max(learned[2], learned[5])
        changes = float(learned[1] + learned[4])
        # Two deviations fewer than seen: of few changes little follows, of a lone step in a constant nothing.
        changes = changes - 2 * math.sqrt(changes)
        if pairs < policy.min_pairs or changes <= 0:
            return _NEVER, _NEVER
        same = math.log1p(-min(changes / pairs, 0.95))
        suspicious = max(policy.min_repeats, 2 * longest, math.ceil(math.log(policy.suspicious_odds) / same))
        stuck = max(suspicious, 5 * longest, math.ceil(math.log(policy.stuck_odds) / same))
        if self.leapt:
            enough = max(policy.leapt_repeats, math.ceil(math.log(policy.leapt_odds) / same))
            suspicious = min(suspicious, enough)
        return suspicious, stuck if pairs >= _WELL_KNOWN * policy.min_pairs else _NEVER

    def _go_on(self, first: int, last: int, fixed: bool) -> None:
        """Lengthen the run by the samples from `first` to before `last`."""
        before = self.repeats
        self.repeats = after = before + last - first
        self.suspicious = False
        if fixed or after < (self.policy.leapt_repeats if self.leapt else self.policy.min_repeats):
            return
        suspicious, stuck = self._needed()
        newest = float(self.value[last - 1] if last else self.state.value[self.slot])
        if after < suspicious or (self.slot == _SPO2 and newest >= _FULL):
            return
        self.suspicious = True
        self.distrust[max(first, first + suspicious - before - 1) : last] = True
        since_us = self.begin_us + round(self.policy.stuck_after_s * US_PER_S)
        at = max(first, first + stuck - before - 1, first + int(np.searchsorted(self.at_us[first:last], since_us)))
        if at < last and not self.opened_us:
            self.opened_us, self.raised_us = self.begin_us, int(self.at_us[at])
            held, repeats = float(self.value[at]), before + at - first + 1
            self.findings.append(self._finding(State.RAISED, self.raised_us, held, repeats))

    def _finding(self, what: State, at_us: int, held: float, repeats: int) -> Finding:
        opened_us, raised_us = self.opened_us, self.raised_us
        lasted_s = (at_us - opened_us) / US_PER_S
        says = f"every value was the same for {lasted_s:.0f} s, as this device's never are"
        if what is State.CLEARED:
            says = f"values differ again, after {lasted_s:.0f} s of one"
        return Finding(
            RULE, VERSION, CODES[self.slot], Kind.TECHNICAL, self.policy.priority, what, opened_us, raised_us, at_us,
            at_us, opened_us, says, repeats + 1, figures={"value": held, "lasted_s": round(lasted_s, 1)},
            individualised=True,
        )  # fmt: skip
