"""One sample at a time the machine and the rules say what they say of many."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alerts.event import Priority
from stream.detectors.limits import LimitRule, Rule, Side, SignalRule
from stream.detectors.observation import OBSERVATION
from stream.detectors.sustain import Code, Sustained, Timing, Transition, Window, advance
from stream.detectors.sustain_step import step
from vitals.catalogue import number_of
from vitals.quality import Context

S = 1_000_000
TIMING = st.builds(
    Timing,
    delay_s=st.sampled_from([0, 1, 2.5, 6]),
    min_samples=st.integers(1, 4),
    clear_delay_s=st.sampled_from([0, 1, 4.5]),
    clear_samples=st.integers(1, 3),
    max_gap_s=st.sampled_from([0.5, 3, 600]),
    min_share=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    recovery_s=st.sampled_from([0, 1, 5]),
)
CODES = st.sampled_from([one for one in Code if one is not Code.SKIP] + [Code.BREACH] * 4 + [Code.CALM] * 2)
SAMPLES = st.lists(st.tuples(st.sampled_from([1, S // 2, S, S, S, 3 * S, 4 * S]), CODES), max_size=80)


@given(TIMING, SAMPLES)
def test_a_step_is_an_advance_by_one(timing: Timing, samples: list[tuple[int, Code]]) -> None:
    one = many = Sustained()
    start_us = 0
    for gap_us, code in samples:
        start_us += gap_us
        reading = start_us, float(start_us % 7), 1.0
        window = Window(*(np.array([value]) for value in (start_us, np.int8(code), reading[1], np.float32(1))))
        many, told = advance(many, timing, window)
        assert step(one, timing, int(code), reading) == (many, told)
        one = many


@given(TIMING, SAMPLES)
def test_steps_are_an_advance_by_all(timing: Timing, samples: list[tuple[int, Code]]) -> None:
    start_us = np.cumsum([gap_us for gap_us, _ in samples], dtype=np.int64)
    codes = np.array([code for _, code in samples], np.int8)
    value, quality = np.arange(len(codes), dtype=np.float64), np.full(len(codes), 0.75, np.float32)
    whole = Window(start_us, codes, value, quality)
    state, turns = Sustained(), list[Transition]()
    for at in range(len(whole)):
        state, told = step(state, timing, int(codes[at]), whole.reading(at))
        turns += [] if told is None else [told]
    many, expected = Sustained(), list[Transition]()
    while True:
        many, told = advance(many, timing, whole.pick(start_us > many.at_us))
        if told is None:
            break
        expected.append(told)
    assert turns == expected
    assert state == many


def _rules() -> list[Rule]:
    moving = Context.MOTION_ACTIVE | Context.WORKOUT
    left = Timing(recovery_s=60)
    return [
        LimitRule("high", 1, "heart_rate", Side.ABOVE, 130, 120, Priority.LOW),
        LimitRule("high", 1, "heart_rate", Side.ABOVE, 130, 120, Priority.LOW, suppressed_by=moving),
        LimitRule("high", 1, "heart_rate", Side.ABOVE, 130, 120, Priority.LOW, left, moving),
        LimitRule("low", 1, "heart_rate", Side.BELOW, 40, 45, Priority.LOW, asleep_threshold=30, asleep_clear=35),
        LimitRule("low", 1, "heart_rate", Side.BELOW, 40, 40, Priority.LOW, left, moving),
        SignalRule("signal_lost", 1, "heart_rate"),
    ]


@given(
    st.sampled_from(_rules()),
    st.sampled_from([29.0, 30.0, 35.0, 36.0, 39.9, 40.0, 45.0, 46.0, 119.0, 120.0, 125.0, 130.0, 130.1]),
    st.sampled_from([0.0, 0.25, 0.49, 0.5, 1.0]),
    st.integers(0, 2 * max(one.value for one in Context) - 1),
    st.booleans(),
)
def test_a_code_is_one_of_codes(rule: Rule, value: float, quality: float, context: int, deleted: bool) -> None:
    seen = np.zeros(1, OBSERVATION)
    seen["metric"], seen["value"], seen["quality"] = number_of("heart_rate"), value, quality
    seen["context"], seen["deleted"] = context, deleted
    row = seen.tolist()[0]
    assert rule.code(row[3], row[4], row[5], deleted=deleted) == rule.codes(seen)[0]
