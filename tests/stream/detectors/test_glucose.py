"""Glucose: consensus levels and durations, finger sticks, falls, and what holds for whom."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Kind, Priority, State
from stream.detectors.glucose import Glucose, GlucosePolicy
from stream.detectors.observation import Observations
from stream.detectors.packing import pack
from stream.detectors.protocol import Person
from tests.stream.detectors.running import T0, S, assert_cuts_do_not_matter, run, told
from vitals.care_profile import AgeBand, Band, CareProfile
from vitals.quality import Context

MIN = 60.0


def sensor(values: list[float], **columns: Any) -> Observations:
    """A reading every five minutes."""
    return told("glucose", np.arange(len(values)) * 5 * MIN, values, **columns)


def changes(values: list[float], person: Person | None = None, **columns: Any) -> list[tuple[str, State, float]]:
    """Rule, state and minutes after the first reading of each change."""
    found = run(Glucose(), sensor(values, **columns), person=person or Person())[1]
    return [(one.rule, one.state, (one.changed_us - T0) / (60 * S)) for one in found]


def test_below_70_in_three_readings_is_low_and_ends_after_three_at_70() -> None:
    assert changes([90, 80, 72, 69, 66, 64, 68, 70, 74, 80, 90]) == [
        ("glucose_low", State.RAISED, 25.0),
        ("glucose_low", State.CLEARED, 45.0),
    ]


def test_two_readings_below_70_are_nothing() -> None:
    assert changes([90, 80, 72, 69, 66, 75, 90, 69, 92]) == []


def test_below_54_is_medium_and_shows_value_and_unit() -> None:
    found = run(Glucose(), sensor([80, 75, 66, 53, 51, 50, 52]))[1]
    assert [(one.rule, one.priority) for one in found if one.rule != "glucose_falling"] == [
        ("glucose_low", Priority.LOW),
        ("glucose_very_low", Priority.MEDIUM),
    ]
    very_low = next(one for one in found if one.rule == "glucose_very_low")
    assert very_low.says == "glucose below 54 mg/dL for 10 min, last 50 mg/dL"
    assert very_low.kind is Kind.PHYSIOLOGICAL
    assert very_low.threshold == 54
    assert very_low.figures["lowest_mg_dl"] == 50
    assert very_low.figures["duration_min"] == 10


def test_the_clearing_tells_the_lowest_of_all() -> None:
    found = run(Glucose(), sensor([80, 66, 52, 51, 48, 47, 55, 60, 72, 78, 84]))[1]
    over = [one for one in found if one.state is State.CLEARED]
    assert {one.rule for one in over} == {"glucose_low", "glucose_very_low"}
    assert all(one.figures["lowest_mg_dl"] == 47 for one in over)
    assert over[0].says == "glucose back at or above 70 mg/dL, last 84 mg/dL"


def test_high_takes_two_hours_and_ends_at_180() -> None:
    values = [240.0, *[260.0] * 40, 200.0, *[179.0] * 4]
    assert [one for one in changes(values) if one[0] == "glucose_high"] == [
        ("glucose_high", State.RAISED, 125.0),
        ("glucose_high", State.CLEARED, 220.0),
    ]
    assert not [one for one in changes([240.0, *[260.0] * 20, *[170.0] * 4]) if one[0] == "glucose_high"]


def test_a_finger_stick_decides_alone() -> None:
    found = run(Glucose(), told("glucose", [0, 4 * 60 * MIN], [48, 110]))[1]
    assert [(one.rule, one.state) for one in found] == [
        ("glucose_very_low", State.RAISED),
        ("glucose_low", State.RAISED),
        ("glucose_very_low", State.CLEARED),
        ("glucose_low", State.CLEARED),
    ]
    assert found[0].says == "glucose below 54 mg/dL in a single reading of 48 mg/dL"


def test_one_stick_above_250_says_nothing() -> None:
    assert changes([320]) == []


def test_fast_fall_towards_low_is_told() -> None:
    found = run(Glucose(), sensor([160, 148, 136, 124, 112, 100, 90]))[1]
    assert [one.rule for one in found] == ["glucose_falling"]
    assert found[0].figures["rate_mg_dl_per_min"] == -2.4
    assert found[0].priority is Priority.LOW


def test_fast_fall_from_high_up_is_not() -> None:
    assert changes([300, 288, 276, 264, 252, 240]) == []


def test_pressure_in_sleep_is_said_and_holds_nothing_back() -> None:
    found = run(Glucose(), sensor([100, 98, 60, 52, 50, 51], context=int(Context.ASLEEP)))[1]
    very_low = next(one for one in found if one.rule == "glucose_very_low")
    assert very_low.figures["sudden_fall_mg_dl"] == 38
    assert "pressure on a sensor" in very_low.says
    awake = run(Glucose(), sensor([100, 98, 60, 52, 50, 51]))[1]
    assert "sudden_fall_mg_dl" not in next(one for one in awake if one.rule == "glucose_very_low").figures


def test_profile_limits_count_first() -> None:
    own = Person(CareProfile(version=2, limits={"glucose": Band(low=80, high=200)}))
    found = run(Glucose(), sensor([90, 78, 77, 76, 78]), person=own)[1]
    assert [(one.rule, one.threshold, one.individualised) for one in found] == [("glucose_low", 80, True)]


def test_in_pregnancy_low_is_63() -> None:
    pregnant = Person(CareProfile(version=1, pregnant=True))
    assert changes([90, 68, 66, 65, 64], pregnant) == []
    assert [one[0] for one in changes([90, 62, 61, 60, 62], pregnant)] == ["glucose_low"]


def test_a_child_has_own_limits_or_none() -> None:
    values = [90.0, 50, 50, 50, 50]
    assert changes(values, Person(CareProfile(age_band=AgeBand.CHILD))) == []
    own = CareProfile(version=1, age_band=AgeBand.CHILD, limits={"glucose": Band(low=70)})
    assert {one[0] for one in changes(values, Person(own))} == {"glucose_low", "glucose_very_low"}


def test_bad_quality_and_no_contact_are_stepped_over() -> None:
    assert changes([90, 50, 50, 50, 50], quality=[1, 0.4, 0.4, 0.4, 0.4]) == []
    assert changes([90, 50, 50, 50, 50], context=int(Context.NO_CONTACT)) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("very_low_mg_dl", 70.0), ("high_ends_mg_dl", 260.0), ("falling_mg_dl_per_min", 0.0), ("alone_s", 60.0)],
)
def test_a_policy_names_what_is_wrong(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        GlucosePolicy(**{field: value})  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 400), max_size=8), st.sampled_from([60.0, 300.0, 1_500.0]))
def test_cuts_do_not_matter(seed: int, cuts: list[int], cadence_s: float) -> None:
    noise = np.random.default_rng(seed)
    at = np.cumsum(noise.choice([0.1, 1, 1, 1, 1, 6], 400) * cadence_s * noise.uniform(0.9, 1.1, 400))
    values = np.clip(110 + np.cumsum(noise.normal(0, 14, 400)), 20, 400).round()
    values = np.where(noise.random(400) < 0.5, values, np.clip(values, 40, 90))
    seen = told("glucose", at, values, quality=noise.choice([0.2, 1.0], 400, p=[0.1, 0.9]))
    seen["context"] = noise.choice([0, int(Context.ASLEEP)], 400)
    assert_cuts_do_not_matter(Glucose, seen, cuts)


@pytest.mark.parametrize("apart_s", [1e-6, 1.0, 60.0, 86_400.0])
def test_state_is_bounded(apart_s: float) -> None:
    at, values = np.arange(10_000) * apart_s, np.tile([45.0, 90.0, 300.0], 3_334)[:10_000]
    state, _ = run(Glucose(), told("glucose", at, values))
    assert len(json.dumps(pack(state))) <= Glucose.max_bytes
