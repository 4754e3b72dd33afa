"""Artefacts of an RR series, found and corrected after Lipponen and Tarvainen.

J. A. Lipponen and M. P. Tarvainen, "A robust algorithm for heart rate variability time series artefact correction using
novel beat classification", J Med Eng Technol 43(3), 2019, doi 10.1080/03091902.2019.1640306. Differences of successive
intervals (dRR) and deviations from the median of 11 (mRR) are measured in units of thresholds that follow the series:
5.2 quartile deviations of the 91 beats around. What is early or late and made up for is ectopic; what is too long or
too short is a missed or an extra beat if doubling or halving explains it.

Here the quartile deviation is that of the signed differences: only then does 5.2 of them hold 99.95 % of a normal
series, as the paper says. It has a floor, or a very even heart would be all artefacts. An ectopic beat spoils the
interval before it and the one after; both are replaced. Of an interval that an extra beat cut in two, the short half
may be the second; it is joined to the neighbour that makes the better whole. Never for AF detection: it takes AF away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, rank_filter

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ALPHA: Final = 5.2
AROUND: Final = 91
MEDIAN_OF: Final = 11
_QUARTILES: Final = (22, 68)
"""Ranks of the quartiles among 91."""
_SLOPE, _OFFSET = 0.13, 0.17
"""c1 and c2 of the paper: the border of ectopic beats."""
_FAR: Final = 3.0
FLOOR_MS: Final = 10.0
"""The least threshold: RR from a strap comes in steps of 1/1024 s, and a difference below this is no artefact."""


@dataclass(frozen=True, slots=True)
class Artefacts:
    """Masks over intervals, each of shape (n,): none is of two kinds."""

    ectopic: Mask  # the interval after an early or late beat; the one before it is spoiled as well
    missed: Mask  # holds two beats' time
    extra: Mask  # makes up one interval with the next
    long_or_short: Mask

    @property
    def beats(self) -> int:
        """How many beats are artefacts."""
        return int(sum(one.sum() for one in (self.ectopic, self.missed, self.extra, self.long_or_short)))


@dataclass(frozen=True, slots=True)
class Corrected:
    """A corrected series: `rr_ms` of shape (m,), `joined` as given, and which intervals are `measured`, not made up."""

    rr_ms: Floats
    joined: Mask
    measured: Mask
    beats_corrected: int


def classify(rr_ms: Floats, joined: Mask) -> Artefacts:
    """Return what of a series (ms, shape (n,), n >= 3) is no sinus beat; `joined`: follows the one before, no hole."""
    change = np.diff(rr_ms, prepend=rr_ms[:1])
    change[~joined] = 0.0
    change /= _threshold(change)
    big = np.abs(change) > 1.0
    if not big.any():
        return Artefacts(big, big, big, big)
    median = median_filter(rr_ms, MEDIAN_OF, mode="nearest")
    deviation = rr_ms - median
    deviation[deviation < 0] *= 2.0
    limit = _threshold(deviation)
    ectopic = _ectopic(change)
    candidate = big | _after(big & (np.abs(_shifted(change, 1)) < np.abs(_shifted(change, 2))))
    candidate &= ~(ectopic | _before(ectopic) | _after(ectopic))
    long, short = _lengths(change, candidate)
    missed = long & (np.abs(rr_ms / 2.0 - median) < limit)
    extra = _extra(rr_ms, median, short & (np.abs(rr_ms + _shifted(rr_ms, 1) - median) < limit))
    missed &= ~_after(extra)
    far = candidate & (np.abs(deviation) > _FAR * limit)
    return Artefacts(ectopic, missed, extra, (long | short | far) & ~(missed | extra | _after(extra)))


def _ectopic(change: Floats) -> Mask:
    before, after = _shifted(change, -1), _shifted(change, 1)
    up = (change > 1.0) & (np.maximum(before, after) < -_SLOPE * change - _OFFSET)
    down = (change < -1.0) & (np.minimum(before, after) > -_SLOPE * change + _OFFSET)
    return up | down


def _lengths(change: Floats, candidate: Mask) -> tuple[Mask, Mask]:
    """Return which candidates are too long and which too short for their neighbours."""
    one, two = _shifted(change, 1), _shifted(change, 2)
    long = candidate & (change > 1.0) & (np.minimum(one, two) < -1.0)
    short = candidate & (change < -1.0) & (np.maximum(one, two) > 1.0)
    return long, short


def _extra(rr_ms: Floats, median: Floats, short: Mask) -> Mask:
    """Return the first half of each interval that an extra beat cut in two, given the half that is too short."""
    with_next = np.abs(rr_ms + _shifted(rr_ms, 1) - median)
    with_last = np.abs(rr_ms + _shifted(rr_ms, -1) - median)
    second = short & (with_last < with_next)
    second[0] = False
    first = (short & ~second) | _before(second)
    first &= ~_after(first)
    first[-1] = False
    return first


def correct(rr_ms: Floats, joined: Mask) -> Corrected:
    """Return the series with missed beats put in, extra ones taken out, and the others' intervals interpolated."""
    found = classify(rr_ms, joined)
    if not found.beats:
        return Corrected(rr_ms, joined, np.ones(len(rr_ms), np.bool_), 0)
    # An ectopic beat after a hole has no interval before it.
    made_up = found.ectopic | _before(found.ectopic & joined) | found.long_or_short
    sure = np.flatnonzero(~(made_up | found.missed | found.extra | _after(found.extra)))
    rr = rr_ms.copy()
    if len(sure):
        rr[made_up] = np.interp(np.flatnonzero(made_up), sure, rr_ms[sure])
    rr[found.missed] /= 2.0
    split = np.flatnonzero(found.extra)
    rr[split] += rr[split + 1]
    keep = np.ones(len(rr), np.bool_)
    keep[split + 1] = False
    times = np.where(found.missed, 2, 1)[keep]
    joined_now = np.repeat(joined[keep], times)
    joined_now[np.cumsum(times)[times == 2] - 1] = True
    # Two halves of a missed beat's interval are equal: that is not a measurement of how they differ.
    measured = np.repeat((~(made_up | found.missed))[keep], times)
    return Corrected(np.repeat(rr[keep], times), joined_now, measured, found.beats)


def _threshold(series: Floats) -> Floats:
    low, high = (rank_filter(series, rank, size=AROUND, mode="reflect") for rank in _QUARTILES)
    limit: Floats = np.maximum(ALPHA / 2.0 * (high - low), FLOOR_MS)
    return limit


def _shifted(series: Floats, by: int) -> Floats:
    """Return the series `by` places on, 0 beyond its ends."""
    moved = np.zeros_like(series)
    if by > 0:
        moved[:-by] = series[by:]
    else:
        moved[-by:] = series[:by]
    return moved


def _after(mask: Mask) -> Mask:
    moved = np.zeros_like(mask)
    moved[1:] = mask[:-1]
    return moved


def _before(mask: Mask) -> Mask:
    moved = np.zeros_like(mask)
    moved[:-1] = mask[1:]
    return moved
