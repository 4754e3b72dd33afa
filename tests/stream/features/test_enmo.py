"""ENMO: against the definition, by epochs of the clock."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.features.enmo import EnmoState, Epochs, enmo, flush

S = 1_000_000
T0 = 1_800_000_000 * S


def times(n: int, rate: float = 50.0, start: int = T0) -> np.ndarray:
    return start + np.round(np.arange(n) * S / rate).astype(np.int64)


def whole(at: np.ndarray, xyz: np.ndarray) -> Epochs:
    state, out = enmo(EnmoState(), at, xyz)
    return np.concatenate((out, flush(state)))


def test_it_is_the_papers_formula() -> None:
    rng = np.random.default_rng(1)
    xyz = rng.normal(0, 0.8, (3, 500))
    epochs = whole(times(500), xyz)
    expected = np.maximum(np.sqrt((xyz**2).sum(axis=0)) - 1, 0).reshape(2, 250).mean(axis=1) * 1_000
    assert epochs["enmo_mg"] == pytest.approx(expected, abs=0.001)
    assert epochs["start_us"].tolist() == [T0, T0 + 5 * S]
    assert epochs["samples"].tolist() == [250, 250]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_at_rest_it_is_zero_and_free_fall_is_cut_off_at_zero(axis: int) -> None:
    rest = np.zeros((3, 250))
    rest[axis] = -1.0
    assert whole(times(250), rest)["enmo_mg"].tolist() == [0]
    assert whole(times(250), np.zeros((3, 250)))["enmo_mg"].tolist() == [0]


def test_epochs_lie_on_the_clock_and_partial_ones_say_so() -> None:
    epochs = whole(times(300, start=T0 + 3 * S), np.full((3, 300), 1.0))
    assert epochs["start_us"].tolist() == [T0, T0 + 5 * S]
    assert epochs["samples"].tolist() == [100, 200]
    assert epochs["enmo_mg"] == pytest.approx([(np.sqrt(3) - 1) * 1_000] * 2, abs=0.001)


def test_a_gap_ends_an_epoch_and_leaves_none_for_the_silence() -> None:
    at = np.concatenate((times(100), times(100, start=T0 + 3_600 * S)))
    assert whole(at, np.ones((3, 200)))["start_us"].tolist() == [T0, T0 + 3_600 * S]


@given(st.integers(1, 1_500), st.lists(st.integers(0, 1_500), max_size=6), st.floats(10, 200), st.integers(0, 99))
def test_chunks_change_no_bit(n: int, cuts: list[int], rate: float, seed: int) -> None:
    xyz = np.random.default_rng(seed).normal(0, 1, (3, n))
    at = times(n, rate)
    places = sorted(place % n for place in cuts)
    state, out = EnmoState(), []
    for some, part in zip(np.split(at, places), np.split(xyz, places, axis=1), strict=True):
        state, over = enmo(EnmoState.from_bytes(state.to_bytes()), some, part)
        out.append(over)
    assert np.concatenate([*out, flush(state)]).tobytes() == whole(at, xyz).tobytes()


def test_nothing_gives_nothing() -> None:
    assert len(flush(EnmoState())) == 0
