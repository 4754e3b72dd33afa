"""Rhythms made up beat by beat, RR in ms: what the simulator has not (bigeminy, flutter, RSA of the young, bad beats).

Figures are those that textbooks and papers give; no tuning of a detector may rest on one seed of these alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

Rr = NDArray[np.float64]
Rng = np.random.Generator


def sinus(
    rng: Rng, beats: int, mean_ms: float = 850.0, rsa_ms: float = 30.0, breaths_per_min: float = 15.0,
    wander: float = 0.05, jitter_ms: float = 8.0,
) -> Rr:  # fmt: skip
    """Breathing of an uneven pace and depth (`rsa_ms` its amplitude), a slow wander, and a little white jitter."""
    slow = np.cumsum(rng.normal(0, 1, beats))
    slow = (slow - np.linspace(slow[0], slow[-1], beats)) / max(np.sqrt(beats) * 0.4, 1.0)
    mean = mean_ms * (1 + wander * np.clip(slow, -2, 2))
    pace = breaths_per_min * np.exp(0.12 * _smooth(rng, beats, 12))
    phase = 2 * np.pi * (rng.uniform() + np.cumsum(mean / 60_000 * pace))
    depth = np.exp(0.35 * _smooth(rng, beats, 15))
    wave = 0.4 * rsa_ms * np.sin(2 * np.pi * np.cumsum(mean) / 10_000 + rng.uniform(0, 6))
    rr: Rr = mean + rsa_ms * depth * np.sin(phase) + wave + rng.normal(0, jitter_ms, beats)
    return rr


def _smooth(rng: Rng, beats: int, scale: int) -> Rr:
    kernel = np.hanning(2 * scale + 1)
    smooth: Rr = np.convolve(rng.normal(0, 1, beats + 2 * scale), kernel / np.sqrt((kernel**2).sum()), "valid")
    return smooth


def fibrillation(rng: Rng, beats: int, mean_ms: float = 650.0, cv: float = 0.22) -> Rr:
    """Independent intervals, skewed to the right above a refractory floor (gamma), a slow drift of the mean."""
    floor = 0.45
    shape = ((1 - floor) / cv) ** 2
    drawn = floor + (1 - floor) * rng.gamma(shape, 1 / shape, beats)
    return mean_ms * (1 + 0.05 * _smooth(rng, beats, 20)) * drawn


def early(
    rr: Rr, which: NDArray[np.bool_], rng: Rng, coupling: float = 0.65, spread: float = 0.04, full: float = 1.0
) -> Rr:
    """`which` intervals end early; the next one makes up for `full` of what was lost (1: ventricular, 0: reset)."""
    out = rr.copy()
    share = np.clip(coupling + spread * rng.normal(0, 1, len(rr)), 0.35, 0.9)
    lost = np.where(which, (1 - share) * rr, 0.0)
    out -= lost
    out[1:] += full * lost[:-1]
    return out


def ectopic(rng: Rng, beats: int, share: float, *, atrial: bool = False, **how: float) -> Rr:
    """Early beats at random, never two in a row but by chance of couplets (one in ten)."""
    which = rng.uniform(size=beats) < share
    which[1:] &= ~which[:-1] | (rng.uniform(size=beats - 1) < 0.1)
    rr = sinus(rng, beats, **how)
    return early(rr, which, rng, 0.7, 0.07, 0.35) if atrial else early(rr, which, rng)


def every(rng: Rng, beats: int, period: int, **how: float) -> Rr:
    """Bigeminy (2), trigeminy (3), quadrigeminy (4), now and then out of step."""
    steps = np.where(rng.uniform(size=beats) < 0.02, 1, 0).cumsum()
    which = (np.arange(beats) + steps) % period == 0
    return early(sinus(rng, beats, **how), which, rng)


def flutter(rng: Rng, beats: int, *, changes: float = 0.05) -> Rr:
    """Whole multiples of a 200 ms cycle; the ratio changes now and then (4:1, 3:1, 2:1)."""
    ratio = rng.choice([2, 3, 4], beats)
    stays = rng.uniform(size=beats) >= changes
    at = np.maximum.accumulate(np.where(stays, 0, np.arange(beats)))
    return 205.0 * ratio[at] + rng.normal(0, 6, beats)


def misdetected(rr: Rr, rng: Rng, missed: float, extra: float) -> Rr:
    """A share of the beats is missed (two intervals become one), another is found twice (one becomes two)."""
    at = np.concatenate(([0.0], np.cumsum(rr)))
    kept = at[rng.uniform(size=len(at)) >= missed]
    more = at[:-1][rng.uniform(size=len(rr)) < extra]
    more = more + rng.uniform(0.25, 0.75, len(more)) * np.median(rr)
    return np.diff(np.sort(np.concatenate((kept, more))))


def ragged(rr: Rr, rng: Rng, jitter_ms: float, step_ms: float = 1_000 / 1_024) -> Rr:
    """What an optical sensor makes of beats: each moved by chance, times rounded."""
    at = np.concatenate(([0.0], np.cumsum(rr)))
    at = np.sort(at + rng.normal(0, jitter_ms, len(at)))
    return np.maximum(np.diff(np.round(at / step_ms) * step_ms), step_ms)


IRREGULAR: Final[Mapping[str, Callable[[Rng, int], Rr]]] = {
    "af": lambda rng, n: fibrillation(rng, n, rng.uniform(480, 800), rng.uniform(0.18, 0.28)),
    "af_slow": lambda rng, n: fibrillation(rng, n, rng.uniform(900, 1_200), rng.uniform(0.15, 0.25)),
    "af_fast": lambda rng, n: fibrillation(rng, n, rng.uniform(380, 480), rng.uniform(0.14, 0.22)),
    "af_beta_blocker": lambda rng, n: fibrillation(rng, n, rng.uniform(750, 1_000), rng.uniform(0.13, 0.2)),
    "af_missed_extra": lambda rng, n: misdetected(fibrillation(rng, n, rng.uniform(550, 900), 0.22), rng, 0.02, 0.02),
    "af_optical": lambda rng, n: ragged(fibrillation(rng, n, rng.uniform(550, 900), 0.2), rng, 20, 10),
}
"""Fibrillation by name."""

REGULAR: Final[Mapping[str, Callable[[Rng, int], Rr]]] = {
    "sinus": lambda rng, n: sinus(rng, n, rng.uniform(600, 1_050), rng.uniform(8, 45)),
    "tachycardia": lambda rng, n: sinus(rng, n, rng.uniform(380, 500), 6, 22, jitter_ms=4),
    "rsa_young": lambda rng, n: sinus(rng, n, rng.uniform(900, 1_200), rng.uniform(80, 160), rng.uniform(8, 18)),
    "rsa_athlete": lambda rng, n: sinus(rng, n, rng.uniform(1_100, 1_500), rng.uniform(90, 180), rng.uniform(9, 16)),
    "pvc_3": lambda rng, n: ectopic(rng, n, 0.03),
    "pvc_10": lambda rng, n: ectopic(rng, n, 0.10, mean_ms=rng.uniform(700, 1_000)),
    "pvc_20": lambda rng, n: ectopic(rng, n, 0.20, mean_ms=rng.uniform(700, 1_000)),
    "pac_5": lambda rng, n: ectopic(rng, n, 0.05, atrial=True),
    "pac_15": lambda rng, n: ectopic(rng, n, 0.15, atrial=True, mean_ms=rng.uniform(700, 1_000)),
    "bigeminy": lambda rng, n: every(rng, n, 2, mean_ms=rng.uniform(650, 950)),
    "trigeminy": lambda rng, n: every(rng, n, 3, mean_ms=rng.uniform(650, 950)),
    "quadrigeminy": lambda rng, n: every(rng, n, 4, mean_ms=rng.uniform(650, 950)),
    "flutter": flutter,
    "missed_extra": lambda rng, n: misdetected(sinus(rng, n, rng.uniform(600, 1_000)), rng, 0.02, 0.02),
    "optical": lambda rng, n: ragged(sinus(rng, n, rng.uniform(650, 1_000), 25), rng, 20, 10),
}
"""What is not fibrillation, by name."""
