"""All measures of many days, from what was read of them: the columns of `vitals_1d` and `daily_summary`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timeseries.daily.activity import activity
from timeseries.daily.groups import Floats, Ints, PatientDays, best, pick
from timeseries.daily.heart import heart_rates, variability
from timeseries.daily.nights import agreement, night_measures
from timeseries.daily.pieces import DayTotals, Told, day_totals
from timeseries.daily.series import Stretches, by_day, by_quarter
from timeseries.daily.sleep import SLEEP_STAGE, sleep
from timeseries.daily.wear import SIGNALS, WEAR_STATE, expected, wear_measures, worn
from timeseries.daily.zones import DAY_US, MINUTE_US, UNKNOWN_MIN, local_day, offset_at_midnight, offsets_us


@dataclass(frozen=True, slots=True)
class Read:
    """What days are made of. `patient` is a dense number everywhere; `zones` gives each one's IANA zone.

    `stretches` are rows of rollups of instantaneous metrics (quarters of an hour or finer for the signals of wear),
    `told` interval and category samples of the days and of the nights around them; both may reach beyond the days.
    `origins`, sorted, have the devices `devices`.
    """

    zones: Sequence[str | None]
    stretches: Stretches
    told: Told
    origins: Ints
    devices: Ints

    def device(self, origin: Ints) -> Ints:
        """Return the device of each origin; an origin that is not known stands for a device of its own."""
        if not len(self.origins):
            return -1 - origin
        at = np.minimum(np.searchsorted(self.origins, origin), len(self.origins) - 1)
        return np.where(self.origins[at] == origin, self.devices[at], -1 - origin)


@dataclass(frozen=True, slots=True)
class Days:
    """What came of the days: rows of `vitals_1d` in two parts, with their day's index, and `daily_summary`'s columns.

    `exists` tells which days have any data: the others get no row.
    """

    instantaneous: Stretches
    instantaneous_day: Ints
    accumulated: DayTotals
    exists: NDArray[np.bool_]
    measures: dict[str, Floats]


def make_days(read: Read, days: PatientDays) -> Days:
    """Make the days of `days` of what was read."""
    rows = read.stretches
    offset = offsets_us(rows.bucket, rows.zone_offset_min, rows.patient, read.zones)
    day = days.index(rows.patient, local_day(rows.bucket, offset))
    totals, totals_day = by_day(rows, day)
    quarters, quarters_day = by_quarter(rows, np.where(np.isin(rows.metric, SIGNALS), day, -1))
    _, pieces, pieces_day = read.told.cut()
    pieces_day = days.index(pieces.patient, pieces_day)
    inside = np.flatnonzero(pieces_day >= 0)
    pieces, pieces_day = pieces.take(inside), pieces_day[inside]
    kept = np.flatnonzero(day >= 0)
    seen = _Seen(
        np.append(day[kept], pieces_day), np.append(rows.bucket[kept], pieces.start),
        np.append(offset[kept], pieces.offset_us), np.append(rows.zone_offset_min[kept], pieces.zone_offset_min),
    )  # fmt: skip
    length = _lengths(seen, days, read.zones)
    measures = (
        heart_rates(quarters, quarters_day, len(days))
        | variability(totals, totals_day, len(days))
        | activity(pieces, pieces_day, len(days))
        | _nights(read.told, days)
        | _wear(read, quarters, quarters_day, pieces, pieces_day, length)
    )
    last = best(seen.day, len(days), seen.time)
    measures["zone_offset_min"] = pick(seen.offset_us / MINUTE_US, last)
    measures["day_length_min"] = length / MINUTE_US
    exists = (last >= 0) | ~np.isnan(measures["sleep_total_min"])
    return Days(totals, totals_day, day_totals(pieces, pieces_day), exists, measures)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Offsets that were seen on the days."""

    day: Ints
    time: Ints
    offset_us: Ints
    zone_offset_min: Ints


def _lengths(seen: _Seen, days: PatientDays, zones: Sequence[str | None]) -> Ints:
    """Return how long each day was: from the midnight of the first offset seen on it to the midnight of the last one.

    24 hours where nothing was seen. Only what belongs to the day decides, so a day is the same whenever it is made.
    """
    length = np.full(len(days), DAY_US)
    first, last = best(seen.day, len(days), -seen.time), best(seen.day, len(days), seen.time)
    at = np.flatnonzero(first >= 0)
    begins, ends = (
        offset_at_midnight(
            days.day[at] + after,
            seen.offset_us[row[at]],
            seen.zone_offset_min[row[at]] != UNKNOWN_MIN,
            days.patient[at],
            zones,
        )
        for after, row in ((0, first), (1, last))
    )
    length[at] += begins - ends
    return length


def _nights(told: Told, days: PatientDays) -> dict[str, Floats]:
    stretches, episodes = sleep(told.take(np.flatnonzero(told.metric == SLEEP_STAGE)))
    measures = night_measures(stretches, episodes, told, days)
    measures["sleep_agreement"] = agreement(stretches, episodes, days)
    return measures


def _wear(
    read: Read, quarters: Stretches, quarters_day: Ints, pieces: Told, pieces_day: Ints, length: Ints
) -> dict[str, Floats]:
    count = len(length)
    of = np.flatnonzero(pieces.metric == WEAR_STATE)
    states, states_day = pieces.take(of), pieces_day[of]
    offset = offsets_us(quarters.bucket, quarters.zone_offset_min, quarters.patient, read.zones)
    runs = worn(
        quarters, quarters_day, offset, read.device(quarters.origin), states, states_day, read.device(states.origin)
    )
    speaks = np.append(states_day, quarters_day[np.isin(quarters.metric, SIGNALS)])
    known = np.bincount(speaks, minlength=count) > 0
    return wear_measures(runs, known, expected(quarters, quarters_day, runs, count), length)
