"""What motion keeps from being judged for hours: a tremor, or a phone that stands still in "workout", must be seen.

At rest a fast heart is told within a minute or two; while its wearer moves it is not judged, and rightly so. But motion
that never ends is no effort. When heart rate lay above its limit for `after_s` and motion kept it from being judged all
the while, that is told; so is motion without a break for `whatever_after_s`, whatever the heart did: nobody walks for
twelve hours, and irregular rhythm, breathing and surges are not judged either meanwhile. Times are Vigil's own. Low,
for the digest: a marathon is told as well. It judges nothing itself, and ends after 15 min that are judged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.no_longer import sustained_no_longer
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.slots import first_of_each, trusted
from stream.detectors.sustain import NEVER, Sustained, Timing, Transition, Window, codes_of, follow
from vitals.care_profile import CareProfile
from vitals.catalogue import number_of
from vitals.clock import US_PER_S
from vitals.quality import Context

FAST: Final = "fast_heart_not_judged"
MOVING: Final = "motion_without_end"
_HEART: Final = number_of("heart_rate")
_MOTION: Final = int(Context.MOTION_ACTIVE | Context.WORKOUT)
_SLOT_US: Final = 15 * US_PER_S
_CLEAR_S: Final = 900.0
_MOST_GAP_S: Final = 1_800.0


@dataclass(frozen=True, slots=True)
class UnjudgedPolicy:
    """Told after `after_s` in motion with a heart rate above `high_bpm` (or the profile's own limit), or after
    `whatever_after_s` of motion, in `min_share` of the samples; `hold_bpm` below the limit breaks nothing off."""

    after_s: float = 7_200.0
    whatever_after_s: float = 43_200.0
    high_bpm: float = 130.0
    hold_bpm: float = 10.0
    min_share: float = 0.8

    def __post_init__(self) -> None:
        if not 600 <= self.after_s <= self.whatever_after_s:
            raise ValueError("after_s is at least 600, and at most whatever_after_s")
        if not 60 <= self.high_bpm <= 250 or self.hold_bpm < 0:
            raise ValueError("high_bpm lies within 60 to 250, and hold_bpm is not negative")
        if not 0 < self.min_share <= 1:
            raise ValueError("min_share lies within 0 to 1")

    def timing(self, delay_s: float) -> Timing:
        """Return the timing of a rule that tells after so long."""
        return _timing(delay_s, self.min_share)


@lru_cache(maxsize=16)
def _timing(delay_s: float, min_share: float) -> Timing:
    return Timing(delay_s, 8, _CLEAR_S, 3, _MOST_GAP_S, min_share)


@dataclass(frozen=True, slots=True)
class UnjudgedState:
    """Where the two rules stand; at most a sample in 15 s is looked at, the last at `last_us`."""

    fast: Sustained = field(default_factory=Sustained)
    moving: Sustained = field(default_factory=Sustained)
    last_us: int = NEVER


@dataclass(frozen=True, slots=True)
class Unjudged:
    """The detector; see the module. A child has the first rule by a limit of their own alone, as the limits do."""

    policy: UnjudgedPolicy = field(default_factory=UnjudgedPolicy)

    name: ClassVar[str] = "unjudged"
    metrics: ClassVar[frozenset[int]] = frozenset({_HEART})
    max_bytes: ClassVar[int] = 3_600
    per_patient: ClassVar[bool] = False

    def fresh(self) -> UnjudgedState:
        """Return the state of somebody never seen."""
        return UnjudgedState()

    def step(
        self, state: UnjudgedState, seen: Observations, until_us: int, person: Person
    ) -> tuple[UnjudgedState, list[Finding]]:
        """Take in `seen`. Raises nothing."""
        told, limit = trusted(seen, _HEART), self._limit(person.profile)
        fast, found = state.fast, list[Finding]()
        if limit is None and not fast.is_quiet:
            what = "fast heart not judged"
            fast, found = Sustained(), sustained_no_longer(FAST, "heart_rate", what, fast, until_us)
        if told is None:
            return UnjudgedState(fast, state.moving, state.last_us), found
        moved = (told.context & _MOTION) != 0
        if fast.is_quiet and state.moving.is_quiet and not np.count_nonzero(moved):
            return UnjudgedState(fast, state.moving, int(told.end_us[-1])), found  # nearly always
        first = first_of_each(told.end_us, _SLOT_US, state.last_us)
        if not first.any():
            return UnjudgedState(fast, state.moving, state.last_us), found
        ends, value, moved = told.end_us[first], told.value[first], moved[first]
        quality = told.quality[first]
        own = person.profile.individualised
        if limit is not None:
            if fast.is_quiet and not np.count_nonzero(moved & (value > limit)):  # nearly always
                fast = Sustained(max(fast.at_us, int(ends[-1])))
            else:
                window = Window(ends, _fast_codes(value, moved, limit, self.policy.hold_bpm), value, quality)
                fast, changes = follow(fast, self.policy.timing(self.policy.after_s), window)
                found += [_finding(FAST, one, limit, own) for one in changes]
        codes = codes_of(moved, ~moved)
        timing = self.policy.timing(self.policy.whatever_after_s)
        moving, changes = follow(state.moving, timing, Window(ends, codes, value, quality))
        found += [_finding(MOVING, one, None, own) for one in changes]
        return UnjudgedState(fast, moving, int(ends[-1])), sorted(found, key=lambda one: one.changed_us)

    def _limit(self, profile: CareProfile) -> float | None:
        own = profile.limit("heart_rate", asleep=False).high
        return own if own is not None else None if profile.is_child else self.policy.high_bpm


def _fast_codes(
    value: NDArray[np.float64], moved: NDArray[np.bool_], limit: float, hold_bpm: float
) -> NDArray[np.int8]:
    """Return what each rate means: above the limit at rest it is the limits' matter once somebody has recovered."""
    near = value > limit - hold_bpm
    return codes_of(near & moved & (value > limit), ~near)


def _finding(rule: str, told: Transition, limit: float | None, own: bool) -> Finding:
    last_us, last, _ = told.run.readings[-1]
    hours = round((told.at_us - told.opened_us) / (3_600 * US_PER_S), 1)
    what = "heart rate" if limit is None else f"heart rate above {limit:g} /min"
    says = f"{what} not judged for {hours:g} h: in motion all the while, last {last:g} /min"
    if told.cleared:
        says = f"{what} is judged again, after {hours:g} h in motion, last {last:g} /min"
        if limit is not None:
            says = f"heart rate no longer above {limit:g} /min in motion, after {hours:g} h, last {last:g} /min"
    return Finding(
        rule, 1, "heart_rate", Kind.PHYSIOLOGICAL, Priority.LOW, State.CLEARED if told.cleared else State.RAISED,
        told.opened_us, told.raised_us, told.at_us, last_us, told.run.since_us, says, told.run.seen,
        told.run.readings, limit, {"duration_h": hours, "last_bpm": round(last, 1)}, individualised=own,
        max_age_s=4 * 3_600.0,
    )  # fmt: skip
