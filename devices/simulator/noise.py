"""Randomness as a function of (seed, channel, index), so that any piece of a series can be made without the rest.

A generator with a state would give another series when the time axis is cut elsewhere; a hash does not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MASK: Final = (1 << 64) - 1


def uniform(seed: int, channel: int, index: Ints) -> Floats:
    """Return one number in [0, 1) for each index (SplitMix64's finaliser; Steele, Lea and Flood 2014)."""
    origin = np.uint64((seed * 0xD1342543DE82EF95 + channel * 0x2545F4914F6CDD1D) & _MASK)
    z = index.astype(np.uint64) * _GOLDEN + origin
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 0xD6E8FEB86659FD93)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    z ^= z >> np.uint64(32)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed: int, channel: int, index: Ints) -> Floats:
    """Return one standard normal number for each index (Box and Muller 1958)."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(seed, channel, 2 * index)))
    return radius * np.cos(2.0 * np.pi * uniform(seed, channel, 2 * index + 1))


def smooth(seed: int, channel: int, time_us: Ints, scale_us: int) -> Floats:
    """Return a wandering of unit variance that forgets itself over `scale_us`, one number for each time."""
    index, within = np.divmod(time_us, scale_us)
    w = within / scale_us
    w = w * w * (3.0 - 2.0 * w)
    mixed = normal(seed, channel, index) * (1.0 - w) + normal(seed, channel, index + 1) * w
    return mixed / np.sqrt((1.0 - w) ** 2 + w**2)
