"""What exercise leaves behind is no finding; limits awake and asleep; samples every five minutes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Priority
from stream.detectors.limits import LimitRule, Side
from stream.detectors.observation import Observations
from stream.detectors.policy import ADULT, WatchPolicy, hastened
from stream.detectors.sustain import Code, Sustained, Timing, Transition, Window, advance, follow
from tests.stream.detectors.running import T0, S, together, told
from vitals.catalogue import number_of
from vitals.quality import Context

MOVING = int(Context.MOTION_ACTIVE)
ASLEEP = int(Context.ASLEEP)
RULES = {(rule.name, rule.metric): rule for rule in ADULT.rules if isinstance(rule, LimitRule)}
FAST = RULES["heart_rate_high", "heart_rate"]
SLOW = RULES["heart_rate_low", "heart_rate"]


def raised_s(rule: LimitRule, *parts: Observations) -> list[tuple[bool, float]]:
    """Return (cleared, seconds) of every transition of a rule on the series."""
    return [(one.cleared, (one.at_us - T0) / S) for one in _told(rule, together(*parts))[1]]


def _told(rule: LimitRule, seen: Observations) -> tuple[Sustained, list[Transition]]:
    code = rule.codes(seen)
    window = Window(seen["start_us"], code, seen["value"], seen["quality"]).pick(code != Code.SKIP)
    return follow(Sustained(), rule.timing, window)


def beats(from_s: float, to_s: float, value: float, context: int = 0, every_s: float = 1) -> Observations:
    return told("heart_rate", np.arange(from_s, to_s, every_s), value, context=context)


def test_a_heart_still_fast_after_exercise_is_none_for_ten_minutes() -> None:
    assert raised_s(FAST, beats(0, 600, 160, MOVING), beats(600, 1_190, 140), beats(1_190, 1_800, 100)) == []
    [(cleared, at)] = raised_s(FAST, beats(0, 600, 160, MOVING), beats(600, 2_000, 140))
    assert not cleared
    assert at == 599 + 600 + 1 + 60


def test_calm_motion_leaves_nothing_behind() -> None:
    [(_, at)] = raised_s(FAST, beats(0, 600, 110, MOVING), beats(600, 900, 140))
    assert at == 660


def test_what_calms_down_in_motion_clears() -> None:
    assert [one[0] for one in raised_s(FAST, beats(0, 100, 140), beats(100, 300, 90, MOVING))] == [False, True]
    assert [one[0] for one in raised_s(FAST, beats(0, 100, 140), beats(100, 300, 150, MOVING))] == [False]


def test_every_five_minutes_is_enough_for_three() -> None:
    assert raised_s(FAST, beats(0, 1_000, 140, every_s=300))[0] == (False, 600)
    assert raised_s(FAST, beats(0, 500, 140, every_s=300)) == []


def test_saturation_now_and_then_raises_at_the_third_low_reading() -> None:
    rule = RULES["spo2_low", "spo2"]
    assert raised_s(rule, told("spo2", [0, 1_800, 3_600], 86.0)) == [(False, 3_600)]
    assert raised_s(rule, told("spo2", [0, 1_800, 3_600], [86.0, 97.0, 86.0])) == []


def test_one_cuff_reading_is_none_and_the_next_hours_is() -> None:
    rule = RULES["bp_systolic_low", "bp_systolic"]
    assert raised_s(rule, told("bp_systolic", [0], 82.0)) == []
    assert raised_s(rule, told("bp_systolic", [0, 3_600], 82.0)) == [(False, 3_600)]
    assert raised_s(rule, told("bp_systolic", [0, 3_600], 82.0, context=ASLEEP)) == []


def test_a_slow_heart_asleep_is_none_down_to_30() -> None:
    assert raised_s(SLOW, beats(0, 3_600, 33, ASLEEP)) == []
    assert raised_s(SLOW, beats(0, 3_600, 29, ASLEEP)) == [(False, 300)]
    assert raised_s(SLOW, beats(0, 3_600, 39)) == [(False, 300)]
    assert raised_s(SLOW, beats(0, 290, 33), beats(290, 3_600, 33, ASLEEP)) == []


def test_codes_go_by_the_limits_of_each_sample() -> None:
    seen = told("heart_rate", range(6), [41, 38, 38, 46, 29, 34], context=[0, 0, ASLEEP, ASLEEP, ASLEEP, ASLEEP])
    assert SLOW.codes(seen).tolist() == [Code.HOLD, Code.BREACH, Code.CALM, Code.CALM, Code.BREACH, Code.HOLD]
    assert (SLOW.limit_beyond(33), SLOW.limit_beyond(50)) == (40, 40)
    nightly = replace(FAST, asleep_threshold=100, asleep_clear=90)
    assert (nightly.limit_beyond(115), nightly.limit_beyond(140), nightly.limit_beyond(80)) == (100, 130, 130)


def test_suspicious_is_what_any_rule_may_care_for() -> None:
    heart, spo2 = number_of("heart_rate"), number_of("spo2")
    assert ADULT.suspicious[:, heart].tolist() == [40, 120]  # fast in exercise must be known, for what comes after
    assert ADULT.suspicious[0, spo2] == 90
    nightly = replace(SLOW, asleep_threshold=50, asleep_clear=55)
    assert WatchPolicy("x", (nightly,)).suspicious[0, heart] == 50


def test_a_rule_with_half_a_pair_or_a_crossed_one_is_refused() -> None:
    with pytest.raises(ValueError, match="belong together"):
        replace(SLOW, asleep_clear=None)
    with pytest.raises(ValueError, match="clearing limit"):
        replace(SLOW, asleep_clear=29)
    with pytest.raises(ValueError, match="not negative"):
        Timing(recovery_s=-1)


def test_hastened_rests_no_longer_than_it_clears() -> None:
    assert {rule.timing.recovery_s for rule in hastened(ADULT, 10, 20).rules} == {0, 20}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([70, 125, 150]), st.integers(1, 40), st.sampled_from([0, 0, MOVING, 32])),
        max_size=8,
    ),
    st.lists(st.integers(1, 250), max_size=6),
    st.integers(0, 60),
)
def test_where_the_samples_are_cut_does_not_matter_nor_that_quiet_ones_are_not_looked_at(
    story: list[tuple[int, int, int]], cuts: list[int], recovery_s: int
) -> None:
    timing = Timing(delay_s=5, min_samples=2, clear_delay_s=5, recovery_s=recovery_s)
    rule = LimitRule("r", 1, "heart_rate", Side.ABOVE, 130, 120, Priority.LOW, timing, Context.MOTION_ACTIVE)
    value = np.array([value for value, length, _ in story for _ in range(length)], np.float64)
    context = [context for _, length, context in story for _ in range(length)]
    seen = told("heart_rate", np.arange(len(value)), value, context=context)
    whole, transitions = _told(rule, seen)
    state, again = Sustained(), []
    for part in np.split(seen, sorted(cut for cut in cuts if cut < len(seen))):
        if state.is_quiet and not (part["value"] > rule.suspicious_beyond).any():
            continue  # as the watch's fast path does
        code = rule.codes(part)
        state, more = follow(state, timing, Window(part["start_us"], code, part["value"], part["quality"]))
        again += more
    assert again == transitions
    assert replace(state, at_us=0) == replace(whole, at_us=0) or state.is_quiet == whole.is_quiet


def test_an_exerted_sample_is_a_break_where_nothing_recovers() -> None:
    codes = np.array([Code.BREACH, Code.BREACH, Code.EXERTED, Code.BREACH, Code.BREACH, Code.BREACH], np.int8)
    at = np.arange(6, dtype=np.int64) * S
    window = Window(at, codes, np.zeros(6), np.ones(6, np.float32))
    _, found = advance(Sustained(), Timing(delay_s=2, min_samples=2), window)
    assert found is not None
    assert found.opened_us == 3 * S
