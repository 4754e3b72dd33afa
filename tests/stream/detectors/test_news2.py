"""Partial NEWS2: an integer only where all is known, nothing assumed, one episode that may escalate."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Priority, State
from stream.detectors.finding import Finding
from stream.detectors.news2 import News2, News2Policy
from stream.detectors.news2_inputs import METRICS
from stream.detectors.observation import Observations
from stream.detectors.packing import pack, unpack
from stream.detectors.protocol import NOBODY, Person
from stream.detectors.sustain import Timing
from tests.stream.detectors.running import T0, S, assert_cuts_do_not_matter, run, together, told
from vitals.care_profile import AgeBand, CareProfile
from vitals.catalogue import number_of
from vitals.quality import Context

MEDICAL = Person(ceiling=Priority.HIGH)
WELL = {"respiratory_rate": 15.0, "spo2": 97.0, "heart_rate": 70.0, "bp_systolic": 120.0, "body_temperature": 36.8}
FIVE = {"respiratory_rate": 22.0, "spo2": 93.0, "heart_rate": 95.0}
SEVEN = {**FIVE, "bp_systolic": 95.0}


def vitals(values: dict[str, float], from_s: float, to_s: float, every_s: float = 5, **more: Any) -> Observations:
    at = np.arange(from_s, to_s, every_s)
    return together(*(told(metric, at, value, **more) for metric, value in values.items()))


def entered(metric: str, at_s: float, value: float, context: Context = Context.USER_ENTERED) -> Observations:
    return told(metric, [at_s], [value], context=int(context))


def scores(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.rule == "news2"]


def score_of(*parts: Observations, person: Person = NOBODY) -> list[Finding]:
    return scores(run(News2(), together(*parts), person=person)[1])


def test_what_nobody_observed_is_missing_by_name_and_adds_nothing() -> None:
    [found] = score_of(vitals(FIVE, 0, 600))
    assert found.state is State.RAISED
    assert found.priority is Priority.MEDIUM
    assert found.says == "NEWS2 at least 5; 4 of 7 missing (oxygen, BP, consciousness, temperature)"
    assert found.figures["at_least_points"] == 5
    assert "total_points" not in found.figures
    assert found.figures["missing_count"] == 4
    assert found.figures["pulse_points"] == 1
    assert found.readings[-1][1] == 5
    assert len(found.figures) <= 24


def test_an_integer_only_where_all_seven_are_current_and_two_entered_by_a_person() -> None:
    vital = vitals(WELL | FIVE, 0, 600)
    people = (entered("consciousness", 1, 0), entered("supplemental_oxygen", 2, 0))
    [found] = score_of(vital, *people)
    assert found.says == "NEWS2 5"
    assert found.figures["total_points"] == 5
    assert found.figures["missing"] == ""
    machine = (entered("consciousness", 1, 0, Context(0)), entered("supplemental_oxygen", 2, 0, Context(0)))
    assert score_of(vital, *machine)[0].says == "NEWS2 at least 5; 2 of 7 missing (oxygen, consciousness)"
    known = Person(profile=CareProfile(version=3, oxygen=True))
    [on_oxygen] = score_of(vital, people[0], person=known)
    assert on_oxygen.says == "NEWS2 7"
    assert on_oxygen.individualised


def test_confusion_is_three_points_and_is_named() -> None:
    [found] = score_of(vitals(WELL | {"respiratory_rate": 22.0}, 0, 600), entered("consciousness", 1, 1))
    assert found.says == "NEWS2 at least 5; 1 of 7 missing (oxygen); 3 points for consciousness"


def test_inputs_grow_old() -> None:
    pressure = told("bp_systolic", [0], [85.0])
    [found] = score_of(pressure, vitals({"respiratory_rate": 22.0}, 5_000, 5_700))
    assert found.figures["bp_points"] == 3
    assert score_of(pressure, vitals({"respiratory_rate": 22.0}, 5_500, 6_400)) == []
    [warm] = score_of(told("body_temperature", [0], [39.5]), vitals(FIVE | {"spo2": 95}, 14_000, 14_300))
    assert warm.figures["temperature_points"] == 2


def test_wrist_temperature_is_no_input() -> None:
    assert number_of("wrist_temperature") not in METRICS
    assert number_of("body_temperature") in METRICS


def test_one_odd_sample_never_scores() -> None:
    steady = vitals(FIVE | {"heart_rate": 80.0}, 0, 1_200)  # 4 points
    for at in range(100, 1_100, 100):
        odd = told("heart_rate", [at + 1], [190.0])
        steady = together(steady, odd)
    assert score_of(steady) == []
    sparse = together(vitals(FIVE | {"heart_rate": 80.0}, 0, 3_000, 300), told("heart_rate", [1_650], [190.0]))
    assert score_of(sparse) == []


def test_it_must_last_and_be_over_for_a_while() -> None:
    well = {name: WELL[name] for name in FIVE}
    assert score_of(vitals(well, 0, 600), vitals(FIVE, 600, 700), vitals(well, 700, 1_400)) == []
    raised, cleared = score_of(vitals(well, 0, 600), vitals(FIVE, 600, 1_200), vitals(well, 1_200, 3_000))
    assert (raised.state, cleared.state) == (State.RAISED, State.CLEARED)
    assert raised.opened_us == cleared.opened_us
    assert 120 <= (raised.raised_us - T0) / S - 600 <= 200
    assert 600 <= (cleared.changed_us - T0) / S - 1_200 <= 700
    assert cleared.says.startswith("NEWS2 has fallen to at least 0")


def test_seven_points_escalate_the_same_episode_where_a_device_may_say_high() -> None:
    story = together(vitals(FIVE, 0, 900), vitals(SEVEN, 900, 1_800), vitals(WELL, 1_800, 3_600))
    raised, escalated, cleared = score_of(story, person=MEDICAL)
    states = [(one.state, one.priority) for one in (raised, escalated, cleared)]
    assert states == [
        (State.RAISED, Priority.MEDIUM), (State.ESCALATED, Priority.HIGH), (State.CLEARED, Priority.HIGH),
    ]  # fmt: skip
    assert raised.opened_us == escalated.opened_us == cleared.opened_us
    assert raised.raised_us == escalated.raised_us
    assert [one.state for one in score_of(story)] == [State.RAISED, State.CLEARED]
    at_once = score_of(vitals(SEVEN, 0, 900), person=MEDICAL)
    assert [(one.state, one.priority) for one in at_once] == [(State.RAISED, Priority.HIGH)]


def _by_turns(*origins: tuple[Observations, Person]) -> list[Finding]:
    """Each origin's samples in stretches of 15 s, one origin after the other, as the engine settles them."""
    state, found, detector = News2().fresh(), [], News2()
    ends = range(T0 + 15 * S, T0 + 3_600 * S, 15 * S)
    for end_us in ends:
        for seen, person in origins:
            part = seen[(seen["start_us"] >= end_us - 15 * S) & (seen["start_us"] < end_us)]
            if len(part):
                state, told_now = detector.step(state, part, end_us, person)
                found += told_now
    return scores(found)


