"""Elevated temperature: for the digest, by worn sensor or by thermometer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Priority, State
from devices.simulator import Fever as SimulatedFever
from devices.simulator import wearer
from stream.detectors.fever import Fever, FeverPolicy
from stream.detectors.observation import Observations
from stream.detectors.packing import pack
from stream.detectors.protocol import Person
from tests.accuracy.events import DAY_US, HOUR_US, START_US, found_by, observed
from tests.stream.detectors.running import T0, S, assert_cuts_do_not_matter, run, told
from vitals.care_profile import AgeBand, Band, CareProfile

HOUR = 3_600.0


def worn(values: list[float], **columns: Any) -> Observations:
    """A reading every ten minutes."""
    return told("body_temperature", np.arange(len(values)) * 600.0, values, **columns)


def test_half_an_hour_at_38_is_told_with_how_long_and_how_high() -> None:
    found = run(Fever(), worn([37.2, 38.0, 38.3, 38.6, 38.4, 38.1, *[37.4] * 8]))[1]
    assert [(one.rule, one.state, (one.changed_us - T0) // S) for one in found] == [
        ("elevated_temperature", State.RAISED, 2_400),
        ("elevated_temperature", State.CLEARED, 7_200),
    ]
    assert found[0].priority is Priority.LOW
    assert found[0].says == ("elevated body temperature, at or above 38 °C for 0.5 h, last 38.4 °C; body site unknown")
    assert found[0].figures == {"duration_h": 0.5, "highest_cel": 38.6, "last_cel": 38.4, "body_site": "unknown"}
    assert found[1].figures["duration_h"] == 1.8
    assert found[1].opened_us == found[0].opened_us


def test_ten_minutes_of_it_are_nothing() -> None:
    assert run(Fever(), worn([37.2, 38.3, 38.2, 37.4, 37.2]))[1] == []


def test_a_thermometer_reading_decides_alone() -> None:
    found = run(Fever(), told("body_temperature", [0, 8 * HOUR], [38.4, 37.1]))[1]
    assert [one.state for one in found] == [State.RAISED, State.CLEARED]
    assert found[0].says == "elevated body temperature, 38.4 °C in a single reading; body site unknown"


def test_between_37_5_and_38_neither_raises_nor_clears() -> None:
    found = run(Fever(), told("body_temperature", np.arange(6) * 8 * HOUR, [37.8, 38.2, 37.8, 37.6, 37.9, 37.5]))[1]
    assert [(one.state, (one.changed_us - T0) / HOUR / S) for one in found] == [
        (State.RAISED, 8.0),
        (State.CLEARED, 40.0),
    ]


def test_a_wrist_has_no_fever() -> None:
    seen = told("wrist_temperature", np.arange(60) * 600.0, 39.0)
    assert int(seen["metric"][0]) not in Fever.metrics


def test_own_limit_counts_first_and_children_have_none() -> None:
    own = Person(CareProfile(version=1, limits={"body_temperature": Band(high=37.6)}))
    found = run(Fever(), worn([37.0, *[37.7] * 5]), person=own)[1]
    assert [(one.threshold, one.individualised) for one in found] == [(37.6, True)]
    child = Person(CareProfile(age_band=AgeBand.CHILD))
    assert run(Fever(), worn([39.0] * 9), person=child)[1] == []


def test_distrusted_readings_are_stepped_over() -> None:
    assert run(Fever(), worn([39.0] * 9, quality=0.4))[1] == []


@pytest.mark.parametrize(("field", "value"), [("ends_cel", 38.5), ("alone_s", 0.0)])
def test_a_policy_names_what_is_wrong(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        FeverPolicy(**{field: value})  # type: ignore[arg-type]


def test_a_simulated_fever_is_told_once() -> None:
    ill = SimulatedFever(START_US + 6 * HOUR_US)
    seen = observed(wearer(3, scenarios=(ill,)), START_US, START_US + 3 * DAY_US, {"body_temperature": 60.0})
    found = found_by(Fever(), seen)
    assert [one.state for one in found] == [State.RAISED, State.CLEARED]
    assert ill.start_us < found[0].raised_us < ill.start_us + 4 * HOUR_US
    assert found[1].figures["highest_cel"] == pytest.approx(39.3, abs=0.2)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 300), max_size=8), st.sampled_from([5.0, 300.0, 3_000.0]))
def test_cuts_do_not_matter(seed: int, cuts: list[int], cadence_s: float) -> None:
    noise = np.random.default_rng(seed)
    at = np.cumsum(noise.choice([0.0, 1, 1, 1, 30], 300) * cadence_s)
    values = np.clip(37.6 + np.cumsum(noise.normal(0, 0.2, 300)), 36, 39.5).round(1)
    assert_cuts_do_not_matter(Fever, told("body_temperature", at, values), cuts)


@pytest.mark.parametrize("apart_s", [1e-6, 60.0, 86_400.0])
def test_state_is_bounded(apart_s: float) -> None:
    state, _ = run(Fever(), told("body_temperature", np.arange(10_000) * apart_s, np.tile([38.5, 38.1], 5_000)))
    assert len(json.dumps(pack(state))) <= Fever.max_bytes
