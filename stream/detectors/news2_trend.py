"""Vitals that move together, against the hours before: earlier than any of them is far from normal.

A pulse that quickens is a staircase; pulse, breathing and saturation that all get worse at rest are not. Changes of
vital signs add to their values in telling deterioration (Churpek et al. 2016, Resuscitation 102:1,
doi:10.1016/j.resuscitation.2016.02.005). Each step is small, and three at once are rare; what is told is that they
moved, and from where to where. The reference is the median of rested ten minutes in the four hours before, the newest
twenty minutes left aside, and of nothing measured during an episode. Cold start: the first seventy minutes
find nothing (six means of ten minutes, some of the first, and the twenty left aside).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors.news2_chart import PULSE, RESPIRATION, SPO2, TEMPERATURE
from stream.detectors.sustain import NEVER, Code
from vitals.clock import US_PER_S

FOLLOWED: Final = (RESPIRATION, SPO2, PULSE, TEMPERATURE)
_UNITS: Final = ("/min", "%", "/min", "°C")
_CALM, _HOLD, _BREACH = Code.CALM, Code.HOLD, Code.BREACH
SLOT_US: Final = 600 * US_PER_S
_ASIDE: Final = 2
_KEPT: Final = 24
_LEAST: Final = 6


@dataclass(frozen=True, slots=True)
class Steps:
    """By how much a vital sign must have got worse to count; `together` of the four must."""

    respiration_per_min: float = 2.5
    spo2_percent: float = 1.5
    pulse_per_min: float = 8.0
    temperature_cel: float = 0.7
    together: int = 3

    def __post_init__(self) -> None:
        if min(self.respiration_per_min, self.spo2_percent, self.pulse_per_min, self.temperature_cel) <= 0:
            raise ValueError("respiration_per_min, spo2_percent, pulse_per_min and temperature_cel are above 0")
        if not 2 <= self.together <= len(FOLLOWED):
            raise ValueError("together is within 2 to 4")

    @property
    def signed(self) -> tuple[float, ...]:
        """The steps in the order of `FOLLOWED`; saturation gets worse downwards."""
        return self.respiration_per_min, -self.spo2_percent, self.pulse_per_min, self.temperature_cel


Four = tuple[float, float, float, float]
_UNKNOWN: Final[Four] = (nan, nan, nan, nan)
_NOTHING: Final[Four] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Usual:
    """Means of ten minutes at rest, oldest first: `number` (26,) of their slot, `mean` (26, 4), nan where unknown; and
    of the slot that goes on, number `slot`, sums and counts. `reference` follows from the means as of its beginning."""

    number: NDArray[np.int64] = field(default_factory=lambda: np.full(_KEPT + _ASIDE, NEVER))
    mean: NDArray[np.float64] = field(default_factory=lambda: np.full((_KEPT + _ASIDE, len(FOLLOWED)), nan))
    slot: int = NEVER
    sums: tuple[float, ...] = _NOTHING
    counts: tuple[int, ...] = (0, 0, 0, 0)
    reference: tuple[float, ...] = _UNKNOWN


def turned(usual: Usual, at_us: int) -> Usual:
    """Return it as of `at_us`: a slot that is over joins the means, and the reference is made anew."""
    slot = at_us // SLOT_US
    if slot <= usual.slot:
        return usual
    number, mean = usual.number, usual.mean
    if any(usual.counts):
        row = [total / count if count else nan for total, count in zip(usual.sums, usual.counts, strict=True)]
        number, mean = np.append(number[1:], usual.slot), np.vstack((mean[1:], row))
    within = (number < slot - _ASIDE) & (number >= slot - _ASIDE - _KEPT)
    return Usual(number, mean, slot, reference=tuple(_medians(mean[within]).tolist()))


def _medians(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    enough = np.isfinite(mean).sum(axis=0) >= _LEAST
    reference = np.full(len(FOLLOWED), nan)
    if enough.any():
        reference[enough] = np.nanmedian(mean[:, enough], axis=0)
    return reference


def learned(usual: Usual, values: Sequence[float]) -> Usual:
    """Return it with one rested observation of the four (nan where there is none) taken in."""
    known = [not isnan(one) for one in values]
    sums = tuple([total + one if is_in else total for total, one, is_in in zip(usual.sums, values, known, strict=True)])
    counts = tuple([count + is_in for count, is_in in zip(usual.counts, known, strict=True)])
    return Usual(usual.number, usual.mean, usual.slot, sums, counts, usual.reference)


def worsened(usual: Usual, values: Sequence[float], steps: Steps, *, rested: bool) -> tuple[bool, ...]:
    """Tell of each of the four whether it got worse by its step.

    Shortly after exercise pulse and breathing are up anyway: all rests on saturation, whose step then counts twice.
    """
    return tuple(
        (one - before >= step) if step > 0 else (one - before <= (step if rested else 2 * step))
        for one, before, step in zip(values, usual.reference, steps.signed, strict=True)
    )


def code_of(usual: Usual, worse: Sequence[bool], steps: Steps) -> Code:
    """Return what an observation means: one below `together`, or too little known of before, raises and clears not."""
    count = sum(worse)
    if sum(not isnan(one) for one in usual.reference) < steps.together:
        return _HOLD
    return _BREACH if count >= steps.together else _HOLD if count == steps.together - 1 else _CALM


def told(usual: Usual, values: Sequence[float], worse: Sequence[bool]) -> str:
    """Return which moved, from where to where."""
    parts = (
        f"{FOLLOWED[at]} {usual.reference[at]:.{_decimals(at)}f} to {values[at]:.{_decimals(at)}f} {_UNITS[at]}"
        for at, moved in enumerate(worse)
        if moved
    )
    return ", ".join(parts)


def _decimals(at: int) -> int:
    return 1 if FOLLOWED[at] == TEMPERATURE else 0