def test_seven_points_of_a_medical_device_are_high_whichever_device_speaks_last() -> None:
    medical = (vitals(SEVEN, 0, 1_200, 15), MEDICAL)
    phone = (vitals({"heart_rate": SEVEN["heart_rate"]}, 0, 1_200, 5), NOBODY)
    for origins in ((medical, phone), (phone, medical)):
        assert [(one.state, one.priority) for one in _by_turns(*origins)] == [(State.RAISED, Priority.HIGH)]


def test_points_that_a_wellness_device_adds_make_nothing_high_until_a_medical_one_tells_them_too() -> None:
    five, pressure = vitals(FIVE, 0, 3_000, 15), {"bp_systolic": SEVEN["bp_systolic"]}
    cuff = vitals(pressure, 3, 3_000, 15)
    assert [one.priority for one in _by_turns((five, MEDICAL), (cuff, NOBODY))] == [Priority.MEDIUM]
    later = together(five, vitals(pressure, 1_500, 3_000, 15))
    raised, escalated = _by_turns((later, MEDICAL), (cuff, NOBODY))
    assert (raised.state, raised.priority) == (State.RAISED, Priority.MEDIUM)
    assert (escalated.state, escalated.priority) == (State.ESCALATED, Priority.HIGH)
    assert escalated.opened_us == raised.opened_us
    assert 120 <= (escalated.changed_us - T0) / S - 1_500 <= 240


def test_an_input_that_scored_and_is_gone_clears_nothing_for_hours() -> None:
    later = vitals({"heart_rate": 70.0}, 900, 30_000, 15)  # nobody knows respiration and saturation any more
    raised, cleared = score_of(vitals({"respiratory_rate": 26.0, "spo2": 90.0}, 0, 900), later)
    assert (raised.state, cleared.state) == (State.RAISED, State.CLEARED)
    assert 900 + 900 + 6 * 3_600 <= (cleared.changed_us - T0) / S <= 900 + 900 + 6 * 3_600 + 700


def test_exercise_is_not_scored_nor_what_it_leaves_behind() -> None:
    moving = vitals(FIVE, 0, 1_200, context=int(Context.MOTION_ACTIVE))
    assert score_of(moving, vitals(FIVE, 1_200, 1_490)) == []
    [found] = score_of(moving, vitals(FIVE, 1_200, 2_400))
    assert (found.opened_us - T0) / S > 1_500


def test_sleep_slows_and_a_slow_sleeper_is_told_of_by_the_limits() -> None:
    slow = {"heart_rate": 38.0, "bp_systolic": 105.0, "respiratory_rate": 10.0}  # 3 + 1 + 1
    assert score_of(vitals(slow, 0, 1_800, context=int(Context.ASLEEP))) == []
    assert len(score_of(vitals(slow, 0, 1_800))) == 1
    worse = {"heart_rate": 38.0, "bp_systolic": 88.0, "respiratory_rate": 23.0}  # 3 excused, 3 + 2 not
    [found] = score_of(vitals(worse, 0, 1_800, context=int(Context.ASLEEP)))
    assert found.says.startswith("NEWS2 at least 8;")
    trained = Person(profile=CareProfile(version=1, trained=True))
    assert score_of(vitals({"heart_rate": 38.0, "respiratory_rate": 22.0}, 0, 1_800), person=trained) == []


