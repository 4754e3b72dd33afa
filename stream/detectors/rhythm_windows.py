"""Windows of beats that are judged for their irregularity, and what "irregular" is: the rule's policy and its sums.

How the beats were cut makes no difference: windows are counted in beats since the last hole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.detectors.rhythm_beats import MS_PER_MIN, Beats, Heard, holes_ms, lost_before
from stream.detectors.rhythm_irregularity import irregularity, rmssd_share
from vitals.clock import US_PER_S


@dataclass(frozen=True, slots=True)
class IrregularRhythmPolicy:
    """When a rhythm is irregular, and what of it is told.

    Raises ValueError for numbers that make no sense.

    RR outside `low_ms` to `high_ms` are left out; a hole of `max_hole_s` begins a new window; of a window at least
    `min_coverage` must be heard, and at most `max_moving` of its beats in motion.
    """

    beats: int = 40
    every_beats: int = 8
    low_ms: float = 200.0
    high_ms: float = 3_000.0
    max_hole_s: float = 5.0
    min_coverage: float = 0.7
    max_moving: float = 0.2
    min_rmssd_share: float = 0.1
    min_cosen: float = -1.4
    min_left_over: float = 0.085
    max_predicted: float = 0.45
    max_near: float = 0.6
    opening_left_over: float = 0.1  # what begins an episode must be clearer than what continues it
    opening_predicted: float = 0.3
    opening_near: float = 0.5
    opening_windows: int = 2
    analysable_s: float = 30.0
    sustained_s: float = 600.0
    fast_bpm: float = 120.0
    fast_s: float = 120.0
    clear_s: float = 180.0
    min_day_h: float = 1.0

    def __post_init__(self) -> None:
        if not 12 <= self.beats <= 128 or not 1 <= self.every_beats <= self.beats:
            raise ValueError("beats lies within 12 to 128, and every_beats within 1 to beats")
        if not 0 < self.low_ms < self.high_ms:
            raise ValueError("low_ms lies below high_ms")
        if min(self.max_hole_s, self.analysable_s, self.sustained_s, self.fast_s, self.clear_s, self.min_day_h) <= 0:
            raise ValueError("max_hole_s, analysable_s, sustained_s, fast_s, clear_s and min_day_h are positive")
        if not (0 < self.min_coverage <= 1 and 0 <= self.max_moving <= 1):
            raise ValueError("min_coverage and max_moving are within 0 to 1")
        if not (0 <= self.min_left_over <= self.opening_left_over) or self.opening_windows < 1:
            raise ValueError("opening_left_over is at least min_left_over, and opening_windows at least 1")
        if not (0 <= self.opening_predicted <= self.max_predicted <= 1):
            raise ValueError("opening_predicted is at most max_predicted, and that at most 1")
        if not (0 <= self.opening_near <= self.max_near <= 1):
            raise ValueError("opening_near is at most max_near, and that at most 1")


class Judged(NamedTuple):
    """Windows in order, fit to be judged: one row each.

    `end`: where it ends in the beats at hand; `at_us`, `from_us`: its last and first beat; `lasted_s`: time since the
    window before it; `clear`: irregular enough to begin an episode.
    """

    end: NDArray[np.intp]
    at_us: NDArray[np.int64]
    from_us: NDArray[np.int64]
    lasted_s: NDArray[np.float64]
    irregular: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    bpm: NDArray[np.float64]


def counts(policy: IrregularRhythmPolicy, whole: Beats, before: int, count: int) -> NDArray[np.int64]:
    """Return for each beat from position `before` on how many there are since the last hole, itself among them.

    `count` is that of the beat before it.
    """
    number = np.arange(len(whole) - before)
    if before == 0:
        hole = np.concatenate((np.zeros(1, np.bool_), holes_ms(whole) > policy.max_hole_s * 1_000))
    else:
        hole = holes_ms(whole[before - 1 :]) > policy.max_hole_s * 1_000
    if not hole.any():
        return number + (count + 1)
    begun = np.maximum.accumulate(np.where(hole, number, -1))
    return np.where(begun >= 0, number - begun + 1, number + (count + 1))


def ends(policy: IrregularRhythmPolicy, count: NDArray[np.int64], before: int) -> NDArray[np.intp]:
    """Return the positions of the beats that complete a window, given the counts from position `before` on."""
    return np.flatnonzero((count >= policy.beats) & ((count - policy.beats) % policy.every_beats == 0)) + before


def all_regular(policy: IrregularRhythmPolicy, tail: Beats, new: Heard) -> bool:
    """Tell whether no window in these beats can be irregular, by all of their steps together: True is certain."""
    rr = np.concatenate((tail["rr_ms"], new.rr_ms))
    steps = rr[1:] - rr[:-1]
    most = math.sqrt(float(steps @ steps) / (policy.beats - 1)) / float(np.minimum.reduce(rr))
    return most < 0.999 * policy.min_rmssd_share  # sums are rounded otherwise than a window's


def windows(policy: IrregularRhythmPolicy, end: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the positions of each window's beats; shape (windows, beats)."""
    return end[:, None] + np.arange(1 - policy.beats, 1)


def judge(policy: IrregularRhythmPolicy, whole: Beats, end: NDArray[np.intp]) -> Judged:
    """Return the windows that end at these positions, as far as they are fit to be judged."""
    index = windows(policy, end)
    rr, start = whole["rr_ms"][index], whole["start_us"]
    heard = (rr.sum(axis=1) - rr[:, -1]) * 1_000 / np.maximum(start[end] - start[index[:, 0]], 1)
    fit = (heard >= policy.min_coverage) & (heard <= 1 / policy.min_coverage)
    fit &= whole["moving"][index].mean(axis=1) <= policy.max_moving
    rr, index, end = rr[fit], index[fit], end[fit]
    irregular, clear = irregular_windows(policy, rr, lost_before(whole)[index])
    at_us, from_us = start[end], start[index[:, 0]]
    lasted_s = (at_us - start[np.maximum(end - policy.every_beats, index[:, 0])]) / US_PER_S
    return Judged(end, at_us, from_us, lasted_s, irregular, clear, MS_PER_MIN / rr.mean(axis=1))


def irregular_windows(
    policy: IrregularRhythmPolicy, rr_ms: NDArray[np.float64], lost: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which windows, shape (n, beats), are irregular in every way, and which clearly; `lost` as the windows."""
    irregular = rmssd_share(rr_ms) > policy.min_rmssd_share
    clear = irregular.copy()
    which = np.flatnonzero(irregular)
    if len(which):
        told = irregularity(rr_ms[which], lost[which])
        kind = (told.cosen > policy.min_cosen) & (told.left_over > policy.min_left_over)
        irregular[which] = kind & (told.predicted <= policy.max_predicted) & (told.near <= policy.max_near)
        opens = (told.predicted <= policy.opening_predicted) & (told.near <= policy.opening_near)
        clear[which] = kind & opens & (told.left_over > policy.opening_left_over)
    return irregular, clear
