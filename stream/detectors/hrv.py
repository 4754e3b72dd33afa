"""Heart-rate variability of five minutes: RMSSD and SDNN of the RR intervals in one window, or why there is none.

Task Force of ESC and NASPE, "Heart rate variability: standards of measurement", Circulation 93:1043, 1996: short
recordings are five minutes, so SDNN here is "a 5-min SDNN": it never pools with Apple's or with one of 24 hours. A
window counts only if enough of it was measured and little had to be corrected (`hrv_artefacts`). It is void where the
rhythm is irregular, because then it says nothing of the nervous system: where half of the successive differences of a
stretch of 64 beats exceed a tenth of the mean interval (in AF they do: its coefficient of variation of about 0.24,
Tateno and Glass 2001, makes their median 0.23). Frequencies (LF, HF) are not computed at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors.hrv_artefacts import Corrected, correct
from stream.features.rr import within_range

Floats = NDArray[np.float64]
_BLOCK: Final = 64


class Void(StrEnum):
    """Why a window has no variability."""

    SPARSE = "sparse"  # too little of it was measured
    OVERFULL = "overfull"  # more intervals than fit into it: no one heart's
    IRREGULAR = "irregular"
    CORRECTED = "corrected"  # too many artefacts


@dataclass(frozen=True, slots=True)
class HrvPolicy:
    """When a window counts. `max_hole_ms`: how much later than the end of the interval before one may begin and still
    follow it; straps are dated by arrival, once a second. Raises ValueError naming the field."""

    window_s: int = 300
    min_measured_share: float = 0.8
    max_corrected_share: float = 0.05
    max_irregularity: float = 0.10
    max_hole_ms: float = 1_500.0
    min_beats: int = 100

    def __post_init__(self) -> None:
        for name in ("min_measured_share", "max_corrected_share", "max_irregularity"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share: above 0, at most 1")
        if self.window_s < 60 or self.max_hole_ms <= 0 or self.min_beats < _BLOCK:
            raise ValueError(f"window_s is at least 60, max_hole_ms above 0, min_beats at least {_BLOCK}")


@dataclass(frozen=True, slots=True)
class Variability:
    """One window: `rmssd_ms` and `sdnn_ms` are NaN where `void` says why; shares are of time and of beats."""

    rmssd_ms: float
    sdnn_ms: float
    mean_rr_ms: float
    beats: int
    measured_share: float
    corrected_share: float
    void: Void | None = None


def variability(at_ms: Floats, rr_ms: Floats, policy: HrvPolicy) -> Variability:
    """Return what the intervals of one window say.

    `at_ms` is where each interval begins (any zero, ascending), `rr_ms` how long it is; both of shape (n,). Intervals
    outside 200 to 4,000 ms are left out as none, nothing else is.
    """
    possible = np.isfinite(within_range(rr_ms))
    at, rr = at_ms[possible], rr_ms[possible]
    share = float(rr.sum() / (policy.window_s * 1_000.0))
    if share < policy.min_measured_share or len(rr) < policy.min_beats:
        return _void(Void.SPARSE, rr, share)
    if share > 1.1:
        return _void(Void.OVERFULL, rr, share)
    joined = np.concatenate(([False], at[1:] - at[:-1] - rr[:-1] <= policy.max_hole_ms))
    if irregularity(rr) > policy.max_irregularity:
        return _void(Void.IRREGULAR, rr, share)
    series = correct(rr, joined)
    corrected = series.beats_corrected / len(rr)
    if corrected > policy.max_corrected_share:
        return _void(Void.CORRECTED, rr, share, corrected)
    return Variability(rmssd(series), sdnn(series), float(rr.mean()), len(rr), share, corrected)


def irregularity(rr_ms: Floats) -> float:
    """Return the largest, over stretches of 64 beats, of the median |difference| of successive intervals by their mean.

    A median does not see ectopic beats until every other is one. Shape (n,), n >= 65.
    """
    relative = np.abs(np.diff(rr_ms)) / rr_ms.mean()
    blocks = len(relative) // _BLOCK
    ends = relative[len(relative) - _BLOCK :]
    stretches = np.vstack((relative[: blocks * _BLOCK].reshape(blocks, _BLOCK), ends))
    return float(np.median(stretches, axis=1).max())


def rmssd(series: Corrected) -> float:
    """Return the root mean square of successive differences, ms, over neighbours that were both measured.

    Interpolated intervals differ too little from their neighbours, so differences with them are left out.
    """
    pair = series.joined[1:] & series.measured[1:] & series.measured[:-1]
    change = np.diff(series.rr_ms)[pair]
    return float(np.sqrt(np.mean(change * change))) if len(change) else float("nan")


def sdnn(series: Corrected) -> float:
    """Return the standard deviation of the corrected series, ms."""
    return float(series.rr_ms.std(ddof=1)) if len(series.rr_ms) > 1 else float("nan")


def _void(why: Void, rr: Floats, share: float, corrected: float = 0.0) -> Variability:
    nan = float("nan")
    return Variability(nan, nan, float(rr.mean()) if len(rr) else nan, len(rr), share, corrected, why)
