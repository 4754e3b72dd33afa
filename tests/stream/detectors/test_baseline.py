"""A person's usual, by hour of the day: robust, forgetting and frozen, and silent until it knows enough."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.detectors.baseline import WHOLE_DAY, Baseline, BaselinePolicy, Floats, fresh, learn, place, rebuilt
from stream.detectors.packing import pack, unpack

POLICY = BaselinePolicy()
HEART, BREATH = 0, 1
LEAST_SD = (1.5, 0.5)


def hours(days: int, *, first: int = 0, seed: int = 1) -> list[tuple[int, int, int, Floats]]:
    """Return so many days of one hour's twelve values about 60, SD 2 between days and SD 2 within each."""
    rng = np.random.default_rng(seed)
    return [(HEART, 3, first + day, rng.normal(60, 2) + rng.normal(0, 2, 12)) for day in range(days)]


def taught(days: int, seed: int = 1) -> Baseline:
    return rebuilt(LEAST_SD, POLICY, hours(days, seed=seed))


def test_location_and_scale_are_those_of_the_values() -> None:
    found = [taught(60, seed=seed) for seed in range(20)]
    assert np.mean([one.location[HEART, 3] for one in found]) == pytest.approx(60, abs=0.3)
    assert np.mean([one.scale[HEART, 3] for one in found]) == pytest.approx(2 * 2**0.5, rel=0.15)


@pytest.mark.parametrize("outlier", [300.0, 20.0])
def test_no_value_pulls_far(outlier: float) -> None:
    held = taught(30)
    spoiled = learn(held, POLICY, HEART, 3, 30, [*([60.0] * 9), outlier, outlier, outlier])
    assert abs(spoiled.location[HEART, 3] - held.location[HEART, 3]) < 0.3
    assert spoiled.scale[HEART, 3] / held.scale[HEART, 3] < 1.1


def test_nothing_is_said_before_seven_days_and_no_reference_before_fourteen() -> None:
    for days, judged, frozen in ((6, False, False), (7, True, False), (13, True, False), (14, True, True)):
        placed = place(taught(days), POLICY, HEART, 3, [60.0, 80.0])
        assert np.isfinite(placed.forgetting_z).all() == judged, days
        assert np.isfinite(placed.frozen_z).all() == frozen, days


def test_few_values_are_too_few_however_many_days() -> None:
    sparse = rebuilt(LEAST_SD, POLICY, [(HEART, 3, day, [60.0]) for day in range(19)])
    assert np.isnan(place(sparse, POLICY, HEART, 3, 60.0).forgetting_z)
    enough = learn(sparse, POLICY, HEART, 3, 19, [60.0])
    assert place(enough, POLICY, HEART, 3, 60.0).forgetting_z == pytest.approx(0)


def test_an_hour_too_young_is_judged_by_the_whole_day() -> None:
    held = rebuilt(LEAST_SD, POLICY, [(HEART, hour, day, [60.0 + hour] * 4) for day in range(20) for hour in range(8)])
    young = place(held, POLICY, HEART, 20, 90.0)
    assert young.whole_day
    assert young.location == pytest.approx(float(held.location[HEART, WHOLE_DAY]))
    own = place(held, POLICY, HEART, 7, 67.0)
    assert not own.whole_day
    assert own.location == pytest.approx(67.0, abs=0.5)
    assert young.scale > own.scale  # night and day in one bin


def test_the_reference_stays_while_the_forgetting_one_follows() -> None:
    """Half a beat a day for 40 days: what is usual now is far from what was."""
    held = taught(20)
    reference = float(held.frozen_location[HEART, 3])
    for metric, hour, day, values in hours(40, first=20, seed=2):
        held = learn(held, POLICY, metric, hour, day, values + 0.5 * (day - 19))
    placed = place(held, POLICY, HEART, 3, 80.0)
    assert float(held.frozen_location[HEART, 3]) == reference
    assert placed.frozen_z > 4
    assert placed.location - reference > 6
    assert placed.forgetting_z < placed.frozen_z / 1.5


def test_half_of_a_change_is_forgotten_in_a_half_life() -> None:
    held = taught(60)
    before = float(held.location[HEART, 3])
    for day in range(60, 81):
        held = learn(held, POLICY, HEART, 3, day, [before + 2.0] * 12)
    assert 0.4 < (float(held.location[HEART, 3]) - before) / 2.0 < 0.65


def test_metrics_and_hours_are_apart() -> None:
    held = learn(fresh(LEAST_SD), POLICY, BREATH, 5, 0, [14.0, 15.0])
    assert np.isnan(held.location[HEART]).all()
    assert set(np.flatnonzero(held.values[BREATH]).tolist()) == {5, WHOLE_DAY}


def test_nothing_learned_from_nothing() -> None:
    held = taught(3)
    assert learn(held, POLICY, HEART, 3, 9, [np.nan]) is held


def test_even_values_have_the_scale_of_the_rounding() -> None:
    held = rebuilt(LEAST_SD, POLICY, [(HEART, 3, day, [60.0] * 12) for day in range(90)])
    assert held.scale[HEART, 3] == pytest.approx(1.5)


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 23), st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), max_size=5)),
        max_size=40,
    )
)
def test_whatever_comes_it_stays_finite_and_as_large(told: list[tuple[int, int, list[float]]]) -> None:
    held = rebuilt(LEAST_SD, POLICY, [(metric, hour, day, values) for day, (metric, hour, values) in enumerate(told)])
    known = held.values > 0
    assert np.isfinite(held.location[known]).all()
    assert np.isfinite(held.scale[known]).all()
    assert (held.scale[known] > 0).all()
    size = {one.name: getattr(held, one.name).nbytes for one in fields(held)}
    assert size == {one.name: getattr(fresh(LEAST_SD), one.name).nbytes for one in fields(held)}
    assert sum(size.values()) < 2 * 900  # eight metrics: less than 7 KB


def test_it_comes_back_from_a_snapshot() -> None:
    held = taught(20)
    back = unpack(Baseline, pack(held))
    for one in fields(held):
        np.testing.assert_array_equal(getattr(back, one.name), getattr(held, one.name))


@pytest.mark.parametrize(
    ("field", "value"),
    [("min_days", 0), ("min_days", 15), ("min_values", 0), ("half_life_days", 1.0), ("clip_sd", 0.5)],
)
def test_a_policy_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        BaselinePolicy(**{field: value})  # type: ignore[arg-type]
