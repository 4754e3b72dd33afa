"""Heart-rate surges without motion: a fast, lasting rise above the own rate at rest, while nothing says why.

A rise of at least 25 /min, and four of the own standard deviations, above the median of ten minutes before, reached
within three minutes and held for two and a half, without motion and awake since three minutes before that (8.5 min
in all), without elevated temperature. Heart rates out of proportion to activity, and apart from those around them, are
what Taylor et al. 1986 (Am J Psychiatry 143:478, doi:10.1176/ajp.143.4.478) found in 19 of 33 attacks that people
reported; the thresholds are Vigil's own. Effort is told from it by motion alone: where nothing tells of motion this
rule says nothing. It names what is seen and no cause: fright, a fast rhythm, low glucose and coffee look the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.no_longer import no_longer
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.slots import Slots
from stream.detectors.surge_slots import (
    BEFORE,
    COLUMNS,
    COUNT,
    HEART,
    HELD,
    LATE,
    RATE,
    SLOT_US,
    SPAN,
    TELLING,
    TEMPERATURE,
    Around,
    Since,
    all_excused,
    around,
    counted,
    unjudged,
)
from vitals.care_profile import CareProfile
from vitals.clock import US_PER_S

RULE: Final = "heart_rate_surge"
_MINUTE_SLOTS: Final = 4


@dataclass(frozen=True, slots=True)
class SurgePolicy:
    """`rise_bpm` counts, or `limited_rise_bpm` under a drug that limits the rate, if it is `min_z` robust standard
    deviations (of 2 /min at least) too. Over below half the rise for a minute, when motion begins, or after
    `longest_s`. Motion must be known for `min_told` of the heart rates."""

    rise_bpm: float = 25.0
    limited_rise_bpm: float = 18.0
    min_z: float = 4.0
    fever_cel: float = 38.0
    fever_s: float = 6 * 3_600.0
    longest_s: float = 3_600.0
    min_told: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.limited_rise_bpm <= self.rise_bpm:
            raise ValueError("limited_rise_bpm is above 0 and at most rise_bpm")
        if not 0 < self.min_told <= 1:
            raise ValueError("min_told lies within 0 to 1")
        if min(self.min_z, self.fever_s) < 0 or self.longest_s <= 0:
            raise ValueError("min_z and fever_s are not negative, longest_s is above 0")


@dataclass(frozen=True, slots=True)
class Open:
    """A surge that goes on: since when, above what, by how much at least, and how high it went."""

    opened_us: int
    raised_us: int
    before_bpm: float
    rise_bpm: float
    peak_bpm: float


@dataclass(frozen=True, slots=True)
class SurgeState:
    """The last quarter of an hour, when motion and elevated temperature were last told, and what is open."""

    slots: Slots
    since: Since
    open: Open | None = None


@dataclass(frozen=True, slots=True)
class Surge:
    """Surges at one origin that tells heart rate every 15 s or oftener and knows of motion; nothing of children."""

    policy: SurgePolicy = field(default_factory=SurgePolicy)

    name: ClassVar[str] = "surge"
    metrics: ClassVar[frozenset[int]] = frozenset({HEART, TEMPERATURE, *TELLING})
    max_bytes: ClassVar[int] = 8_000
    per_patient: ClassVar[bool] = False

    def fresh(self) -> SurgeState:
        """Return the state of somebody never seen."""
        return SurgeState(Slots.none(COLUMNS), Since())

    def step(
        self, state: SurgeState, seen: Observations, until_us: int, person: Person
    ) -> tuple[SurgeState, list[Finding]]:
        """Take in `seen`; a quarter minute is judged when a heart rate after it has come. Raises nothing."""
        if person.profile.is_child:
            return self.fresh(), _no_longer(state.open, until_us)
        since, number, rows = counted(state.since, seen, self.policy.fever_cel, round(self.policy.fever_s * US_PER_S))
        slots = state.slots.add(number, rows)
        now = unjudged(slots)
        if now is None:
            return SurgeState(_kept(slots, now), since, state.open), []
        before = unjudged(state.slots)
        first = 0 if before is None else int(slots.number.searchsorted(before))
        rise = self._rise(person.profile)
        opened, found = state.open, list[Finding]()
        if opened is not None or (_might(slots, first, rise) and not all_excused(slots, first)):
            opened, found = self._judge(opened, around(slots, first, int(slots.number.searchsorted(now))), rise)
        return SurgeState(_kept(slots, now), since, opened), found

    def _rise(self, profile: CareProfile) -> float:
        return self.policy.limited_rise_bpm if profile.rate_limiting_drug else self.policy.rise_bpm

    def _judge(self, opened: Open | None, seen: Around, rise: float) -> tuple[Open | None, list[Finding]]:
        found = list[Finding]()
        hits = self._hits(seen, rise)
        at, end = 0, len(seen.end_us)
        while at < end:
            if opened is None:
                more = np.flatnonzero(hits[at:])
                if not len(more):
                    break
                at += int(more[0])
                opened = _opened(seen, at, rise)
                found.append(_raised(opened, seen, at))
                at += 1
                continue
            over = self._over(opened, seen, at)
            last = at + int(over.argmax()) if over.any() else end - 1
            opened = replace(
                opened, peak_bpm=max(opened.peak_bpm, float(np.nan_to_num(seen.bpm[at : last + 1, -1]).max()))
            )
            if over.any():
                found.append(_cleared(opened, seen, last))
                opened = None
            at = last + 1
        return opened, found

    def _hits(self, seen: Around, rise: float) -> NDArray[np.bool_]:
        """Tell at which ends of quarter minutes a surge has held for long enough."""
        hits = seen.full & ~seen.excused & (seen.told >= self.policy.min_told)
        which = np.flatnonzero(hits)
        if not len(which):
            return hits
        bpm = seen.bpm[which]
        held, before = bpm[:, -HELD:], bpm[:, :BEFORE]
        level, usual = np.nanmedian(held, axis=1), np.nanmedian(before, axis=1)
        scale = 1.4826 * np.nanmedian(np.abs(before - usual[:, None]), axis=1)
        far = np.maximum(rise, self.policy.min_z * np.maximum(scale, 2.0))
        half = usual + rise / 2
        begun = np.nan_to_num(before[:, -_MINUTE_SLOTS:], nan=0.0).max(axis=1)
        hits[which] = (level >= usual + far) & (np.nanmin(held, axis=1) >= half) & (begun < half)
        hits[which] &= scale > 0  # a heart is never quite even, a watch on a table is
        return hits

    def _over(self, opened: Open, seen: Around, at: int) -> NDArray[np.bool_]:
        last = seen.bpm[at:, -_MINUTE_SLOTS:]
        known = ~np.isnan(last)
        mean = np.where(known, last, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        calm = (known.sum(axis=1) >= 2) & (mean < opened.before_bpm + opened.rise_bpm / 2)
        late = seen.end_us[at:] - opened.raised_us >= round(self.policy.longest_s * US_PER_S)
        over: NDArray[np.bool_] = known[:, -1] & (calm | late | seen.moving[at:])
        return over


def _no_longer(opened: Open | None, until_us: int) -> list[Finding]:
    if opened is None:
        return []
    return no_longer(RULE, "heart_rate", "heart-rate surge", opened.opened_us, opened.raised_us, until_us)


def _kept(slots: Slots, unjudged: int | None) -> Slots:
    """Return what later heart rates may need, those that come some minutes late too."""
    if not len(slots):
        return slots
    last = int(slots.number[-1])
    return slots.since(max(last - SPAN - LATE, (last if unjudged is None else unjudged) - SPAN))


def _might(slots: Slots, first: int, rise: float) -> bool:
    """Tell whether a surge may hold at a quarter minute from `first` on: nearly never."""
    count, rate = slots.sums[:, COUNT], slots.sums[:, RATE]
    if len(count) <= HELD:
        return False
    known = count.astype(np.bool_)
    bpm = rate / count / 10 if np.count_nonzero(known) == len(known) else rate[known] / count[known] / 10
    if len(bpm) <= HELD:
        return False
    return bool(np.maximum.reduce(bpm[first - len(slots) - HELD :]) - np.minimum.reduce(bpm) >= rise)


def _opened(seen: Around, at: int, rise: float) -> Open:
    before, held = seen.bpm[at, :BEFORE], seen.bpm[at, -HELD:]
    end_us = int(seen.end_us[at])
    opened_us = end_us - HELD * SLOT_US
    return Open(opened_us, end_us, round(float(np.nanmedian(before)), 1), rise, float(np.nanmax(held)))


def _raised(opened: Open, seen: Around, at: int) -> Finding:
    level = round(float(np.nanmedian(seen.bpm[at, -HELD:])), 1)
    rise = level - opened.before_bpm
    says = (
        f"heart-rate surge without motion, {rise:.0f} /min above the {opened.before_bpm:.0f} /min of the ten minutes "
        f"before, last {seen.bpm[at, -1]:.0f} /min"
    )
    return _finding(State.RAISED, opened, seen, at, says)


def _cleared(opened: Open, seen: Around, at: int) -> Finding:
    minutes = (int(seen.end_us[at]) - opened.opened_us) / (60 * US_PER_S)
    if seen.moving[at]:
        why = "motion has begun"
    elif seen.bpm[at, -1] < opened.before_bpm + opened.rise_bpm / 2:
        why = "heart rate has come down"
    else:
        why = "heart rate has stayed up"
    says = f"heart-rate surge without motion over after {minutes:.0f} min, {why}, last {seen.bpm[at, -1]:.0f} /min"
    return _finding(State.CLEARED, opened, seen, at, says)


def _finding(state: State, opened: Open, seen: Around, at: int, says: str) -> Finding:
    end_us = int(seen.end_us[at])
    figures: dict[str, float | str] = {
        "before_bpm": opened.before_bpm,
        "peak_bpm": round(opened.peak_bpm, 1),
        "rise_bpm": round(opened.peak_bpm - opened.before_bpm, 1),
        "lasted_s": round((end_us - opened.opened_us) / US_PER_S, 1),
        "motion_known_share": round(float(seen.told[at]), 2),
    }
    readings = seen.readings(at)
    return Finding(
        RULE, 1, "heart_rate", Kind.PHYSIOLOGICAL, Priority.LOW, state,
        opened.opened_us, opened.raised_us, end_us, readings[-1][0], opened.opened_us, says,
        len(readings), readings, opened.before_bpm + opened.rise_bpm, figures, max_age_s=3_600.0,
    )  # fmt: skip
