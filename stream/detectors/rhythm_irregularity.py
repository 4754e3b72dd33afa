"""How irregular a window of RR intervals is, and of which kind: figures of which fibrillation has all.

1. RMSSD over the mean interval above 0.1 (Dash et al. 2009, Ann Biomed Eng 37:1701): a cheap screen that nearly every
   window of sinus rhythm fails and fibrillation passes.
2. The coefficient of sample entropy (COSEn; Lake and Moorman 2011, Am J Physiol Heart 300:H319,
   doi 10.1152/ajpheart.00561.2010): m = 1, tolerance 30 ms, widened until five pairs match.
3. What a linear prediction from the three intervals before leaves over. Bigeminy, trigeminy and breathing (the sinus
   arrhythmia of the young moves RR by a third) are wide and entropic, but each interval follows from those before;
   fibrillation does not, and its spread, about 0.24 of the mean (Tateno and Glass 2001), is left over whole. Across a
   lost beat nothing is predicted: breathing would be out of step there.
4. The same once ectopic pairs are levelled: an early interval and the long one after it are both set to their mean, so
   that a compensatory pause makes up for the early beat. Sinus rhythm with ectopy becomes sinus rhythm again, most
   steps of it small; fibrillation stays what it is. The thought is that of the evidence against ectopy of Sarkar,
   Ritscher and Mehra (2008, IEEE Trans Biomed Eng 55:1219), who count near steps at the origin of the Lorenz plot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_ORDER: Final = 3
_TOLERANCE_MS: Final = 30.0
_MATCHES: Final = 5
_EARLY: Final = 0.88
_PAUSE: Final = 1.2
_NEAR: Final = 0.08
_MOST: Final = 3.0
_FEWEST: Final = 16
"""With fewer intervals to predict, all of them are."""
_AT_ONCE: Final = 64
"""Windows a go: what is pairwise takes N * N numbers each."""


@dataclass(frozen=True, slots=True)
class Irregularity:
    """One number a window, shape (n,): see the module."""

    cosen: Floats
    left_over: Floats  # SD of what is not predicted as a share of the mean interval, levelled or not: the smaller
    predicted: Floats  # share of the variance that is, not levelled
    near: Floats  # share of steps, levelled, below 8 % of the mean interval


def rmssd_share(rr_ms: Floats) -> Floats:
    """Return RMSSD over the mean interval of each window; `rr_ms` has shape (n, N)."""
    steps = rr_ms[:, 1:] - rr_ms[:, :-1]
    share: Floats = np.sqrt(np.einsum("ij,ij->i", steps, steps) / steps.shape[1]) * (rr_ms.shape[1] / rr_ms.sum(axis=1))
    return share


def irregularity(rr_ms: Floats, lost: Flags | None = None) -> Irregularity:
    """Return the figures of each window; `rr_ms` has shape (n, N), N well above 5, and so has `lost`: a beat before
    this one is missing."""
    lost = np.zeros(rr_ms.shape, np.bool_) if lost is None else lost
    parts = [_some(rr_ms[at : at + _AT_ONCE], lost[at : at + _AT_ONCE]) for at in range(0, len(rr_ms), _AT_ONCE)]
    columns = zip(*parts, strict=True) if parts else ((np.zeros(0),),) * 4
    return Irregularity(*(np.concatenate(column) for column in columns))


def _some(rr: Floats, lost: Flags) -> tuple[Floats, Floats, Floats, Floats]:
    mean = rr.mean(axis=1)
    known = ~(lost[:, _ORDER:] | lost[:, _ORDER - 1 : -1] | lost[:, _ORDER - 2 : -2])
    known |= (known.sum(axis=1) < _FEWEST)[:, None]
    left, predicted = _prediction(rr, mean, known)
    level, whole = levelled(rr), ~lost[:, 1:]
    near = ((np.abs(np.diff(level, axis=1)) < _NEAR * mean[:, None]) & whole).sum(axis=1)
    near_share = near / np.maximum(whole.sum(axis=1), 1)
    return _cosen(rr, mean), np.minimum(left, _prediction(level, mean, known)[0]), predicted, near_share


def levelled(rr_ms: Floats) -> Floats:
    """Return the windows with each early interval and the pause after it set to their mean; shape as given."""
    before, after = rr_ms[:, :-1], rr_ms[:, 1:]
    early = (before <= _EARLY * np.median(rr_ms, axis=1, keepdims=True)) & (after >= _PAUSE * before)
    level, mean = rr_ms.copy(), (before + after) / 2
    level[:, :-1][early] = mean[early]
    level[:, 1:][early] = mean[early]
    return level


def _cosen(rr: Floats, mean: Floats) -> Floats:
    """Return the coefficient of sample entropy; each pair counts once."""
    row, column = np.triu_indices(rr.shape[1] - 1, 1)
    one = np.abs(rr[:, row] - rr[:, column])  # distances of intervals that have a successor
    two = np.maximum(one, np.abs(rr[:, row + 1] - rr[:, column + 1]))  # and of pairs
    tolerance = np.maximum(np.partition(two, _MATCHES - 1, axis=1)[:, _MATCHES - 1], _TOLERANCE_MS)
    near, both = (one <= tolerance[:, None]).sum(axis=1), (two <= tolerance[:, None]).sum(axis=1)
    entropy: Floats = np.log(near / both) + np.log(2.0 * tolerance / mean)
    return entropy


def _prediction(rr: Floats, mean: Floats, known: Flags) -> tuple[Floats, Floats]:
    """Return what least squares from the last three intervals leaves over and what it explains; outliers cut off.

    `known`, shape (n, N - 3), tells which intervals are looked at.
    """
    y = rr - np.median(rr, axis=1, keepdims=True)
    # A missed beat, or a beat found twice, must not be all that there is to explain.
    most = _MOST * (1.4826 * np.median(np.abs(y), axis=1) + 0.01 * mean)[:, None]
    y = np.clip(y, -most, most)
    target, power = y[:, _ORDER:] * known, np.einsum("ij,ij->i", y, y)
    before = np.stack([y[:, _ORDER - lag : y.shape[1] - lag] for lag in range(1, _ORDER + 1)], axis=2)
    before *= known[:, :, None]
    gram = np.einsum("nik,nil->nkl", before, before) + (1e-3 * power + 1e-9)[:, None, None] * np.eye(_ORDER)
    weights = np.linalg.solve(gram, np.einsum("nik,ni->nk", before, target)[:, :, None])
    rest = target - (before @ weights)[:, :, 0]
    left = np.einsum("ij,ij->i", rest, rest)
    explained: Floats = 1.0 - left / (np.einsum("ij,ij->i", target, target) + 1e-9)
    return np.sqrt(left / known.sum(axis=1)) / mean, explained
