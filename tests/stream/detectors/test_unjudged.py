"""What motion keeps from being judged for hours is told, once; effort is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Priority, State
from stream.detectors.observation import Observations
from stream.detectors.packing import pack
from stream.detectors.protocol import NOBODY, Person
from stream.detectors.unjudged import FAST, MOVING, Unjudged, UnjudgedPolicy
from tests.stream.detectors.running import T0, S, assert_cuts_do_not_matter, run, together, told
from vitals.care_profile import AgeBand, Band, CareProfile
from vitals.catalogue import HIGH, LOW, number_of
from vitals.quality import Context

ACTIVE, STILL, WORKOUT = (int(one) for one in (Context.MOTION_ACTIVE, Context.MOTION_SEDENTARY, Context.WORKOUT))
HOUR = 3_600.0


def heart(bpm: float, from_h: float, to_h: float, context: int = ACTIVE, every_s: float = 15.0) -> Observations:
    return told("heart_rate", np.arange(from_h * HOUR, to_h * HOUR, every_s), bpm, context=context)


def changes(*parts: Observations, person: Person = NOBODY) -> list[tuple[str, str, float]]:
    found = run(Unjudged(), together(*parts), person=person)[1]
    return [(one.rule, one.state.value, round((one.changed_us - T0) / S / HOUR, 1)) for one in found]


@pytest.mark.parametrize("context", [ACTIVE, WORKOUT, ACTIVE | WORKOUT])
@pytest.mark.parametrize("every_s", [5.0, 60.0, 300.0])
def test_a_fast_heart_in_motion_without_end_is_told_after_two_hours_and_its_end(context: int, every_s: float) -> None:
    parts = (heart(70, 0, 1, STILL, every_s), heart(165, 1, 6, context, every_s), heart(70, 6, 8, STILL, every_s))
    raised, cleared = run(Unjudged(), together(*parts))[1]
    assert (raised.rule, raised.state, raised.priority) == (FAST, State.RAISED, Priority.LOW)
    assert raised.says == "heart rate above 130 /min not judged for 2 h: in motion all the while, last 165 /min"
    assert 0 <= (raised.opened_us - T0) / S - HOUR < 15  # one sample in 15 s is looked at
    assert 0 <= (raised.raised_us - T0) / S - 3 * HOUR < 15
    assert (cleared.state, cleared.opened_us) == (State.CLEARED, raised.opened_us)
    assert cleared.changed_us > raised.changed_us


def test_effort_with_pauses_is_not_told() -> None:
    parts = []
    for at in range(6):
        parts += [heart(160, at, at + 0.7), heart(90, at + 0.7, at + 1, STILL)]
    assert changes(*parts) == []
    assert changes(heart(160, 0, 1.9), heart(80, 1.9, 5, STILL)) == []
    assert changes(heart(115, 0, 8)) == []  # walking


def test_at_rest_it_is_the_limits_matter() -> None:
    assert changes(heart(165, 0, 6, STILL)) == []
    assert changes(heart(165, 0, 6, 0)) == []


def test_half_a_day_of_motion_is_told_whatever_the_heart_does() -> None:
    assert changes(heart(80, 0, 16), heart(70, 16, 17, STILL)) == [(MOVING, "raised", 12.0), (MOVING, "cleared", 16.2)]
    assert changes(heart(80, 0, 11.5), heart(70, 11.5, 12, STILL), heart(80, 12, 20)) == []


def test_the_profiles_own_limit_counts_and_a_child_has_no_other() -> None:
    own = CareProfile(version=1, limits={"heart_rate": Band(high=100)})
    assert changes(heart(110, 0, 3), person=Person(own)) == [(FAST, "raised", 2.0)]
    child = CareProfile(version=1, age_band=AgeBand.CHILD)
    assert changes(heart(165, 0, 3), person=Person(child)) == []
    state, raised = run(Unjudged(), heart(165, 0, 3))
    assert len(raised) == 1
    ended = run(Unjudged(), heart(165, 3, 4), person=Person(child), state=state)[1]
    assert [(one.rule, one.state, one.opened_us) for one in ended] == [(FAST, State.CLEARED, raised[0].opened_us)]


def test_what_is_not_trusted_says_nothing() -> None:
    seen = heart(165, 0, 6)
    seen["quality"] = 0.2
    assert run(Unjudged(), seen)[1] == []


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([70.0, 125.0, 165.0]), st.integers(1, 8), st.sampled_from([ACTIVE, STILL, 0])),
        min_size=1, max_size=8,
    ),
    st.lists(st.integers(1, 4_000), max_size=8),
)  # fmt: skip
def test_cuts_do_not_matter(pieces: list[tuple[float, int, int]], cuts: list[int]) -> None:
    parts, at = [], 0.0
    for bpm, length, context in pieces:
        parts.append(heart(bpm, at, at + length / 2, context))
        at += length / 2
    assert_cuts_do_not_matter(Unjudged, together(*parts), cuts)


def test_hostile_input_keeps_the_state_small() -> None:
    detector, random, number = Unjudged(), np.random.default_rng(1), number_of("heart_rate")
    state: Any = detector.fresh()
    for stretch in range(6):
        n = 10_000
        value = random.uniform(LOW[number], HIGH[number], n) if stretch % 2 else 165.0
        seen = told("heart_rate", stretch * 40_000 + np.arange(n) * (1e-6 if stretch < 2 else 4.0), value)
        seen["context"] = ACTIVE
        state, _ = detector.step(state, seen, int(seen["start_us"][-1]), NOBODY)
        assert len(pack(state)) < detector.max_bytes


@pytest.mark.parametrize(
    ("field", "value"), [("after_s", 10.0), ("whatever_after_s", 10.0), ("high_bpm", 20.0), ("min_share", 0.0)]
)
def test_a_policy_names_what_is_wrong(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        UnjudgedPolicy(**{field: value})
