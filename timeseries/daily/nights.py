"""What a night and its naps come to: amounts of sleep, time in bed, disturbances, and how one day resembles the last.

Definitions follow the AASM manual where wearables tell enough for it (total sleep time, wake after sleep onset, sleep
latency), and Reed and Sacco 2016, J Clin Sleep Med 12:263, for the denominator of sleep efficiency: time in bed, and no
efficiency without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from timeseries.daily.groups import Floats, Ints, PatientDays, number, total
from timeseries.daily.intervals import Runs, covered, inside, joined, lengths, union
from timeseries.daily.pieces import Told
from timeseries.daily.sleep import CORE, DEEP, NOON_US, REM, UNSPECIFIED, Episodes, Stretches
from timeseries.daily.zones import DAY_US, HOUR_US, MINUTE_US
from vitals.catalogue import BY_CODE

IN_BED: Final = BY_CODE["in_bed"].number
_STAGES: Final = {"sleep_core_min": CORE, "sleep_deep_min": DEEP, "sleep_rem_min": REM}
BED_REACH_US: Final = 3 * HOUR_US
"""How far before and after its sleep a night's time in bed may reach."""
DISTURBANCE_US: Final = MINUTE_US
"""The least time awake between two stretches of sleep that is a disturbance."""
REGULARITY_DAYS: Final = 7
LEAST_DAYS: Final = 5
_BED_TOLD: Final = 0.5
"""The share of sleep that must lie in told time in bed for an efficiency."""


@dataclass(frozen=True, slots=True)
class _Nights:
    """The nights that end on the wanted days, one entry a wanted day; `told` is false where there is none."""

    told: NDArray[np.bool_]
    first: Ints
    last: Ints
    offset_us: Ints
    asleep_us: Floats
    sleeping: Runs
    awake: Runs

    def only(self, values: NDArray[np.generic]) -> Floats:
        """Return values where there is a night, NaN elsewhere."""
        return np.where(self.told, values, np.nan)


def night_measures(stretches: Stretches, episodes: Episodes, told: Told, days: PatientDays) -> dict[str, Floats]:
    """Return the measures of the night that ends on each of `days`, and of the day's naps.

    `told` holds the in-bed samples, whole (other metrics in it are ignored). Times (`_at`) are us UTC, minutes of the
    local clock count from the midnight that begins the day, so an onset at 23:00 is -60. NaN where nothing was told.
    """
    night = np.where(episodes.is_night, days.index(episodes.patient, episodes.night), -1)[stretches.episode]
    part = np.flatnonzero(night >= 0)
    nights = _nights(stretches.take(part), night[part], episodes, days)
    bed, alone = _beds(told.take(np.flatnonzero((told.metric == IN_BED) & (told.value == 1))), nights, days)
    return (
        _times(nights, days)
        | _stages(stretches.take(part), night[part], nights)
        | _awake(nights, bed)
        | _in_bed(nights, bed, alone)
        | _naps(episodes, nights, days)
    )


def _nights(stretches: Stretches, night: Ints, episodes: Episodes, days: PatientDays) -> _Nights:
    count = len(days)
    asleep, told = stretches.asleep, stretches.told
    sleeping, _ = union(night[asleep], told.start[asleep], told.end[asleep])
    awake, _ = union(night[~asleep], told.start[~asleep], told.end[~asleep])
    first, last, offset = (np.zeros(count, np.int64) for _ in range(3))
    first[sleeping.group[::-1]] = sleeping.start[::-1]
    last[sleeping.group] = sleeping.end
    in_time = np.argsort(episodes.end[stretches.episode], kind="stable")
    offset[night[in_time]] = episodes.offset_us[stretches.episode[in_time]]
    asleep_us = np.bincount(night[asleep], weights=stretches.counted_us[asleep], minlength=count).astype(np.float64)
    return _Nights(np.bincount(night, minlength=count) > 0, first, last, offset, asleep_us, sleeping, awake)


def _times(nights: _Nights, days: PatientDays) -> dict[str, Floats]:
    middle = (nights.first + nights.last) // 2

    def local(time_us: Ints) -> Floats:
        return nights.only((time_us + nights.offset_us - days.day * DAY_US) / MINUTE_US)

    return {
        "sleep_total_min": nights.only(nights.asleep_us / MINUTE_US),
        "sleep_onset_at": nights.only(nights.first),
        "sleep_midpoint_at": nights.only(middle),
        "sleep_end_at": nights.only(nights.last),
        "sleep_onset_local_min": local(nights.first),
        "sleep_midpoint_local_min": local(middle),
    }


def _stages(stretches: Stretches, night: Ints, nights: _Nights) -> dict[str, Floats]:
    count, stage = len(nights.told), stretches.told.value
    staged = np.bincount(night, weights=stage >= CORE, minlength=count) > 0

    def minutes(of: int) -> Floats:
        return np.bincount(night, weights=stretches.counted_us * (stage == of), minlength=count) / MINUTE_US

    measures = {name: np.where(staged, minutes(of), np.nan) for name, of in _STAGES.items()}
    return measures | {"sleep_unspecified_min": nights.only(minutes(UNSPECIFIED))}


def _beds(told: Told, nights: _Nights, days: PatientDays) -> tuple[Runs, Floats]:
    """Return (time in bed around each night; for days without a night what was told from noon to noon, in us)."""
    runs, _ = union(told.patient, told.start, told.end)
    at = np.flatnonzero(nights.told)
    reach = (nights.first[at] - BED_REACH_US, nights.last[at] + BED_REACH_US)
    index, start, end = inside(runs, days.patient[at], *reach)
    _, pieces, window = told.cut(NOON_US)
    day = days.index(pieces.patient, window)
    rows = day >= 0
    alone, _ = union(day[rows], pieces.start[rows], pieces.end[rows])
    count = len(days)
    without_night = np.where(
        nights.told | (np.bincount(alone.group, minlength=count) == 0), np.nan, lengths(alone, count)
    )
    return union(at[index], start, end)[0], without_night


