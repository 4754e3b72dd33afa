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
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.by_metric import Series, by_metric
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Judged, Person
from vitals.catalogue import BY_CODE, HIGH
from vitals.clock import US_PER_S

RULE: Final = "stuck_value"
VERSION: Final = 1
CODES: Final = ("heart_rate", "pulse_rate", "spo2", "respiratory_rate", "body_temperature", "rr_interval")
LEAP: Final = np.array([10.0, 10.0, 4.0, 6.0, 1.0, np.inf])
"""By metric the change from one sample to the next from which it is a leap, in the unit; beats may leap."""
_NUMBERS: Final = np.array([BY_CODE[code].number for code in CODES])
_NUMBERS_OF: Final = tuple(_NUMBERS.tolist())
_LEAP_OF: Final = tuple(LEAP.tolist())
_PACED: Final = frozenset(CODES.index(code) for code in ("heart_rate", "pulse_rate", "rr_interval"))
_SPO2: Final = CODES.index("spo2")
_FULL: Final = HIGH[BY_CODE["spo2"].number]
_NO_METRICS: Final[frozenset[int]] = frozenset()
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
        stretch = by_metric(seen)
        told = [(slot, one) for slot, number in enumerate(_NUMBERS_OF) if (one := stretch.trusted(number)) is not None]
        if not told:
            return Judged(state, [], stretch.none)
        state, distrust = state.copy(), stretch.none
        findings: list[Finding] = []
        for slot, series in told:
            part = _Part(state, slot, series, spans=stretch.longest_of(_NUMBERS_OF[slot]) > 0)
            if _learn(state, part, self.policy):
                continue
            found, doubted = _Series(self.policy, state, part).walk(person)
            if np.count_nonzero(doubted):
                distrust = distrust if distrust.flags.writeable else distrust.copy()
                distrust[series.place[doubted]] = True
            findings += found
        return Judged(state, sorted(findings, key=lambda one: one.changed_us), distrust)

    def distrusted(self, state: StuckState) -> frozenset[int]:
        """Return the metrics whose newest values stand in a suspicious run."""
        if not np.count_nonzero(state.suspicious):
            return _NO_METRICS
        return frozenset(_NUMBERS[state.suspicious].tolist())

    def overdue(self, state: StuckState, now_us: int, person: Person) -> tuple[StuckState, list[Finding]]:  # noqa: ARG002
        """Say nothing: silence is not flat."""
        return state, []


_FIRST: Final = np.zeros(1, np.intp)


class _Part:
    """A metric's samples: where values differ from the one before (`changes`), how many repeat it at the end, and the
    most that do so at any of them (`longest`) and in a run that ended (`ended`). `spans`: some have a duration."""

    __slots__ = ("at_us", "before", "before_us", "changes", "ended", "longest", "repeats", "slot", "spans", "value")

    def __init__(self, state: StuckState, slot: int, series: Series, *, spans: bool) -> None:
        self.spans = spans
        self.slot, self.at_us, self.value = slot, series.start_us, series.value
        value, count, known = self.value, len(self.value), int(state.repeats[slot])
        self.before, self.before_us = float(state.value[slot]), int(state.at_us[slot])
        if count == 1:
            self._alone(known)
            return
        change = np.empty(count, np.bool_)
        np.not_equal(value[1:], value[:-1], out=change[1:])
        change[0] = value[0] != self.before  # the very first value differs from NaN
        self.changes: NDArray[np.intp] = change.nonzero()[0]
        changes = self.changes
        if not len(changes):
            self.repeats = self.longest = known + count
            self.ended = 0
            return
        first, last = int(changes[0]), int(changes[-1])
        within = int(np.maximum.reduce(changes[1:] - changes[:-1])) - 1 if len(changes) > 1 else 0
        self.repeats = count - 1 - last
        self.longest = max(known + first if first else 0, within, self.repeats)
        self.ended = max(known + first, within)

    def _alone(self, known: int) -> None:
        changed = bool(self.value[0] != self.before)
        self.changes = _FIRST if changed else _FIRST[:0]
        self.repeats = self.longest = 0 if changed else known + 1
        self.ended = known if changed else 0

    def may_have_holes(self, policy: StuckPolicy) -> bool:
        """Tell whether one may have come long after the one before; False is certain where starts rise."""
        lasted_us = max(int(self.at_us[-1]), int(self.at_us[0])) - self.before_us
        return self.spans or lasted_us > policy.max_gap_s * US_PER_S

    def holes(self, policy: StuckPolicy) -> NDArray[np.bool_]:
        """Tell which came long after the one before."""
        gap_us = np.empty(len(self.at_us), np.int64)
        np.subtract(self.at_us[1:], self.at_us[:-1], out=gap_us[1:])
        gap_us[0] = int(self.at_us[0]) - self.before_us
        hole: NDArray[np.bool_] = gap_us > policy.max_gap_s * US_PER_S
        return hole

    def leaps(self) -> NDArray[np.bool_]:
        """Tell which lie far from the one before."""
        far = np.empty(len(self.value))
        np.subtract(self.value[1:], self.value[:-1], out=far[1:])
        far[0] = self.value[0] - self.before
        leap: NDArray[np.bool_] = np.abs(far) >= LEAP[self.slot]
        return leap

    def leaps_at(self, at: int) -> bool:
        """Tell it of one."""
        before = float(self.value[at - 1]) if at else self.before
        far: float = _LEAP_OF[self.slot]
        return abs(float(self.value[at]) - before) >= far


