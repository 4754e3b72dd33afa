"""Cycling and running counters to speed, cadence and distance: wraps, standstill, resets and gaps."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.gatt.cycling import Cycling, CyclingState, Turn, decode
from devices.gatt.cycling import advance as cycle
from devices.gatt.running import Running
from devices.gatt.running import advance as run
from tests.devices.gatt import encoders
from vitals.batch import SampleColumns, metric_codes

NOW, SECOND = 1_772_366_400_000_000, 1_000_000


def values(samples: SampleColumns) -> dict[str, float]:
    return dict(zip(metric_codes(samples), samples.value.tolist(), strict=True))


def told(*steps: tuple[Cycling, float], circumference_m: float = 2.0) -> list[dict[str, float]]:
    """What each notification, `(counters, seconds)`, tells."""
    state, said = CyclingState(), []
    for cycling, at_s in steps:
        state, samples = cycle(state, cycling, NOW + round(at_s * SECOND), circumference_m=circumference_m)
        said.append(values(samples))
    return said


def wheel(revolutions: int, ticks: int) -> Cycling:
    return Cycling(Turn(revolutions, ticks), None)


def crank(revolutions: int, ticks: int) -> Cycling:
    return Cycling(None, Turn(revolutions, ticks))


def test_the_first_notification_tells_nothing_and_the_second_a_speed_and_a_distance() -> None:
    first, second = told((wheel(100, 1_024), 0), (wheel(103, 2_048), 1))
    assert first == {}
    assert second == {"speed": 6.0, "distance": 6.0}


def test_cadence() -> None:
    assert told((crank(7, 0), 0), (crank(8, 768), 1))[1] == {"cadence": 80.0}


def test_counters_and_times_wrap() -> None:
    assert told((wheel(0xFFFFFFFE, 65_024), 0), (wheel(1, 512), 1))[1] == {"speed": 6.0, "distance": 6.0}
    assert told((crank(65_535, 65_024), 0), (crank(0, 256), 1))[1] == {"cadence": 80.0}


def test_a_time_that_went_round_between_two_arrivals_is_counted_by_them() -> None:
    """Ninety seconds lie between the events; the time says 26 of them."""
    ticks = 90 * 1_024 % 65_536
    assert told((wheel(0, 0), 0), (wheel(450, ticks), 90.3))[1] == {"speed": 10.0, "distance": 900.0}


def test_no_new_revolution_is_no_news_at_first_and_a_standstill_after_four_seconds() -> None:
    steps = [
        (wheel(5, 100), 0.0),
        (wheel(8, 1_124), 1.0),
        *((wheel(8, 1_124), second) for second in (2.0, 3.0, 4.9, 5.1)),
    ]
    assert told(*steps)[2:] == [{}, {}, {}, {"speed": 0.0}]


def test_after_a_standstill_the_first_turn_is_as_slow_as_it_was() -> None:
    steps = [(wheel(0, 0), 0.0), (wheel(1, 1_024), 1.0), (wheel(1, 1_024), 6.0), (wheel(2, 11 * 1_024), 11.0)]
    assert told(*steps)[-1]["speed"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("second", "at_s"),
    [
        (wheel(0, 2_048), 1),  # the counter was set back
        (wheel(140, 2_048), 1),  # 80 m/s
        (wheel(103, 1_024), 1),  # more turns at the same time
        (wheel(103, 2_048), 301),  # too long ago
        (wheel(103, 2_048), -1),
    ],
)
def test_what_cannot_be_tells_nothing_and_counting_goes_on_from_there(second: Cycling, at_s: float) -> None:
    assert told((wheel(100, 1_024), 0), (second, at_s))[1] == {}
    assert second.wheel is not None
    later = Turn(second.wheel.revolutions + 3, second.wheel.event_ticks + 1_024)
    assert told((wheel(100, 1_024), 0), (second, at_s), (Cycling(later, None), at_s + 1))[2] == {
        "speed": 6.0, "distance": 6.0,
    }  # fmt: skip


def test_a_frame_without_the_wheel_leaves_it_as_it_was() -> None:
    said = told((Cycling(Turn(0, 0), Turn(0, 0)), 0), (crank(1, 1_024), 1), (wheel(6, 2_048), 2))
    assert said[1:] == [{"cadence": 60.0}, {"speed": 6.0, "distance": 12.0}]


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 65_535), st.integers(0, 1 << 30))
def test_a_ride_is_as_long_as_its_wheel_turned(revolutions: int, ticks: int, seed: int) -> None:
    rng, state, turned, at, metres = random.Random(seed), CyclingState(), 0, NOW, 0.0
    for _ in range(50):
        payload = encoders.cycling(((revolutions + turned) % (1 << 32), ticks % 65_536), None)
        state, samples = cycle(state, decode(payload), at, circumference_m=2.0)
        metres += values(samples).get("distance", 0.0)
        seconds = rng.randint(1, 100)
        at, ticks, turned = at + seconds * SECOND, ticks + seconds * 1_024, turned + rng.randint(1, 20 * seconds)
        last = turned
    state, samples = cycle(
        state, Cycling(Turn((revolutions + last) % (1 << 32), ticks % 65_536), None), at, circumference_m=2.0
    )
    assert metres + values(samples).get("distance", 0.0) == pytest.approx(2.0 * last)


def runs(total_dm: int | None) -> Running:
    return Running(768, 160, None, total_dm, True)


def test_distance_run_is_an_interval_since_the_notification_before() -> None:
    state, nothing = run(None, runs(0xFFFFFFFF), NOW)
    assert len(nothing) == 0
    state, samples = run(state, runs(29), NOW + SECOND)
    assert values(samples) == {"distance": 3.0}
    assert (samples.start_us.tolist(), samples.duration_ms.tolist()) == ([NOW], [1_000])


@pytest.mark.parametrize(("total_dm", "at_s"), [(0, 1), (10_000, 1), (1_030, 301), (1_030, 0)])
def test_a_distance_nobody_runs_is_not_told(total_dm: int, at_s: int) -> None:
    state, _ = run(None, runs(1_000), NOW)
    state, samples = run(state, runs(total_dm), NOW + at_s * SECOND)
    assert len(samples) == 0
    _, samples = run(state, runs(total_dm + 30), NOW + (at_s + 1) * SECOND)
    assert values(samples) == {"distance": 3.0}


def test_without_a_total_there_is_no_distance() -> None:
    state, _ = run(None, runs(1_000), NOW)
    assert run(state, runs(None), NOW + SECOND)[0] == state
