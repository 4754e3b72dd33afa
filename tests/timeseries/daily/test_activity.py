"""Steps and the like: apportioned over local midnight, and never counted twice."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timeseries.daily.making import Sample, day_number, local, samples, wanted
from timeseries.daily.activity import activity
from timeseries.daily.pieces import day_totals
from vitals.catalogue import number_of

PHONE, WATCH = 1, 2
FIRST = day_number(1)


def measures(given_samples: list[Sample], *days: int, **options: Any) -> dict[str, list[float]]:
    of = wanted(*(days or (FIRST,)))
    _, pieces, day = samples(given_samples, **options).cut()
    at = of.index(pieces.patient, day)
    kept = np.flatnonzero(at >= 0)
    return {name: values.tolist() for name, values in activity(pieces.take(kept), at[kept], len(of)).items()}


def walk(origin: int, hour: float, minutes: float, steps: float, zone: str = "UTC") -> Sample:
    start = local(1, hour, zone)
    return ("steps", origin, start, start + timedelta(minutes=minutes), steps)


def test_phone_and_watch_on_the_same_walk_are_one_walk() -> None:
    watch = [walk(WATCH, 9 + k / 6, 10, 1_000) for k in range(6)]
    phone = [walk(PHONE, 9, 30, 2_800), walk(PHONE, 15, 10, 700)]  # the afternoon without the watch
    found = measures(watch + phone)
    assert found["steps"] == [6_700]
    assert measures(watch)["steps"] == [6_000]


def test_what_another_origin_tells_beyond_the_believed_one_counts_in_proportion() -> None:
    found = measures([walk(WATCH, 9, 60, 3_000), walk(PHONE, 9.5, 50, 1_000)])
    assert found["steps"] == [pytest.approx(3_000 + 1_000 * 20 / 50)]


def test_a_walk_over_midnight_is_apportioned_by_the_wearers_clock() -> None:
    found = measures([walk(WATCH, 23.5, 90, 900, "Asia/Tokyo")], FIRST, FIRST + 1)
    assert found["steps"] == [pytest.approx(300), pytest.approx(600)]


def test_an_interval_that_does_not_tell_its_offset_is_cut_by_the_patients_zone() -> None:
    """23:00 to 9:00 over the night on which the clocks go forward: 9 hours, one of them before midnight."""
    start, end = local(28, 23, "Europe/Berlin", 3), local(29, 9, "Europe/Berlin", 3)
    days = (day_number(28, 3), day_number(29, 3))
    found = measures([("steps", WATCH, start, end, 900)], *days, tells=False, zones=["Europe/Berlin"])
    assert found["steps"] == [pytest.approx(100), pytest.approx(800)]


def test_what_was_not_told_is_unknown_and_what_was_told_as_zero_is_zero() -> None:
    found = measures([walk(WATCH, 9, 10, 0)], FIRST, FIRST + 1)
    assert found["steps"][0] == 0
    assert np.isnan(found["steps"][1])
    assert np.isnan(found["distance_m"]).all()
    assert np.isnan(found["moderate_vigorous_min"]).all()


def test_brisk_minutes_are_those_at_a_hundred_steps_a_minute() -> None:
    found = measures(
        [walk(WATCH, 9, 1, 120), walk(WATCH, 9.5, 1, 99), walk(WATCH, 10, 5, 500), walk(PHONE, 10, 5, 900)]
    )
    assert found["brisk_min"] == [6]


def test_minutes_of_intensity_are_of_one_origin_at_a_time() -> None:
    def intensity(origin: int, hour: float, minutes: float, level: int) -> Sample:
        start = local(1, hour)
        return ("activity_intensity", origin, start, start + timedelta(minutes=minutes), level)

    told = [
        intensity(WATCH, 9, 600, 1),
        intensity(WATCH, 19, 30, 2),
        intensity(WATCH, 19.5, 10, 3),
        intensity(PHONE, 9, 60, 3),
    ]
    assert measures(told)["moderate_vigorous_min"] == [40]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 47), st.integers(1, 90), st.integers(0, 5_000)),
        min_size=1,
        max_size=12,
    )
)
def test_days_add_up_and_never_exceed_what_any_believer_could_have_told(walks: list[tuple[int, int, int, int]]) -> None:
    """All days together: no more than the sum of all origins, no less than the best single one without overlaps."""
    told = [walk(origin, half_hour / 2, minutes, steps) for origin, half_hour, minutes, steps in walks]
    days = tuple(range(FIRST - 1, FIRST + 4))
    total = float(np.nansum(measures(told, *days)["steps"]))
    assert total <= sum(steps for *_, steps in walks) + 1e-6
    apart = sorted(walks, key=lambda one: one[1])
    if all(a[1] * 30 + a[2] <= b[1] * 30 for a, b in pairwise(apart)):
        assert total == pytest.approx(sum(steps for *_, steps in walks)), "nothing overlaps, nothing is lost"
    if len({tuple(one[:3]) for one in walks}) == 1:
        assert total == pytest.approx(walks[0][3]), "told again it is the same walk"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 71 * 60), st.integers(1, 48 * 60), st.integers(0, 9_999), st.integers(-12, 14)),
        min_size=1,
        max_size=8,
    )
)
def test_a_series_days_apportion_each_sample_to_the_whole(intervals: list[tuple[int, int, int, int]]) -> None:
    start = datetime.fromisoformat("2026-06-01T00:00:00+00:00")
    told = samples(
        [("steps", 1, start + timedelta(minutes=a), start + timedelta(minutes=a + n), v) for a, n, v, _ in intervals]
    )
    told.offset_us[:] = [zone * 3_600_000_000 for *_, zone in intervals]
    _, pieces, day = told.cut()
    of = wanted(*range(FIRST - 2, FIRST + 8))
    found = day_totals(pieces, of.index(pieces.patient, day))
    assert found.sum.sum() == pytest.approx(sum(value for _, _, value, _ in intervals))
    assert (found.total <= found.sum + 1e-6).all()
    assert (found.minutes <= 26 * 60).all() or len({zone for *_, zone in intervals}) > 1
    if len(intervals) == 1:
        assert found.total.tolist() == pytest.approx(found.sum.tolist())
        assert found.n.tolist() == [1] * len(found.day)


def test_a_series_day_of_categories_has_codes_and_time_but_no_sum() -> None:
    told = samples([
        ("sleep_stage", 1, local(1, 22), local(1, 23), 3), ("sleep_stage", 1, local(1, 23), local(2, 1), 5),
        ("sleep_stage", 1, local(2, 1), local(2, 2), 2),
    ])  # fmt: skip
    _, pieces, day = told.cut()
    found = day_totals(pieces, wanted(FIRST, FIRST + 1).index(pieces.patient, day))
    rows = zip(found.n, found.minutes, found.first, found.last, found.min, found.max, strict=True)
    assert [tuple(map(float, row)) for row in rows] == [(2, 120, 3, 5, 3, 5), (2, 120, 5, 2, 2, 5)]
    assert found.metric.tolist() == [number_of("sleep_stage")] * 2
    assert np.isnan([found.sum, found.total]).all()


def test_a_sample_cut_where_the_clocks_change_is_one_sample() -> None:
    told = samples([("steps", 1, local(29, 1, "Europe/Berlin", 3), local(29, 5, "Europe/Berlin", 3), 90)],
                   tells=False, zones=["Europe/Berlin"])  # fmt: skip
    assert len(told) == 2
    _, pieces, day = told.cut()
    found = day_totals(pieces, wanted(day_number(29, 3)).index(pieces.patient, day))
    assert (found.n.tolist(), found.sum.tolist(), found.minutes.tolist()) == ([1], [90], [180])
