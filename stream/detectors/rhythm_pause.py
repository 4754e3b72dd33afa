"""Possible pause: an interval of three seconds or more, or that long no beat with nothing that speaks for a dropout.

Three seconds is where ACC/AHA/HRS (2018 guideline on bradycardia and conduction delay) calls a sinus pause
significant. Without a waveform nobody knows whether the heart or the sensor paused: the finding says so and is of low
priority, always. Pauses of one hour are one episode.

A hole counts only after a stretch in which the beats accounted for all of the time, with nothing untrustworthy in it,
and not beyond `max_hole_s`, when rather the device was gone. And only where the beats of that stretch came in order: a
line that let one be overtaken by as long as a pause may have held up those of the hole for longer than the watch waits,
and what comes later than that no detector sees. An interval that is itself long needs no such proof.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.by_metric import by_metric
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.rhythm_beats import (
    NO_BEATS,
    RR_INTERVAL,
    Beats,
    Heard,
    for_adults,
    heard,
    holes_ms,
    joined,
    last,
    quoted,
)
from stream.detectors.rhythm_pause_order import Order, in_order
from vitals.clock import US_PER_S

RULE: Final = "possible_pause"
VERSION: Final = 2
_MOST_COUNTED: Final = 9_999


@dataclass(frozen=True, slots=True)
class PausePolicy:
    """What is a possible pause. Raises ValueError for numbers that make no sense.

    A hole counts where the `clean_beats` before it left at most `max_lost_ms` unexplained, in all, and none of them was
    overtaken by `pause_ms` or more. An episode ends after `clear_s` without another pause.
    """

    pause_ms: float = 3_000.0
    max_hole_s: float = 10.0
    clean_beats: int = 160
    max_lost_ms: float = 1_500.0
    low_ms: float = 200.0
    high_ms: float = 4_000.0
    clear_s: float = 3_600.0

    def __post_init__(self) -> None:
        if not 1_000 <= self.pause_ms <= self.high_ms or self.pause_ms >= self.max_hole_s * 1_000:
            raise ValueError("pause_ms lies within 1000 to high_ms, and below max_hole_s")
        if not 10 <= self.clean_beats <= 256 or self.max_lost_ms < 0:
            raise ValueError("clean_beats lies within 10 to 256, and max_lost_ms is not negative")
        if not 0 < self.low_ms < self.high_ms or self.clear_s <= 0:
            raise ValueError("low_ms lies below high_ms, and clear_s is positive")


@dataclass(frozen=True, slots=True)
class PauseState:
    """The newest beats; `doubted` once something untrustworthy came after them; the open episode, times in us."""

    tail: Beats = field(default_factory=lambda: NO_BEATS)
    order: Order = field(default_factory=Order)
    doubted: bool = False
    opened_us: int | None = None
    newest_us: int = 0
    pauses: int = 0
    longest_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """The detector; see the module."""

    policy: PausePolicy = field(default_factory=PausePolicy)

    name: ClassVar[str] = "possible_pause"
    metrics: ClassVar[frozenset[int]] = frozenset({RR_INTERVAL})
    max_bytes: ClassVar[int] = 8_192
    per_patient: ClassVar[bool] = False

    def fresh(self) -> PauseState:
        """Return the state of somebody never seen."""
        return PauseState()

    def step(
        self, state: PauseState, seen: Observations, until_us: int, person: Person
    ) -> tuple[PauseState, list[Finding]]:
        """Take in RR intervals; a finding for the first pause of an episode, and for its end."""
        if not for_adults(person):
            return PauseState(), self._ended(state, until_us, person)
        policy = self.policy
        new = heard(seen, policy.low_ms, policy.high_ms)
        tail = state.tail
        kept = last(tail, new.beats, policy.clean_beats + 1)
        order, overtakers_us = in_order(state.order, seen, round(policy.pause_ms * 1_000))
        quiet = state.opened_us is None and max(new.longest_ms, new.hole_after(tail)) < policy.pause_ms
        if quiet and new.told == len(new.beats):  # nearly always
            return PauseState(kept, order), []
        doubted = self._doubted(state, seen, new)
        overtakers_us = np.append(overtakers_us, state.order.overtook_us)
        state = replace(state, tail=kept, order=order, doubted=doubted[1])
        if quiet:
            return state, []
        whole, before = joined(tail, new.beats), len(tail)
        missing = holes_ms(whole[max(before - 1, 0) :])
        at, length = self._pauses(whole, before, new.rr_ms >= policy.pause_ms, missing, doubted[0], overtakers_us)
        return self._follow(state, at, length, whole, person)

    def _doubted(self, state: PauseState, seen: Observations, new: Heard) -> tuple[NDArray[np.bool_], bool]:
        """Tell for each kept beat whether something untrustworthy lies before it, and whether after the last."""
        stretch = by_metric(seen)
        told = stretch.of(RR_INTERVAL)
        if told is None or new.told == len(new.beats):
            doubted = np.zeros(len(new.beats), np.bool_)
            doubted[:1] = state.doubted
            return doubted, False
        first, end = stretch.bounds(RR_INTERVAL)
        rr = told.value
        well = np.flatnonzero(stretch.well[first:end] & (rr >= self.policy.low_ms) & (rr <= self.policy.high_ms))
        doubted = np.diff(well, prepend=-1) > 1
        doubted[:1] |= state.doubted
        return doubted, len(well) == 0 or int(well[-1]) < len(rr) - 1

    def _pauses(
        self,
        whole: Beats,
        before: int,
        long: NDArray[np.bool_],
        missing: NDArray[np.float64],
        doubted: NDArray[np.bool_],
        overtakers_us: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return when pauses began (the beat before them), in order, and how long they were (ms)."""
        policy = self.policy
        rr, start, moving = whole["rr_ms"], whole["start_us"], whole["moving"]
        one = np.flatnonzero(long) + before
        one = one[~moving[one]]
        two = np.flatnonzero((missing >= policy.pause_ms) & (missing <= policy.max_hole_s * 1_000)) + max(before, 1)
        two = two[[self._clean(whole, at, overtakers_us) for at in two.tolist()]] if len(two) else two
        two = two[~doubted[two - before] & ~moving[two] & ~moving[two - 1]]
        at_us = np.concatenate((start[one], start[two - 1] + np.round(rr[two - 1] * 1_000).astype(np.int64)))
        length = np.concatenate((rr[one], (start[two] - start[two - 1]) / 1_000 - np.maximum(rr[two], rr[two - 1])))
        order = np.argsort(at_us, kind="stable")
        return at_us[order], length[order]

    def _clean(self, whole: Beats, at: int, overtakers_us: NDArray[np.int64]) -> bool:
        """Tell whether the beats before position `at` accounted for the time they took, and came in order."""
        policy = self.policy
        first = at - policy.clean_beats
        if first < 0:
            return False
        took_ms = float(whole["start_us"][at - 1] - whole["start_us"][first]) / 1_000
        lost_ms = took_ms - float(whole["rr_ms"][first : at - 1].sum())
        if abs(lost_ms) > policy.max_lost_ms:
            return False
        from_us, to_us = whole["start_us"][first], whole["start_us"][at]
        return not bool(np.any((overtakers_us >= from_us) & (overtakers_us <= to_us)))

    def _follow(
        self, state: PauseState, at_us: NDArray[np.int64], length_ms: NDArray[np.float64], whole: Beats, person: Person
    ) -> tuple[PauseState, list[Finding]]:
        """Open, lengthen and close the episode."""
        found = []
        clear_us = round(self.policy.clear_s * US_PER_S)
        for one_us, one_ms in zip(at_us.tolist(), length_ms.tolist(), strict=True):
            if state.opened_us is not None and one_us - state.newest_us >= clear_us:
                found += self._ended(state, state.newest_us + clear_us, person)
                state = _closed(state)
            first = state.opened_us is None
            state = replace(
                state,
                opened_us=one_us if first else state.opened_us,
                newest_us=one_us,
                pauses=min(state.pauses + 1, _MOST_COUNTED),
                longest_ms=max(state.longest_ms, one_ms),
            )
            if first:
                end_us = one_us + round(one_ms * 1_000)
                known = whole[whole["start_us"] < end_us]
                found.append(self._raised(state, end_us, one_ms, known, person))
        newest_us = int(whole["start_us"][-1])
        if state.opened_us is not None and newest_us - state.newest_us >= clear_us:
            found += self._ended(state, state.newest_us + clear_us, person)
            state = _closed(state)
        return state, found

    def _raised(self, state: PauseState, end_us: int, length_ms: float, known: Beats, person: Person) -> Finding:
        says = f"possible pause of {length_ms / 1_000:.1f} s between two beats; no waveform"
        told, window = self._told(state, State.RAISED, end_us, end_us, says, person), known[-16:]
        if not len(window):
            return told
        return replace(told, window_start_us=int(window["start_us"][0]), samples=len(window), readings=quoted(window))

    def _ended(self, state: PauseState, at_us: int, person: Person) -> list[Finding]:
        if state.opened_us is None:
            return []
        pauses = f"{state.pauses} possible pauses" if state.pauses > 1 else "one possible pause"
        says = f"no further possible pause; {pauses} so far, the longest {state.longest_ms / 1_000:.1f} s; no waveform"
        return [self._told(state, State.CLEARED, at_us, state.newest_us, says, person)]

    def _told(self, state: PauseState, kind: State, at_us: int, measured_us: int, says: str, person: Person) -> Finding:
        opened_us = state.newest_us if state.opened_us is None else state.opened_us
        raised_us = opened_us + round(self.policy.pause_ms * 1_000)
        return Finding(
            rule=RULE,
            version=VERSION,
            metric="rr_interval",
            kind=Kind.PHYSIOLOGICAL,
            priority=Priority.LOW,
            state=kind,
            opened_us=opened_us,
            raised_us=raised_us,
            changed_us=max(at_us, raised_us),
            measured_us=measured_us,
            window_start_us=opened_us,
            says=says,
            threshold=self.policy.pause_ms,
            figures={"pauses": float(state.pauses), "longest_ms": round(state.longest_ms, 1)},
            individualised=person.profile.individualised,
        )


def _closed(state: PauseState) -> PauseState:
    return replace(state, opened_us=None, newest_us=0, pauses=0, longest_ms=0.0)
