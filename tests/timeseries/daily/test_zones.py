"""The wearer's own day against zoneinfo and a walk minute by minute: clock changes, flights, odd offsets."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timeseries.daily.making import day_number, ints
from timeseries.daily.zones import (
    DAY_US,
    HOUR_US,
    MINUTE_US,
    UNKNOWN_MIN,
    cut_at_days,
    local_day,
    offset_at_midnight,
    offsets_us,
    split_at_changes,
)  # fmt: skip
from vitals.clock import from_datetime, to_datetime

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia",
         "Africa/Casablanca", "America/St_Johns", "Asia/Kolkata", "UTC"]  # fmt: skip
YEAR_US = from_datetime(datetime(2026, 1, 1, tzinfo=UTC))
MOMENT = st.integers(YEAR_US, YEAR_US + 365 * DAY_US).map(lambda at: at // 1_000_000 * 1_000_000)
OFFSET_MIN = st.integers(-12 * 60, 14 * 60)


def by_zoneinfo(at_us: int, zone: str) -> int:
    offset = to_datetime(at_us).astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return offset // timedelta(microseconds=1)


@given(st.lists(st.tuples(MOMENT, st.sampled_from(range(len(ZONES)))), min_size=1, max_size=20))
def test_an_offset_that_is_not_told_is_the_zones(rows: list[tuple[int, int]]) -> None:
    at, zone = (np.array(column) for column in zip(*rows, strict=True))
    got = offsets_us(at, np.full(len(at), UNKNOWN_MIN), zone, ZONES)
    assert got.tolist() == [by_zoneinfo(time, ZONES[number]) for time, number in rows]


def test_a_told_offset_goes_before_the_zone_and_no_zone_is_utc() -> None:
    at, zones = ints(YEAR_US, YEAR_US, YEAR_US, YEAR_US), ["Asia/Tokyo", None, "No/Such_Place"]
    told = ints(-90, UNKNOWN_MIN, UNKNOWN_MIN, UNKNOWN_MIN)
    assert offsets_us(at, told, ints(0, 0, 1, 2), zones).tolist() == [-90 * MINUTE_US, 9 * HOUR_US, 0, 0]


@given(st.lists(st.tuples(MOMENT, st.integers(1, 5 * DAY_US), OFFSET_MIN), min_size=1, max_size=10), st.booleans())
def test_pieces_of_an_interval_add_up_and_lie_in_their_days(rows: list[tuple[int, int, int]], noon: bool) -> None:
    begins = -12 * HOUR_US if noon else 0
    start, size, minutes = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    index, first, last, day = cut_at_days(start, start + size, minutes * MINUTE_US, begins)
    assert np.bincount(index, weights=last - first).tolist() == size.tolist()
    for i, a, b, d in zip(index.tolist(), first.tolist(), last.tolist(), day.tolist(), strict=True):
        shift = minutes[i] * MINUTE_US - begins
        assert d * DAY_US <= a + shift < b + shift <= (d + 1) * DAY_US
        assert local_day(ints(a), ints(minutes[i] * MINUTE_US), begins).tolist() == [d]


@settings(max_examples=50)
@given(st.sampled_from(ZONES), MOMENT, st.integers(1, 60 * 24 * 60))
def test_an_interval_over_a_clock_change_is_cut_where_the_zone_says(zone: str, start: int, minutes: int) -> None:
    end = start + minutes * MINUTE_US
    untold = ints(UNKNOWN_MIN)
    index, first, last, offset = split_at_changes(ints(start), ints(end), untold, ints(0), [zone])
    assert index.tolist() == [0] * len(first)
    assert first[0] == start
    assert last[-1] == end
    assert (first[1:] == last[:-1]).all()
    for a, b, o in zip(first.tolist(), last.tolist(), offset.tolist(), strict=True):
        assert by_zoneinfo(a, zone) == by_zoneinfo((a + b) // 2, zone) == by_zoneinfo(b - 1_000_000, zone) == o


def test_a_told_offset_holds_for_its_whole_interval() -> None:
    start = from_datetime(datetime(2026, 3, 28, 22, tzinfo=UTC))
    found = split_at_changes(ints(start), ints(start + 9 * HOUR_US), ints(60), ints(0), ["Europe/Berlin"])
    assert [column.tolist() for column in found] == [[0], [start], [start + 9 * HOUR_US], [HOUR_US]]


@pytest.mark.parametrize("zone", [*ZONES, "America/Santiago", "Africa/Cairo"])
def test_the_offset_at_midnight_is_the_zones_wherever_in_the_day_it_was_seen(zone: str) -> None:
    """Every day of the year, seen at its beginning, noon and end: with both its midnights it has the length it had."""
    for number in range(day_number(1, 1), day_number(31, 12)):
        naive = datetime(1970, 1, 1) + timedelta(days=number)  # noqa: DTZ001
        starts, ends = (from_datetime(one.replace(tzinfo=ZoneInfo(zone))) for one in (naive, naive + timedelta(days=1)))
        for seen in (starts, (starts + ends) // 2, ends - 1):
            offset = ints(by_zoneinfo(seen, zone))
            begins, after = (
                offset_at_midnight(ints(day), offset, np.array([False]), ints(0), [zone])
                for day in (number, number + 1)
            )
            assert DAY_US + int(begins[0]) - int(after[0]) == ends - starts, (naive, seen)


def test_an_offset_that_was_told_holds_at_midnight() -> None:
    found = offset_at_midnight(ints(20_600), ints(-HOUR_US), np.array([True]), ints(0), ["Asia/Tokyo"])
    assert found.tolist() == [-HOUR_US]
