"""Heart of a day, from quarter hours of its series.

Rates of several origins are never pooled: each quarter of an hour is told by the origin that has more minutes on that
day. Means are over minutes, not samples, so that a workout at a sample a second does not outweigh the rest of the day.

Heart-rate variability keeps its method (Task Force of ESC and NASPE 1996, Circulation 93:1043): what a device calls
SDNN or RMSSD stands by itself, and what is computed here from RR intervals again by itself. It means nothing in atrial
fibrillation or with a pacemaker; the care profile says who has them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from timeseries.daily.groups import Floats, Ints, best, highest, lowest, number, pick, rank, total
from timeseries.daily.series import Stretches
from timeseries.daily.zones import HOUR_US, QUARTER_US
from vitals.catalogue import BY_CODE

_HEART_RATE: Final = BY_CODE["heart_rate"].number
_RESTING: Final = BY_CODE["resting_heart_rate"].number
_RR: Final = BY_CODE["rr_interval"].number
_TOLD: Final = {"hrv_sdnn_ms": BY_CODE["hrv_sdnn"].number, "hrv_rmssd_ms": BY_CODE["hrv_rmssd"].number}
RESTING_MINUTES: Final = 2
"""Minutes with data that a quarter of an hour needs to take part in the resting rate: sparse optical sensors have 3."""
SDNN_HOURS: Final = 18.0
"""The least analysable time of a 24-hour recording (Task Force 1996)."""


def heart_rates(quarters: Stretches, day: Ints, days: int) -> dict[str, Floats]:
    """Return mean, lowest, highest and resting heart rate of each day; `quarters` as `series.by_quarter` gives them.

    The resting rate is the lowest mean over half an hour: over two quarters that follow each other, each with
    `RESTING_MINUTES` minutes at least.
    """
    rows = np.flatnonzero(quarters.metric == _HEART_RATE)
    quarters, day = _believed(quarters.take(rows), day[rows])
    minutes = total(day, quarters.minutes, days)
    order = np.lexsort((quarters.bucket, day))
    quarters, day = quarters.take(order), day[order]
    quarter = quarters.bucket // QUARTER_US
    enough = quarters.minutes >= RESTING_MINUTES
    pair = np.flatnonzero((np.diff(quarter) == 1) & (day[1:] == day[:-1]) & enough[1:] & enough[:-1])
    sums, counts = quarters.minute_mean_sum, quarters.minutes
    half_hours = (sums[pair] + sums[pair + 1]) / (counts[pair] + counts[pair + 1])
    return {
        "heart_rate_minutes": minutes,
        "heart_rate_mean_bpm": total(day, sums, days) / minutes,
        "heart_rate_min_bpm": lowest(day, quarters.min, days),
        "heart_rate_max_bpm": highest(day, quarters.max, days),
        "resting_heart_rate_bpm": lowest(day[pair], half_hours, days),
    }


def _believed(quarters: Stretches, day: Ints) -> tuple[Stretches, Ints]:
    series, row = number(day, quarters.origin)
    minutes = np.bincount(series, weights=quarters.minutes, minlength=len(row))
    place = rank(day[row], minutes, -quarters.origin[row])[series]
    stretch, first = number(day, quarters.bucket // QUARTER_US)
    chosen = best(stretch, len(first), -place)
    return quarters.take(chosen), day[chosen]


def variability(totals: Stretches, day: Ints, days: int) -> dict[str, Floats]:
    """Return what devices told and what RR intervals say, from the day's total of each series (`series.by_day`)."""
    measures = {name: _told(totals, day, days, metric, totals.sum / totals.n) for name, metric in _TOLD.items()}
    measures["resting_heart_rate_told_bpm"] = _told(totals, day, days, _RESTING, totals.last)
    measures["hrv_sdnn_24h_ms"] = _told(totals, day, days, _RR, sdnn_24h_ms(totals.n, totals.sum, totals.sum_sq))
    return measures


def _told(totals: Stretches, day: Ints, days: int, metric: int, values: Floats) -> Floats:
    rows = np.flatnonzero(totals.metric == metric)
    chosen = best(day[rows], days, totals.n[rows], -totals.origin[rows])
    return pick(values[rows], chosen)


def sdnn_24h_ms(n: Ints, sum_ms: Floats, sum_sq: Floats) -> Floats:
    """Return the standard deviation of a day's RR intervals, NaN below `SDNN_HOURS` of them.

    The intervals are those of good quality, which is as near as the samples come to "normal to normal".
    """
    mean = sum_ms / np.maximum(n, 1)
    variance = np.maximum(sum_sq - n * mean * mean, 0.0) / np.maximum(n - 1, 1)
    return np.where(sum_ms * 1_000 >= SDNN_HOURS * HOUR_US, np.sqrt(variance), np.nan)
