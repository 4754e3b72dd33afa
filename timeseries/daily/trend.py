"""Whether a measure rises, falls or stays over a week, a month or a quarter, and how sure that is.

The slope is Theil and Sen's (Sen 1968, J Am Stat Assoc 63:1379): the median of the slopes between all pairs of days,
which a few odd days do not move. Its confidence is that of the Mann-Kendall test (Mann 1945, Kendall 1975) with
correction for ties and continuity, its variance widened where days resemble the day before (effective sample size by
the lag-1 autocorrelation of what the slope leaves over: Bayley and Hammersley 1946; Yue and Wang 2004, Water Resour
Manag 18:201). A trend is *stable* if two such tests show that the change over the span is less than one that matters
(two one-sided tests, as Schuirmann 1987 has them); what is neither shown to change nor shown to be stable is
*unclear*. Words say direction only, never better or worse.

Many windows are judged at once: scipy.stats.theilslopes and kendalltau, which the tests hold this against, take one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from timeseries.daily.groups import Floats, Ints

CONFIDENT: Final = 0.95
"""The least confidence with which a direction, or stability, is stated."""
_MOST_ALIKE: Final = 0.9
_CHUNK: Final = 4_000_000
"""Pairs of days looked at in one go, about 100 MB."""


class Direction(StrEnum):
    """What a trend does."""

    RISING = "rising"
    FALLING = "falling"
    STABLE = "stable"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Span:
    """How many days a trend looks back over, and how many of them it needs; they reach over half of the span."""

    days: int
    least: int


SPANS: Final = MappingProxyType({"week": Span(7, 5), "month": Span(30, 14), "quarter": Span(91, 30)})


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of `daily_summary`; `matters` is the change over a whole span below which it is called stable.

    That is Vigil's convention for wording, no clinical threshold. `valid_days` tells whether only valid days count:
    where a half-worn day would read as a change.
    """

    matters: float
    valid_days: bool = False


MEASURES: Final = MappingProxyType(
    {
        "steps": Measure(1_000.0, valid_days=True),
        "active_energy_kcal": Measure(100.0, valid_days=True),
        "exercise_min": Measure(10.0, valid_days=True),
        "sleep_total_min": Measure(30.0),
        "sleep_efficiency_pct": Measure(5.0),
        "sleep_midpoint_local_min": Measure(30.0),
        "sleep_disturbances": Measure(2.0),
        "heart_rate_mean_bpm": Measure(3.0, valid_days=True),
        "resting_heart_rate_bpm": Measure(3.0, valid_days=True),
        "resting_heart_rate_told_bpm": Measure(3.0),
        "hrv_sdnn_ms": Measure(5.0),
        "hrv_rmssd_ms": Measure(5.0),
    }
)


@dataclass(frozen=True, slots=True)
class Trends:
    """One entry a window: NaN slope and confidence where there are too few days."""

    direction: list[Direction]
    slope_per_day: Floats
    confidence: Floats
    days_used: Ints


def untils(first: int, last: int, newest: int) -> Ints:
    """Return the days up to which trends must be made anew when days [first, last] changed: week ends and the newest.

    Trends are kept up to each Sunday and up to the newest day that is over. Days count from 1970-01-01, a Thursday.
    """
    reach = min(newest, last + max(span.days for span in SPANS.values()) - 1)
    days = np.arange(first, reach + 1)
    return np.unique(np.append(days[is_week_end(days)], newest))


def is_week_end(day: Ints) -> NDArray[np.bool_]:
    """Tell which days are Sundays, the last days of ISO weeks."""
    found: NDArray[np.bool_] = (day + 3) % 7 == 6
    return found


