"""The trend of body temperature: rising, falling, stable or unclear, and only a real rise is told."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import theilslopes

from alerts.event import Priority, State
from stream.detectors.observation import Observations
from stream.detectors.packing import pack
from stream.detectors.protocol import Person
from stream.detectors.slots import Slots
from stream.detectors.temperature_trend import TemperatureTrend, TemperatureTrendPolicy, _may_rise, trend_before
from tests.stream.detectors.running import assert_cuts_do_not_matter, run, told
from vitals.care_profile import AgeBand, CareProfile

HOUR = 3_600.0


def course(cel: NDArray[np.float64]) -> Observations:
    """Readings every five minutes of a course, with a tenth of a degree of noise."""
    noise = np.random.default_rng(1).normal(0, 0.1, len(cel))
    return told("body_temperature", np.arange(len(cel)) * 300.0, np.round(cel + noise, 1))


def word(cel: list[float]) -> str:
    """The trend of quarter-hour means."""
    number = np.arange(len(cel))
    sums = np.stack((np.ones(len(cel)), np.asarray(cel) * 1_000), axis=1).astype(np.int64)
    return trend_before(Slots(number, sums), len(cel), TemperatureTrendPolicy()).word


def test_words() -> None:
    hours = np.arange(24) / 4
    noise = np.random.default_rng(4).normal(0, 1.0, 24)
    assert word(list(36.5 + 0.3 * hours)) == "rising"
    assert word(list(39.5 - 0.3 * hours)) == "falling"
    assert word(list(36.8 + 0.05 * hours)) == "stable"
    assert word(list(37.0 + noise)) == "unclear"
    assert word([36.5, 37.9]) == "unclear"


def test_a_rise_is_told_and_its_end() -> None:
    flat = np.full(12 * 12, 36.7)
    rising = np.linspace(36.7, 38.7, 5 * 12)
    found = run(TemperatureTrend(), course(np.concatenate((flat, rising, np.full(24 * 12, 38.7)))))[1]
    assert [one.state for one in found] == [State.RAISED, State.CLEARED]
    assert found[0].rule == "body_temperature_rising"
    assert found[0].priority is Priority.LOW
    assert found[0].figures["trend"] == "rising"
    assert found[0].figures["change_cel"] >= 1.0  # type: ignore[operator]
    assert found[0].figures["change_low_cel"] > 0  # type: ignore[operator]
    assert found[0].says.startswith("body temperature rising by ")
    assert found[0].samples > 60
    assert found[1].figures["trend"] in {"stable", "unclear", "falling"}


def test_the_day_is_no_rise() -> None:
    hours = np.arange(72 * 12) / 12
    assert run(TemperatureTrend(), course(36.7 + 0.35 * np.cos(2 * np.pi * (hours - 17) / 24)))[1] == []


def test_a_few_wrong_readings_are_no_rise() -> None:
    cel = np.full(24 * 12, 36.8)
    cel[200:212] = 39.5
    assert run(TemperatureTrend(), course(cel))[1] == []


def test_a_thermometer_every_four_hours_tells_a_slow_rise() -> None:
    found = run(TemperatureTrend(), told("body_temperature", np.arange(12) * 4 * HOUR, 36.4 + 0.25 * np.arange(12)))[1]
    assert [one.state for one in found] == [State.RAISED]
    assert found[0].figures["window_h"] == 24.0


def test_children_have_none() -> None:
    child = Person(CareProfile(age_band=AgeBand.CHILD))
    assert run(TemperatureTrend(), course(np.linspace(36, 40, 120)), person=child)[1] == []


@pytest.mark.parametrize(("field", "value"), [("change_cel", 0.0), ("hours", ()), ("min_slots", 3)])
def test_a_policy_names_what_is_wrong(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        TemperatureTrendPolicy(**{field: value})  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 300), max_size=8))
def test_cuts_do_not_matter(seed: int, cuts: list[int]) -> None:
    noise = np.random.default_rng(seed)
    at = np.cumsum(noise.choice([0.0, 60, 300, 900, 4_000, 40_000], 300, p=[0.1, 0.2, 0.3, 0.2, 0.19, 0.01]))
    values = np.clip(37.2 + np.cumsum(noise.normal(0, 0.15, 300)), 35.5, 40).round(1)
    assert_cuts_do_not_matter(TemperatureTrend, told("body_temperature", at, values), cuts)


@pytest.mark.parametrize("apart_s", [1e-6, 60.0, 900.0])
def test_state_is_bounded(apart_s: float) -> None:
    seen = told("body_temperature", np.arange(10_000) * apart_s, np.tile([38.5, 36.0], 5_000))
    state, _ = run(TemperatureTrend(), seen, cuts=range(0, 10_000, 500))
    assert len(json.dumps(pack(state))) <= TemperatureTrend.max_bytes


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(-0.6, 0.6), st.floats(0.0, 1.5), st.integers(2, 48))
def test_what_cannot_rise_is_left_out_and_nothing_else(seed: int, per_h: float, noise: float, hours: int) -> None:
    random = np.random.default_rng(seed)
    at = np.flatnonzero(random.random(hours * 4) < 0.8)
    if not len(at):
        return
    cel = 37 + per_h * at / 4 + noise * random.standard_normal(len(at))
    sums = np.column_stack((np.ones(len(at), np.int64), np.rint(cel * 1_000).astype(np.int64)))
    slots, policy = Slots(at.astype(np.int64), sums), TemperatureTrendPolicy()
    for end in range(4, hours * 4 + 4, 4):
        if trend_before(slots, end, policy).word == "rising":
            assert _may_rise(slots, end, policy)


def test_a_month_of_scattered_readings_at_once_costs_few_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(*how: Any) -> Any:
        calls.append(1)
        return theilslopes(*how)

    monkeypatch.setattr("stream.detectors.temperature_trend.theilslopes", counted)
    at = np.arange(0, 30 * 86_400, 900.0)
    cel = 38 + np.random.default_rng(3).uniform(-0.8, 0.8, len(at))
    state, _ = run(TemperatureTrend(), told("body_temperature", at, cel))
    assert len(calls) < 720 * 2 / 20  # of two windows an hour
    assert len(state.slots) <= 25 * 4 + 1
