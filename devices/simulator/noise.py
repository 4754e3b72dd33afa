"""Randomness as a function of (seed, channel, index), so that any piece of a series can be made without the rest.

A generator with a state would give another series when the time axis is cut elsewhere; a hash does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MASK: Final = (1 << 64) - 1
_LEVELS: Final = 1 << 16
_QUANTILES: Final[Floats] = ndtri((np.arange(_LEVELS) + 0.5) / _LEVELS)
"""The normal distribution in 65,536 steps of one probability: a look-up is several times as fast as computing one."""
_SPARSE: Final = 4
"""With more knots than so many times the moments, only the knots that are needed are drawn."""


def hashed(seed: int, channel: int, index: Ints) -> NDArray[np.uint64]:
    """Return 64 random bits for each index (SplitMix64's finaliser; Steele, Lea and Flood 2014)."""
    origin = np.uint64((seed * 0xD1342543DE82EF95 + channel * 0x2545F4914F6CDD1D) & _MASK)
    z = index.astype(np.uint64)
    z *= _GOLDEN
    z += origin
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 0xD6E8FEB86659FD93)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(32)
    return z


def uniform(seed: int, channel: int, index: Ints) -> Floats:
    """Return one number in [0, 1) for each index."""
    return (hashed(seed, channel, index) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed: int, channel: int, index: Ints) -> Floats:
    """Return one standard normal number for each index; none lies beyond 4.33 standard deviations."""
    drawn: Floats = _QUANTILES[(hashed(seed, channel, index) >> np.uint64(48)).astype(np.intp)]
    return drawn


def knots_of(time_us: Ints, scale_us: int) -> tuple[Ints, NDArray[np.intp], Floats]:
    """Return (knots, where, share): the moments lie between `knots[where]` and the one after it, so far along.

    Knots are numbers of multiples of `scale_us`, ascending, with a successor for every one that is referred to.
    """
    number, within = np.divmod(time_us, scale_us)
    share = within / scale_us
    if len(number) == 0:
        return np.zeros(0, np.int64), number, share
    low, high = int(number.min()), int(number.max())
    if high - low + 2 <= _SPARSE * len(number) + 64:
        return np.arange(low, high + 2, dtype=np.int64), number - low, share
    knots = np.unique(np.concatenate((number, number + 1)))
    return knots, np.searchsorted(knots, number), share


def smooth(seed: int, channel: int, time_us: Ints, scale_us: int) -> Floats:
    """Return a wandering of unit variance that forgets itself over `scale_us`, one number for each time."""
    knots, where, w = knots_of(time_us, scale_us)
    drawn = normal(seed, channel, knots)
    w = w * w * (3.0 - 2.0 * w)
    mixed = drawn[where] * (1.0 - w) + drawn[where + 1] * w
    wandering: Floats = mixed / np.sqrt((1.0 - w) ** 2 + w**2)
    return wandering


def wander(seed: int, channel: int, time_us: Ints, parts: Sequence[tuple[int, float]]) -> Floats:
    """Return the sum of wanderings, each given as (scale in us, standard deviation); uses a channel for each."""
    total = np.zeros(len(time_us))
    for offset, (scale_us, sd) in enumerate(parts):
        total += sd * smooth(seed, channel + offset, time_us, scale_us)
    return total


def choose(seed: int, channel: int, index: Ints, share: float) -> NDArray[np.bool_]:
    """Return which indices a share of all falls on."""
    return uniform(seed, channel, index) < share
