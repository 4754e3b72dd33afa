"""Vitals that move together, against the hours before."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Priority, State
from stream.detectors.finding import Finding
from stream.detectors.news2 import News2
from stream.detectors.news2_trend import Steps
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from tests.stream.detectors.running import T0, S, assert_cuts_do_not_matter, run, together, told
from vitals.care_profile import AgeBand, CareProfile
from vitals.quality import Context

HOUR = 3_600
USUAL = {"respiratory_rate": 14.0, "spo2": 97.0, "heart_rate": 64.0}
WORSE = {"respiratory_rate": 17.0, "spo2": 95.0, "heart_rate": 74.0}  # one point: 95 %


def vitals(values: dict[str, float], from_s: float, to_s: float, context: int = 0, every_s: float = 10) -> Observations:
    at = np.arange(from_s, to_s, every_s)
    return together(*(told(metric, at, value, context=context) for metric, value in values.items()))


def moved(*parts: Observations, **more: Any) -> list[Finding]:
    return [one for one in run(News2(), together(*parts), **more)[1] if one.rule == "vitals_together"]


def test_three_that_got_worse_at_rest_are_told_with_from_and_to() -> None:
    [found] = moved(vitals(USUAL, 0, 2 * HOUR), vitals(WORSE, 2 * HOUR, 2 * HOUR + 300))
    assert found.state is State.RAISED
    assert found.priority is Priority.MEDIUM
    assert found.says == (
        "vitals that moved together at rest, against the hours before: "
        "respiration 14 to 17 /min, SpO2 97 to 95 %, pulse 64 to 74 /min"
    )
    assert (found.raised_us - T0) / S < 2 * HOUR + 90
    assert found.figures["at_least_points"] == 1


@pytest.mark.parametrize("left", list(USUAL))
def test_two_are_not_enough(left: str) -> None:
    assert moved(vitals(USUAL, 0, 2 * HOUR), vitals(WORSE | {left: USUAL[left]}, 2 * HOUR, 3 * HOUR)) == []


def test_getting_better_together_is_nothing() -> None:
    better = {"respiratory_rate": 11.0, "spo2": 99.0, "heart_rate": 52.0}
    assert moved(vitals(USUAL, 0, 2 * HOUR), vitals(better, 2 * HOUR, 3 * HOUR)) == []


def test_cold_start_finds_nothing_for_seventy_minutes() -> None:
    assert moved(vitals(USUAL, 0, 3_000), vitals(WORSE, 3_000, 4_200)) == []
    assert len(moved(vitals(USUAL, 0, 4_800), vitals(WORSE, 4_800, 6_000))) == 1
    assert moved(vitals(WORSE, 0, 3 * HOUR)) == []


def test_exercise_is_no_worsening_and_no_usual() -> None:
    moving = int(Context.MOTION_ACTIVE)
    assert moved(vitals(USUAL, 0, 2 * HOUR), vitals(WORSE, 2 * HOUR, 3 * HOUR, moving)) == []
    assert moved(vitals(USUAL, 0, 2 * HOUR, moving), vitals(WORSE, 2 * HOUR, 3 * HOUR)) == []


def test_shortly_after_exercise_saturation_must_have_fallen_twice_as_far() -> None:
    moving = vitals(USUAL, 2 * HOUR, 2 * HOUR + 300, int(Context.MOTION_ACTIVE))
    after = (2 * HOUR + 300, 2 * HOUR + 590)
    assert moved(vitals(USUAL, 0, 2 * HOUR), moving, vitals(WORSE, *after)) == []
    assert len(moved(vitals(USUAL, 0, 2 * HOUR), moving, vitals(WORSE | {"spo2": 94.0}, *after))) == 1


def test_an_episode_does_not_become_usual_and_clears_when_it_is_over() -> None:
    story = together(
        vitals(USUAL, 0, 2 * HOUR), vitals(WORSE, 2 * HOUR, 5 * HOUR, every_s=20), vitals(USUAL, 5 * HOUR, 6 * HOUR)
    )
    raised, cleared = moved(story)
    assert (raised.state, cleared.state) == (State.RAISED, State.CLEARED)
    assert (cleared.changed_us - T0) / S > 5 * HOUR + 600
    assert cleared.says.endswith("moved still: none")


def test_children_have_none() -> None:
    child = Person(profile=CareProfile(age_band=AgeBand.CHILD))
    assert moved(vitals(USUAL, 0, 2 * HOUR), vitals(WORSE, 2 * HOUR, 3 * HOUR), person=child) == []


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([USUAL, WORSE, {"heart_rate": 80.0}]), st.integers(300, 5_000)),
        min_size=1, max_size=5,
    ),
    st.lists(st.integers(1, 3_000), max_size=6),
)  # fmt: skip
def test_cuts_do_not_matter(levels: list[tuple[dict[str, float], int]], cuts: list[int]) -> None:
    parts, at = [vitals(USUAL, 0, 2 * HOUR, every_s=30)], 2.0 * HOUR
    for values, length in levels:
        parts.append(vitals(values, at, at + length, every_s=30))
        at += length
    assert_cuts_do_not_matter(News2, together(*parts), cuts)


def test_the_steps_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="together"):
        Steps(together=1)
    with pytest.raises(ValueError, match="above 0"):
        Steps(spo2_percent=-2)
