"""A clock that is off is told by how early or late its samples come."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Kind, Priority, State
from stream.detectors.clock import Clock, ClockPolicy
from stream.detectors.observation import Observations
from tests.stream.detectors.judging import assert_cuts_do_not_matter, changes, hostile, judge, size
from tests.stream.detectors.running import S, told

RAISED, CLEARED = State.RAISED, State.CLEARED


def beside(offset_s: np.ndarray | float, hours: float = 4.0, every_s: float = 5.0) -> Observations:
    """Return heart rates of a clock that is so far ahead, received 0.3 s after they were measured."""
    at = np.arange(0, hours * 3_600, every_s)
    seen = told("heart_rate", at, 70)
    seen["received_us"] = seen["start_us"] + 300_000
    seen["start_us"] += np.round(np.broadcast_to(offset_s, at.shape) * S).astype(np.int64)
    return seen


def states(seen: Observations) -> list[State]:
    found = judge(Clock(), seen)
    assert not found.distrust.any(), "values of a wrong time are right values"
    assert {(one.kind, one.priority) for one in found.findings} <= {(Kind.TECHNICAL, Priority.LOW)}
    return [one.state for one in found.findings]


@pytest.mark.parametrize(("offset_s", "told_"), [(0, []), (20, []), (45, [RAISED]), (-60, []), (-200, [RAISED])])
def test_so_far_off_is_off(offset_s: float, told_: list[State]) -> None:
    assert states(beside(offset_s)) == told_


def test_a_clock_that_drifts_is_told_before_its_samples_are_refused() -> None:
    found = judge(Clock(), beside(np.linspace(0, 250, 2_880))).findings
    assert [one.state for one in found] == [RAISED]
    assert 30 <= found[0].figures["offset_s"] < 80  # type: ignore[operator]


def test_a_clock_that_is_set_is_right_again() -> None:
    assert states(beside(np.where(np.arange(2_880) < 1_440, 60, 0))) == [RAISED, CLEARED]


def test_uploads_are_late_and_their_clock_is_right() -> None:
    seen = beside(0, hours=24)
    hourly = -(-seen["start_us"] // (3_600 * S)) * 3_600 * S
    seen["received_us"] = hourly + 5 * S
    assert states(seen) == []


def test_a_line_that_is_slow_now_and_then_is_no_clock() -> None:
    seen = beside(0, hours=24)
    late = np.random.default_rng(1).uniform(130, 900, 200)
    seen["received_us"] += np.round(late[np.arange(len(seen)) // 90 % 200] * S).astype(np.int64)
    seen["received_us"] = np.maximum.accumulate(seen["received_us"])
    assert states(seen) == []


def test_a_bridge_that_compares_the_clocks_is_believed_at_once() -> None:
    found = judge(Clock(), told("clock_offset", [0.0, 60.0, 120.0], [-4_000.0, 40.0, 1.0])).findings
    assert changes(found) == [("clock_offset", RAISED, 0.0), ("clock_offset", CLEARED, 120.0)]
    assert found[0].says == "the device's clock is 4000 s behind"


def test_so_far_behind_that_all_looks_like_history_is_of_medium_priority_and_of_when_it_came() -> None:
    found = judge(Clock(), beside(-1_200)).findings
    assert [(one.state, one.priority) for one in found] == [(RAISED, Priority.MEDIUM)]
    assert found[0].by_arrival
    assert found[0].measured_us == found[0].changed_us
    assert found[0].measured_us % (600 * S) == 0, "the end of a window of arrival"
    assert found[0].figures["offset_s"] == -1_200.3


def test_a_clock_that_falls_behind_farther_and_farther_escalates_once() -> None:
    seen = beside(-np.repeat([0.0, 300.0, 1_000.0, 1_300.0, 0.0], 1_440), hours=10)
    found = judge(Clock(), seen).findings
    assert [(one.state, one.priority) for one in found] == [
        (RAISED, Priority.LOW), (State.ESCALATED, Priority.MEDIUM), (CLEARED, Priority.MEDIUM),
    ]  # fmt: skip
    assert len({one.opened_us for one in found}) == 1


@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(1, 2_880), max_size=40))
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    seen = beside(np.where(np.arange(2_880) // 700 % 2, 60, 0) + np.random.default_rng(2).normal(0, 1, 2_880))
    assert len(assert_cuts_do_not_matter(Clock(), seen, cuts).findings) >= 3


def test_hostile_input_leaves_it_small_and_cuts_do_not_matter() -> None:
    for seed in range(3):
        found = assert_cuts_do_not_matter(Clock(), hostile(seed), range(0, 10_000, 61))
        assert size(found.state) <= Clock.max_bytes


@pytest.mark.parametrize("wrong", [{"ahead_s": 0.0}, {"window_s": 1.0}, {"far_s": 60.0}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="|".join(wrong)):
        ClockPolicy(**wrong)  # type: ignore[arg-type]
