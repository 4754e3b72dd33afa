"""Sets of time stretches against sets of moments."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.timeseries.daily.making import ints
from timeseries.daily.groups import Ints
from timeseries.daily.intervals import Runs, covered, inside, joined, lengths, once, once_by_rank, union, without

Stretch = tuple[int, int, int]
"""(group, start, end)."""

STRETCH = st.tuples(st.integers(0, 2), st.integers(-30, 30), st.integers(1, 25)).map(
    lambda s: (s[0], s[1], s[1] + s[2])
)
STRETCHES = st.lists(STRETCH, max_size=8)
SOME = st.lists(STRETCH, min_size=1, max_size=8)


def arrays(stretches: Iterable[Stretch]) -> tuple[Ints, Ints, Ints]:
    group, start, end = np.array(list(stretches), np.int64).reshape(-1, 3).T
    return group, start, end


def moments(stretches: Iterable[Stretch], group: int) -> set[int]:
    return {at for g, start, end in stretches if g == group for at in range(start, end)}


def as_stretches(runs: Runs) -> list[Stretch]:
    return list(zip(runs.group.tolist(), runs.start.tolist(), runs.end.tolist(), strict=True))


@given(STRETCHES)
def test_a_union_covers_the_same_moments_and_never_more_than_the_clock(stretches: list[Stretch]) -> None:
    runs, label = union(*arrays(stretches))
    found = as_stretches(runs)
    assert found == sorted(found)
    assert all(a[0] != b[0] or a[2] < b[1] for a, b in pairwise(found)), "none touch"
    for group in range(3):
        assert moments(found, group) == moments(stretches, group)
        assert lengths(runs, 3)[group] == len(moments(stretches, group))
    for (group, start, end), run in zip(stretches, label.tolist(), strict=True):
        assert found[run][0] == group
        assert found[run][1] <= start < end <= found[run][2]


@given(STRETCHES, st.integers(1, 10))
def test_a_gap_joins_what_is_less_apart(stretches: list[Stretch], gap: int) -> None:
    found = as_stretches(union(*arrays(stretches), gap)[0])
    plain = as_stretches(union(*arrays(stretches))[0])
    expected: list[Stretch] = []
    for group, start, end in plain:
        if expected and expected[-1][0] == group and start - expected[-1][2] < gap:
            expected[-1] = (group, expected[-1][1], end)
        else:
            expected.append((group, start, end))
    assert found == expected


@given(STRETCHES, STRETCHES)
def test_covered_is_how_many_moments_lie_in_both(stretches: list[Stretch], windows: list[Stretch]) -> None:
    runs = union(*arrays(stretches))[0]
    got = covered(runs, *arrays(windows)).tolist()
    assert got == [len(moments(stretches, g) & set(range(start, end))) for g, start, end in windows]


@given(STRETCHES, STRETCHES)
def test_inside_gives_what_of_the_runs_lies_in_each_window(stretches: list[Stretch], windows: list[Stretch]) -> None:
    runs = union(*arrays(stretches))[0]
    index, start, end = inside(runs, *arrays(windows))
    assert (end > start).all()
    for at, (group, first, last) in enumerate(windows):
        got = moments([(group, int(a), int(b)) for i, a, b in zip(index, start, end, strict=True) if i == at], group)
        assert got == moments(stretches, group) & set(range(first, last))


@given(STRETCHES, STRETCHES)
def test_without_takes_away_and_joined_adds(stretches: list[Stretch], others: list[Stretch]) -> None:
    mine, theirs = union(*arrays(stretches))[0], union(*arrays(others))[0]
    left, both = as_stretches(without(mine, theirs)), as_stretches(joined(mine, theirs))
    for group in range(3):
        assert moments(left, group) == moments(stretches, group) - moments(others, group)
        assert moments(both, group) == moments(stretches, group) | moments(others, group)


def first_teller(stretches: list[Stretch], ranks: list[int]) -> list[int]:
    """How many moments count for each stretch: each for the lowest rank, then who began first, then the shorter."""
    counts = [0] * len(stretches)
    for group, at in {(g, at) for g, start, end in stretches for at in range(start, end)}:
        tellers = [i for i, (g, start, end) in enumerate(stretches) if g == group and start <= at < end]
        counts[min(tellers, key=lambda i: (ranks[i], stretches[i][1], stretches[i][2], i))] += 1
    return counts


@given(SOME)
def test_once_counts_every_moment_for_the_stretch_that_began_first(stretches: list[Stretch]) -> None:
    got = once(*arrays(stretches)).tolist()
    want = first_teller(stretches, [0] * len(stretches))
    assert sum(got) == sum(want)
    for stretch in set(stretches):  # of two alike it does not matter which
        same = [i for i, one in enumerate(stretches) if one == stretch]
        assert sum(got[i] for i in same) == sum(want[i] for i in same)


@given(st.lists(st.tuples(STRETCH, st.integers(0, 2)), min_size=1, max_size=8))
def test_once_by_rank_believes_the_lower_rank_and_no_moment_twice(ranked: list[tuple[Stretch, int]]) -> None:
    stretches, ranks = [one for one, _ in ranked], [rank for _, rank in ranked]
    group, start, end = arrays(stretches)
    share = once_by_rank(group, np.array(ranks), start, end)
    assert ((share >= 0) & (share <= 1)).all()
    want = first_teller(stretches, ranks)
    for one in set(ranked):
        same = [i for i, other in enumerate(ranked) if other == one]
        assert sum((share * (end - start))[same]) == pytest.approx(sum(want[i] for i in same))
    total = np.bincount(group, weights=share * (end - start), minlength=3)
    for g in range(3):
        assert total[g] == pytest.approx(len(moments(stretches, g))), "the wall clock, no more and no less"


def test_real_times_do_not_overflow() -> None:
    at = 1_780_000_000_000_000
    many = np.arange(300_000)
    runs, _ = union(many, np.full(len(many), at), np.full(len(many), at + 3 * 86_400_000_000))
    assert lengths(runs, len(many)).tolist() == [3 * 86_400_000_000] * len(many)


def test_nothing_is_nothing() -> None:
    none = ints()
    runs, label = union(none, none, none)
    assert len(runs.group) == len(label) == 0
    assert covered(runs, ints(0), ints(0), ints(5)).tolist() == [0]
    assert once_by_rank(none, none, none, none).tolist() == []
    assert len(inside(runs, ints(0), ints(0), ints(5))[0]) == 0
