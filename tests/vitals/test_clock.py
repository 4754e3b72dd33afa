"""Microseconds and datetimes, exactly."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitals.clock import from_datetime, system_clock, to_datetime

_FIRST = from_datetime(datetime.min.replace(tzinfo=UTC))
_LAST = from_datetime(datetime.max.replace(tzinfo=UTC))


@given(st.integers(_FIRST, _LAST))
def test_there_and_back_is_exact(time_us: int) -> None:
    assert from_datetime(to_datetime(time_us)) == time_us


@given(st.integers(_FIRST + 86_400_000_000, _LAST - 86_400_000_000), st.integers(-1439, 1439))
def test_the_zone_of_a_datetime_does_not_matter(time_us: int, offset_min: int) -> None:
    there = to_datetime(time_us).astimezone(timezone(timedelta(minutes=offset_min)))
    assert from_datetime(there) == time_us


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        from_datetime(datetime(2024, 1, 1))  # noqa: DTZ001


def test_a_time_that_no_calendar_has_is_an_overflow() -> None:
    with pytest.raises(OverflowError):
        to_datetime(2**62)


def test_the_system_clock_counts_microseconds_of_utc() -> None:
    assert abs(system_clock() - from_datetime(datetime.now(UTC))) < 5_000_000
