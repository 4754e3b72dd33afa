"""Heart of a day: means over time, the lowest half hour, one origin at a time, methods never pooled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.timeseries.daily.making import ints, stretches
from timeseries.daily.heart import heart_rates, sdnn_24h_ms, variability
from timeseries.daily.zones import DAY_US, HOUR_US, QUARTER_US

AT = 20_600 * DAY_US


def of_day(*parts: tuple[list[int], list[float], list[int], int]) -> dict[str, float]:
    """(quarters of the day, means, minutes, origin) -> the day's heart."""
    rows = stretches(ints())
    for quarters, mean, minutes, origin in parts:
        rows = rows.joined(stretches(AT + ints(*quarters) * QUARTER_US, mean=mean, minutes=minutes, origin=origin))
    return {name: values.tolist()[0] for name, values in heart_rates(rows, np.zeros(len(rows), np.int64), 1).items()}


def test_the_mean_is_over_minutes_not_over_samples() -> None:
    found = of_day(([0, 1], [60.0, 90.0], [15, 5], 1))
    assert found["heart_rate_mean_bpm"] == pytest.approx((60 * 15 + 90 * 5) / 20)
    assert (found["heart_rate_minutes"], found["heart_rate_min_bpm"], found["heart_rate_max_bpm"]) == (20, 60, 90)


def test_resting_is_the_lowest_half_hour_of_two_quarters_in_a_row() -> None:
    means = [70.0, 50.0, 80.0, 58.0, 60.0, 40.0, 55.0]
    minutes = [15, 15, 15, 15, 15, 1, 15]  # the 40 has one minute: it takes no part
    found = of_day((list(range(7)), means, minutes, 1))
    assert found["resting_heart_rate_bpm"] == pytest.approx(59)
    assert np.isnan(of_day(([0, 2, 4], [50.0, 50.0, 50.0], [15, 15, 15], 1))["resting_heart_rate_bpm"]), "none in a row"


def test_each_quarter_is_told_by_one_origin_the_one_with_more_of_the_day() -> None:
    watch = (list(range(20)), [60.0] * 20, [10] * 20, 2)
    strap = ([5, 6, 30], [100.0, 100.0, 120.0], [15, 15, 15], 1)
    found = of_day(strap, watch)
    assert found["heart_rate_minutes"] == 20 * 10 + 15
    assert found["heart_rate_mean_bpm"] == pytest.approx((60 * 200 + 120 * 15) / 215)
    assert found["heart_rate_max_bpm"] == 120


def test_no_heart_rate_is_unknown() -> None:
    assert all(np.isnan(value) for value in of_day().values())


def test_devices_values_stay_apart_and_come_from_the_origin_that_tells_most() -> None:
    def told(metric: str, origin: int, n: int, mean: float) -> object:
        return stretches(ints(AT), metric=metric, origin=origin, minutes=n, mean=mean, n=n)

    rows = stretches(ints())
    for one in (told("hrv_sdnn", 1, 5, 40.0), told("hrv_sdnn", 2, 9, 50.0), told("hrv_rmssd", 1, 3, 30.0),
                told("resting_heart_rate", 1, 1, 54.0)):  # fmt: skip
        rows = rows.joined(one)  # type: ignore[arg-type]
    found = variability(rows, np.zeros(len(rows), np.int64), 2)
    assert found["hrv_sdnn_ms"][0] == 50
    assert found["hrv_rmssd_ms"][0] == 30
    assert found["resting_heart_rate_told_bpm"][0] == 54
    assert np.isnan(found["hrv_sdnn_24h_ms"][0])
    assert all(np.isnan(values[1]) for values in found.values())


@given(st.lists(st.floats(300, 2_000), min_size=2, max_size=50), st.booleans())
def test_sdnn_of_24_hours_is_the_standard_deviation_and_needs_18_hours(rr: list[float], enough: bool) -> None:
    times = int(18 * HOUR_US / 1_000 / sum(rr)) + 1 if enough else 1
    day = np.array(rr * times)
    got = float(sdnn_24h_ms(ints(len(day)), np.array([day.sum()]), np.array([(day * day).sum()]))[0])
    if enough:
        assert got == pytest.approx(float(np.std(day, ddof=1)), abs=0.01)
    else:
        assert np.isnan(got)
