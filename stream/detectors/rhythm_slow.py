"""Slow rhythm from RR intervals: the median of nine below the limit, for five minutes.

Where the same origin tells heart rate, the limits of that judge too and page (`heart_rate_low`): then this is of low
priority, recorded beside it. An origin that tells beats alone has no other rule, and pages. The median leaves out
single missed beats, which would double an interval. Limits are lower asleep, and for trained hearts and rate-limiting
drugs (40 to 35 awake, 30 to 25 asleep; below 50 alone is no finding, ACC/AHA/HRS 2018); a
limit of the person's own overrides them. Five minutes, as the limit of heart rate waits: a trained heart that nobody
has told us of dips below 40 at rest, some minutes at a time. An episode ends with five minutes above the limit and
`clear_by`, in motion as well; slow in motion is not judged, nor a pacemaker or a child.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.by_metric import by_metric
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.rhythm_beats import (
    MS_PER_MIN,
    NO_BEATS,
    RR_INTERVAL,
    Beats,
    for_adults,
    heard,
    joined,
    last,
)
from stream.detectors.sustain import BREAK, CALM, Sustained, Timing, Transition, Window, codes_of, follow
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S

RULE: Final = "slow_rhythm"
VERSION: Final = 2
HEART_RATE: Final = BY_CODE["heart_rate"].number
_MEDIAN_OF: Final = 9


@dataclass(frozen=True, slots=True)
class SlowRhythmPolicy:
    """What is a slow rhythm. Raises ValueError for numbers that make no sense.

    `lower_by` is what trained or drug-limited hearts may be below; heart rate heard within `heard_s` counts as told by
    the origin.
    """

    awake_bpm: float = 40.0
    asleep_bpm: float = 30.0
    lower_by: float = 5.0
    clear_by: float = 5.0
    heard_s: float = 120.0
    low_ms: float = 200.0
    high_ms: float = 4_000.0
    timing: Timing = field(default_factory=lambda: Timing(300, 100, 300, 100, max_gap_s=30))

    def __post_init__(self) -> None:
        if not 20 <= self.asleep_bpm <= self.awake_bpm <= 80:
            raise ValueError("asleep_bpm is at least 20 and at most awake_bpm, and that at most 80")
        if not 0 <= self.lower_by < self.asleep_bpm or self.clear_by < 0 or self.heard_s <= 0:
            raise ValueError("lower_by lies within 0 to asleep_bpm, clear_by is not negative, heard_s is positive")
        if not 0 < self.low_ms < self.high_ms:
            raise ValueError("low_ms lies below high_ms")


@dataclass(frozen=True, slots=True)
class SlowRhythmState:
    """The newest beats, where the rule stands, when heart rate was last told, and how the open episode was told."""

    tail: Beats = field(default_factory=lambda: NO_BEATS)
    held: Sustained = field(default_factory=Sustained)
    heard_us: int = 0
    paged: bool = False


@dataclass(frozen=True, slots=True)
class SlowRhythm:
    """The detector; see the module."""

    policy: SlowRhythmPolicy = field(default_factory=SlowRhythmPolicy)

    name: ClassVar[str] = "slow_rhythm"
    metrics: ClassVar[frozenset[int]] = frozenset({RR_INTERVAL, HEART_RATE})
    max_bytes: ClassVar[int] = 4_096
    per_patient: ClassVar[bool] = False

    def fresh(self) -> SlowRhythmState:
        """Return the state of somebody never seen."""
        return SlowRhythmState()

    def step(
        self, state: SlowRhythmState, seen: Observations, until_us: int, person: Person
    ) -> tuple[SlowRhythmState, list[Finding]]:
        """Take in RR intervals and heart rates; a finding where the rhythm was slow for long, or no longer is."""
        if not for_adults(person):
            return SlowRhythmState(), self._stopped(state, until_us, person)
        new = heard(seen, self.policy.low_ms, self.policy.high_ms)
        rates = by_metric(seen).trusted(HEART_RATE)
        after = SlowRhythmState(
            last(state.tail, new.beats, _MEDIAN_OF - 1) if len(new.beats) else state.tail,
            state.held,
            state.heard_us if rates is None else int(rates.start_us[-1]),
            state.paged,
        )
        slowest = MS_PER_MIN / (self.policy.awake_bpm + self.policy.clear_by)
        individual = len(person.profile.limits) or len(person.profile.sleeping_limits)
        if not len(new.beats) or (state.held.is_quiet and not individual and new.longest_ms <= slowest):
            return after, []
        told = np.array([state.heard_us], np.int64)
        told = told if rates is None else np.concatenate((told, rates.start_us))
        return self._follow(after, state.tail, new.beats, told, person)

    def _follow(
        self, state: SlowRhythmState, tail: Beats, new: Beats, told_us: NDArray[np.int64], person: Person
    ) -> tuple[SlowRhythmState, list[Finding]]:
        whole = joined(tail, new)
        if len(whole) < _MEDIAN_OF:
            return state, []
        medians = np.median(sliding_window_view(whole["rr_ms"], _MEDIAN_OF), axis=1)
        judged = whole[_MEDIAN_OF - 1 :]
        bpm, low = MS_PER_MIN / medians, self._limits(judged["asleep"], person)
        code = codes_of(bpm < low, bpm >= low + self.policy.clear_by)
        code[judged["moving"] & (code != CALM)] = BREAK
        window = Window(judged["start_us"], code, bpm, judged["quality"])
        held, changes = follow(state.held, self.policy.timing, window)
        found: list[Finding] = []
        for change in changes:
            at = int(np.searchsorted(judged["start_us"], change.at_us))
            if not change.cleared:
                until = int(told_us[max(int(np.searchsorted(told_us, change.at_us, side="right")) - 1, 0)])
                state = replace(state, paged=change.at_us - until > self.policy.heard_s * US_PER_S)
            found.append(self._told(change, state.paged, float(low[at]), float(bpm[at]), person))
        return replace(state, held=held), found

    def _limits(self, asleep: NDArray[np.bool_], person: Person) -> NDArray[np.float64]:
        """Return the lower limit that holds at each beat."""
        policy, profile = self.policy, person.profile
        lower = policy.lower_by if profile.trained or profile.rate_limiting_drug else 0.0
        own = [profile.limit("heart_rate", asleep=state).low for state in (False, True)]
        usual = (policy.awake_bpm - lower, policy.asleep_bpm - lower)
        awake_bpm, asleep_bpm = (limit if one is None else one for one, limit in zip(own, usual, strict=True))
        return np.where(asleep, asleep_bpm, awake_bpm)

    def _stopped(self, state: SlowRhythmState, until_us: int, person: Person) -> list[Finding]:
        held = state.held
        if held.opened_us is None or held.raised_us is None:
            return []
        told = self._finding(held.opened_us, held.raised_us, state.paged, person)
        at_us = max(until_us, held.raised_us)
        says = "slow rhythm: no longer judged for this person"
        return [replace(told, state=State.CLEARED, changed_us=at_us, measured_us=held.at_us, says=says)]

    def _told(self, change: Transition, paged: bool, low: float, bpm: float, person: Person) -> Finding:
        run, timing = change.run, self.policy.timing
        says = (
            f"rhythm no longer slow, median {bpm:.0f} /min for {timing.clear_delay_s:.0f} s"
            if change.cleared
            else f"slow rhythm, median below {low:.0f} /min for {timing.delay_s:.0f} s, last {bpm:.0f} /min"
        )
        told = self._finding(change.opened_us, change.raised_us, paged, person)
        return replace(
            told,
            state=State.CLEARED if change.cleared else State.RAISED,
            changed_us=change.at_us,
            measured_us=change.at_us,
            window_start_us=run.since_us,
            says=says,
            samples=run.seen,
            readings=() if change.cleared else run.readings,
            threshold=low,
            figures={"median_bpm": round(bpm, 1)},
        )

    def _finding(self, opened_us: int, raised_us: int, paged: bool, person: Person) -> Finding:
        return Finding(
            rule=RULE,
            version=VERSION,
            metric="rr_interval",
            kind=Kind.PHYSIOLOGICAL,
            priority=Priority.MEDIUM if paged else Priority.LOW,
            state=State.RAISED,
            opened_us=opened_us,
            raised_us=raised_us,
            changed_us=raised_us,
            measured_us=raised_us,
            window_start_us=opened_us,
            says="",
            individualised=person.profile.individualised,
            unit="/min",
        )