def test_scale_2_only_where_it_is_prescribed() -> None:
    target = {"spo2": 90.0, "respiratory_rate": 22.0}
    assert len(score_of(vitals(target, 0, 900))) == 1
    assert score_of(vitals(target, 0, 900), person=Person(profile=CareProfile(version=1, spo2_scale=2))) == []


@pytest.mark.parametrize("profile", [CareProfile(age_band=AgeBand.CHILD), CareProfile(pregnant=True)])
def test_no_child_and_nobody_pregnant_is_scored(profile: CareProfile) -> None:
    assert run(News2(), vitals(SEVEN, 0, 3_600), person=Person(profile=profile))[1] == []


def test_what_cannot_be_trusted_does_not_score() -> None:
    assert score_of(vitals(SEVEN, 0, 1_800, quality=0.4)) == []
    assert score_of(vitals(SEVEN, 0, 1_800, context=int(Context.NO_CONTACT))) == []


def test_the_pulse_comes_from_either_device() -> None:
    by_pulse = {"pulse_rate" if name == "heart_rate" else name: value for name, value in FIVE.items()}
    assert len(score_of(vitals(by_pulse, 0, 600))) == 1


def test_a_slower_device_still_counts_and_turns_no_clock_back() -> None:
    detector = News2()
    state: Any = detector.fresh()
    fast = vitals({"respiratory_rate": 22.0, "heart_rate": 95.0}, 0, 1_200)
    found: list[Finding] = []
    for at in range(0, 1_200, 60):  # the cuff's phone is ten minutes behind
        for part in (fast, told("spo2", np.arange(at - 600, at - 540, 5), 93.0)):
            inside = (
                part
                if part is not fast
                else part[(part["start_us"] >= T0 + at * S) & (part["start_us"] < T0 + (at + 60) * S)]
            )
            state, more = detector.step(state, inside, int(inside["start_us"][-1]), NOBODY)
            found += more
    times = [one.changed_us for one in scores(found)]
    assert [one.state for one in scores(found)] == [State.RAISED]
    assert times == sorted(times)


LEVELS = st.lists(
    st.tuples(
        st.sampled_from([WELL, FIVE, SEVEN, {"spo2": 90.0}, {"heart_rate": 140.0, "respiratory_rate": 26.0}]),
        st.integers(30, 900),
        st.sampled_from([0, 0, 0, int(Context.MOTION_ACTIVE), int(Context.ASLEEP), int(Context.NO_CONTACT)]),
        st.sampled_from([4.0, 7.0, 60.0]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(LEVELS, st.lists(st.integers(1, 3_000), max_size=8), st.booleans())
def test_cuts_do_not_matter(
    levels: list[tuple[dict[str, float], int, int, float]], cuts: list[int], medical: bool
) -> None:
    parts, at = [], 0.0
    for values, length, context, every in levels:
        parts.append(vitals(values, at, at + length, every, context=context))
        at += length
    person = MEDICAL if medical else NOBODY
    found = scores(assert_cuts_do_not_matter(News2, together(*parts), cuts, person=person))
    open_us: int | None = None
    for one in found:
        assert (one.state is State.RAISED) == (open_us is None)
        assert open_us in (None, one.opened_us)
        open_us = None if one.state is State.CLEARED else one.opened_us
        assert one.opened_us <= one.raised_us <= one.changed_us
        assert ("at least" in one.says) == (one.figures["missing_count"] != 0)


def test_hostile_input_keeps_the_state_small() -> None:
    detector, random = News2(), np.random.default_rng(1)
    state: Any = detector.fresh()
    for stretch in range(5):
        n = 10_000
        numbers = sorted(METRICS)
        metric = random.choice(numbers, n)
        seen = told("spo2", np.arange(n) * 1e-6 + stretch * (0.02 if stretch < 3 else 5_000), 0.0)
        seen["metric"], seen["value"] = metric, random.choice([0.0, 1.0, 40.0, 200.0], n)
        seen["context"] = random.choice([0, 2, 4, 8, 16, 32], n)
        state, _ = detector.step(state, seen, int(seen["start_us"][-1]), MEDICAL)
        size = sum(one.nbytes for one in _arrays(state))
        assert size < detector.max_bytes
    assert unpack(type(state), pack(state)).inputs.done_us == state.inputs.done_us


def _arrays(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        return [value]
    slots = getattr(value, "__dataclass_fields__", {})
    return [array for name in slots for array in _arrays(getattr(value, name))]


def test_the_policy_refuses_nonsense() -> None:
    for wrong in (
        {"medium_calm_points": 5}, {"high_points": 4}, {"high_calm_points": 7}, {"rest_s": -1.0}, {"forget_s": -1.0},
        {"together_rest_s": 400.0},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"points|_s"):
            News2Policy(**wrong)
    patient = News2(replace(News2Policy(), timing=Timing(delay_s=3_600)))
    assert scores(run(patient, vitals(FIVE, 0, 1_800))[1]) == []
