"""Geometry: nothing crosses a gap, nothing leaves the box, labels are round."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from console import plot

TIMES = st.lists(st.integers(0, 3_600), min_size=1, max_size=80, unique=True).map(sorted)
VALUES = st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False)


@given(times=TIMES, gap=st.integers(1, 600))
def test_a_line_never_crosses_a_gap(times: list[int], gap: int) -> None:
    points = [(float(time), 70.0) for time in times]
    pieces = plot.runs(points, gap)
    assert [point for piece in pieces for point in piece] == points
    for piece in pieces:
        assert all(after[0] - before[0] <= gap for before, after in pairwise(piece))
    for before, after in pairwise(pieces):
        assert after[0][0] - before[-1][0] > gap
    assert plot.line(points, plot.Scale(0, 3_600, 60, 80), gap).count("M") == len(pieces)


@given(times=TIMES, gap=st.integers(1, 600))
def test_gaps_and_runs_tell_the_same(times: list[int], gap: int) -> None:
    points = [(float(time), 70.0) for time in times]
    found = plot.gaps(points, plot.Scale(0, 3_600, 60, 80), gap)
    inner = len(plot.runs(points, gap)) - 1
    edges = (times[0] > gap) + (3_600 - times[-1] > gap)
    assert len(found) == inner + edges
    assert all(0 <= one.x <= plot.WIDTH and one.x + one.width <= plot.WIDTH + 1e-6 for one in found)


@given(values=st.lists(VALUES, min_size=1, max_size=20), smallest=st.floats(0.5, 100))
def test_the_axis_holds_every_value_between_few_round_ticks(values: list[float], smallest: float) -> None:
    axis = plot.axis(values, smallest=smallest)
    assert axis.low <= min(values)
    assert axis.high >= max(values)
    assert axis.high - axis.low >= smallest * 0.999
    assert 2 <= len(axis.ticks) <= 6
    assert len(axis.labels) == len(axis.ticks)
    scale = plot.Scale(0, 1, axis.low, axis.high)
    assert all(0 <= scale.y(value) <= plot.HEIGHT for value in values)


def test_labels_read_from_top_to_bottom() -> None:
    assert plot.axis([66, 147], smallest=20).labels == ("150", "100", "50")


def test_one_reading_is_a_dot_and_a_pressure_a_bar() -> None:
    scale = plot.Scale(0, 100, 0, 100)
    assert plot.line([(50.0, 50.0)], scale, 10) == "M500.0 50.0h0.01"
    assert re.fullmatch(r"M500\.0 \d+\.\dV\d+\.\d", plot.bars([(50.0, 20.0, 80.0)], scale))


def test_a_band_closes_each_of_its_pieces() -> None:
    lows = [(0.0, 60.0), (5.0, 61.0), (50.0, 60.0), (55.0, 61.0), (90.0, 60.0)]
    highs = [(time, value + 5) for time, value in lows]
    assert plot.band(lows, highs, plot.Scale(0, 100, 50, 80), 10).count("Z") == 2
