"""Implausible jumps: a value too far from the last one for the time between them, until it has shown that it stays.

"A sudden change is flagged, never rejected: a tachycardia starts within a beat" (CLINICAL). So only the first samples
after a jump are distrusted: a glitch is gone after them, a step that stays is believed from the `confirm`-th sample on.
What is too far is the catalogue's `max_rate_per_s`, over at least a second; of beat intervals it is one of at most
300 ms that is less than half of the one before: 255 ms, which straps tell for "unknown", and not the early beat of an
ectopy, which RR rules must see. It goes by the samples before alone, so that nothing has to wait.

Often (more than one in a hundred samples of ten minutes, and at least five) it is told, as a low technical alert.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Judged, Person
from vitals.catalogue import BY_CODE, BY_NUMBER, MAX_RATE_PER_S
from vitals.clock import US_PER_S
from vitals.quality import TRUSTWORTHY, Context

RULE: Final = "implausible_jumps"
VERSION: Final = 1
METRIC: Final = "wear_state"
CODES: Final = (
    "heart_rate", "pulse_rate", "spo2", "respiratory_rate", "body_temperature", "wrist_temperature", "glucose",
    "rr_interval",
)  # fmt: skip
_NUMBERS: Final = np.array([BY_CODE[code].number for code in CODES])
_RR: Final = CODES.index("rr_interval")
_SLOT: Final = np.full(max(BY_NUMBER) + 1, -1, np.int8)
_SLOT[_NUMBERS] = np.arange(len(CODES))
_SHORT_MS: Final = 300.0
_LARGEST: Final = np.where(np.arange(len(CODES)) == _RR, np.inf, MAX_RATE_PER_S[_NUMBERS])


@dataclass(frozen=True, slots=True)
class JumpPolicy:
    """A step is believed from its `confirm`-th sample on, or after `max_gap_s` without any. Told above `often` (a
    share) and `at_least` glitches in `window_s`; cleared by a window with less than half of that. Raises ValueError."""

    confirm: int = 3
    max_gap_s: float = 60.0
    window_s: float = 600.0
    often: float = 0.01
    at_least: int = 5
    priority: Priority = Priority.LOW

    def __post_init__(self) -> None:
        if not 2 <= self.confirm <= 10:
            raise ValueError("confirm is 2 to 10")
        if self.max_gap_s <= 0 or self.window_s < 60:
            raise ValueError("max_gap_s is above 0 and window_s at least 60")
        if not 0 < self.often < 1 or self.at_least < 1:
            raise ValueError("often lies between 0 and 1, and at_least is 1 or more")


@dataclass(frozen=True, slots=True)
class JumpState:
    """By metric (`CODES`) the last believed value and its time, and how many doubtful ones came since, the newest of
    them; what this window (its number) had of samples and glitches; the open episode, 0 without."""

    value: NDArray[np.float64] = field(default_factory=lambda: np.full(len(CODES), np.nan))
    at_us: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CODES), np.int64))
    doubted: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CODES), np.int64))
    newest: NDArray[np.float64] = field(default_factory=lambda: np.full(len(CODES), np.nan))
    window: int = 0
    samples: int = 0
    glitches: int = 0
    opened_us: int = 0
    raised_us: int = 0


@dataclass(frozen=True, slots=True)
class Jump:
    """The technical detector of implausible jumps."""

    policy: JumpPolicy = field(default_factory=JumpPolicy)
    name: ClassVar[str] = "jump"
    metrics: ClassVar[frozenset[int]] = frozenset(_NUMBERS.tolist())
    max_bytes: ClassVar[int] = 1_024
    per_patient: ClassVar[bool] = False

    def fresh(self) -> JumpState:
        """Return the state of an origin never seen."""
        return JumpState()

    def step(self, state: JumpState, seen: Observations, until_us: int, person: Person) -> Judged:  # noqa: ARG002
        """Take in trustworthy values; say which of them to doubt."""
        distrust = np.zeros(len(seen), np.bool_)
        slot = _SLOT[seen["metric"]]
        which = (slot >= 0) & (seen["quality"] >= TRUSTWORTHY) & ((seen["context"] & int(Context.NO_CONTACT)) == 0)
        place = np.flatnonzero(which)
        if not len(place):
            return Judged(state, [], distrust)
        own = slot[place]
        order = np.argsort(own, kind="stable")
        place, own = place[order], own[order]
        at_us = seen["start_us"]
        series = _doubt(state, own, at_us[place], seen["value"][place], self.policy)
        state = series.state
        if series.doubted:
            distrust[place[series.doubted]] = True
        if not series.glitched and int(at_us.max()) < (state.window + 1) * self._window_us:
            return Judged(replace(state, samples=state.samples + len(place)), [], distrust)
        glitched, counted = np.zeros(len(seen), np.int64), np.zeros(len(seen), np.bool_)
        np.add.at(glitched, place[series.glitched], 1)
        counted[place] = True
        state, findings = self._count(state, at_us, counted, glitched)
        return Judged(state, findings, distrust)

    @property
    def _window_us(self) -> int:
        return round(self.policy.window_s * US_PER_S)

    def distrusted(self, state: JumpState) -> frozenset[int]:  # noqa: ARG002
        """Return nothing: limits wait longer than a jump is doubted."""
        return frozenset()

    def overdue(self, state: JumpState, now_us: int, person: Person) -> tuple[JumpState, list[Finding]]:  # noqa: ARG002
        """Say nothing: silence does not jump."""
        return state, []

    def _count(
        self, state: JumpState, at_us: NDArray[np.int64], counted: NDArray[np.bool_], glitched: NDArray[np.int64]
    ) -> tuple[JumpState, list[Finding]]:
        length_us = self._window_us
        window = np.maximum(np.maximum.accumulate(at_us // length_us), state.window)
        findings: list[Finding] = []
        begins = np.flatnonzero(window[1:] > window[:-1]) + 1
        for first, last in zip([0, *begins.tolist()], [*begins.tolist(), len(at_us)], strict=True):
            number = int(window[first])
            if number > state.window:
                state, told = self._judge(state, length_us)
                findings += told
                state = replace(state, window=number, samples=0, glitches=0)
            part = slice(first, last)
            samples, glitches = int(counted[part].sum()), int(glitched[part].sum())
            state = replace(state, samples=state.samples + samples, glitches=state.glitches + glitches)
        return state, findings

    def _judge(self, state: JumpState, length_us: int) -> tuple[JumpState, list[Finding]]:
        """Judge the window that is over."""
        policy, end_us = self.policy, (state.window + 1) * length_us
        share = state.glitches / max(state.samples, 1)
        if not state.opened_us and state.glitches >= policy.at_least and share > policy.often:
            state = replace(state, opened_us=end_us - length_us, raised_us=end_us)
            return state, [self._finding(state, State.RAISED, end_us, share)]
        if state.opened_us and state.samples >= policy.at_least and share < policy.often / 2:
            told = self._finding(state, State.CLEARED, end_us, share)
            return replace(state, opened_us=0, raised_us=0), [told]
        return state, []

    def _finding(self, state: JumpState, what: State, at_us: int, share: float) -> Finding:
        says = f"{100 * share:.1f} % of the values jumped implausibly and came back"
        if what is State.CLEARED:
            says = "values hardly jump any more"
        return Finding(
            RULE, VERSION, METRIC, Kind.TECHNICAL, self.policy.priority, what, state.opened_us, state.raised_us, at_us,
            at_us, at_us - round(self.policy.window_s * US_PER_S), says, state.samples,
            figures={"share_percent": round(100 * share, 2), "glitches": state.glitches}, individualised=True,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Doubts:
    """The state after a stretch, which of its values (by place) are doubted, and at which it turned out that so many
    before were glitches (a place each)."""

    state: JumpState
    doubted: list[int]
    glitched: list[int]


def _doubt(
    state: JumpState, slot: NDArray[np.int8], at_us: NDArray[np.int64], value: NDArray[np.float64], policy: JumpPolicy
) -> _Doubts:
    """Judge values in order of metric, then time."""
    first = np.append(0, np.flatnonzero(slot[1:] != slot[:-1]) + 1)
    last = np.append(first[1:], len(slot)) - 1
    own = slot[first]
    before, then = np.empty(len(slot)), np.empty(len(slot), np.int64)
    before[1:], then[1:] = value[:-1], at_us[:-1]
    before[first], then[first] = state.value[own], state.at_us[own]
    far = _far(slot, before, value, at_us - then, policy)
    values, times = state.value.copy(), state.at_us.copy()
    values[own], times[own] = value[last], at_us[last]
    doubted: list[int] = []
    glitched: list[int] = []
    in_doubt = state.doubted[own] > 0
    if not far.any() and not in_doubt.any():
        return _Doubts(replace(state, value=values, at_us=times), doubted, glitched)
    # A closer look where something jumps, or was in doubt when the stretch began.
    suspects = np.logical_or.reduceat(far, first) | in_doubt
    after = replace(state, value=values, at_us=times, doubted=state.doubted.copy(), newest=state.newest.copy())
    for number in np.flatnonzero(suspects).tolist():
        group = slice(int(first[number]), int(last[number]) + 1)
        walk = _Walk(state, int(own[number]), at_us[group], value[group], policy)
        walk.over(far[group])
        walk.leave(after)
        doubted += [group.start + one for one in walk.doubtful]
        glitched += [group.start + one for one in walk.glitched]
    return _Doubts(after, doubted, glitched)


def _far(
    slot: NDArray[np.int8], before: NDArray[np.float64], value: NDArray[np.float64], passed_us: NDArray[np.int64],
    policy: JumpPolicy,
) -> NDArray[np.bool_]:  # fmt: skip
    """Tell which values lie too far from the one before; nothing does from a value that is long ago, or none."""
    passed_s = np.maximum(passed_us / US_PER_S, 1.0)
    far: NDArray[np.bool_] = np.abs(value - before) > _LARGEST[slot] * passed_s
    short = (slot == _RR) & (value <= _SHORT_MS)
    if short.any():
        far |= short & (2 * value < before)
    if far.any():
        far &= passed_s <= policy.max_gap_s
    return far


class _Walk:
    """One metric's values of a stretch, where something jumps; per sample only while in doubt."""

    def __init__(
        self, state: JumpState, slot: int, at_us: NDArray[np.int64], value: NDArray[np.float64], policy: JumpPolicy
    ) -> None:
        self.slot, self.policy = slot, policy
        self.at, self.values = at_us.tolist(), value.tolist()
        self.believed, self.believed_us = float(state.value[slot]), int(state.at_us[slot])
        self.count, self.newest = int(state.doubted[slot]), float(state.newest[slot])
        self.doubtful: list[int] = []
        self.glitched: list[int] = []

    def over(self, far: NDArray[np.bool_]) -> None:
        """Go over all samples; `far` from the one before."""
        jumps = [*np.flatnonzero(far).tolist(), len(far)]
        at = 0
        while at < len(far):
            if not self.count:
                at = next(jump for jump in jumps if jump >= at)
                if at:
                    self.believed, self.believed_us = self.values[at - 1], self.at[at - 1]
                if at == len(far):
                    return
            self._weigh(at)
            at += 1

    def leave(self, state: JumpState) -> None:
        """Write what is believed now."""
        state.value[self.slot], state.at_us[self.slot] = self.believed, self.believed_us
        state.doubted[self.slot], state.newest[self.slot] = self.count, self.newest

    def _weigh(self, at: int) -> None:
        value = self.values[at]
        if not self._is_far(value, self.believed, self.at[at]):
            if self.count and abs(value - self.believed) <= abs(value - self.newest):
                self.glitched += [at] * self.count
            self._believe(at)
            return
        if self.count and self._is_far(value, self.newest, self.at[at]):
            self.glitched += [at] * self.count
            self.count = 0
        self.count, self.newest = self.count + 1, value
        if self.count >= self.policy.confirm:
            self._believe(at)
        else:
            self.doubtful.append(at)

    def _believe(self, at: int) -> None:
        self.believed, self.believed_us, self.count = self.values[at], self.at[at], 0

    def _is_far(self, value: float, before: float, at_us: int) -> bool:
        passed_s = max((at_us - self.believed_us) / US_PER_S, 1.0)
        if passed_s > self.policy.max_gap_s:
            return False
        if self.slot == _RR:
            return value <= _SHORT_MS and 2 * value < before
        return bool(abs(value - before) > _LARGEST[self.slot] * passed_s)
