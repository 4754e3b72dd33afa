"""Wrist temperature: nights against the own nights, after five; never a fever."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Priority, State
from stream.detectors.observation import Observations
from stream.detectors.packing import pack
from stream.detectors.protocol import Person
from stream.detectors.wrist_temperature import WristTemperature, WristTemperaturePolicy
from tests.stream.detectors.running import assert_cuts_do_not_matter, run, together, told
from vitals.care_profile import AgeBand, CareProfile
from vitals.quality import Context

DAY = 86_400.0
EVENING = 8 * 3_600.0  # 23:06 UTC
ASLEEP = int(Context.ASLEEP)


def nights(cel: list[float]) -> Observations:
    """Seven hours a night, a reading every two minutes."""
    return together(
        *(
            told("wrist_temperature", EVENING + DAY * night + np.arange(210) * 120.0, value, context=ASLEEP)
            for night, value in enumerate(cel)
        )
    )


USUAL = [34.5, 34.7, 34.6, 34.4, 34.6]


def test_a_warm_night_after_five_is_told_when_the_next_begins() -> None:
    found = run(WristTemperature(), nights([*USUAL, 35.8, 34.6, 34.5]))[1]
    assert [one.state for one in found] == [State.RAISED, State.CLEARED]
    assert found[0].rule == "wrist_temperature_deviation"
    assert found[0].priority is Priority.LOW
    assert found[0].says == "wrist temperature +1.2 °C against the own nights; not a body temperature"
    assert found[0].figures == {
        "deviation_cel": 1.2, "usual_cel": 34.6, "night_cel": 35.8, "own_nights": 5.0, "warm_nights": 1.0,
    }  # fmt: skip


def test_four_nights_are_too_few() -> None:
    assert run(WristTemperature(), nights([*USUAL[:4], 36.9, 34.6]))[1] == []


def test_half_a_degree_and_cold_nights_are_nothing() -> None:
    assert run(WristTemperature(), nights([*USUAL, 35.1, 33.0, 34.6]))[1] == []


def test_waking_readings_make_no_night() -> None:
    seen = nights([*USUAL, 37.0, 34.6])
    seen["context"] = 0
    assert run(WristTemperature(), seen)[1] == []


def test_a_summed_up_night_is_judged_at_once() -> None:
    seen = told("wrist_temperature", EVENING + DAY * np.arange(6), [*USUAL, 35.9], duration_ms=7 * 3_600_000)
    assert [one.state for one in run(WristTemperature(), seen)[1]] == [State.RAISED]


def test_a_warm_week_becomes_usual() -> None:
    found = run(WristTemperature(), nights([*USUAL, *[36.0] * 16]))[1]
    assert [one.state for one in found] == [State.RAISED, State.CLEARED]
    assert found[1].says == "wrist temperature above the own nights for 7 nights, which are learnt anew"


def test_children_have_none() -> None:
    child = Person(CareProfile(age_band=AgeBand.CHILD))
    assert run(WristTemperature(), nights([*USUAL, 36.5, 34.5]), person=child)[1] == []


@pytest.mark.parametrize(("field", "value"), [("warmer_cel", 0.0), ("min_nights", 4), ("min_minutes", 0)])
def test_a_policy_names_what_is_wrong(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        WristTemperaturePolicy(**{field: value})  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 500), max_size=8))
def test_cuts_do_not_matter(seed: int, cuts: list[int]) -> None:
    noise = np.random.default_rng(seed)
    at = np.sort(noise.uniform(0, 25 * DAY, 500))
    seen = told("wrist_temperature", at, 34.5 + noise.choice([0.0, 0.2, 1.5], 500, p=[0.6, 0.3, 0.1]))
    seen["context"] = np.where(noise.random(500) < 0.8, ASLEEP, 0)
    seen["duration_ms"] = np.where(noise.random(500) < 0.05, 8 * 3_600_000, noise.integers(0, 1_200_000, 500))
    seen["zone_offset_min"] = noise.choice([-32_768, 0, 540])
    assert_cuts_do_not_matter(lambda: WristTemperature(WristTemperaturePolicy(min_minutes=30)), seen, cuts)


@pytest.mark.parametrize("apart_s", [1e-6, 60.0, DAY])
def test_state_is_bounded(apart_s: float) -> None:
    seen = told("wrist_temperature", np.arange(10_000) * apart_s, np.tile([36.5, 34.0], 5_000), context=ASLEEP)
    state, _ = run(WristTemperature(WristTemperaturePolicy(min_minutes=1)), seen)
    assert len(json.dumps(pack(state))) <= WristTemperature.max_bytes
