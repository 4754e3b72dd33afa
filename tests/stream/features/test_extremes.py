"""A window's first, last, lowest and highest samples stay as they were, and what stays is what was there."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.features.extremes import MOST, extremes

WINDOW = 25


@dataclass(frozen=True)
class Told:
    """Samples by column; no two of a series at one time."""

    series: NDArray[np.int64]
    time: NDArray[np.int64]
    value: NDArray[np.float64]

    def kept(self) -> list[int]:
        """The positions of those that stay."""
        return np.flatnonzero(extremes(self.series, self.time // WINDOW, self.time, self.value)).tolist()

    def take(self, at: list[int]) -> "Told":
        return Told(self.series[at], self.time[at], self.value[at])

    def windows(self) -> dict[tuple[int, int], list[int]]:
        """The positions of each series' and window's samples, in order of time."""
        found: dict[tuple[int, int], list[int]] = {}
        for at in sorted(range(len(self.time)), key=lambda at: self.time[at]):
            found.setdefault((int(self.series[at]), int(self.time[at]) // WINDOW), []).append(at)
        return found


samples = st.dictionaries(
    st.tuples(st.integers(0, 1), st.integers(-30, 60)),
    st.integers(-3, 3) | st.floats(-1e6, 1e6),
    min_size=20,
    max_size=100,
).map(
    lambda told: Told(
        np.array([series for series, _ in told], np.int64),
        np.array([time for _, time in told], np.int64),
        np.array(list(told.values()), np.float64),
    )
)


def oracle(told: Told) -> list[int]:
    """The same in plain Python."""
    stays: set[int] = set()
    for members in told.windows().values():
        by_value = sorted(members, key=lambda at: (told.value[at], told.time[at]))
        highest = [at for at in members if told.value[at] == told.value[by_value[-1]]]
        stays |= set(members) if len(members) <= 4 else {members[0], members[-1], by_value[0], highest[0]}
    return sorted(stays)


@given(samples)
def test_what_stays_is_what_plain_python_says(told: Told) -> None:
    assert told.kept() == oracle(told)


@given(samples)
def test_each_window_keeps_its_lowest_and_highest_and_at_most_four(told: Told) -> None:
    whole, kept = told.windows(), told.take(told.kept())
    assert kept.windows().keys() == whole.keys()
    for window, members in kept.windows().items():
        assert len(members) <= MOST
        before, after = told.value[whole[window]], kept.value[members]
        assert (before.min(), before.max(), before[0], before[-1]) == (after.min(), after.max(), after[0], after[-1])


@given(samples)
def test_what_stays_stays_again(told: Told) -> None:
    kept = told.take(told.kept())
    assert len(kept.kept()) == len(kept.time)


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(told: Told, draw: "np.random.Generator") -> None:
    order = list(range(len(told.time)))
    draw.shuffle(order)
    assert sorted(order[at] for at in told.take(order).kept()) == told.kept()


def test_a_window_of_four_equal_samples_is_left_as_it_is_and_five_are_two() -> None:
    five = Told(np.zeros(5, np.int64), np.arange(5), np.full(5, 7.0))
    assert five.take([0, 1, 2, 3]).kept() == [0, 1, 2, 3]
    assert five.kept() == [0, 4]
    assert replace(five, value=np.array([7.0, 8, 6, 6, 8])).kept() == [0, 1, 2, 4], "of equal extremes the earliest"


def test_nothing_gives_nothing() -> None:
    none = np.empty(0, np.int64)
    assert Told(none, none, none.astype(np.float64)).kept() == []
