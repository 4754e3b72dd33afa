"""Whether the device was on the body, whether it told what it should, and whether the day counts.

Worn is a quarter of an hour in which a signal came that only a body gives (heart rate, pulse, RR intervals, SpO2, of
quality 0.5 or better), and what a device says of itself (`wear_state`); it is not worn where it says so.
Accelerometers are judged in the same quarters of an hour (van Hees et al. 2013, PLoS ONE 8:e61691). Nothing told at
all is unknown, not unworn.

A day is valid with ten hours of wear (Troiano et al. 2008, Med Sci Sports Exerc 40:181; Migueles et al. 2017, Sports
Med 47:1821) and half of the samples that were to be expected (where any were).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from timeseries.daily.groups import Floats, Ints, highest, lowest, number, starts_of
from timeseries.daily.intervals import Runs, covered, lengths, union, without
from timeseries.daily.pieces import Told
from timeseries.daily.series import Stretches
from timeseries.daily.zones import DAY_US, MINUTE_US, QUARTER_US
from vitals.catalogue import BY_CODE, BY_NUMBER

SIGNALS: Final = tuple(BY_CODE[code].number for code in ("heart_rate", "pulse_rate", "rr_interval", "spo2"))
WEAR_STATE: Final = BY_CODE["wear_state"].number
VALID_WEAR_MIN: Final = 600.0
VALID_COMPLETENESS: Final = 0.5
_QUARTER_S: Final = 900.0
# How many samples a quarter of an hour has at the catalogue's cadence; 0 for metrics that do not speak of wear.
_RATE: Final = np.zeros(max(SIGNALS) + 1)
for _signal in SIGNALS:
    _RATE[_signal] = _QUARTER_S / (BY_NUMBER[_signal].cadence_s or _QUARTER_S)


def worn(
    quarters: Stretches,
    quarter_day: Ints,
    offset_us: Ints,
    device: Ints,
    states: Told,
    state_day: Ints,
    state_device: Ints,
) -> Runs:
    """Return when each day's wearer wore something: runs grouped by day index.

    `quarters` as `series.by_quarter` gives them, with the day index, offset and device of each; `states` are wear-state
    samples cut at midnight, likewise. A device that says it is off the body takes back only its own signals.
    """
    rows = np.flatnonzero(np.isin(quarters.metric, SIGNALS))
    day, begins = quarter_day[rows], quarters.bucket[rows] // QUARTER_US * QUARTER_US
    begins, ends = _within_day(begins, offset_us[rows], quarters.bucket[rows])
    on, off = np.flatnonzero(states.value == 1), np.flatnonzero(states.value == 0)
    days = np.concatenate([day, state_day[on], state_day[off]])
    group, row = number(days, np.concatenate([device[rows], state_device[on], state_device[off]]))
    positive = len(rows) + len(on)
    start, end = np.append(begins, states.start[on]), np.append(ends, states.end[on])
    by_device = without(
        union(group[:positive], start, end)[0], union(group[positive:], states.start[off], states.end[off])[0]
    )
    return union(days[row][by_device.group], by_device.start, by_device.end)[0]


def _within_day(begins: Ints, offset_us: Ints, bucket: Ints) -> tuple[Ints, Ints]:
    """Return the part of each quarter of an hour that is in the local day of `bucket`, a moment of it."""
    midnight = (bucket + offset_us) // DAY_US * DAY_US - offset_us
    return np.maximum(begins, midnight), np.minimum(begins + QUARTER_US, midnight + DAY_US)


def expected(quarters: Stretches, day: Ints, runs: Runs, days: int) -> tuple[Floats, Floats]:
    """Return (samples expected, samples received) of each day, over the series that speak of wear.

    A series is expected to go on, between its first and last quarter of an hour of the day and while something is worn,
    at its origin's own usual rate: the median number of samples in its quarters that have any, but no more than the
    catalogue's cadence gives. More than expected in a quarter makes up for no other. NaN for a day without such series.
    """
    rows = np.flatnonzero(np.isin(quarters.metric, SIGNALS))
    rows = rows[np.lexsort((quarters.n[rows], quarters.origin[rows], quarters.metric[rows], day[rows]))]
    n, metric, origin, of, quarter = (
        column[rows]
        for column in (quarters.n, quarters.metric, quarters.origin, day, quarters.bucket // QUARTER_US * QUARTER_US)
    )
    starts = starts_of(of, metric, origin)
    sizes = np.diff(np.append(starts, len(rows)))
    series = np.repeat(np.arange(len(starts)), sizes)
    usual = np.clip(n[starts + sizes // 2], 1, _RATE[metric[starts]]) if len(starts) else np.zeros(0)
    first = lowest(series, quarter, len(starts)).astype(np.int64)
    last = highest(series, quarter, len(starts)).astype(np.int64) + QUARTER_US
    spans = np.maximum(covered(runs, of[starts], first, last) / QUARTER_US, sizes)
    wanted = np.bincount(of[starts], weights=usual * spans, minlength=days)
    came = np.bincount(of, weights=np.minimum(n, usual[series]), minlength=days)
    known = np.bincount(of, minlength=days) > 0
    return np.where(known, wanted, np.nan), np.where(known, came, np.nan)


def wear_measures(
    runs: Runs, known: NDArray[np.bool_], samples: tuple[Floats, Floats], length_us: Ints
) -> dict[str, Floats]:
    """Return wear time, expected and received samples, the quality score and whether the day is valid (1 or 0).

    `known` tells for which days anything speaks of wear. The quality score is the share of the day that is worn times
    the share of expected samples that came: 1 would be a day without a gap.
    """
    wear_min = np.where(known, lengths(runs, len(known)) / MINUTE_US, np.nan)
    wanted, came = samples
    complete = came / wanted
    score = np.minimum(wear_min * MINUTE_US / np.maximum(length_us, 1), 1.0) * complete
    return {
        "wear_min": wear_min,
        "samples_expected": np.round(wanted),
        "samples_received": np.minimum(np.round(came), np.round(wanted)),
        "completeness": complete,
        "quality_score": np.where(np.isnan(score), np.where(wear_min == 0, 0.0, np.nan), score),
        "valid_day": ((wear_min >= VALID_WEAR_MIN) & ~(complete < VALID_COMPLETENESS)).astype(np.float64),
    }
