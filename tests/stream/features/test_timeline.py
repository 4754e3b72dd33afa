"""Positions in time: each chunk's start counts, and error never adds up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.features.timeline import Timeline

T0 = 1_800_000_000_000_000


def test_a_device_that_runs_slow_is_followed() -> None:
    """130 Hz told, 129 Hz true: after an hour the chunks lie 28 s beyond where counting would put them."""
    line = Timeline.begin(130.0, T0)
    for number in range(5_000):
        line = line.extend(T0 + round(number * 73 / 129 * 1e6), 73)
    last = T0 + round(4_999 * 73 / 129 * 1e6)
    assert line.times(np.array([4_999 * 73]))[0] == pytest.approx(last, abs=1_000)
    assert len(line.at) < 40, "old anchors are forgotten"


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.floats(20, 1_000))
def test_a_steady_device_needs_one_anchor(sizes: list[int], rate: float) -> None:
    line, at = Timeline.begin(rate, T0), 0
    for size in sizes:
        line = line.extend(T0 + round(at / rate * 1e6), size)
        at += size
    assert len(line.at) == 1
    assert line.seen == at
    assert line.end_us == T0 + round(at / rate * 1e6)
    assert line.times(np.array([-0.5, at / 2])).tolist() == pytest.approx(
        [T0 - 0.5 / rate * 1e6, T0 + at / 2 / rate * 1e6], abs=1
    )
