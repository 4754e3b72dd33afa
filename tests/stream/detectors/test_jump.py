"""A sudden change is doubted for a moment, never rejected: a tachycardia starts within a beat."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Kind, State
from stream.detectors.jump import Jump, JumpPolicy
from tests.stream.detectors.judging import assert_cuts_do_not_matter, changes, hostile, judge, size
from tests.stream.detectors.running import together, told

RAISED, CLEARED = State.RAISED, State.CLEARED


def doubted(metric: str, values: list[float], every_s: float = 1.0) -> list[int]:
    seen = told(metric, every_s * np.arange(len(values)), values)
    return np.flatnonzero(judge(Jump(), seen).distrust).tolist()


def test_a_spike_is_doubted_and_its_neighbours_are_not() -> None:
    assert doubted("heart_rate", [70, 71, 160, 71, 70]) == [2]
    assert doubted("heart_rate", [70, 71, 22, 71, 70]) == [2]
    assert doubted("spo2", [97, 97, 60, 97], 5.0) == [2]
    assert doubted("rr_interval", [800, 810, 255, 805, 800]) == [2]


def test_a_step_that_stays_is_believed_from_its_third_sample_on() -> None:
    assert doubted("heart_rate", [70.0] * 5 + [200.0] * 60) == [5, 6]
    assert doubted("rr_interval", [800.0] * 5 + [270.0] * 60) == [5, 6]
    assert doubted("spo2", [97.0] * 5 + [60.0] * 60) == [5, 6]


def test_a_change_that_a_body_can_make_is_not_doubted() -> None:
    assert doubted("heart_rate", [70, 105, 140, 100, 70]) == []
    assert doubted("spo2", [97, 93, 88, 84, 90, 96], 5.0) == []


def test_the_early_beat_and_its_pause_are_left_to_the_rhythm() -> None:
    assert doubted("rr_interval", [800, 480, 1_120, 800, 430, 1_300, 800, 350, 1_500]) == []


def test_after_a_hole_anything_goes() -> None:
    seen = told("heart_rate", [0, 1, 100, 101], [70, 70, 190, 190])
    assert not judge(Jump(), seen).distrust.any()


def test_values_of_no_quality_neither_jump_nor_count() -> None:
    seen = told("heart_rate", np.arange(5), [70, 70, 200, 70, 70], quality=[1, 1, 0, 1, 1])
    assert not judge(Jump(), seen).distrust.any()


def glitchy(share: float, seconds: int = 3_000, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.round(70 + rng.normal(0, 1, seconds))
    values[1_200:1_800][rng.random(600) < share] = 200
    return values


def test_frequent_glitches_are_told_and_cleared_by_window() -> None:
    found = judge(Jump(), told("heart_rate", np.arange(3_000), glitchy(0.05))).findings
    assert [(one.metric, one.state, one.kind) for one in found] == [
        ("wear_state", RAISED, Kind.TECHNICAL),
        ("wear_state", CLEARED, Kind.TECHNICAL),
    ]
    assert 1 < found[0].figures["share_percent"] < 9  # type: ignore[operator]
    assert judge(Jump(), told("heart_rate", np.arange(3_000), glitchy(0.003))).findings == []


def test_steps_are_no_glitches() -> None:
    values = np.where(np.arange(3_000) // 20 % 2, 70, 200)
    assert judge(Jump(), told("heart_rate", np.arange(3_000), values)).findings == []


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(1, 6_600), max_size=60))
def test_cuts_do_not_matter(seed: int, cuts: list[int]) -> None:
    at, rng = np.arange(0, 3_000.0), np.random.default_rng(seed)
    beats = np.where(rng.random(3_000) < 0.02, 255, np.round(800 + rng.normal(0, 30, 3_000)))
    seen = together(
        told("heart_rate", at, glitchy(0.2, seed=seed)),
        told("rr_interval", at + 0.5, beats),
        told("spo2", at[::5] + 0.2, rng.choice([97, 60], 600)),
    )
    assert changes(assert_cuts_do_not_matter(Jump(), seen, cuts).findings)[0][1] is RAISED


def test_hostile_input_leaves_it_small_and_cuts_do_not_matter() -> None:
    for seed in range(3):
        found = assert_cuts_do_not_matter(Jump(), hostile(seed), range(0, 10_000, 61))
        assert size(found.state) <= Jump.max_bytes


@pytest.mark.parametrize("wrong", [{"confirm": 1}, {"max_gap_s": 0}, {"often": 1.0}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="|".join(wrong)):
        JumpPolicy(**wrong)  # type: ignore[arg-type]
