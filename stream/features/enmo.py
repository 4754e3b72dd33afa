"""Physical activity from acceleration: the Euclidean Norm Minus One, a number an epoch.

Paper: van Hees et al. 2013, "Separating movement and gravity components in an acceleration signal and implications for
the assessment of human daily physical activity", PLoS ONE 8(4):e61691: the vector's length minus 1 g, negative values
set to 0, averaged over the epoch. In milli-g.

Deviations, and why: no auto-calibration to local gravity (van Hees et al. 2014 needs days of data at rest; an offset of
a few mg stays in the result). Epochs are 5 s of the clock, as in the authors' GGIR, not counted from a recording's
start, so that every worker cuts alike. An epoch that is not full is reported with its number of samples: whoever reads
it decides. Sums are kept in whole micro-g, far below any sensor's noise, so that addition is exact and chunks do not
change the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from stream.features.memory import pack, unpack

_KIND: Final = "enmo/1"
_MICRO: Final = 1_000_000
_US_PER_S: Final = 1_000_000

EPOCH: Final = np.dtype([("start_us", "i8"), ("enmo_mg", "f8"), ("samples", "i8")])
Epochs = NDArray[np.void]
"""A structured array of dtype `EPOCH`: microseconds UTC, milli-g, and how many samples the mean is over."""


@dataclass(frozen=True, slots=True)
class EnmoState:
    """The open epoch: its start in microseconds UTC, the sum of its values in micro-g, how many there are."""

    start_us: int = 0
    sum_ug: int = 0
    samples: int = 0

    def to_bytes(self) -> bytes:
        """Return the state as bytes."""
        return pack(_KIND, open=np.array([self.start_us, self.sum_ug, self.samples], np.int64))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the state that `to_bytes` wrote. Raises `UnreadableState`."""
        return cls(*map(int, unpack(_KIND, data)["open"]))


def enmo(
    state: EnmoState,
    times_us: NDArray[np.int64],
    acceleration: NDArray[np.float64],
    *,
    epoch_us: int = 5 * _US_PER_S,
) -> tuple[EnmoState, Epochs]:
    """Take in `acceleration`, shape (3, n) in g, at `times_us`, shape (n,), increasing, none before the open epoch.

    Return the epochs that are now over: an epoch ends when a sample of a later one arrives.
    """
    if not len(times_us):
        return state, np.empty(0, EPOCH)
    length = np.sqrt(np.sum(acceleration * acceleration, axis=0))
    ug = np.round(np.maximum(length - 1.0, 0.0) * _MICRO).astype(np.int64)
    epoch = times_us - times_us % epoch_us
    starts = np.flatnonzero(np.append(np.True_, epoch[1:] != epoch[:-1]))
    begun, sums = epoch[starts], np.add.reduceat(ug, starts)
    counts = np.diff(np.append(starts, len(ug)))
    if state.samples and begun[0] != state.start_us:
        begun = np.append(state.start_us, begun)
        sums, counts = np.append(state.sum_ug, sums), np.append(state.samples, counts)
    elif state.samples:
        sums[0] += state.sum_ug
        counts[0] += state.samples
    after = EnmoState(int(begun[-1]), int(sums[-1]), int(counts[-1]))
    return after, _epochs(begun[:-1], sums[:-1], counts[:-1])


def flush(state: EnmoState) -> Epochs:
    """Return the open epoch, if there is one: the signal ended."""
    held = [np.array([value], np.int64) for value in (state.start_us, state.sum_ug, state.samples)]
    return _epochs(*held)[: min(state.samples, 1)]


def _epochs(begun: NDArray[np.int64], sums: NDArray[np.int64], counts: NDArray[np.int64]) -> Epochs:
    over = np.empty(len(begun), EPOCH)
    over["start_us"], over["samples"] = begun, counts
    over["enmo_mg"] = sums / np.maximum(counts, 1) / 1_000
    return over
