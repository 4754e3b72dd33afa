"""The wearer's own day: local offsets, cuts at local midnight or noon, and how long a day was.

A sample that tells its offset from UTC is taken at its word. Where it does not, the patient's zone decides (IANA rules
by zoneinfo), and UTC where there is none. So a day has 23 or 25 hours when the clocks change, and any length when the
wearer flies.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from vitals.clock import from_datetime

Ints = NDArray[np.int64]

MINUTE_US: Final = 60_000_000
QUARTER_US: Final = 15 * MINUTE_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
UNKNOWN_MIN: Final = -32_768
"""What `zone_offset_min` holds where the source does not tell."""
EARLIEST_OFFSET_US: Final = -12 * HOUR_US
LATEST_OFFSET_US: Final = 14 * HOUR_US
"""Between these lies every offset in use, from Baker Island to Kiribati."""

_YEARS: Final = range(1971, 2200)


@cache
def _changes(zone: str, year: int) -> tuple[Ints, Ints]:
    """Return (since when, offset) in a UTC year, the first at its start. An unknown zone counts as UTC."""
    start = datetime(year, 1, 1, tzinfo=UTC)
    try:
        rules = ZoneInfo(zone)
    except (OSError, ValueError, KeyError):
        return np.array([from_datetime(start)]), np.zeros(1, np.int64)

    def offset_at(moment: datetime) -> timedelta:
        return rules.utcoffset(moment.astimezone(rules)) or timedelta(0)

    since, offsets = [start], [offset_at(start)]
    for day in range((datetime(year + 1, 1, 1, tzinfo=UTC) - start).days):
        before, after = start + timedelta(days=day), start + timedelta(days=day + 1)
        if offset_at(after) == offsets[-1]:
            continue
        while after - before > timedelta(minutes=1):  # no zone of our time changes within a minute
            middle = before + timedelta(minutes=(after - before) // timedelta(minutes=2))
            before, after = (middle, after) if offset_at(middle) == offsets[-1] else (before, middle)
        since.append(after)
        offsets.append(offset_at(after))
    return np.array([from_datetime(one) for one in since]), np.array(
        [one // timedelta(microseconds=1) for one in offsets]
    )


def zone_changes(zone: str | None, first_us: int, last_us: int) -> tuple[Ints, Ints]:
    """Return (since when, offset) of a zone, in order, for all of [first_us, last_us]."""
    years = np.array([first_us, last_us]).astype("M8[us]").astype("M8[Y]").astype(int) + 1970
    first, last = (int(np.clip(year, _YEARS[0], _YEARS[-1])) for year in years)
    parts = [_changes(zone or "UTC", year) for year in range(first, last + 1)]
    return np.concatenate([since for since, _ in parts]), np.concatenate([offset for _, offset in parts])


def offsets_us(time_us: Ints, told_min: NDArray[np.integer], zone: Ints, zones: Sequence[str | None]) -> Ints:
    """Return the offset at each time: as told, or by the patient's zone (`zone` indexes `zones`), or 0."""
    offsets: Ints = told_min.astype(np.int64) * MINUTE_US
    for number in np.unique(zone[told_min == UNKNOWN_MIN]):
        rows = np.flatnonzero((told_min == UNKNOWN_MIN) & (zone == number))
        since, offset = zone_changes(zones[number], int(time_us[rows].min()), int(time_us[rows].max()))
        offsets[rows] = offset[np.maximum(np.searchsorted(since, time_us[rows], "right") - 1, 0)]
    return offsets


def split_at_changes(
    start_us: Ints, end_us: Ints, told_min: NDArray[np.integer], zone: Ints, zones: Sequence[str | None]
) -> tuple[NDArray[np.intp], Ints, Ints, Ints]:
    """Cut intervals where their zone's offset changes; return (index of the interval, start, end, offset) of pieces.

    An interval that told its offset keeps it from end to end: one piece.
    """
    parts = [_whole(start_us, end_us, told_min, np.flatnonzero(told_min != UNKNOWN_MIN))]
    for number in np.unique(zone[told_min == UNKNOWN_MIN]):
        rows = np.flatnonzero((told_min == UNKNOWN_MIN) & (zone == number))
        since, offset = zone_changes(zones[number], int(start_us[rows].min()), int(end_us[rows].max()))
        parts.append(_split(rows, start_us[rows], end_us[rows], since, offset))
    index, start, end, offsets = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((start, index))
    return index[order], start[order], end[order], offsets[order]


def _whole(start_us: Ints, end_us: Ints, told_min: NDArray[np.integer], rows: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    return rows, start_us[rows], end_us[rows], told_min[rows].astype(np.int64) * MINUTE_US


def _split(rows: Ints, start_us: Ints, end_us: Ints, since: Ints, offset: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    first = np.maximum(np.searchsorted(since, start_us, "right") - 1, 0)
    last = np.maximum(np.searchsorted(since, end_us, "left") - 1, first)
    piece, within = repeat(last - first + 1)
    at = first[piece] + within
    until = np.append(since[1:], np.iinfo(np.int64).max)
    start = np.where(within == 0, start_us[piece], since[at])
    return rows[piece], start, np.minimum(end_us[piece], until[at]), offset[at]


def repeat(counts: Ints) -> tuple[NDArray[np.intp], Ints]:
    """Return (each index as often as `counts` says, the number of the repetition from 0)."""
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)


def local_day(time_us: Ints, offset_us: Ints, begins_us: int = 0) -> Ints:
    """Return the local day of each time; with `begins_us` = -12 h that of days which run from noon to noon."""
    days: Ints = (time_us + offset_us - begins_us) // DAY_US
    return days


def cut_at_days(
    start_us: Ints, end_us: Ints, offset_us: Ints, begins_us: int = 0
) -> tuple[NDArray[np.intp], Ints, Ints, Ints]:
    """Cut intervals where the local day changes; return (index of the interval, start, end, day) of each piece.

    The pieces of an interval are in order and add up to it. `begins_us` is where in the local clock a day begins, as in
    `local_day`. Intervals have at least a microsecond.
    """
    shift = offset_us - begins_us
    first, last = (start_us + shift) // DAY_US, (end_us + shift - 1) // DAY_US
    index, within = repeat(last - first + 1)
    day = first[index] + within
    start = np.maximum(start_us[index], day * DAY_US - shift[index])
    end = np.minimum(end_us[index], (day + 1) * DAY_US - shift[index])
    return index, start, end, day


def offset_at_midnight(
    day: Ints, seen_us: Ints, told: NDArray[np.bool_], zone: Ints, zones: Sequence[str | None]
) -> Ints:
    """Return the offset at the midnight that begins each `day`, of which the offset `seen_us` was seen nearby.

    What was told is taken at its word; of what follows from a zone the zone knows the midnight itself. Of the midnight
    that ends a day, ask for the day after.
    """
    at, untold = day * DAY_US - seen_us, np.full(len(day), UNKNOWN_MIN)
    before, after = offsets_us(at - 1, untold, zone, zones), offsets_us(at, untold, zone, zones)
    # Clocks that go back at midnight live the last hour of the day twice: the later midnight is the one.
    return np.where(told, seen_us, np.minimum(before, after))
