"""Reduction of fast scalars: every window's extremes survive as they were, however the samples arrive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from stream.features import extremes
from stream.features.extremes import Samples, close, reduce
from stream.features.memory import UnreadableState

DTYPE = np.dtype([("series", "i8"), ("time", "i8"), ("value", "f8"), ("row", "i8")])
S = 1_000_000


def made(series: ArrayLike, time: ArrayLike, value: ArrayLike) -> Samples:
    rows = np.zeros(np.size(time), DTYPE)
    rows["series"], rows["time"], rows["value"] = series, time, value
    rows["row"] = np.arange(len(rows))
    return rows


def everything(rows: Samples, cuts: list[int], window: int = S) -> Samples:
    pending: Samples | None = None
    kept = []
    for piece in np.split(rows, sorted(at % (len(rows) + 1) for at in cuts)):
        done, pending = reduce(piece, pending, window)
        assert np.unique(pending["series"], return_counts=True)[1].max(initial=0) <= 4
        pending = extremes.from_bytes(extremes.to_bytes(pending)) if len(pending) else pending
        kept.append(done)
    assert pending is not None
    joined = np.concatenate([*kept, pending])
    return joined[np.lexsort((joined["row"], joined["time"], joined["series"]))]


samples = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5 * S), st.floats(-1e6, 1e6)), min_size=1, max_size=80
).map(lambda told: made(*(np.array(column) for column in zip(*told, strict=True))))
cut_places = st.lists(st.integers(0, 100), max_size=6)


@given(samples, cut_places)
def test_each_windows_extremes_survive_exactly_whatever_the_order(rows: Samples, cuts: list[int]) -> None:
    kept = everything(rows, cuts)
    assert set(kept["row"].tolist()) <= set(rows["row"].tolist()), "nothing is invented"
    for series, window in {(int(one["series"]), int(one["time"]) // S) for one in rows}:
        for choose in (np.min, np.max):
            of = [r["value"][(r["series"] == series) & (r["time"] // S == window)] for r in (rows, kept)]
            assert choose(of[0]) == choose(of[1])


@given(samples, cut_places)
def test_chunks_of_an_ordered_stream_change_nothing(rows: Samples, cuts: list[int]) -> None:
    rows = rows[np.lexsort((rows["series"], rows["value"], rows["time"]))]
    rows["row"] = np.arange(len(rows))
    assert everything(rows, cuts)[["series", "time", "value"]].tolist() == (
        everything(rows, [])[["series", "time", "value"]].tolist()
    )


@given(samples)
def test_reducing_again_changes_nothing(rows: Samples) -> None:
    once = everything(rows, [])
    assert everything(once, []).tolist() == once.tolist()


def test_a_desaturation_of_two_seconds_stays_as_deep_and_as_long_as_it_was() -> None:
    """SpO2 at 25 Hz, kept at one a second: 97 %, two seconds at 81 %."""
    time = np.arange(25 * 20) * 40_000
    value = np.where((time >= 7.4 * S) & (time < 9.4 * S), 81.0, 97.0)
    kept = everything(made(0, time, value), [100, 180, 200, 230])
    low = kept[kept["value"] < 90]
    assert (low["value"] == 81).all()
    assert low["time"].min() == 7_400_000, "it begins when it began"
    assert kept["time"][kept["time"] > low["time"].max()].min() <= 10 * S, "and ends within a window of when it did"
    assert len(kept) <= 4 * 20


def test_one_sample_a_window_stays_and_equal_ones_stand_for_each_other() -> None:
    assert len(everything(made(0, [1, S + 1, 2 * S + 1], [5, 5, 5]), [])) == 3
    assert everything(made(0, np.arange(10), 7), [])["time"].tolist() == [0, 9]


def test_a_sample_after_its_window_was_closed_is_not_lost() -> None:
    _, pending = reduce(made(0, [1, S + 1], [5, 6]), None, S)
    kept, pending = reduce(made(0, [2], [99]), pending, S)
    assert kept["value"].tolist() == [99]
    assert pending["value"].tolist() == [6]


def test_windows_of_silent_series_are_closed_by_time() -> None:
    _, pending = reduce(made([0, 1], [1, 5 * S], [3, 4]), None, S)
    done, rest = close(pending, S, 5 * S)
    assert (done["series"].tolist(), rest["series"].tolist()) == ([0], [1])


def test_nothing_gives_nothing() -> None:
    none = made(0, [], [])
    kept, pending = reduce(none, None, S)
    assert len(kept) == len(pending) == 0


def test_another_states_bytes_are_refused() -> None:
    with pytest.raises(UnreadableState):
        extremes.from_bytes(b"")
