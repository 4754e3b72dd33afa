"""Decimation: nothing aliases, nothing in the pass band changes, no bit depends on the chunks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from stream.features.decimate import DecimateState, Decimation, decimate, decimation, flush
from stream.features.memory import UnreadableState
from tests.stream.features.recordings import Signal, cut, read_212

each_plan = pytest.mark.parametrize(
    ("rate", "target"), [(512.0, 256.0), (360.0, 120.0), (1000.0, 125.0), (130.0, 13.0)]
)


def whole(plan: Decimation, signal: Signal) -> Signal:
    state, out = decimate(plan, None, signal)
    assert state is not None
    return np.concatenate((out.values, flush(plan, state).values), axis=1)


def tone(rate: float, hz: float, seconds: float = 20.0) -> Signal:
    made: Signal = np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate).reshape(1, -1)
    return made


def loudness(signal: Signal) -> float:
    middle = signal[:, signal.shape[1] // 4 : -signal.shape[1] // 4]
    return float(np.sqrt(2 * np.mean(middle**2)))


@each_plan
def test_a_tone_above_the_new_nyquist_frequency_is_gone(rate: float, target: float) -> None:
    plan = decimation(rate, target)
    for above in (1.0, 1.02, 1.3, 1.7):
        hz = above * plan.new_rate_hz / 2
        if hz < rate / 2:
            assert 20 * np.log10(loudness(whole(plan, tone(rate, hz)))) < -55


@each_plan
def test_a_tone_in_the_pass_band_keeps_its_height_and_its_time(rate: float, target: float) -> None:
    plan = decimation(rate, target)
    for share in (0.05, 0.3, 0.6, 0.8):
        given_ = tone(rate, share * plan.new_rate_hz / 2)
        out, kept = whole(plan, given_), given_[:, :: plan.factor]
        assert out.shape == kept.shape
        edge = plan.delay // plan.factor
        inner = slice(edge, -edge)
        assert np.abs(out[:, inner] - kept[:, inner]).max() < 0.002, "within 0.02 dB, and not late"


def test_latency_is_what_it_says() -> None:
    plan = decimation(512.0, 256.0)
    assert (plan.factor, plan.new_rate_hz) == (2, 256.0)
    assert plan.delay % plan.factor == 0
    assert plan.latency_s == plan.delay / 512 == pytest.approx(0.07, abs=0.01)
    _, none = decimate(plan, None, np.ones((1, plan.delay)))
    assert none.values.shape == (1, 0)
    _, one = decimate(plan, None, np.ones((1, plan.delay + 1)))
    assert one.values == pytest.approx(np.ones((1, 1)))


@pytest.mark.parametrize(("rate", "target"), [(130.0, 130.0), (130.0, 250.0), (360.0, 250.0)])
def test_a_rate_that_is_low_enough_passes_through(rate: float, target: float) -> None:
    plan = decimation(rate, target)
    signal = np.random.default_rng(1).normal(size=(3, 50))
    state, out = decimate(plan, None, signal)
    assert (plan.factor, plan.latency_s) == (1, 0)
    assert np.array_equal(out.values, signal)
    assert state is not None
    assert flush(plan, state).values.shape == (3, 0)


@settings(deadline=None)
@given(
    st.sampled_from([(360.0, 120.0), (512.0, 256.0), (100.0, 30.0), (50.0, 50.0)]),
    st.integers(1, 3),
    st.integers(1, 900),
    st.lists(st.integers(0, 10_000), max_size=8),
    st.integers(0, 2**32 - 1),
)
def test_chunks_change_no_bit(rates: tuple[float, float], axes: int, n: int, cuts: list[int], seed: int) -> None:
    plan = decimation(*rates)
    signal = np.random.default_rng(seed).normal(size=(axes, n))
    state: DecimateState | None = None
    parts, at = [], 0
    for piece in cut(signal, cuts):
        state, out = decimate(plan, state, piece)
        if out.values.shape[1]:
            assert out.first_at == at
        at += out.values.shape[1] * plan.factor
        parts.append(out.values)
        state = None if state is None else DecimateState.from_bytes(state.to_bytes())
    assert state is not None
    assert state.seen == n
    tail = flush(plan, state)
    assert tail.first_at == at
    joined = np.concatenate([*parts, tail.values], axis=1)
    assert joined.tobytes() == whole(plan, signal).tobytes()
    assert joined.shape[1] == -(-n // plan.factor)


def test_a_new_beginning_remembers_nothing() -> None:
    plan = decimation(360.0, 120.0)
    old, _ = decimate(plan, None, np.full((1, 500), 1e6))
    state, out = decimate(plan, None, np.ones((1, 500)))
    assert old is not None
    assert out.values == pytest.approx(np.ones(out.values.shape))
    assert state is not None
    assert state.held.max() == 1


def test_another_states_bytes_are_refused() -> None:
    with pytest.raises(UnreadableState):
        DecimateState.from_bytes(b"\0\0\0\0")


@pytest.mark.realdata
def test_causal_and_zero_phase_agree_on_a_recording(realdata: Path) -> None:
    """`sosfiltfilt` sees the future, we wait for it: with the delay taken off, both give the same ECG."""
    signal = read_212(realdata / "mitdb100" / "100.dat")[:, : 360 * 120]
    plan = decimation(360.0, 120.0)
    ours = whole(plan, signal)
    sections = butter(8, 54.0, fs=360.0, output="sos")
    theirs = sosfiltfilt(sections, signal, axis=1)[:, :: plan.factor]
    edge = plan.delay // plan.factor
    inner = slice(edge, -edge)
    apart = ours[:, inner] - theirs[:, inner]
    assert np.sqrt(np.mean(apart**2)) < 0.005, "mV; the recording's own resolution is 0.005"
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(ours[:, inner], theirs[:, inner], strict=True)) > 0.999
