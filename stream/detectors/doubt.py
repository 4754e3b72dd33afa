"""What came of a vital sign since its last trustworthy sample and could not be trusted: since when, and what it says.

Of who was never trustworthy no cadence is known, so what comes tells its own: it lasted when it came for the least
time, or for ten of its longest gaps if those are short, for three if they are long. A value that stays exactly the same
is kept, so that a person can judge it: a flutter can be 150 /min for hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors.sustain import NEVER
from vitals.clock import US_PER_S

_SAME_US: Final = 600 * US_PER_S


@dataclass(frozen=True, slots=True)
class Doubt:
    """Samples since the last trustworthy one: the ends (us UTC, `NEVER` without any) of the first and the newest, the
    longest gap between two, and of the first one's metric the newest value and since when it is exactly that."""

    since_us: int = NEVER
    newest_us: int = NEVER
    longest_us: int = 0
    metric: int = 0
    value: float = 0.0
    value_us: int = NEVER

    @property
    def same_s(self) -> float:
        """For how long the value has been exactly the same, in seconds; 0 where that is not worth a word."""
        same_us = self.newest_us - self.value_us if self.metric else 0
        return same_us / US_PER_S if same_us >= _SAME_US else 0.0


NONE: Final = Doubt()


def go_on(doubt: Doubt, end_us: NDArray[np.int64], metric: NDArray[np.int16], value: NDArray[np.float64]) -> Doubt:
    """Take in samples that cannot be trusted, in the order of their ends; shape (n,)."""
    if not len(end_us):
        return doubt
    longest_us = int(_longest(doubt, end_us)[-1])
    which = doubt.metric or int(metric[0])
    own, at_us = value[metric == which], end_us[metric == which]
    told, told_us = doubt.value, doubt.value_us
    if len(own):
        other = np.flatnonzero(own != own[-1])
        if len(other):
            told_us = int(at_us[other[-1] + 1])
        elif not doubt.metric or told != own[-1]:
            told_us = int(at_us[0])
        told = float(own[-1])
    since_us = int(end_us[0]) if doubt.since_us == NEVER else doubt.since_us
    return Doubt(since_us, max(doubt.newest_us, int(end_us[-1])), longest_us, which, told, told_us)


def lasted(doubt: Doubt, end_us: NDArray[np.int64], least_s: float) -> int | None:
    """Return the place of the first of more such samples at which they came for long enough; None: not yet."""
    if not len(end_us):
        return None
    since_us = int(end_us[0]) if doubt.since_us == NEVER else doubt.since_us
    gap_s = _longest(doubt, end_us) / US_PER_S
    needed_s = np.maximum(least_s, np.minimum(10 * gap_s, np.maximum(3_000.0, 3 * gap_s)))
    long_enough = np.flatnonzero((end_us - since_us) / US_PER_S >= needed_s)
    return int(long_enough[0]) if len(long_enough) else None


def _longest(doubt: Doubt, end_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the longest gap up to each sample."""
    before_us = int(end_us[0]) if doubt.newest_us == NEVER else doubt.newest_us
    gaps = np.diff(end_us, prepend=min(before_us, int(end_us[0])))
    gaps[0] = max(int(gaps[0]), doubt.longest_us)
    longest: NDArray[np.int64] = np.maximum.accumulate(gaps)
    return longest
