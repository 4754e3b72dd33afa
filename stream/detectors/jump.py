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
from stream.detectors.by_metric import Series, Stretch, by_metric
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Judged, Person
from vitals.catalogue import BY_CODE, MAX_RATE_PER_S
from vitals.clock import US_PER_S

RULE: Final = "implausible_jumps"
VERSION: Final = 1
METRIC: Final = "wear_state"
CODES: Final = (
    "heart_rate", "pulse_rate", "spo2", "respiratory_rate", "body_temperature", "wrist_temperature", "glucose",
    "rr_interval",
)  # fmt: skip
_NUMBERS: Final = np.array([BY_CODE[code].number for code in CODES])
_RR: Final = CODES.index("rr_interval")
_NUMBERS_OF: Final = tuple(_NUMBERS.tolist())
_SHORT_MS: Final = 300.0
_LARGEST_OF: Final = tuple(np.where(np.arange(len(CODES)) == _RR, np.inf, MAX_RATE_PER_S[_NUMBERS]).tolist())


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
        stretch = by_metric(seen)
        told = [(slot, one) for slot, number in enumerate(_NUMBERS_OF) if (one := stretch.trusted(number)) is not None]
        if not told:
            return Judged(state, [], distrust)
        series = _doubt(state, told, stretch, self.policy)
        state, samples = series.state, sum(len(one.value) for _, one in told)
        if series.doubted:
            distrust[series.doubted] = True
        # Ends are never before starts.
        over_us = (state.window + 1) * self._window_us
        if not series.glitched and (int(stretch.ends_us[-1]) < over_us or int(seen["start_us"].max()) < over_us):
            return Judged(_with(state, samples=state.samples + samples), [], distrust)
        glitched, counted = np.zeros(len(seen), np.int64), np.zeros(len(seen), np.bool_)
        np.add.at(glitched, np.array(series.glitched, np.intp), 1)
        for _, one in told:
            counted[one.place] = True
        state, findings = self._count(state, seen["start_us"], counted, glitched)
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
    """The state after a stretch, which samples (by place in it) are doubted, and at which it turned out that so many
    before were glitches (a place each)."""

    state: JumpState
    doubted: list[int]
    glitched: list[int]


def _with(state: JumpState, *, samples: int) -> JumpState:
    return JumpState(
        state.value, state.at_us, state.doubted, state.newest, state.window, samples, state.glitches, state.opened_us,
        state.raised_us,
    )  # fmt: skip


def _doubt(state: JumpState, told: list[tuple[int, Series]], stretch: Stretch, policy: JumpPolicy) -> _Doubts:
    """Judge values metric by metric."""
    values, times = state.value.copy(), state.at_us.copy()
    before, in_doubt = state.value.tolist(), state.doubted.tolist()
    suspects: list[tuple[int, Series, NDArray[np.bool_]]] = []
    for slot, one in told:
        values[slot], times[slot] = one.value[-1], one.start_us[-1]
        if in_doubt[slot] or _might(slot, before[slot], *stretch.extremes(_NUMBERS_OF[slot])):
            far = _far(slot, before[slot], int(state.at_us[slot]), one, policy)
            if in_doubt[slot] or far.any():
                suspects.append((slot, one, far))
    doubted: list[int] = []
    glitched: list[int] = []
    if not suspects:
        after = JumpState(
            values, times, state.doubted, state.newest, state.window, state.samples, state.glitches, state.opened_us,
            state.raised_us,
        )  # fmt: skip
        return _Doubts(after, doubted, glitched)
    # A closer look where something jumps, or was in doubt when the stretch began.
    after = replace(state, value=values, at_us=times, doubted=state.doubted.copy(), newest=state.newest.copy())
    for slot, one, far in suspects:
        walk = _Walk(state, slot, one.start_us, one.value, policy)
        walk.over(far)
        walk.leave(after)
        doubted += one.place[walk.doubtful].tolist()
        glitched += one.place[walk.glitched].tolist()
    return _Doubts(after, doubted, glitched)


def _might(slot: int, before: float, low: float, high: float) -> bool:
    """Tell whether any value within `low` to `high` may lie too far from the one before; False is certain, and nearly
    always."""
    if slot == _RR:
        return low <= _SHORT_MS
    return not max(high, before) - min(low, before) <= _LARGEST_OF[slot]  # True where there was none before


def _far(slot: int, before: float, before_us: int, series: Series, policy: JumpPolicy) -> NDArray[np.bool_]:
    """Tell which values lie too far from the one before; nothing does from a value that is long ago, or none."""
    value, at_us = series.value, series.start_us
    previous, then = np.empty(len(value)), np.empty(len(value), np.int64)
    previous[0], previous[1:], then[0], then[1:] = before, value[:-1], before_us, at_us[:-1]
    passed_s = np.maximum((at_us - then) / US_PER_S, 1.0)
    if slot == _RR:
        far: NDArray[np.bool_] = (value <= _SHORT_MS) & (2 * value < previous)
    else:
        far = np.abs(value - previous) > _LARGEST_OF[slot] * passed_s
    return far & (passed_s <= policy.max_gap_s)


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
        return bool(abs(value - before) > _LARGEST_OF[self.slot] * passed_s)