def judge(values: Floats, matters: Floats, least: int) -> Trends:
    """Judge windows: `values` has one row a window, one column a day (NaN: not known); `matters` one entry a window."""
    pairs = values.shape[1] * (values.shape[1] - 1) // 2
    step = max(1, _CHUNK // pairs)
    known = ~np.isnan(values)
    used = known.sum(axis=1)
    reaches = np.where(used > 0, values.shape[1] - np.argmax(known[:, ::-1], axis=1) - np.argmax(known, axis=1), 0)
    enough = np.flatnonzero((used >= least) & (2 * reaches > values.shape[1]))
    direction = [Direction.UNCLEAR] * len(values)
    slope, confidence = np.full(len(values), np.nan), np.full(len(values), np.nan)
    for at in range(0, len(enough), step):
        rows = enough[at : at + step]
        slope[rows], confidence[rows], words = _judge(values[rows], matters[rows])
        for row, word in zip(rows.tolist(), words, strict=True):
            direction[row] = word
    return Trends(direction, slope, confidence, used)


def _judge(values: Floats, matters: Floats) -> tuple[Floats, Floats, list[Direction]]:
    early, late = np.triu_indices(values.shape[1], 1)
    apart = (late - early).astype(np.float64)
    rise = values[:, late] - values[:, early]
    slope = _median(rise / apart)
    alike = _likeness(values - slope[:, None] * np.arange(values.shape[1]))
    limit = matters / values.shape[1]

    def z(by: Floats) -> Floats:
        return _kendall_z(rise - by[:, None] * apart, values - by[:, None] * np.arange(values.shape[1]), alike)

    changes = z(np.zeros(len(values)))
    certain = 2 * norm.cdf(np.abs(changes)) - 1
    stable = np.minimum(norm.cdf(z(-limit)), norm.cdf(-z(limit)))
    words = [
        Direction.STABLE if is_stable
        else Direction.UNCLEAR if not is_certain
        else Direction.RISING if change > 0 else Direction.FALLING
        for is_stable, is_certain, change in zip(stable >= CONFIDENT, certain >= CONFIDENT, changes, strict=True)
    ]  # fmt: skip
    return (
        slope,
        np.where(stable >= CONFIDENT, stable, np.where(certain >= CONFIDENT, certain, np.maximum(stable, certain))),
        words,
    )


def _median(values: Floats) -> Floats:
    """Return the median of each row without its NaN; every row has a number."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = (~np.isnan(values)).sum(axis=1)
    rows = np.arange(len(values))
    middle: Floats = (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / 2
    return middle


def _kendall_z(rise: Floats, values: Floats, alike: Floats) -> Floats:
    """Return Mann and Kendall's z of each row, from the rise between all its pairs."""
    s = np.nansum(np.sign(rise), axis=1)
    n = (~np.isnan(values)).sum(axis=1)
    ordered = np.sort(values, axis=1)
    # Of equal values t in a row, each adds (t - 1)(2t + 5): together Kendall's t(t - 1)(2t + 5).
    same = np.zeros(values.shape)
    for row in np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1)):
        _, where, times = np.unique(values[row][~np.isnan(values[row])], return_inverse=True, return_counts=True)
        same[row, : len(where)] = (times[where] - 1) * (2 * times[where] + 5)
    variance = (n * (n - 1) * (2 * n + 5) - same.sum(axis=1)) / 18 * alike
    z: Floats = (s - np.sign(s)) / np.sqrt(np.maximum(variance, 1e-9))
    return np.where(variance > 0, z, 0.0)


def _likeness(left: Floats) -> Floats:
    """Return by how much the variance is wider as a day resembles the day before: (1 + r) / (1 - r), at least 1."""
    left = left - _median(left)[:, None]
    both = left[:, 1:] * left[:, :-1]
    pairs, days = (~np.isnan(both)).sum(axis=1), (~np.isnan(left)).sum(axis=1)
    spread = np.nansum(left * left, axis=1) / days
    r = np.nansum(both, axis=1) / np.maximum(pairs, 1) / np.maximum(spread, 1e-12)
    r = np.clip(r, 0.0, _MOST_ALIKE)
    likeness: Floats = (1 + r) / (1 - r)
    return likeness
