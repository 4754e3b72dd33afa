"""Systolic peaks: on made-up pulses exactly, on real ones plausibly."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from stream.features.memory import UnreadableState
from stream.features.ppg_beats import PpgState, ppg_beats, ppg_plan
from stream.features.rr import Beats
from tests.stream.features.recordings import Signal, cut, made_ppg, regular_beats

SECONDS = 60.0
TRUTH = regular_beats(SECONDS, 0.9)


def beats(rate: float, signal: Signal) -> Beats:
    return ppg_beats(ppg_plan(rate), None, signal)[1]


def settled(at_s: Signal) -> Signal:
    """Without both ends: before the first pulse and after the last the wander is all there is."""
    inner: Signal = at_s[(at_s > TRUTH[0] - 0.3) & (at_s < TRUTH[-1] + 0.3)]
    return inner


def assert_same_beats(found: Signal, expected: Signal, apart: float) -> None:
    assert len(found) == len(expected)
    assert np.abs(found - expected).max() < apart


@pytest.mark.parametrize("rate", [25.0, 64.0, 100.0, 117.0, 176.0, 500.0])
def test_every_pulse_at_its_systolic_peak(rate: float) -> None:
    found = beats(rate, made_ppg(rate, TRUTH, SECONDS))
    assert np.isnan(found.rr_ms[0])
    inner = np.isin(found.at / rate, settled(found.at / rate))
    assert_same_beats(found.at[inner] / rate, TRUTH, 0.006)
    assert np.abs(found.rr_ms[inner][1:] - np.diff(TRUTH) * 1_000).max() < 8


@pytest.mark.parametrize("rr", [0.35, 0.5, 1.4])
def test_from_slow_to_fast(rr: float) -> None:
    truth = regular_beats(SECONDS, rr)
    time = np.arange(round(SECONDS * 100)) / 100
    pulse = sum(np.exp(-0.5 * ((time - beat) / min(0.09, rr / 5)) ** 2) for beat in truth)
    found = beats(100.0, np.asarray(pulse)).at / 100
    assert len(found) == pytest.approx(len(truth), abs=3), "the last are not told yet"


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e5])
def test_height_does_not_matter(factor: float) -> None:
    ppg = made_ppg(100.0, TRUTH, SECONDS)
    assert_same_beats(beats(100.0, factor * ppg).at, beats(100.0, ppg).at, 1e-3)


@pytest.mark.parametrize("offset", [-500.0, 1e5])
def test_offset_does_not_matter(offset: float) -> None:
    ppg = made_ppg(100.0, TRUTH, SECONDS)
    assert_same_beats(beats(100.0, ppg + offset).at, beats(100.0, ppg).at, 0.05)


def test_the_rate_does_not_matter() -> None:
    ppg = made_ppg(100.0, TRUTH, SECONDS)
    found, again = beats(100.0, ppg).at / 100, beats(200.0, resample_poly(ppg, 2, 1, padtype="line")).at / 200
    assert_same_beats(settled(again), settled(found), 0.010)


def test_wander_does_not_matter() -> None:
    ppg = made_ppg(100.0, TRUTH, SECONDS)
    wander = 40 * np.sin(2 * np.pi * 0.15 * np.arange(len(ppg)) / 100)
    assert_same_beats(settled(beats(100.0, ppg + wander).at / 100), TRUTH, 0.020)


def test_a_flat_line_has_no_beats_and_padding_adds_none() -> None:
    ppg = made_ppg(100.0, TRUTH, SECONDS)
    assert len(beats(100.0, np.full(3_000, 512.0)).at) == 0
    found = beats(100.0, np.concatenate((np.full(500, ppg[0]), ppg)))
    assert_same_beats(settled((found.at - 500) / 100), settled(beats(100.0, ppg).at / 100), 0.001)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 100_000), max_size=40), st.sampled_from([25.0, 100.0]), st.integers(0, 9))
def test_chunks_change_no_bit(cuts: list[int], rate: float, seed: int) -> None:
    ppg = made_ppg(rate, regular_beats(30.0, seed=seed), 30.0)
    ppg += np.random.default_rng(seed).normal(0, 5, len(ppg))
    whole_state, whole = ppg_beats(ppg_plan(rate), None, ppg)
    state: PpgState | None = None
    at, rr = [], []
    for piece in cut(ppg, cuts):
        state, out = ppg_beats(ppg_plan(rate), state, piece)
        at.append(out.at)
        rr.append(out.rr_ms)
        state = None if state is None else PpgState.from_bytes(state.to_bytes())
    assert np.concatenate(at).tobytes() == whole.at.tobytes()
    assert np.concatenate(rr).tobytes() == whole.rr_ms.tobytes()
    assert state is not None
    assert whole_state is not None
    assert state.to_bytes() == whole_state.to_bytes()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e6]))
def test_noise_breaks_nothing(seed: int, height: float) -> None:
    rng = np.random.default_rng(seed)
    state: PpgState | None = None
    last = -np.inf
    for _ in range(10):
        state, out = ppg_beats(ppg_plan(50.0), state, rng.normal(0, height, 200))
        assert (np.diff(np.append(last, out.at)) > 0).all()
        last = out.at[-1] if len(out.at) else last


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="20 Hz"):
        ppg_plan(10.0)
    with pytest.raises(UnreadableState):
        PpgState.from_bytes(b"nonsense")
    state, out = ppg_beats(ppg_plan(50.0), None, np.empty(0))
    assert (state, len(out.at)) == (None, 0)


@pytest.mark.realdata
def test_heartpys_clean_recording(realdata: Path) -> None:
    """25 s at 100 Hz with a pulse of about 58 to 59 a minute; every interval believable without any filter."""
    found = beats(100.0, np.loadtxt(realdata / "heartpy" / "data.csv"))
    assert 22 <= len(found.at) <= 25
    assert 60_000 / np.nanmean(found.rr_ms) == pytest.approx(58.7, abs=1)
    assert ((found.rr_ms[1:] > 850) & (found.rr_ms[1:] < 1_200)).all()


@pytest.mark.realdata
def test_heartpys_recording_with_artefacts(realdata: Path) -> None:
    """128 s at 117 Hz, the sensor off for the first ten and disturbed now and then; 62 to 66 a minute."""
    told = np.loadtxt(realdata / "heartpy" / "data2.csv", delimiter=",", skiprows=1)
    rate = 1_000 / np.diff(told[:, 0]).mean()
    found = beats(rate, np.ascontiguousarray(told[:, 1]))
    assert 60_000 / np.nanmedian(found.rr_ms) == pytest.approx(64, abs=3)
    assert np.mean(np.abs(found.rr_ms - np.nanmedian(found.rr_ms)) < 200) > 0.6
