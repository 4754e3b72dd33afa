"""Trends against scipy's tests, against known series, and against chance."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, norm, theilslopes

from timeseries.daily.trend import MEASURES, SPANS, Direction, Trends, judge, untils

QUARTER = SPANS["quarter"]


def one(values: object, matters: float = 1.0, least: int = 5) -> tuple[Direction, float, float, int]:
    found = judge(np.array([values], np.float64), np.array([matters]), least)
    return found.direction[0], float(found.slope_per_day[0]), float(found.confidence[0]), int(found.days_used[0])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-50, 50).map(float)), min_size=7, max_size=40), st.floats(-3, 3))
def test_the_slope_is_theil_and_sens_as_scipy_has_it(values: list[float | None], drift: float) -> None:
    days = np.arange(len(values))
    series = np.array([np.nan if value is None else value for value in values]) + drift * days
    known = ~np.isnan(series)
    _, slope, _, used = one(series)
    assert used == known.sum()
    reaches = np.ptp(days[known]) + 1 if known.any() else 0
    if used >= 5 and 2 * reaches > len(values):
        assert slope == pytest.approx(theilslopes(series[known], days[known]).slope)
    else:
        assert np.isnan(slope)


@pytest.mark.parametrize("seed", range(20))
def test_the_confidence_is_kendalls_as_scipy_has_it_or_less(seed: int) -> None:
    """With 60 days the normal form of scipy's p; correction for continuity and for alike days only ever lower it."""
    random = np.random.default_rng(seed)
    series = random.normal(0, 1, 60).round(1) + 0.01 * np.arange(60)
    p = kendalltau(np.arange(60), series, method="asymptotic").pvalue
    direction, _, confidence, _ = one(series, matters=1e-9)
    assert confidence <= max(1 - p + 1e-9, 0.5), "at a half one is as unsure as can be that nothing changes"
    assert (confidence >= 0.95) == (direction is not Direction.UNCLEAR)
    if np.corrcoef(series[1:], series[:-1])[0, 1] < -0.05:
        s = sum(np.sign(series[j] - series[i]) for i in range(60) for j in range(i + 1, 60))
        ties = sum(t * (t - 1) * (2 * t + 5) for t in np.unique(series, return_counts=True)[1])
        z = (abs(s) - 1) / np.sqrt((60 * 59 * 125 - ties) / 18)
        assert confidence == pytest.approx(2 * norm.cdf(z) - 1) or confidence <= 0.5


@pytest.mark.parametrize(
    ("values", "matters", "direction"),
    [
        (np.arange(7.0), 1.0, Direction.RISING),
        (-np.arange(30.0), 1.0, Direction.FALLING),
        (np.full(7, 5.0), 1.0, Direction.STABLE),
        (np.tile([60.0, 60.4, 59.8], 10), 3.0, Direction.STABLE),
        (np.arange(30) * 0.001, 3.0, Direction.STABLE),  # certainly rising, and certainly by less than matters
        ([60.0, 80, 50, 90, 40, 70, 61], 3.0, Direction.UNCLEAR),
        ([60.0, 61, 62, np.nan, np.nan, np.nan, 66], 3.0, Direction.UNCLEAR),
    ],
)
def test_known_series(values: object, matters: float, direction: Direction) -> None:
    assert one(values, matters)[0] is direction


def test_a_few_odd_days_do_not_turn_a_trend() -> None:
    series = 60 - 0.2 * np.arange(30.0)
    series[[3, 20]] = 160
    found = one(series, 3.0, 14)
    assert found[0] is Direction.FALLING
    assert found[1] == pytest.approx(-0.2, abs=0.03)


def test_too_few_days_are_unclear_without_a_number() -> None:
    few = np.full(91, np.nan)
    few[:29] = np.arange(29)
    bunched = np.full(91, np.nan)
    bunched[10:45] = np.arange(35)
    for values, used in ((few, 29), (bunched, 35), (np.full(91, np.nan), 0)):
        direction, slope, confidence, days = one(values, 1.0, QUARTER.least)
        assert (direction, days) == (Direction.UNCLEAR, used)
        assert np.isnan([slope, confidence]).all()


