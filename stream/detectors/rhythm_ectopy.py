"""Ectopy burden: which share of an hour's beats came early, by the pattern of RR, for the digest only.

An early beat is an interval at most 0.85 of the mean around it, followed by one at least 1.25 times as long (the
compensatory pause; 1.25 also admits atrial beats, whose pause is shorter). A share of a tenth is where guidelines begin
to watch ventricular ectopy (AHA/ACC/HRS 2017: cardiomyopathy is seen above 10 to 15 %); RR do not tell ventricular from
atrial. In fibrillation the pattern means nothing: an hour in which the beats that are not part of it differ by much is
void, as is one with less than ten minutes analysed. Not counted in motion.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.rhythm_beats import (
    NO_BEATS,
    RR_INTERVAL,
    Beats,
    for_adults,
    heard,
    holes_ms,
    joined,
    last,
)
from vitals.clock import US_PER_S

RULE: Final = "ectopy_burden"
VERSION: Final = 1
_AROUND: Final = 9
"""The mean is over so many intervals: four before and four after."""
_SIDE: Final = _AROUND // 2
_BATCH: Final = 64
_HOUR_US: Final = 3_600 * US_PER_S


@dataclass(frozen=True, slots=True)
class EctopyPolicy:
    """Which share of early beats is told. Raises ValueError for numbers that make no sense.

    Shares are of an hour's analysed beats. An episode ends with an hour below `clear_share`. An hour is void where
    fewer than `void_share` of the neighbours outside the pattern are `near` one another.
    """

    share: float = 0.10
    clear_share: float = 0.05
    early: float = 0.85
    pause: float = 1.25
    near: float = 0.10
    void_share: float = 0.7
    min_analysed_s: float = 600.0
    low_ms: float = 200.0
    high_ms: float = 3_000.0
    max_hole_ms: float = 1_500.0

    def __post_init__(self) -> None:
        if not 0 < self.clear_share <= self.share < 1:
            raise ValueError("clear_share lies within 0 to share, and share below 1")
        if not 0 < self.early < 1 <= self.pause or not 0 < self.near < 1 or not 0 <= self.void_share <= 1:
            raise ValueError("early and near lie within 0 to 1, pause is at least 1, void_share is within 0 to 1")
        if not 0 < self.low_ms < self.high_ms or not 0 < self.min_analysed_s <= 3_600 or self.max_hole_ms <= 0:
            raise ValueError("low_ms lies below high_ms, min_analysed_s within 0 to 3600, max_hole_ms is positive")


@dataclass(frozen=True, slots=True)
class Hour:
    """What was counted in the hour from `start_us`; `steady`: neighbours outside the pattern, `near` the close ones."""

    start_us: int = 0
    beats: int = 0
    early: int = 0
    steady: int = 0
    near: int = 0
    analysed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class EctopyState:
    """The newest beats, the hour that goes on, and the open episode (us) with its highest share."""

    tail: Beats = field(default_factory=lambda: NO_BEATS)
    hour: Hour = field(default_factory=Hour)
    opened_us: int | None = None
    raised_us: int = 0
    highest: float = 0.0


@dataclass(frozen=True, slots=True)
class Ectopy:
    """The detector; see the module."""

    policy: EctopyPolicy = field(default_factory=EctopyPolicy)

    name: ClassVar[str] = "ectopy_burden"
    metrics: ClassVar[frozenset[int]] = frozenset({RR_INTERVAL})
    max_bytes: ClassVar[int] = 4_096
    per_patient: ClassVar[bool] = False

    def fresh(self) -> EctopyState:
        """Return the state of somebody never seen."""
        return EctopyState()

    def step(
        self, state: EctopyState, seen: Observations, until_us: int, person: Person
    ) -> tuple[EctopyState, list[Finding]]:
        """Take in RR intervals; a finding at the end of an hour with a high share, and of the first with a low one."""
        if not for_adults(person):
            if state.opened_us is None:
                return EctopyState(), []
            ended = self._told(state, State.CLEARED, state.hour, until_us, "early beats: no longer judged", person)
            return EctopyState(), [ended]
        new = heard(seen, self.policy.low_ms, self.policy.high_ms).beats
        if not len(new):
            return state, []
        whole = joined(state.tail, new)
        # Whole batches, counted from the first beat on: cheaper, and the same however the beats were cut.
        count = (len(whole) - (_AROUND - 1)) // _BATCH * _BATCH
        if count <= 0:
            return self._waiting(state, whole), []
        state = self._waiting(state, last(NO_BEATS, whole, len(whole) - count))
        return self._count(state, whole[: count + _AROUND - 1], person)

    def _waiting(self, state: EctopyState, tail: Beats) -> EctopyState:
        return EctopyState(tail, state.hour, state.opened_us, state.raised_us, state.highest)

    def _count(self, state: EctopyState, whole: Beats, person: Person) -> tuple[EctopyState, list[Finding]]:
        """Add each beat that has four on either side to its hour; close the hours that are over."""
        early, steady, near = self._patterns(whole)
        middle = whole[_SIDE : len(whole) - _SIDE]
        fit = ~middle["moving"]
        hour_us = middle["start_us"] // _HOUR_US * _HOUR_US
        found: list[Finding] = []
        edges = [0, *(np.flatnonzero(hour_us[1:] != hour_us[:-1]) + 1).tolist(), len(hour_us)]
        for first, end in pairwise(edges):
            start_us, part = int(hour_us[first]), slice(first, end)
            if start_us != state.hour.start_us:
                state, told = self._close(state, person)
                found += told
                state = replace(state, hour=Hour(start_us))
            good, hour = fit[part], state.hour
            # Tenths of a microsecond must not hang on the cuts: whole sums of rounded milliseconds.
            analysed_ms = float(np.rint(middle["rr_ms"][part][good]).sum())
            hour = Hour(
                start_us,
                hour.beats + int(np.count_nonzero(good)),
                hour.early + int(np.count_nonzero(early[part] & good)),
                hour.steady + int(np.count_nonzero(steady[part] & good)),
                hour.near + int(np.count_nonzero(near[part] & good)),
                hour.analysed_ms + analysed_ms,
            )
            state = replace(state, hour=hour)
        return state, found

    def _patterns(self, whole: Beats) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Tell of each beat with four on either side: whether it came early; lies apart from early beats; and is near
        the beat before."""
        policy, rr, n = self.policy, np.ascontiguousarray(whole["rr_ms"]), len(whole)
        # One more on either side than is counted, as far as there are: an early beat disturbs three differences.
        ratio = rr[1:] >= policy.pause * rr[:-1]
        here = slice(_SIDE, n - _SIDE)
        if not np.count_nonzero(ratio):  # nearly always
            none = np.zeros(n - 2 * _SIDE, np.bool_)
            return none, ~none, self._near(rr)
        mean = sliding_window_view(rr, _AROUND).sum(axis=1) / _AROUND
        linked = holes_ms(whole) <= policy.max_hole_ms
        early = (rr[here] <= policy.early * mean) & ratio[here] & linked[here]
        # By ratio alone: what stands around the beats at the edge has no mean yet.
        jump = ratio & (rr[:-1] < rr[1:])
        apart = ~(jump[_SIDE - 2 : n - _SIDE - 2] | jump[_SIDE - 1 : n - _SIDE - 1] | jump[here])
        return early, apart, apart & self._near(rr)

    def _near(self, rr: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell of each interval with four on either side whether it is near the one before."""
        before, here = rr[_SIDE - 1 : len(rr) - _SIDE - 1], rr[_SIDE : len(rr) - _SIDE]
        near: NDArray[np.bool_] = np.abs(here - before) <= self.policy.near * before
        return near

    def _close(self, state: EctopyState, person: Person) -> tuple[EctopyState, list[Finding]]:
        """Judge the hour that is over."""
        policy, hour = self.policy, state.hour
        if hour.analysed_ms < policy.min_analysed_s * 1_000 or self._is_void(hour):
            return state, []
        share, end_us = hour.early / hour.beats, hour.start_us + _HOUR_US
        percent = f"{100 * share:.0f} % of {hour.beats} beats in an hour"
        if state.opened_us is None and share >= policy.share:
            state = replace(state, opened_us=hour.start_us, raised_us=end_us, highest=share)
            says = f"early beats with a pause after them: {percent}"
            return state, [self._told(state, State.RAISED, hour, end_us, says, person)]
        state = replace(state, highest=max(state.highest, share))
        if state.opened_us is None or share >= policy.clear_share:
            return state, []
        told = self._told(state, State.CLEARED, hour, end_us, f"fewer early beats: {percent}", person)
        return replace(state, opened_us=None, raised_us=0, highest=0.0), [told]

    def _is_void(self, hour: Hour) -> bool:
        """Tell whether the beats outside the pattern are no regular rhythm; where there are few, the pattern is all."""
        return hour.steady > 0.1 * hour.beats and hour.near < self.policy.void_share * hour.steady

    def _told(self, state: EctopyState, kind: State, hour: Hour, at_us: int, says: str, person: Person) -> Finding:
        opened_us = hour.start_us if state.opened_us is None else state.opened_us
        at_us = max(at_us, state.raised_us)
        return Finding(
            rule=RULE,
            version=VERSION,
            metric="rr_interval",
            kind=Kind.PHYSIOLOGICAL,
            priority=Priority.LOW,
            state=kind,
            opened_us=opened_us,
            raised_us=state.raised_us,
            changed_us=at_us,
            measured_us=at_us,
            window_start_us=hour.start_us,
            says=says,
            samples=hour.beats,
            figures={
                "early_percent": round(100 * hour.early / max(hour.beats, 1), 1),
                "highest_percent": round(100 * state.highest, 1),
                "early_beats": float(hour.early),
                "analysed_min": round(hour.analysed_ms / 60_000, 1),
            },
            individualised=person.profile.individualised,
        )
