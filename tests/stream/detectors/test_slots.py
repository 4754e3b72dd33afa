"""Slots of time, samples worth their value, and spells in which a lone sample decides."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.detectors.slots import Slots, first_of_each, trusted
from stream.detectors.spell import Spell, alone, follow_spell
from stream.detectors.sustain import NEVER, Code, Timing, Window
from tests.stream.detectors.running import T0, S, together, told
from vitals.catalogue import number_of
from vitals.quality import Context


def test_what_is_worth_its_value() -> None:
    seen = together(
        told(
            "spo2", [1, 2, 3, 4], [97, 96, 95, 94], quality=[1, 0.4, 1, 1], context=[0, 0, int(Context.NO_CONTACT), 0]
        ),
        told("heart_rate", [1], [60]),
        told("spo2", [5], [93], duration_ms=60_000),
        told("spo2", [6], [92], context=int(Context.WORKOUT)),
    )
    found = trusted(seen, number_of("spo2"), without=int(Context.WORKOUT), longest_s=12)
    assert found is not None
    assert found.value.tolist() == [97, 94]
    assert trusted(seen, number_of("glucose")) is None


def test_a_measurement_counts_when_it_ended() -> None:
    found = trusted(told("spo2", [1.0], [97], duration_ms=4_000), number_of("spo2"))
    assert found is not None
    assert (found.end_us - T0).tolist() == [5 * S]


def test_one_of_each_slot() -> None:
    times = np.array([0, 1, 9, 10, 25, 29, 30])
    assert times[first_of_each(times, 10)].tolist() == [0, 10, 25, 30]
    assert times[first_of_each(times, 10, 12)].tolist() == [25, 30]
    assert first_of_each(times[:0], 10).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), min_size=1), st.lists(st.integers(0, 40)))
def test_sums_do_not_depend_on_cuts(steps: list[tuple[int, int]], cuts: list[int]) -> None:
    number = np.cumsum([one for one, _ in steps])
    rows = np.array([[value, 1] for _, value in steps], np.int64)
    whole, slots = Slots.none(2).add(number, rows), Slots.none(2)
    edges = [0, *sorted({cut for cut in cuts if cut < len(steps)}), len(steps)]
    for first, last in pairwise(edges):
        slots = slots.add(number[first:last], rows[first:last])
    assert slots.number.tolist() == whole.number.tolist() == sorted(set(number.tolist()))
    assert slots.sums.tolist() == whole.sums.tolist()
    assert whole.sums.sum(axis=0).tolist() == rows.sum(axis=0).tolist()


def test_alone_is_what_comes_after_an_hour_or_first() -> None:
    times = np.array([0, 10, 4_000, 4_010]) * S
    assert alone(times, NEVER, 3_600).tolist() == [True, False, True, False]
    assert alone(times, -60 * S, 3_600).tolist() == [False, False, True, False]


def window(codes: list[Code], values: list[float]) -> Window:
    """Samples an hour apart."""
    n = len(codes)
    return Window(np.arange(n) * 3_600 * S, np.array(codes, np.int8), np.array(values), np.ones(n, np.float32))


def test_only_a_lone_sample_decides_alone() -> None:
    series = window([Code.BREACH, Code.CALM, Code.BREACH], [50, 90, 40])
    one = np.array([True, True, False])
    spell, told_of = follow_spell(Spell(), Timing(delay_s=600), series, one, lowest=True)
    assert [(change.cleared, worst) for change, worst in told_of] == [(False, 50), (True, 50)]
    assert spell.held.raised_us is None
    assert spell.worst == 40  # of what is pending now; nothing of the episode that is over


def test_what_comes_late_takes_its_place() -> None:
    kept = Slots.none(1).add(np.array([3, 5]), np.array([[1], [2]]))
    for number, rows, numbers, sums in (
        ([4], [[7]], [3, 4, 5], [1, 7, 2]),
        ([3, 5], [[7], [8]], [3, 5], [8, 10]),
        ([1, 3, 3, 6], [[1], [2], [3], [4]], [1, 3, 5, 6], [1, 6, 2, 4]),
    ):
        more = kept.add(np.array(number), np.array(rows))
        assert more.number.tolist() == numbers
        assert more.sums[:, 0].tolist() == sums