def _learn(state: StuckState, part: _Part, policy: StuckPolicy) -> bool:
    """Bring a metric up to date where nothing can be suspicious; else return False, and leave it as it is."""
    slot, count = part.slot, len(part.value)
    known, learned = int(state.repeats[slot]), state.learned[slot].tolist()
    if max(part.longest, known) >= policy.min_repeats or learned[3] + known + count >= policy.block:
        return False
    if state.opened_us[slot] or (part.may_have_holes(policy) and part.holes(policy).any()):
        return False
    if part.longest >= policy.leapt_repeats and (state.leapt[slot] or np.count_nonzero(part.leaps())):
        return False
    if len(part.changes):
        begun = int(part.changes[-1])
        # Runs count once they have ended: all pairs but those of the run that goes on.
        pairs = learned[3] + known + count - part.repeats
        own = state.learned[slot]
        own[3], own[4], own[5] = pairs, learned[4] + len(part.changes), max(learned[5], part.ended)
        state.begin_us[slot], state.leapt[slot] = part.at_us[begun], part.leaps_at(begun)
    state.repeats[slot], state.value[slot], state.at_us[slot] = part.repeats, part.value[-1], part.at_us[-1]
    state.suspicious[slot] = False
    return True


class _Series:
    """One metric's stretch, run by run; `walk` writes the state's slot."""

    def __init__(self, policy: StuckPolicy, state: StuckState, part: _Part) -> None:
        self.policy, self.state = policy, state
        self.slot = slot = part.slot
        self.at_us, self.value = part.at_us, part.value
        self.times_us, self.leaps = part.at_us.tolist(), part.leaps().tolist()
        self.changes = frozenset(part.changes.tolist())
        self.leapt = bool(state.leapt[slot])
        self.holes = frozenset(part.holes(policy).nonzero()[0].tolist() if part.may_have_holes(policy) else ())
        self.distrust = np.zeros(len(self.at_us), np.bool_)
        self.findings: list[Finding] = []
        self.begin_us, self.repeats = int(state.begin_us[slot]), int(state.repeats[slot])
        self.opened_us, self.raised_us = int(state.opened_us[slot]), int(state.raised_us[slot])
        self.learned: list[int] = state.learned[slot].tolist()
        self.suspicious = False

    def walk(self, person: Person) -> tuple[list[Finding], NDArray[np.bool_]]:
        """Return the findings, and which samples to distrust."""
        fixed = self.slot in _PACED and person.profile.pacemaker
        cuts = [*sorted(self.changes | self.holes), len(self.at_us)]
        self._go_on(0, cuts[0], fixed)
        ordinary, short = self.policy.min_repeats, self.policy.leapt_repeats
        for first, last in pairwise(cuts):
            if self.repeats <= ordinary and last - first <= short and not self.opened_us and first not in self.holes:
                self._next(first, last)  # nearly always
                continue
            begun = self._begin(first)
            self._go_on(first + begun, last, fixed)
        state, slot = self.state, self.slot
        state.value[slot], state.at_us[slot] = self.value[-1], self.at_us[-1]
        state.begin_us[slot], state.repeats[slot], state.learned[slot] = self.begin_us, self.repeats, self.learned
        state.opened_us[slot], state.raised_us[slot] = self.opened_us, self.raised_us
        state.leapt[slot], state.suspicious[slot] = self.leapt, self.suspicious
        return self.findings, self.distrust

    def _next(self, first: int, last: int) -> None:
        """End an ordinary run and take one in that is too short to be anything."""
        learned, repeats = self.learned, self.repeats
        learned[3] += repeats + 1
        learned[4] += 1
        learned[5] = max(learned[5], repeats)
        if learned[3] >= self.policy.block:
            self.learned = [*learned[3:], 0, 0, 0]
        self.begin_us, self.repeats, self.leapt = self.times_us[first], last - first - 1, self.leaps[first]
        self.suspicious = False

    def _begin(self, at: int) -> bool:
        """Begin a run at a sample; an open episode goes on over a hole, to the same value: then return False."""
        changed = at in self.changes
        if self.opened_us:
            if not changed:
                return False
            held = float(self.value[at - 1] if at else self.state.value[self.slot])
            self.findings.append(self._finding(State.CLEARED, int(self.at_us[at]), held, self.repeats))
            self.opened_us = self.raised_us = 0
        self._end(changed and at not in self.holes)
        self.begin_us, self.repeats, self.leapt = self.times_us[at], 0, self.leaps[at]
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
