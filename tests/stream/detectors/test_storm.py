"""A phone that sends the same stretch again and again is told once, and cleared when it is calm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.event import Kind, Priority, State
from stream.detectors.packing import pack, unpack
from stream.detectors.storm import Storm, StormPolicy, StormState
from tests.stream.detectors.judging import size
from tests.stream.detectors.running import T0, S

RAISED, CLEARED = State.RAISED, State.CLEARED


def told(counts: list[tuple[int, int]], every_s: int = 60) -> list[State]:
    """Return what is told of (repeats, samples) that come every minute."""
    state, found = Storm().fresh(), []
    for n, (repeats, samples) in enumerate(counts):
        state, findings = Storm().take(unpack(StormState, pack(state)), repeats, samples, T0 + n * every_s * S)
        found += findings
    assert {(one.kind, one.priority) for one in found} <= {(Kind.TECHNICAL, Priority.LOW)}
    assert all(one.opened_us <= one.raised_us <= one.changed_us for one in found)
    assert size(state) <= Storm.max_bytes
    return [one.state for one in found]


def test_the_same_hour_nine_times_is_a_storm_and_ends() -> None:
    assert told([(0, 100)] * 30 + [(800, 900)] * 30 + [(0, 100)] * 30) == [RAISED, CLEARED]


def test_one_resent_stretch_and_a_few_doubles_are_none() -> None:
    assert told([(5, 100)] * 60) == []
    assert told([(0, 100)] * 5 + [(900, 900)] + [(0, 100)] * 60) == []


def test_many_repeats_among_many_more_samples_are_none() -> None:
    assert told([(500, 10_000)] * 60) == []


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)), max_size=80))
def test_raised_and_cleared_take_turns(counts: list[tuple[int, int]]) -> None:
    found = told([(min(pair), max(pair)) for pair in counts])
    assert found == [RAISED, CLEARED] * (len(found) // 2) + [RAISED] * (len(found) % 2)


@pytest.mark.parametrize("wrong", [{"window_s": 1.0}, {"at_least": 0}, {"share": 1.0}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="|".join(wrong)):
        StormPolicy(**wrong)  # type: ignore[arg-type]
