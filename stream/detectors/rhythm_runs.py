"""Runs of fast regular beats that begin at once: what sinus rhythm, which takes its time, does not do.

A run is eight beats or more, each faster than the limit and near the one before, that begins within few beats: the
four before it were slower by a fifth at least. It is recorded at low priority; from 30 s on it is sustained (the line
that ACC/AHA/HRS and ESC draw for ventricular tachycardia) and of medium priority. The limits of heart rate ask for a
minute and know no onset: where both speak, they are one incident; a gradual rise is left to them. Fibrillation is no
run, as its beats are not near one another; runs of a while are one episode. Not judged in motion.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.rhythm_beats import (
    MS_PER_MIN,
    NO_BEATS,
    RR_INTERVAL,
    Beats,
    heard,
    holes_ms,
    joined,
    last,
    quoted,
    seconds,
)
from stream.detectors.sustain import KEPT_READINGS
from vitals.clock import US_PER_S

RULE: Final = "fast_run"
VERSION: Final = 1
_BEFORE: Final = 4
_MOST_COUNTED: Final = 9_999


@dataclass(frozen=True, slots=True)
class FastRunPolicy:
    """What is a run of fast beats. Raises ValueError for numbers that make no sense.

    A beat belongs to a run where its interval is shorter than that of `limit_bpm` and within `near` (a share) of the
    one before. It begins at once where the median of the four intervals before is `onset` times that of the first four
    in it. An episode ends `clear_s` after its last run.
    """

    limit_bpm: float = 140.0
    min_beats: int = 8
    near: float = 0.10
    onset: float = 1.25
    sustained_s: float = 30.0
    clear_s: float = 600.0
    low_ms: float = 200.0
    high_ms: float = 3_000.0
    max_hole_ms: float = 1_500.0

    def __post_init__(self) -> None:
        if not 60 < self.limit_bpm < MS_PER_MIN / self.low_ms:
            raise ValueError("limit_bpm lies within 60 and the rate of low_ms")
        if not _BEFORE <= self.min_beats <= 64:
            raise ValueError("min_beats lies within 4 to 64")
        if not 0 < self.near < 1 or self.onset < 1:
            raise ValueError("near lies within 0 to 1, and onset is at least 1")
        if not 0 < self.low_ms < self.high_ms:
            raise ValueError("low_ms lies below high_ms")
        if min(self.sustained_s, self.clear_s, self.max_hole_ms) <= 0:
            raise ValueError("sustained_s, clear_s and max_hole_ms are positive")


@dataclass(frozen=True, slots=True)
class Run:
    """A run that goes on: when it began (us), of how many beats, over what time (ms), and whether it began at once."""

    since_us: int
    beats: int
    lasted_ms: float
    abrupt: bool


@dataclass(frozen=True, slots=True)
class Episode:
    """Runs told as one: the times (us) of the first and of the end of the newest, and the longest of them."""

    opened_us: int
    raised_us: int
    newest_us: int
    runs: int = 1
    longest_beats: int = 0
    fastest_bpm: float = 0.0
    escalated: bool = False


@dataclass(frozen=True, slots=True)
class FastRunState:
    """The newest beats, the run that goes on and the open episode."""

    tail: Beats = field(default_factory=lambda: NO_BEATS)
    run: Run | None = None
    episode: Episode | None = None


@dataclass(frozen=True, slots=True)
class FastRun:
    """The detector; see the module."""

    policy: FastRunPolicy = field(default_factory=FastRunPolicy)

    name: ClassVar[str] = "fast_run"
    metrics: ClassVar[frozenset[int]] = frozenset({RR_INTERVAL})
    max_bytes: ClassVar[int] = 4_096
    per_patient: ClassVar[bool] = False

    def fresh(self) -> FastRunState:
        """Return the state of somebody never seen."""
        return FastRunState()

    def step(
        self, state: FastRunState, seen: Observations, until_us: int, person: Person
    ) -> tuple[FastRunState, list[Finding]]:
        """Take in RR intervals; a finding for the first run of an episode, its becoming sustained, and its end."""
        if person.profile.is_child:
            return FastRunState(), self._ended(state, until_us, person)
        policy = self.policy
        new = heard(seen, policy.low_ms, policy.high_ms)
        if not len(new.beats):
            return state, []
        tail = last(state.tail, new.beats, max(2 * policy.min_beats, KEPT_READINGS))
        quiet, limit_ms = state.run is None and state.episode is None, MS_PER_MIN / policy.limit_bpm
        if quiet and new.shortest_ms >= limit_ms:  # nearly always
            return FastRunState(tail), []
        fast = (new.rr_ms < limit_ms) & ~new.beats["moving"]
        after = replace(state, tail=tail)
        if quiet and not fast.any():
            return after, []
        return self._follow(after, joined(state.tail, new.beats), len(state.tail), fast, person)

    def _follow(
        self, state: FastRunState, whole: Beats, before: int, fast: NDArray[np.bool_], person: Person
    ) -> tuple[FastRunState, list[Finding]]:
        """Go through the stretches of one kind: each prolongs or ends a run, or is between runs."""
        found: list[Finding] = []
        joins = self._joins(whole, before) & fast
        edges = np.flatnonzero((fast[1:] != fast[:-1]) | (fast[1:] & ~joins[1:])) + 1
        bounds = [0, *edges.tolist(), len(fast)]
        for first, end in pairwise(bounds):
            piece = slice(before + first, before + end)
            if not fast[first]:
                state = replace(state, run=None)
                state, told = self._between(state, whole, piece, person)
            else:
                state, told = self._longer(state, whole, piece, bool(joins[first]), person)
            found += told
        return state, found

    def _joins(self, whole: Beats, before: int) -> NDArray[np.bool_]:
        """Tell for each new beat whether it is near the one before, with none missing."""
        around = whole[max(before - 1, 0) :]
        rr = around["rr_ms"]
        near: NDArray[np.bool_] = np.abs(np.diff(rr)) <= self.policy.near * rr[:-1]
        near &= holes_ms(around) <= self.policy.max_hole_ms
        return near if before else np.concatenate((np.zeros(1, np.bool_), near))

    def _longer(
        self, state: FastRunState, whole: Beats, piece: slice, joins: bool, person: Person
    ) -> tuple[FastRunState, list[Finding]]:
        """Take in fast beats near one another: the run goes on, or another begins."""
        policy, run = self.policy, state.run
        if run is None or not joins:
            state, told = self._between(state, whole, slice(piece.start, piece.start + 1), person)
            run = Run(int(whole["start_us"][piece.start]), 0, 0.0, False)
        else:
            told = []
        rr, old = whole["rr_ms"][piece], run
        abrupt = old.abrupt
        if old.beats < policy.min_beats <= old.beats + len(rr):
            abrupt = self._began_at_once(whole, piece.start - old.beats)
        run = Run(old.since_us, old.beats + len(rr), old.lasted_ms + float(rr.sum()), abrupt)
        state = replace(state, run=run)
        if not run.abrupt:
            return state, told
        if old.beats < policy.min_beats:
            state, more = self._another(state, whole, piece.start + policy.min_beats - old.beats - 1, person)
            told = told + more
        lasted = old.lasted_ms + np.cumsum(rr)
        if lasted[-1] >= policy.sustained_s * 1_000 and state.episode is not None and not state.episode.escalated:
            length = max(int(np.argmax(lasted >= policy.sustained_s * 1_000)) + 1, policy.min_beats - old.beats)
            at = piece.start + length - 1
            state = replace(_grown(state, old.beats + length, whole, at), run=run)
            state, more = self._sustained(state, whole, at, person)
            told = told + more
        return _grown(state, run.beats, whole, piece.stop - 1), told

    def _began_at_once(self, whole: Beats, first: int) -> bool:
        """Tell whether the beats before position `first` were slower by far; what is not known was not."""
        if first < _BEFORE:
            return False
        rr = whole["rr_ms"]
        before, within = np.median(rr[first - _BEFORE : first]), np.median(rr[first : first + _BEFORE])
        whole_before = (holes_ms(whole[first - _BEFORE : first + 1]) <= self.policy.max_hole_ms).all()
        return bool(whole_before and before >= self.policy.onset * within)

    def _another(
        self, state: FastRunState, whole: Beats, at: int, person: Person
    ) -> tuple[FastRunState, list[Finding]]:
        """Count a run that has become one at position `at`; the first opens an episode."""
        run, at_us = state.run, int(whole["start_us"][at])
        assert run is not None  # noqa: S101 - it has just become one
        bpm, episode = _rate(whole, at), state.episode
        if episode is not None:
            runs = min(episode.runs + 1, _MOST_COUNTED)
            return replace(
                state, episode=replace(episode, runs=runs, fastest_bpm=max(episode.fastest_bpm, bpm), newest_us=at_us)
            ), []
        state = replace(state, episode=Episode(run.since_us, at_us, at_us, 1, self.policy.min_beats, bpm))
        says = f"run of at least {self.policy.min_beats} fast beats that began at once, {bpm:.0f} /min"
        return state, [self._told(state, State.RAISED, whole, at, says, person)]

    def _sustained(
        self, state: FastRunState, whole: Beats, at: int, person: Person
    ) -> tuple[FastRunState, list[Finding]]:
        assert state.episode is not None  # noqa: S101 - the run has opened one
        state = replace(state, episode=replace(state.episode, escalated=True))
        lasted = f"{_rate(whole, at):.0f} /min, for {self.policy.sustained_s:.0f} s"
        says = f"fast regular rhythm that began at once, {lasted}"
        return state, [self._told(state, State.ESCALATED, whole, at, says, person)]

    def _between(
        self, state: FastRunState, whole: Beats, piece: slice, person: Person
    ) -> tuple[FastRunState, list[Finding]]:
        """Close the episode where its last run is long over."""
        episode = state.episode
        if episode is None:
            return state, []
        over_us = episode.newest_us + round(self.policy.clear_s * US_PER_S)
        if int(whole["start_us"][piece.stop - 1]) < over_us:
            return state, []
        return replace(state, episode=None), self._ended(state, over_us, person)

    def _ended(self, state: FastRunState, at_us: int, person: Person) -> list[Finding]:
        episode = state.episode
        if episode is None:
            return []
        runs = f"{episode.runs} runs" if episode.runs > 1 else "one run"
        says = f"no further run of fast beats; {runs} so far, the longest of {episode.longest_beats} beats"
        return [self._told(state, State.CLEARED, NO_BEATS, -1, says, person, at_us=max(at_us, episode.newest_us))]

    def _told(
        self, state: FastRunState, kind: State, whole: Beats, at: int, says: str, person: Person, at_us: int = 0
    ) -> Finding:
        episode = state.episode
        assert episode is not None  # noqa: S101 - only an episode is told
        window = whole[max(0, at + 1 - KEPT_READINGS) : at + 1]
        return Finding(
            rule=RULE,
            version=VERSION,
            metric="rr_interval",
            kind=Kind.PHYSIOLOGICAL,
            priority=Priority.MEDIUM if episode.escalated else Priority.LOW,
            state=kind,
            opened_us=episode.opened_us,
            raised_us=episode.raised_us,
            changed_us=at_us or int(whole["start_us"][at]),
            measured_us=episode.newest_us if at < 0 else int(whole["start_us"][at]),
            window_start_us=int(window["start_us"][0]) if len(window) else episode.opened_us,
            says=says,
            samples=len(window),
            readings=quoted(window),
            threshold=round(MS_PER_MIN / self.policy.limit_bpm, 1),
            figures={
                "runs": float(episode.runs),
                "longest_run_beats": float(episode.longest_beats),
                "fastest_run_bpm": round(episode.fastest_bpm, 1),
                "lasted_s": round(seconds(episode.newest_us - episode.opened_us), 1),
            },
            individualised=person.profile.individualised,
        )


def _rate(whole: Beats, at: int) -> float:
    """Return the mean rate of the eight beats up to position `at`."""
    return MS_PER_MIN / float(whole["rr_ms"][max(0, at - 7) : at + 1].mean())


def _grown(state: FastRunState, count: int, whole: Beats, at: int) -> FastRunState:
    """Return the state with the episode's newest run of so many beats up to position `at`."""
    episode = state.episode
    if episode is None:
        return state
    longest = min(max(episode.longest_beats, count), _MOST_COUNTED)
    return replace(state, episode=replace(episode, newest_us=int(whole["start_us"][at]), longest_beats=longest))