def _share(noise: float, drift: float, likeness: float, matters: float, direction: set[Direction], seed: int) -> float:
    """Of 400 quarters of days, each like the one before, how many are called so."""
    random = np.random.default_rng(seed)
    shocks = random.normal(0, noise * np.sqrt(1 - likeness**2), (400, 91))
    series = np.zeros((400, 91))
    series[:, 0] = random.normal(0, noise, 400)
    for day in range(1, 91):
        series[:, day] = likeness * series[:, day - 1] + shocks[:, day]
    found = judge(series + drift * np.arange(91), np.full(400, matters), QUARTER.least)
    return sum(one in direction for one in found.direction) / 400


@pytest.mark.parametrize("likeness", [0.0, 0.3, 0.6])
def test_chance_is_called_a_direction_no_more_often_than_confidence_says(likeness: float) -> None:
    """5 % and what 400 draws scatter; without regard to days that are alike it would be 36 % at 0.6."""
    limit = 0.08 if likeness < 0.5 else 0.1
    assert _share(2.0, 0.0, likeness, 1e-9, {Direction.RISING, Direction.FALLING}, 7) <= limit


def test_real_changes_are_found_and_steadiness_too() -> None:
    assert _share(2.0, 5 / 91, 0.3, 3.0, {Direction.RISING}, 11) >= 0.95
    assert _share(1.0, 0.0, 0.3, 3.0, {Direction.STABLE}, 13) >= 0.95
    at_the_limit = _share(1.0, 3 / 91, 0.3, 3.0, {Direction.STABLE}, 17)
    assert at_the_limit <= 0.08, "a change that matters is not called stable"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_rescaled_and_reversed_series_trend_alike(seed: int) -> None:
    random = np.random.default_rng(seed)
    series = random.normal(0, 1, 30) + random.normal(0, 0.1) * np.arange(30)
    series[random.random(30) < 0.2] = np.nan
    mine, scaled, mirrored = one(series, 1.0), one(100 + 10 * series, 10.0), one(-series, 1.0)
    assert mine[0] is scaled[0]
    assert scaled[1:3] == pytest.approx((10 * mine[1], mine[2]), nan_ok=True)
    turned = {Direction.RISING: Direction.FALLING, Direction.FALLING: Direction.RISING}
    assert mirrored[0] is turned.get(mine[0], mine[0])
    assert mirrored[1:3] == pytest.approx((-mine[1], mine[2]), nan_ok=True)


def test_windows_are_judged_each_by_itself() -> None:
    random = np.random.default_rng(5)
    series = random.normal(0, 1, (50, 30)) + random.normal(0, 0.1, (50, 1)) * np.arange(30)
    series[random.random((50, 30)) < 0.3] = np.nan
    together: Trends = judge(series, np.full(50, 2.0), 14)
    for row in range(50):
        direction, slope, confidence, used = one(series[row], 2.0, 14)
        assert (together.direction[row], together.days_used[row]) == (direction, used)
        assert [together.slope_per_day[row], together.confidence[row]] == pytest.approx(
            [slope, confidence], nan_ok=True
        )


def test_trends_are_made_up_to_week_ends_and_the_newest_day() -> None:
    days = untils(20_600, 20_602, 20_640)
    weekday = [(np.datetime64(0, "D") + int(day)).item().isoweekday() for day in days[:-1]]
    assert set(weekday) == {7}
    assert days[-1] == 20_640
    assert untils(100, 100, 100).tolist() == [100]
    assert untils(100, 100, 1_000)[-2] <= 100 + 90, "further on nothing changed"


def test_every_measure_is_one_that_the_summary_has_and_every_span_can_be_reached() -> None:
    from timeseries.queries import load

    text = load("days")["measured"]
    assert [text.index(f"s.{name}") for name in MEASURES] == sorted(text.index(f"s.{name}") for name in MEASURES)
    assert all(span.least <= span.days < 92 for span in SPANS.values())


def test_no_warning_for_rows_without_spread() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judge(np.array([[1.0] * 7, [np.nan] * 7]), np.ones(2), 5)
