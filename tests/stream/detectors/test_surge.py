"""Heart-rate surges: fast, lasting, at rest, and only where motion is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from alerts.event import Priority, State
from devices.simulator import BetaBlocker, Panic, wearer
from stream.detectors.observation import Observations
from stream.detectors.packing import pack
from stream.detectors.protocol import NOBODY, Person
from stream.detectors.surge import Surge, SurgePolicy
from tests.accuracy.events import HOUR_US, START_US, found_by, observed
from tests.stream.detectors.running import T0, S, assert_cuts_do_not_matter, run, together, told
from vitals.care_profile import AgeBand, CareProfile
from vitals.quality import Context

STILL, ACTIVE, ASLEEP = (int(one) for one in (Context.MOTION_SEDENTARY, Context.MOTION_ACTIVE, Context.ASLEEP))


def heart(bpm: ArrayLike, context: ArrayLike = STILL, every_s: float = 1.0, **columns: Any) -> Observations:
    """A heart rate every second, with 1.5 /min of noise."""
    rates = np.asarray(bpm, np.float64)
    noise = np.random.default_rng(7).normal(0, 1.5, len(rates))
    return told("heart_rate", np.arange(len(rates)) * every_s, np.round(rates + noise), context=context, **columns)


def surge(by: float = 40.0, rise_s: int = 60, hold_s: int = 480, rest_s: int = 1_200) -> NDArray[np.float64]:
    """Rest at 70, a surge, and rest again."""
    up = np.linspace(0, by, rise_s)
    return 70 + np.concatenate((np.zeros(rest_s), up, np.full(hold_s, by), up[::-1], np.zeros(600)))


def test_a_surge_is_told_within_four_minutes_and_its_end() -> None:
    found = run(Surge(), heart(surge()))[1]
    assert [one.state for one in found] == [State.RAISED, State.CLEARED]
    assert found[0].rule == "heart_rate_surge"
    assert found[0].priority is Priority.LOW
    assert 1_200 < (found[0].raised_us - T0) / S <= 1_440
    assert found[0].says.startswith("heart-rate surge without motion, ")
    assert found[0].figures["before_bpm"] == pytest.approx(70, abs=1)
    assert found[1].figures["peak_bpm"] == pytest.approx(110, abs=2)
    assert found[1].opened_us == found[0].opened_us
    assert "heart rate has come down" in found[1].says
    words = " ".join(one.says for one in found)
    assert "panic" not in words
    assert "anxiety" not in words


def _late(rates: Observations, steps: Observations, by_s: float) -> list[str]:
    """Heart rates every 15 s, and each step count `by_s` after its minute is over (or as much before its rates)."""
    state, found = Surge().fresh(), []
    stretches = [(int(one["start_us"][-1]), 1, one) for one in np.split(rates, range(15, len(rates), 15))]
    stretches += [(int(one["start_us"][0]) + round((60 + by_s) * S), 0, one) for one in np.split(steps, len(steps))]
    for until_us, _, part in sorted(stretches, key=lambda one: one[:2]):
        state, told_now = Surge().step(state, part, until_us, NOBODY)
        found += told_now
    assert len(pack(state)) < 2 * Surge.max_bytes
    return [one.state.value for one in found]


@pytest.mark.parametrize("by_s", [-300.0, -60.0, 0.0, 60.0, 120.0, 300.0])
def test_steps_may_be_late_or_early_by_minutes(by_s: float) -> None:
    rates, minutes = heart(surge(hold_s=1_200)), np.arange(0, 2_400, 60.0)
    still = told("steps", minutes, 0, duration_ms=60_000, context=STILL)
    assert _late(rates, still, by_s) == ["raised", "cleared"]
    walked = (minutes >= 1_080) & (minutes < 2_000)
    moving = told("steps", minutes, walked * 90, duration_ms=60_000, context=np.where(walked, ACTIVE, STILL))
    told_of = _late(rates, moving, by_s)
    # What is told within the four minutes that a surge takes excuses it; what comes later cannot, but ends it.
    assert told_of == ([] if by_s <= 120 else ["raised", "cleared"])


def test_small_short_and_slow_rises_are_nothing() -> None:
    assert run(Surge(), heart(surge(by=20)))[1] == []
    assert run(Surge(), heart(surge(hold_s=30)))[1] == []
    assert run(Surge(), heart(surge(rise_s=1_500)))[1] == []


@pytest.mark.parametrize("when", [slice(1_000, 1_190), slice(1_190, 1_400), slice(1_350, 1_380)])
def test_motion_explains_it(when: slice) -> None:
    rates = surge(hold_s=240)
    context = np.full(len(rates), STILL)
    context[when] = ACTIVE
    assert run(Surge(), heart(rates, context))[1] == []


def test_a_twitch_before_it_explains_nothing() -> None:
    context = np.full(len(surge()), STILL)
    context[1_205:1_212] = ACTIVE
    assert len(run(Surge(), heart(surge(), context))[1]) == 2


def test_motion_ends_it() -> None:
    context = np.full(len(surge()), STILL)
    context[1_500:] = ACTIVE
    found = run(Surge(), heart(surge(), context))[1]
    assert [one.state for one in found] == [State.RAISED, State.CLEARED]
    assert "motion has begun" in found[1].says


def test_without_any_word_of_motion_nothing_is_said() -> None:
    assert run(Surge(), heart(surge(), 0))[1] == []


def test_steps_tell_of_motion_too() -> None:
    steps = told("steps", np.arange(0, 2_400, 60.0), 0, duration_ms=60_000)
    assert len(run(Surge(), together(heart(surge(), 0), steps))[1]) == 2
    walking = told("steps", np.arange(0, 2_400, 60.0), 90, duration_ms=60_000, context=ACTIVE)
    assert run(Surge(), together(heart(surge(), 0), walking))[1] == []


def test_sleep_and_waking_are_left_alone() -> None:
    assert run(Surge(), heart(surge(), STILL | ASLEEP))[1] == []
    context = np.full(len(surge()), STILL)
    context[:1_100] |= ASLEEP
    assert run(Surge(), heart(surge(), context))[1] == []


def test_fever_explains_it() -> None:
    assert run(Surge(), together(heart(surge()), told("body_temperature", [10.0], 38.4)))[1] == []
    assert len(run(Surge(), together(heart(surge()), told("body_temperature", [10.0], 37.4)))[1]) == 2


def test_distrusted_and_sparse_heart_rates_say_nothing() -> None:
    assert run(Surge(), heart(surge(), quality=0.3))[1] == []
    assert run(Surge(), heart(surge()[::60], every_s=60.0))[1] == []


def test_a_repeated_value_is_no_rest() -> None:
    seen = heart(surge())
    seen["value"][:1_200] = 63
    assert run(Surge(), seen)[1] == []


def test_a_hole_ends_nothing() -> None:
    seen = heart(surge(hold_s=480))
    seen = seen[: 1_200 + 60 + 300]
    state, found = run(Surge(), seen)
    assert [one.state for one in found] == [State.RAISED]
    later = heart(np.full(120, 70.0))
    later["start_us"] += 6 * 3_600 * S
    assert [one.state for one in run(Surge(), later, state=state)[1]] == [State.CLEARED]


def test_children_have_none() -> None:
    assert run(Surge(), heart(surge()), person=Person(CareProfile(age_band=AgeBand.CHILD)))[1] == []


def test_a_rate_limiting_drug_lowers_what_counts() -> None:
    drug = Person(CareProfile(version=1, rate_limiting_drug=True))
    assert run(Surge(), heart(surge(by=22)))[1] == []
    assert len(run(Surge(), heart(surge(by=22)), person=drug)[1]) == 2


@pytest.mark.parametrize("blocked", [False, True])
def test_the_simulated_surge(blocked: bool) -> None:
    attack = Panic(START_US + 2 * HOUR_US)
    drug = (BetaBlocker(START_US - 24 * HOUR_US),) if blocked else ()
    who = replace(wearer(5, scenarios=(*drug, attack)), liveliness=0.0)
    person = Person(CareProfile(version=1, rate_limiting_drug=True)) if blocked else NOBODY
    found = found_by(Surge(), observed(who, START_US, START_US + 6 * HOUR_US, {"heart_rate": 1.0}), person)
    assert [one.state for one in found] == [State.RAISED, State.CLEARED]
    assert attack.start_us < found[0].raised_us <= attack.start_us + 300 * S


def test_everyday_life_is_no_surge() -> None:
    who = replace(wearer(6), liveliness=0.9)
    assert found_by(Surge(), observed(who, START_US, START_US + 24 * HOUR_US, {"heart_rate": 1.0})) == []


@pytest.mark.parametrize(("field", "value"), [("limited_rise_bpm", 30.0), ("min_told", 0.0), ("longest_s", 0.0)])
def test_a_policy_names_what_is_wrong(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        SurgePolicy(**{field: value})


def restless(seed: int) -> Observations:
    """Surges, holes, motion, sleep, fever and steps, as it comes."""
    noise = np.random.default_rng(seed)
    at = np.cumsum(noise.choice([1.0, 3.0, 8.0, 70.0], 3_000, p=[0.5, 0.4, 0.099, 0.001]))
    bpm = 70 + np.repeat(noise.choice([0, 0, 30, 45], 30), 100) + noise.normal(0, 2, 3_000)
    context = np.repeat(noise.choice([STILL, ACTIVE, 0, ASLEEP], 60, p=[0.9, 0.03, 0.04, 0.03]), 50)
    rates = told(
        "heart_rate", at, np.round(bpm), context=context, quality=noise.choice([0.3, 1.0], 3_000, p=[0.05, 0.95])
    )
    steps = told(
        "steps",
        np.sort(noise.choice(at, 40)),
        5,
        duration_ms=60_000,
        context=noise.choice([0, ACTIVE], 40, p=[0.95, 0.05]),
    )
    warm = told("body_temperature", np.sort(noise.choice(at, 3)), noise.choice([37.0, 38.5], 3, p=[0.9, 0.1]))
    return together(rates, steps, warm)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 3_043), max_size=10))
def test_cuts_do_not_matter(seed: int, cuts: list[int]) -> None:
    assert_cuts_do_not_matter(Surge, restless(seed), cuts)


def test_the_property_sees_surges() -> None:
    assert sum(len(run(Surge(), restless(seed))[1]) for seed in range(20)) > 10


@pytest.mark.parametrize("apart_s", [1e-6, 1.0, 15.0, 3_600.0])
def test_state_is_bounded(apart_s: float) -> None:
    seen = told("heart_rate", np.arange(10_000) * apart_s, np.tile([70.0, 130.0], 5_000), context=STILL)
    state, _ = run(Surge(), seen)
    assert len(json.dumps(pack(state))) <= Surge.max_bytes
