"""Irregular rhythm suggestive of atrial fibrillation: to be confirmed by an ECG, which RR intervals are not.

A window of 40 beats is judged every 8 beats (`rhythm_irregularity`). What has been irregular for 30 s is recorded, at
low priority; it pages once it is sustained or fast. It ends after three minutes of regular rhythm. While the wearer
moves nothing is judged: optical sensors lose beats then. Of whom AF is known, the share of the day is told instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.by_metric import by_metric
from stream.detectors.finding import Figures, Finding
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.rhythm_beats import (
    NO_BEATS,
    RR_INTERVAL,
    Beats,
    for_adults,
    heard,
    joined,
    last,
    lost_before,
    quoted,
    seconds,
)
from stream.detectors.rhythm_irregularity import irregularity, rmssd_share
from stream.detectors.rhythm_windows import (
    IrregularRhythmPolicy,
    Judged,
    all_regular,
    counts,
    ends,
    judge,
    windows,
)
from vitals.batch import NO_ZONE
from vitals.clock import US_PER_S

RULE: Final = "irregular_rhythm"
BURDEN: Final = "irregular_rhythm_burden"
VERSION: Final = 1
_DAY_US: Final = 86_400 * US_PER_S
_FORGETS: Final = 2.0
"""Regular time takes so many times as much off what is sustained as irregular time adds."""


@dataclass(frozen=True, slots=True)
class Episode:
    """An open episode; `opened_us` is the first beat of its first window."""

    opened_us: int
    raised_us: int
    escalated: bool = False
    windows: int = 0
    fastest_bpm: float = 0.0


@dataclass(frozen=True, slots=True)
class IrregularState:
    """The newest beats, and how things stand; `count` beats since the last hole, times in us, durations in s."""

    tail: Beats = field(default_factory=lambda: NO_BEATS)
    count: int = 0
    at_us: int = 0
    since_us: int | None = None  # first beat of the irregular windows that follow one another
    clear: int = 0  # how many of them are clear
    calm_us: int | None = None
    held_s: float = 0.0
    fast_s: float = 0.0
    episode: Episode | None = None
    day: int = 0
    day_from_us: int = 0
    day_s: float = 0.0
    day_irregular_s: float = 0.0


@dataclass(frozen=True, slots=True)
class IrregularRhythm:
    """The detector; see the module."""

    policy: IrregularRhythmPolicy = field(default_factory=IrregularRhythmPolicy)

    name: ClassVar[str] = "irregular_rhythm"
    metrics: ClassVar[frozenset[int]] = frozenset({RR_INTERVAL})
    max_bytes: ClassVar[int] = 4_096
    per_patient: ClassVar[bool] = False

    def fresh(self) -> IrregularState:
        """Return the state of somebody never seen."""
        return IrregularState()

    def step(
        self, state: IrregularState, seen: Observations, until_us: int, person: Person
    ) -> tuple[IrregularState, list[Finding]]:
        """Take in RR intervals; a finding for what began, became worse or ended."""
        if not for_adults(person):
            return IrregularState(), _ended(state, person, until_us, "no longer judged for this person")
        policy = self.policy
        new = heard(seen, policy.low_ms, policy.high_ms)
        if not len(new.beats):
            return state, []
        tail, before = last(state.tail, new.beats, policy.beats - 1), len(state.tail)
        quiet = self._is_quiet(state, person)
        if quiet and new.hole_after(state.tail) <= policy.max_hole_s * 1_000 and all_regular(policy, state.tail, new):
            return self._later_quiet(state, tail, len(new.beats)), []  # nearly always
        whole = joined(state.tail, new.beats)
        count = counts(policy, whole, before, state.count)
        state = replace(state, tail=tail, count=int(count[-1]))
        end = ends(policy, count, before)
        if not len(end) or (quiet and self._is_regular(whole, end)):
            return state, []
        last_one = by_metric(seen).bounds(RR_INTERVAL)[1] - 1
        zone_min = int(seen["zone_offset_min"][by_metric(seen).whole.place[last_one]])
        zone_us = 0 if zone_min == NO_ZONE else zone_min * 60 * US_PER_S  # not known: days of UTC
        return self._follow(state, whole, judge(policy, whole, end), zone_us, person)

    def _later_quiet(self, state: IrregularState, tail: Beats, beats: int) -> IrregularState:
        return IrregularState(
            tail, state.count + beats, state.at_us, None, state.clear, state.calm_us, state.held_s, state.fast_s, None,
            state.day, state.day_from_us, state.day_s, state.day_irregular_s,
        )  # fmt: skip

    def _is_quiet(self, state: IrregularState, person: Person) -> bool:
        """Tell whether regular windows would change nothing."""
        return state.since_us is None and state.episode is None and state.held_s == 0 and not person.profile.known_af

    def _is_regular(self, whole: Beats, end: NDArray[np.intp]) -> bool:
        """Tell by the screen alone whether all of the windows are."""
        share = rmssd_share(whole["rr_ms"][windows(self.policy, end)])
        return bool(share.max() <= self.policy.min_rmssd_share)

    def _follow(
        self, state: IrregularState, whole: Beats, judged: Judged, zone_us: int, person: Person
    ) -> tuple[IrregularState, list[Finding]]:
        """Go through the windows one by one; only where something is irregular, or was lately."""
        found: list[Finding] = []
        for end, at_us, from_us, lasted_s, irregular, clear, bpm in zip(*(c.tolist() for c in judged), strict=True):
            if person.profile.known_af:
                state, told = self._day(state, at_us, zone_us, person)
                found += told
            state = self._later(state, at_us, from_us, lasted_s, irregular, clear, bpm)
            change = self._change(state, at_us, bpm)
            if change is not None and not person.profile.known_af:
                state, kind, priority, says = change
                window = whole[max(0, end + 1 - self.policy.beats) : end + 1]
                found.append(self._finding(state, kind, priority, says, window, at_us, bpm, person))
                if kind is State.CLEARED:
                    state = replace(state, episode=None)
        if person.profile.known_af and state.episode is not None:
            found += _ended(state, person, state.at_us, "known of this person by now")
            state = replace(state, episode=None)
        return state, found

    def _later(
        self, state: IrregularState, at_us: int, from_us: int, lasted_s: float, irregular: bool, clear: bool, bpm: float
    ) -> IrregularState:
        """Return the state after one more window."""
        policy = self.policy
        episode = state.episode
        if episode is not None:
            episode = replace(
                episode, windows=episode.windows + irregular, fastest_bpm=max(episode.fastest_bpm, bpm * irregular)
            )
        sign = 1.0 if irregular else -_FORGETS
        fast = 1.0 if irregular and bpm > policy.fast_bpm else -_FORGETS
        return replace(
            state,
            at_us=at_us,
            since_us=None if not irregular else from_us if state.since_us is None else state.since_us,
            clear=min(state.clear + clear, policy.opening_windows) if irregular else 0,
            calm_us=None if irregular else at_us if state.calm_us is None else state.calm_us,
            held_s=min(max(state.held_s + sign * lasted_s, 0.0), policy.sustained_s),
            fast_s=min(max(state.fast_s + fast * lasted_s, 0.0), policy.fast_s),
            episode=episode,
            day_s=state.day_s + lasted_s,
            day_irregular_s=state.day_irregular_s + lasted_s * irregular,
        )

    def _change(
        self, state: IrregularState, at_us: int, bpm: float
    ) -> tuple[IrregularState, State, Priority, str] | None:
        """Return what becomes of the episode at this window, and the words for it; None if nothing does."""
        policy, episode = self.policy, state.episode
        if episode is None:
            if (
                state.clear < policy.opening_windows
                or state.since_us is None
                or at_us - state.since_us < policy.analysable_s * US_PER_S
            ):
                return None
            opened = Episode(state.since_us, at_us, windows=1, fastest_bpm=bpm)
            says = f"irregular rhythm suggestive of AF for {seconds(at_us - state.since_us):.0f} s"
            return replace(state, episode=opened), State.RAISED, Priority.LOW, f"{says}, mean {bpm:.0f} /min"
        fast = state.fast_s >= policy.fast_s
        if not episode.escalated and (fast or state.held_s >= policy.sustained_s):
            says = (
                f"fast irregular rhythm suggestive of AF, above {policy.fast_bpm:.0f} /min for {policy.fast_s:.0f} s"
                if fast
                else f"irregular rhythm suggestive of AF for {policy.sustained_s / 60:.0f} min"
            )
            state = replace(state, episode=replace(episode, escalated=True))
            return state, State.ESCALATED, Priority.MEDIUM, f"{says}, last {bpm:.0f} /min"
        if state.calm_us is not None and at_us - state.calm_us >= policy.clear_s * US_PER_S:
            lasted = seconds(state.calm_us - episode.opened_us) / 60
            says = f"regular rhythm again after {lasted:.0f} min of irregular rhythm suggestive of AF"
            return state, State.CLEARED, _priority(episode), says
        return None

    def _finding(
        self, state: IrregularState, kind: State, priority: Priority, says: str, window: Beats, at_us: int, bpm: float,
        person: Person,
    ) -> Finding:  # fmt: skip
        episode = state.episode
        assert episode is not None  # noqa: S101 - only an episode changes
        figures: dict[str, float | str] = {
            "mean_rate_bpm": round(bpm, 1),
            "fastest_mean_rate_bpm": round(episode.fastest_bpm, 1),
            "irregular_windows": float(episode.windows),
        }
        if kind is not State.CLEARED:
            figures |= _of(window)
        says = says if kind is State.CLEARED else f"{says}; confirm by ECG"
        return _told(episode, kind, priority, says, at_us, person, figures, window)

    def _day(
        self, state: IrregularState, at_us: int, zone_us: int, person: Person
    ) -> tuple[IrregularState, list[Finding]]:
        """Close the day that is over: what share of it was irregular."""
        day = (at_us + zone_us) // _DAY_US
        if day <= state.day:
            return state, []
        found = []
        if state.day and state.day_s >= self.policy.min_day_h * 3_600:
            found = _burden(state, person)
        return replace(state, day=day, day_from_us=at_us, day_s=0.0, day_irregular_s=0.0), found


def _priority(episode: Episode) -> Priority:
    return Priority.MEDIUM if episode.escalated else Priority.LOW


def _of(window: Beats) -> dict[str, float | str]:
    """Return the figures of one window."""
    rr = window["rr_ms"]
    told = irregularity(rr[None, :], lost_before(window)[None, :])
    return {
        "rmssd_ms": round(float(np.sqrt((np.diff(rr) ** 2).mean())), 1),
        "mean_rr_ms": round(float(rr.mean()), 1),
        "cosen": round(float(told.cosen[0]), 3),
        "unpredicted_percent": round(100 * float(told.left_over[0]), 1),
        "near_steps_percent": round(100 * float(told.near[0]), 1),
    }


def _told(
    episode: Episode, kind: State, priority: Priority, says: str, at_us: int, person: Person, figures: Figures,
    window: Beats,
) -> Finding:  # fmt: skip
    return Finding(
        rule=RULE,
        version=VERSION,
        metric="rr_interval",
        kind=Kind.PHYSIOLOGICAL,
        priority=priority,
        state=kind,
        opened_us=episode.opened_us,
        raised_us=episode.raised_us,
        changed_us=at_us,
        measured_us=at_us,
        window_start_us=int(window["start_us"][0]) if len(window) else episode.opened_us,
        says=says,
        samples=len(window),
        readings=quoted(window) if kind is not State.CLEARED else (),
        figures=figures,
        individualised=person.profile.individualised,
    )


def _ended(state: IrregularState, person: Person, at_us: int, why: str) -> list[Finding]:
    """Close an open episode for a reason outside the rhythm."""
    episode = state.episode
    if episode is None:
        return []
    says, at_us = f"irregular rhythm suggestive of AF: {why}", max(at_us, state.at_us)
    return [_told(episode, State.CLEARED, _priority(episode), says, at_us, person, {}, NO_BEATS)]


def _burden(state: IrregularState, person: Person) -> list[Finding]:
    """Tell of a day that is over: raised and cleared at once, as nothing of it goes on."""
    percent = 100 * state.day_irregular_s / state.day_s
    says = f"irregular rhythm for {percent:.0f} % of {state.day_s / 3_600:.1f} h analysed in a day"
    figures = {"burden_percent": round(percent, 1), "analysed_h": round(state.day_s / 3_600, 2)}
    told = _told(
        Episode(state.day_from_us, state.at_us),
        State.RAISED,
        Priority.LOW,
        says,
        state.at_us,
        person,
        figures,
        NO_BEATS,
    )
    told = replace(told, rule=BURDEN)
    return [told, replace(told, state=State.CLEARED)]
