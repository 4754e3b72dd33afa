"""Device time to UTC: unset clocks, zones, offsets, wraps, drift, jumps and delays."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.gatt.clock import (
    UNKNOWN_CLOCK,
    ClockTrack,
    DeviceClock,
    DeviceTime,
    clock_offset_s,
    place,
    since_last_us,
    slewed,
    steadied,
    ticks_between,
    wraps_between,
)
from vitals.clock import from_datetime

SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
NOW = from_datetime(datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC))
UTC_CLOCK = DeviceClock(zone_offset_min=0)


@pytest.mark.parametrize(
    "parts",
    [
        (0, 4, 17, 20, 41, 59), (2024, 0, 17, 0, 0, 0), (2024, 4, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0),
        (2023, 2, 29, 0, 0, 0), (2024, 13, 1, 0, 0, 0), (2024, 1, 1, 24, 0, 0), (2024, 1, 1, 0, 60, 0),
        (65_535, 255, 255, 255, 255, 255),
    ],
)  # fmt: skip
def test_a_time_that_is_unknown_or_no_time_has_no_wall_clock(parts: tuple[int, int, int, int, int, int]) -> None:
    assert DeviceTime(*parts).wall_us is None
    assert str(DeviceTime(0, 4, 17, 20, 41, 59)) == "0000-04-17T20:41:59"


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1_000))
def test_a_set_clock_is_read_to_the_second(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    told = DeviceTime(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    assert told.wall_us == from_datetime(moment)
    assert f"{told}+00:00" == moment.isoformat()


@pytest.mark.parametrize("unset", ["1970-01-01T00:00:00Z", "2000-01-01T00:00:00Z", "2019-01-01T05:00:00Z", None])
def test_an_unset_clock_is_arrival_for_what_is_live_and_refused_for_what_is_stored(unset: str | None) -> None:
    wall = None if unset is None else from_datetime(datetime.fromisoformat(unset))
    for clock in (UTC_CLOCK, UNKNOWN_CLOCK):
        assert place(wall, NOW, clock) == NOW
        assert place(wall, NOW, clock, stored=True) is None


def test_an_unset_clock_whose_offset_was_read_still_places_its_records() -> None:
    """It counts from 1970, but it counts: an hour before the reading is an hour before the reading."""
    clock = DeviceClock(offset_us=5 * HOUR - NOW, stored=True)
    assert place(4 * HOUR, NOW, clock) == NOW - HOUR


def test_a_zone_is_taken_off() -> None:
    berlin = DeviceClock(zone_offset_min=60)
    assert place(NOW + HOUR - 3 * MINUTE, NOW, berlin) == NOW - 3 * MINUTE


def test_without_a_zone_a_live_value_is_placed_at_arrival_and_a_stored_one_is_refused() -> None:
    assert place(NOW - 5 * HOUR, NOW, UNKNOWN_CLOCK) == NOW
    assert place(NOW - 5 * HOUR, NOW, DeviceClock(stored=True)) is None


@pytest.mark.parametrize(
    ("behind", "live", "stored"),
    [
        (-DAY, 0, None),  # a clock a day ahead
        (-2 * MINUTE, 0, 0),  # a little ahead: never after arrival
        (0, 0, 0),
        (23 * HOUR, 23 * HOUR, 23 * HOUR),  # sent when the cuff met its bridge again
        (25 * HOUR, 0, 25 * HOUR),
        (399 * DAY, 0, 399 * DAY),
        (401 * DAY, 0, None),
    ],
)
def test_what_is_believed(behind: int, live: int, stored: int | None) -> None:
    assert place(NOW - behind, NOW, UTC_CLOCK) == NOW - live
    assert place(NOW - behind, NOW, UTC_CLOCK, stored=True) == (None if stored is None else NOW - stored)


def test_a_known_offset_corrects_and_wins_over_the_zone() -> None:
    clock = DeviceClock(zone_offset_min=60, offset_us=3 * HOUR + 7 * MINUTE, stored=True)
    assert place(NOW + 3 * HOUR, NOW, clock) == NOW - 7 * MINUTE


@given(
    st.integers(-(1 << 60), 1 << 60) | st.none(),
    st.none() | st.integers(-840, 840),
    st.none() | st.integers(-(1 << 60), 1 << 60),
    st.booleans(),
)
def test_nothing_is_ever_placed_after_its_arrival(
    wall: int | None, zone: int | None, offset: int | None, stored: bool
) -> None:
    at = place(wall, NOW, DeviceClock(zone, offset), stored=stored)
    assert at is None or NOW - 400 * DAY <= at <= NOW
    assert stored or at is not None


def test_clock_offset_with_a_zone_and_without() -> None:
    assert clock_offset_s(NOW + HOUR + 5 * SECOND, NOW, DeviceClock(zone_offset_min=60)) == 5
    # Without a zone, whole quarters of an hour are taken for it: 5 h 45 min (Nepal) less 20 s.
    assert clock_offset_s(NOW + 345 * MINUTE - 20 * SECOND, NOW, UNKNOWN_CLOCK) == -20
    assert clock_offset_s(NOW - 20 * DAY, NOW, UNKNOWN_CLOCK) == -20 * 86_400


@given(st.integers(0, 65_535), st.integers(0, 65_535))
def test_a_counter_that_wraps_once(before: int, gone: int) -> None:
    assert ticks_between(before, (before + gone) % 65_536, 16) == gone


@given(st.integers(0, 65_535), st.integers(0, 2_000_000), st.integers(-30_000, 30_000))
def test_a_counter_that_wraps_often_is_counted_by_the_time_between_arrivals(before: int, gone: int, off: int) -> None:
    """Arrival may be wrong by almost half a turn (29 of 64 s)."""
    assert wraps_between(before, (before + gone) % 65_536, 16, max(gone + off, 0)) == gone


def test_time_since_the_last_sample() -> None:
    assert since_last_us(None, NOW) is None
    assert since_last_us(NOW - 7, NOW) == 7
    assert since_last_us(NOW + 7, NOW) == 0


def tracked(offset_us: int, ppm: float, minutes: int, seed: int = 1) -> tuple[ClockTrack, int]:
    """A clock read once a second through a transport that delays by 20 ms to 2 s."""
    rng, track, received = random.Random(seed), ClockTrack(), NOW
    for second in range(minutes * 60):
        sent = NOW + second * SECOND
        received = sent + 20_000 + round(min(rng.expovariate(1 / 150_000), 1_900_000))
        device = sent + offset_us + round(second * ppm)
        track = track.seen(device, received)
    return track, received


def test_no_estimate_before_the_first_reading() -> None:
    assert ClockTrack().estimate() is None


@pytest.mark.parametrize(
    ("known", "read", "expect"),
    [(None, 41 * SECOND, 40 * SECOND), (None, -43 * SECOND, -45 * SECOND), (40 * SECOND, 45 * SECOND, 40 * SECOND),
     (40 * SECOND, 45_100_000, 45 * SECOND), (0, HOUR + SECOND, HOUR)],
)  # fmt: skip
def test_an_offset_stays_while_readings_are_near_it(known: int | None, read: int, expect: int) -> None:
    assert steadied(known, read) == expect


@pytest.mark.parametrize(
    ("applied", "estimated", "expect"),
    [(None, 7 * HOUR, 7 * HOUR), (0, 3_000, 3_000), (0, 170_000, 5_000), (0, -170_000, -5_000), (0, HOUR, HOUR)],
)
def test_an_offset_is_slewed_unless_the_clock_was_set(applied: int | None, estimated: int, expect: int) -> None:
    assert slewed(applied, estimated) == expect


@pytest.mark.parametrize("offset_us", [0, -5 * HOUR, 7 * 365 * DAY])
def test_an_offset_is_found_through_delays(offset_us: int) -> None:
    track, _ = tracked(offset_us, 0, 2)
    estimate = track.estimate()
    assert estimate is not None
    assert estimate.drift_ppm == 0
    assert abs(estimate.offset_us - offset_us) < 60_000  # of mean delays of 170 ms, 20 ms are in every one


@pytest.mark.parametrize("ppm", [-100.0, 40.0, 200.0])
def test_drift_is_found_and_followed(ppm: float) -> None:
    track, received = tracked(HOUR, ppm, 30)
    estimate = track.estimate()
    assert estimate is not None
    assert abs(estimate.drift_ppm - ppm) < 15
    true_offset = HOUR + (received - NOW) / 1e6 * ppm
    assert abs(estimate.offset_us - true_offset) < 60_000


def test_a_wild_reading_moves_nothing_and_a_burst_after_an_outage_neither() -> None:
    track, received = tracked(HOUR, 0, 2)
    before = track.estimate()
    assert track.seen(received + HOUR + 3 * DAY, received + SECOND).estimate() == before
    for second in range(600):  # ten minutes of frames, all arriving within two seconds
        track = track.seen(received + HOUR + second * SECOND, received + 600 * SECOND + second * 3_000)
    after = track.estimate()
    assert after is not None
    assert before is not None
    assert abs(after.offset_us - before.offset_us) < 60_000


@pytest.mark.parametrize("jump", [90 * SECOND, -90 * SECOND])
def test_a_clock_that_was_set_is_followed(jump: int) -> None:
    track, received = tracked(HOUR, 0, 2)
    for second in range(120):
        at = received + second * SECOND
        track = track.seen(at + HOUR + jump, at + 50_000)
    estimate = track.estimate()
    assert estimate is not None
    assert abs(estimate.offset_us - (HOUR + jump)) < 100_000


def test_a_track_bounds_its_memory() -> None:
    track, start = ClockTrack(), datetime(2026, 1, 1, tzinfo=UTC)
    for hour in range(2_000):
        at = from_datetime(start + timedelta(hours=hour))
        track = track.seen(at, at)
    assert len(track.offsets_us) == 64