def _awake(nights: _Nights, bed: Runs) -> dict[str, Floats]:
    known = joined(nights.sleeping, nights.awake, bed)
    at = np.flatnonzero(nights.told)
    awake_us = np.zeros(len(nights.told))
    awake_us[at] = covered(known, at, nights.first[at], nights.last[at]) - nights.asleep_us[at]
    runs = nights.sleeping
    gaps = np.flatnonzero(runs.group[1:] == runs.group[:-1])
    told_us = covered(known, runs.group[gaps], runs.end[gaps], runs.start[gaps + 1])
    disturbed = runs.group[gaps[told_us >= DISTURBANCE_US]]
    return {
        "sleep_awake_min": nights.only(np.maximum(awake_us, 0) / MINUTE_US),
        "sleep_disturbances": nights.only(np.bincount(disturbed, minlength=len(nights.told))),
    }


def _in_bed(nights: _Nights, bed: Runs, alone_us: Floats) -> dict[str, Floats]:
    count = len(nights.told)
    told = np.bincount(bed.group, minlength=count) > 0
    in_bed_us = lengths(joined(bed, nights.sleeping), count)
    runs = nights.sleeping
    shared = np.bincount(runs.group, weights=covered(bed, runs.group, runs.start, runs.end), minlength=count)
    enough = told & (shared >= _BED_TOLD * nights.asleep_us)
    around = np.flatnonzero((bed.start <= nights.first[bed.group]) & (bed.end > nights.first[bed.group]))
    latency = np.full(count, np.nan)
    latency[bed.group[around]] = (nights.first[bed.group[around]] - bed.start[around]) / MINUTE_US
    efficiency = 100 * nights.asleep_us / np.maximum(in_bed_us, 1)
    return {
        "sleep_in_bed_min": np.where(told, in_bed_us, alone_us) / MINUTE_US,
        "sleep_efficiency_pct": np.where(enough, efficiency, np.nan),
        "sleep_latency_min": latency,
    }


def _naps(episodes: Episodes, nights: _Nights, days: PatientDays) -> dict[str, Floats]:
    nap = days.index(episodes.patient, episodes.nap)
    rows = np.flatnonzero(~episodes.is_night & (nap >= 0))
    none = np.where(nights.told, 0.0, np.nan)  # where sleep is told at all, no nap is none
    naps = total(nap[rows], np.ones(len(rows)), len(days))
    minutes = total(nap[rows], episodes.asleep_us[rows] / MINUTE_US, len(days))
    return {
        "nap_count": np.where(np.isnan(naps), none, naps),
        "nap_min": np.where(np.isnan(minutes), none, minutes),
    }


def agreement(stretches: Stretches, episodes: Episodes, days: PatientDays) -> Floats:
    """Return for each day the share of its 24 hours to noon in which sleep and waking were as a day before; or NaN.

    Both must have a night; what is not told as sleep counts as awake. The Sleep Regularity Index of Phillips et al.
    2017, Sci Rep 7:3216, is 200 times the mean of these over successive days, minus 100 (there over epochs, here over
    time itself). The days compared are those of the wearer's clock.
    """
    asleep = stretches.take(np.flatnonzero(stretches.asleep))
    _, pieces, window = asleep.told.cut(NOON_US)
    group, row = number(pieces.patient, window)
    start = pieces.start + pieces.offset_us - window * DAY_US
    runs, _ = union(group, start, start + (pieces.end - pieces.start))
    windows = PatientDays(pieces.patient[row], window[row])
    with_night = np.unique(windows.index(episodes.patient, episodes.night)[episodes.is_night])
    today, before = windows.index(days.patient, days.day), windows.index(days.patient, days.day - 1)
    both = np.flatnonzero(np.isin(today, with_night) & np.isin(before, with_night) & (today >= 0) & (before >= 0))
    size = lengths(runs, len(row))
    at = (np.full(len(both), -DAY_US), np.full(len(both), DAY_US))
    either = joined(Runs(*inside(runs, today[both], *at)), Runs(*inside(runs, before[both], *at)))
    differ = 2 * lengths(either, len(both)) - size[today[both]] - size[before[both]]
    shares = np.full(len(days), np.nan)
    shares[both] = 1 - differ / DAY_US
    return shares


def regularity(patient: Ints, day: Ints, agreements: Floats) -> Floats:
    """Return the Sleep Regularity Index up to each day: over `REGULARITY_DAYS` days, of which some must be known.

    Takes each (patient, day) once, in any order, with its agreement (NaN: not known); NaN below `LEAST_DAYS` of them.
    """
    order = np.lexsort((day, patient))
    patient, day, known = patient[order], day[order], ~np.isnan(agreements[order])
    key = patient * (2 * int(np.abs(day).max(initial=0)) + 2 * REGULARITY_DAYS) + day
    sums = np.append(0.0, np.cumsum(np.where(known, agreements[order], 0.0)))
    counts = np.append(0, np.cumsum(known))
    first = np.searchsorted(key, key - REGULARITY_DAYS + 1)
    upto = np.arange(len(key)) + 1
    count = counts[upto] - counts[first]
    index = np.full(len(key), np.nan)
    index[order] = np.where(count >= LEAST_DAYS, 200 * (sums[upto] - sums[first]) / np.maximum(count, 1) - 100, np.nan)
    return index
