"""The machine of delay and hysteresis, and what samples mean to a rule."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.event import Kind, Priority
from stream.detectors.limits import LimitRule, Side, SignalRule
from stream.detectors.observation import NOTHING, Observations, merge, observe
from stream.detectors.policy import ADULT, WatchPolicy, hastened
from stream.detectors.sustain import KEPT_READINGS, Code, Sustained, Timing, Transition, Window, advance
from tests.stream.making import S, samples
from vitals.catalogue import BY_CODE
from vitals.quality import Context

HIGH = LimitRule("heart_rate_high", 1, "heart_rate", Side.ABOVE, 130, 120, Priority.MEDIUM)
LOW = LimitRule("spo2_low", 1, "spo2", Side.BELOW, 90, 92, Priority.MEDIUM)


def seen(metric: str, values: list[float], **more: object) -> Observations:
    columns = samples(metric, range(len(values)), values, **more)  # type: ignore[arg-type]
    return observe(columns, ADULT.watched, ADULT.suspicious)


def window(codes: list[int], step_s: float = 1.0) -> Window:
    n = len(codes)
    return Window(
        np.round(np.arange(n) * step_s * S).astype(np.int64),
        np.array(codes, np.int8),
        np.arange(n, dtype=np.float64),
        np.ones(n, np.float32),
    )


def run(timing: Timing, what: Window) -> tuple[Sustained, list[Transition]]:
    state = Sustained()
    told: list[Transition] = []
    while True:
        state, transition = advance(state, timing, what.pick(what.start_us > state.at_us))
        if transition is None:
            return state, told
        told.append(transition)


def test_a_value_at_the_limit_is_no_breach_and_at_the_clearing_limit_calm() -> None:
    assert HIGH.codes(seen("heart_rate", [130, 130.1, 120, 120.1])).tolist() == [
        Code.HOLD, Code.BREACH, Code.CALM, Code.HOLD,
    ]  # fmt: skip
    assert LOW.codes(seen("spo2", [90, 89.9, 92, 91.9])).tolist() == [Code.HOLD, Code.BREACH, Code.CALM, Code.HOLD]


def test_untrustworthy_says_nothing_and_lost_contact_or_exercise_ends_what_is_pending() -> None:
    quality = [0.49, 0.5, 1, 1, 1]
    context = [0, 0, Context.NO_CONTACT, Context.MOTION_ACTIVE, Context.WORKOUT]
    both = seen("heart_rate", [150] * 5, quality=quality, context=context)
    exercise = LimitRule(
        "r", 1, "heart_rate", Side.ABOVE, 130, 120, Priority.LOW, suppressed_by=Context.MOTION_ACTIVE | Context.WORKOUT
    )
    assert exercise.codes(both).tolist() == [Code.SKIP, Code.BREACH, Code.BREAK, Code.BREAK, Code.BREAK]
    assert HIGH.codes(both).tolist() == [Code.SKIP, Code.BREACH, Code.BREAK, Code.BREACH, Code.BREACH]


def test_signal_rule_looks_at_the_sensor_never_at_the_value() -> None:
    rule = SignalRule("signal_lost", 1, "heart_rate")
    assert rule.kind is Kind.TECHNICAL
    context = [0, Context.NO_CONTACT, 0, 0]
    for value in (70, 200):
        codes = rule.codes(seen("heart_rate", [value] * 4, quality=[0, 1, 0.3, 1], context=context)).tolist()
        assert codes == [Code.BREACH, Code.BREACH, Code.HOLD, Code.CALM]


def test_raises_when_it_held_and_clears_when_it_was_calm_for_long_enough() -> None:
    timing = Timing(delay_s=10, min_samples=3, clear_delay_s=5, clear_samples=2)
    codes = [Code.CALM] * 5 + [Code.BREACH] * 20 + [Code.CALM] * 10
    _, told = run(timing, window([int(code) for code in codes]))
    assert [(one.cleared, one.opened_us // S, one.at_us // S) for one in told] == [(False, 5, 15), (True, 5, 30)]


@pytest.mark.parametrize(
    ("codes", "why"),
    [
        ([1, 1, 3, 1, 1, 3, 1, 3, 1], "single glitches"),
        ([3] * 9 + [1] + [3] * 9, "calm in between"),
        ([3] * 9 + [4] + [3] * 9, "contact lost in between"),
        ([3, *[2] * 30, 3], "mostly between the limits"),
        ([1] * 100, "flat and normal"),
    ],
)
def test_raises_nothing(codes: list[int], why: str) -> None:
    assert run(Timing(delay_s=10, min_samples=2), window(codes))[1] == [], why


def test_a_little_time_between_the_limits_does_not_restart_the_delay() -> None:
    assert len(run(Timing(delay_s=10), window([3, 3, 3, 3, 2, 3, 3, 3, 3, 3, 3, 3]))[1]) == 1


def test_hysteresis_between_the_limits_neither_clears_nor_raises_again() -> None:
    timing = Timing(delay_s=2, min_samples=2, clear_delay_s=3)
    _, told = run(timing, window([3] * 5 + [2, 3] * 20 + [1, 2] * 20))
    assert [one.cleared for one in told] == [False]


def test_a_hole_begins_anew() -> None:
    timing = Timing(delay_s=10, min_samples=2, max_gap_s=30)
    assert run(timing, window([3] * 5, step_s=31))[1] == []
    assert len(run(timing, window([3] * 5, step_s=30))[1]) == 1


def test_one_sample_is_never_enough_without_being_asked_for() -> None:
    assert run(Timing(delay_s=0, min_samples=2), window([3]))[1] == []
    assert len(run(Timing(delay_s=0, min_samples=1), window([3]))[1]) == 1


def test_evidence_is_bounded_and_the_newest() -> None:
    _, told = run(Timing(delay_s=100), window([3] * 200))
    readings = told[0].run.readings
    assert len(readings) == KEPT_READINGS
    assert readings[-1][0] == told[0].at_us == 100 * S
    assert told[0].run.seen == 101


@given(
    st.lists(st.sampled_from([1, 1, 2, 3, 3, 3, 4]), max_size=80),
    st.lists(st.integers(0, 80), max_size=6),
    st.builds(
        Timing,
        delay_s=st.integers(0, 8),
        min_samples=st.integers(1, 4),
        clear_delay_s=st.integers(0, 5),
        clear_samples=st.integers(1, 3),
        min_share=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    ),
)
def test_where_the_samples_are_cut_does_not_matter(codes: list[int], cuts: list[int], timing: Timing) -> None:
    whole = window(codes)
    state, told = run(timing, whole)
    edges = sorted({0, len(codes), *(min(cut, len(codes)) for cut in cuts)})
    pieces, again = Sustained(), []
    for first, last in pairwise(edges):
        piece = whole.pick(np.isin(np.arange(len(codes)), np.arange(first, last)))
        while True:
            pieces, transition = advance(pieces, timing, piece.pick(piece.start_us > pieces.at_us))
            if transition is None:
                break
            again.append(transition)
    assert again == told
    assert pieces == state
    assert [one.cleared for one in told] == [at % 2 == 1 for at in range(len(told))]


def test_merge_keeps_one_row_a_start_and_the_last_written() -> None:
    first = seen("heart_rate", [70, 71, 72])
    second = first.copy()
    second["written_us"] += 1
    second["value"] += 100
    for one, other in ((first, second), (second, first)):
        assert merge(one, other)["value"].tolist() == [170, 171, 172]
    assert len(merge(NOTHING, first[::-1])) == 3


def test_observe_leaves_out_what_validation_rejects() -> None:
    columns = samples("heart_rate", [0, 1, 2, 3], [70, np.nan, 400, 70], quality=[1, 1, 1, 1.5])
    assert observe(columns, ADULT.watched, ADULT.suspicious)["value"].tolist() == [70]
    future = samples("heart_rate", [0, 301], [70, 70], received_s=0)
    assert observe(future, ADULT.watched, ADULT.suspicious)["value"].tolist() == [70]
    assert not len(observe(samples("steps", [0], [1]), ADULT.watched, ADULT.suspicious))


def test_the_policy_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="clearing limit"):
        LimitRule("r", 1, "heart_rate", Side.ABOVE, 130, 131, Priority.LOW)
    with pytest.raises(ValueError, match="catalogue"):
        WatchPolicy("x", (LimitRule("r", 1, "pulse", Side.ABOVE, 130, 120, Priority.LOW),))
    with pytest.raises(ValueError, match="one name"):
        WatchPolicy("x", (HIGH, HIGH))
    with pytest.raises(ValueError, match="settle"):
        WatchPolicy("x", (HIGH,), settle_s=11)
    for wrong in ({"delay_s": -1}, {"max_gap_s": 0}, {"min_samples": 0}, {"min_share": 2}):
        with pytest.raises(ValueError, match=r"delays|at least one"):
            Timing(**wrong)


def test_the_default_policy_says_that_it_is_nobodys_own_and_lies_within_the_catalogue() -> None:
    assert "not individualised" in ADULT.label
    for rule in ADULT.rules:
        assert rule.timing.min_samples >= 2
        assert rule.priority is not Priority.HIGH
        if isinstance(rule, LimitRule):
            assert BY_CODE[rule.metric].low < rule.threshold < BY_CODE[rule.metric].high
    quick = hastened(ADULT, 5, 3)
    assert {rule.timing.delay_s for rule in quick.rules} == {5}
    assert max(rule.timing.clear_delay_s for rule in quick.rules) == 3
