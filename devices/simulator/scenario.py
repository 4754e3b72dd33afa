"""What a scenario is: a frozen value that says how a stretch of somebody's time differs from their ordinary days.

Scenarios compose: additions add up, factors multiply, of what displaces everything else the worst holds. So a wearer on
a beta blocker may have a panic attack, and runs a fever with atrial fibrillation in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from devices.simulator.noise import Floats, Ints
from vitals.clock import US_PER_S

if TYPE_CHECKING:
    from devices.simulator.wearer import Wearer

Level = Floats | float


@dataclass(frozen=True, slots=True)
class Effect:
    """How a scenario acts at some moments: an array of their length, or one number for all. The defaults do nothing."""

    activity: Level = 1.0  # factor: how much the wearer moves
    heart_rate_bpm: Level = 0.0
    surge_bpm: Level = 0.0  # a rise that a beta blocker blunts
    surge: Level = 1.0  # factor on every such rise, that of effort too
    respiratory_rate: Level = 0.0
    spo2: Level = 0.0
    variability: Level = 1.0  # factor on RMSSD
    systolic: Level = 0.0
    fever: Level = 0.0  # 0 to 1: how far the temperature is on its way to `fever_c`
    fever_c: Level = 0.0
    low_glucose: Level = 0.0  # 0 to 1: how far glucose is on its way to `glucose`
    glucose: Level = 0.0
    fibrillation: Level = 0.0  # 0 or 1
    irregularity: Level = 0.0  # coefficient of variation of RR while it fibrillates
    ectopy: Level = 0.0  # share of beats that come early
    ill: Level = 0.0  # 0 to 1: how far a deterioration has gone


_FACTORS: Final = frozenset({"activity", "surge", "variability"})
_WORST: Final = frozenset({"fever", "fever_c", "low_glucose", "fibrillation", "irregularity", "ectopy", "ill"})


def together(effects: list[Effect]) -> Effect:
    """Return what several scenarios do at the same moments."""
    if len(effects) == 1:
        return effects[0]
    if not effects:
        return Effect()
    names = (one.name for one in fields(Effect))
    return Effect(**{name: _joined(name, [getattr(effect, name) for effect in effects]) for name in names})


def _joined(name: str, levels: list[Level]) -> Level:
    total = levels[0]
    for level in levels[1:]:
        if name in _FACTORS:
            total = total * level
        elif name in _WORST:
            total = np.maximum(total, level)
        elif name == "glucose":  # the lowest that is aimed at; 0 aims at nothing
            total = np.where((level == 0) | ((total != 0) & (total < level)), total, level)
        else:
            total = total + level
    return total


@dataclass(frozen=True, slots=True)
class NightShift:
    """How a scenario moves nights: hours later to bed and up, and how much more of them is spent awake (share)."""

    bed_h: Level = 0.0
    wake_h: Level = 0.0
    restless: Level = 0.0


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of the truth: what happened from when to when (us UTC), and the figures that say how much of it."""

    kind: str
    start_us: int
    end_us: int
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """The base of all scenarios: acts from `start_us` until `end_us`, and says what it did as episodes."""

    kind: ClassVar[str] = "nothing"
    start_us: int

    @property
    def end_us(self) -> int:
        """When the last of it is over."""
        raise NotImplementedError

    def effect(self, time_us: Ints) -> Effect:
        """Return what it does at these moments; outside [start_us, end_us) that is nothing."""
        raise NotImplementedError

    def effect_on(self, who: Wearer, time_us: Ints) -> Effect:
        """Return what it does to this wearer: to most people the same."""
        del who
        return self.effect(time_us)

    def night(self, noon_us: Ints) -> NightShift:
        """Return how it moves the nights that follow these noons: not at all."""
        del noon_us
        return NightShift()

    def episodes(self, who: Wearer, start_us: int, end_us: int) -> list[Episode]:
        """Return what it did to the wearer between these moments: by default itself, with its figures."""
        del who
        if self.end_us <= start_us or self.start_us >= end_us:
            return []
        figures = {one.name: float(getattr(self, one.name)) for one in fields(self) if one.name != "start_us"}
        return [Episode(self.kind, self.start_us, self.end_us, figures)]


def effect_on(who: Wearer, time_us: Ints) -> Effect:
    """Return what all of the wearer's scenarios do at these moments."""
    if len(time_us) == 0:
        return Effect()
    first, last = int(time_us.min()), int(time_us.max())
    return together(
        [one.effect_on(who, time_us) for one in who.scenarios if one.start_us <= last and first < one.end_us]
    )


def ease(x: Floats) -> Floats:
    """Return x in [0, 1] with a gentle start and end."""
    return x * x * (3.0 - 2.0 * x)


def course(time_us: Ints, start_us: int, rise_s: float, hold_s: float, recover_s: float) -> Floats:
    """Return 0 before `start_us`, 1 after `rise_s` for `hold_s`, and 0 again after `recover_s`."""
    since_s = (time_us - start_us) / US_PER_S
    rise = np.clip(since_s / max(rise_s, 1e-3), 0.0, 1.0)
    fall = np.clip((since_s - rise_s - hold_s) / max(recover_s, 1e-3), 0.0, 1.0)
    return np.minimum(ease(rise), 1.0 - ease(fall))


def within(time_us: Ints, start_us: int, end_us: int) -> Floats:
    """Return 1 within [start_us, end_us) and 0 elsewhere."""
    return ((time_us >= start_us) & (time_us < end_us)).astype(np.float64)


def after(start_us: int, *seconds: float) -> int:
    """Return so many seconds later, in us."""
    return start_us + round(sum(seconds) * US_PER_S)
