"""Beat detection on real ECGs against their annotations, and on what must not matter to it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat
from scipy.signal import resample_poly

from stream.features.ecg_beats import EcgState, ecg_beats, ecg_plan
from stream.features.memory import UnreadableState
from stream.features.rr import Beats, within_range
from tests.stream.features.recordings import (
    Signal,
    cut,
    knowledge_based_beats,
    made_ecg,
    matched,
    read_212,
    read_atr,
    regular_beats,
)

SECONDS = 60.0
TRUTH = regular_beats(SECONDS)


def beats(rate: float, signal: Signal) -> Beats:
    return ecg_beats(ecg_plan(rate), None, signal)[1]


def assert_same_beats(found: Signal, expected: Signal, apart_s: float) -> None:
    assert len(found) == len(expected)
    assert np.abs(found - expected).max() < apart_s


@pytest.mark.parametrize("rate", [128.0, 130.0, 250.0, 360.0, 512.0, 1000.0])
def test_every_beat_of_a_made_up_ecg_at_its_r_peak(rate: float) -> None:
    found = beats(rate, made_ecg(rate, TRUTH, SECONDS))
    assert_same_beats(found.at / rate, TRUTH, 0.025)
    assert np.isnan(found.rr_ms[0])
    assert np.abs(found.rr_ms[1:] - np.diff(TRUTH) * 1_000).max() < 4
    assert np.abs(found.rr_ms[1:] - np.diff(TRUTH) * 1_000).mean() < 1


@pytest.mark.parametrize("factor", [0.2, 3.0, 20.0])
def test_height_does_not_matter(factor: float) -> None:
    ecg = made_ecg(250.0, TRUTH, SECONDS)
    assert_same_beats(beats(250.0, factor * ecg).at, beats(250.0, ecg).at, 1e-6)


@pytest.mark.parametrize("offset", [-300.0, 0.5, 12.0])
def test_offset_does_not_matter(offset: float) -> None:
    ecg = made_ecg(250.0, TRUTH, SECONDS)
    assert_same_beats(beats(250.0, ecg + offset).at, beats(250.0, ecg).at, 1e-3)


def test_polarity_does_not_matter() -> None:
    ecg = made_ecg(250.0, TRUTH, SECONDS)
    assert np.array_equal(beats(250.0, -ecg).at, beats(250.0, ecg).at)


def test_baseline_wander_does_not_matter() -> None:
    ecg = made_ecg(250.0, TRUTH, SECONDS)
    time = np.arange(len(ecg)) / 250
    wander = 1.5 * np.sin(2 * np.pi * 0.25 * time) + 0.5 * np.sin(2 * np.pi * 0.05 * time)
    assert_same_beats(beats(250.0, ecg + wander).at, beats(250.0, ecg).at, 1.0)


def test_mains_hum_does_not_matter() -> None:
    ecg = made_ecg(250.0, TRUTH, SECONDS)
    hum = 0.2 * np.sin(2 * np.pi * 50 * np.arange(len(ecg)) / 250)
    assert_same_beats(beats(250.0, ecg + hum).at, beats(250.0, ecg).at, 1.5)


@pytest.mark.parametrize(("up", "down"), [(2, 1), (1, 2), (16, 25)])
def test_the_rate_does_not_matter(up: int, down: int) -> None:
    ecg, rate = made_ecg(250.0, TRUTH, SECONDS), 250.0 * up / down
    assert_same_beats(beats(rate, resample_poly(ecg, up, down)).at / rate, beats(250.0, ecg).at / 250, 0.010)


@pytest.mark.parametrize("seconds", [1, 10])
def test_flat_line_before_and_after_adds_no_beat(seconds: int) -> None:
    ecg = made_ecg(250.0, TRUTH, SECONDS)
    flat = np.full(250 * seconds, ecg[0])
    found = beats(250.0, np.concatenate((flat, ecg, np.full(250 * seconds, ecg[-1]))))
    assert_same_beats(found.at - len(flat), beats(250.0, ecg).at, 0.1)


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_a_flat_line_has_no_beats(level: float) -> None:
    noise = np.random.default_rng(1).normal(0, 0.002, 250 * 30)
    assert len(beats(250.0, level + noise).at) == 0


def test_tall_t_waves_are_no_beats() -> None:
    time = np.arange(250 * 60) / 250
    tall = sum(0.9 * np.exp(-0.5 * ((time - beat - 0.3) / 0.05) ** 2) for beat in TRUTH)
    assert_same_beats(beats(250.0, made_ecg(250.0, TRUTH, SECONDS) + tall).at / 250, TRUTH, 0.025)


def test_a_small_beat_is_found_by_looking_back() -> None:
    ecg = made_ecg(250.0, np.delete(TRUTH, [20, 40]), SECONDS)
    small = 0.25 * made_ecg(250.0, TRUTH[[20, 40]], SECONDS)
    assert_same_beats(beats(250.0, ecg + small).at / 250, TRUTH, 0.025)


def test_a_pause_is_an_interval_up_to_four_seconds_and_beyond_it_none() -> None:
    for left_out, told in ((range(20, 23), True), (range(20, 27), False)):
        truth = np.delete(TRUTH, left_out)
        found = beats(250.0, made_ecg(250.0, truth, SECONDS))
        assert_same_beats(found.at / 250, truth, 0.025)
        assert np.isnan(found.rr_ms[20]) == (not told)


def test_an_electrode_that_came_loose_is_learned_anew() -> None:
    ecg = made_ecg(250.0, TRUTH, SECONDS)
    ecg[250 * 30 :] *= 0.1
    found = beats(250.0, ecg).at / 250
    after = TRUTH[TRUTH > 38]
    assert matched(found[found > 38], after, 0.15) == (len(after), 0, 0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 100_000), max_size=40), st.sampled_from([128.0, 250.0]), st.integers(0, 9))
def test_chunks_change_no_bit(cuts: list[int], rate: float, seed: int) -> None:
    ecg = made_ecg(rate, regular_beats(20.0, seed=seed), 20.0, seed=seed)
    whole_state, whole = ecg_beats(ecg_plan(rate), None, ecg)
    state: EcgState | None = None
    at, rr = [], []
    for piece in cut(ecg, cuts):
        state, out = ecg_beats(ecg_plan(rate), state, piece)
        at.append(out.at)
        rr.append(out.rr_ms)
        state = None if state is None else EcgState.from_bytes(state.to_bytes())
    assert np.concatenate(at).tobytes() == whole.at.tobytes()
    assert np.concatenate(rr).tobytes() == whole.rr_ms.tobytes()
    assert state is not None
    assert whole_state is not None
    assert state.to_bytes() == whole_state.to_bytes()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 50.0]))
def test_noise_breaks_nothing_and_memory_is_bounded(seed: int, height: float) -> None:
    rng = np.random.default_rng(seed)
    state: EcgState | None = None
    last = -np.inf
    for _ in range(10):
        state, out = ecg_beats(ecg_plan(250.0), state, rng.normal(0, height, 500))
        assert (np.diff(np.append(last, out.at)) > 0).all()
        last = out.at[-1] if len(out.at) else last
        assert state is not None
        assert len(state.rules.waiting) <= 25
        assert len(state.to_bytes()) < 12_000


def test_an_ecg_below_60_hz_is_refused() -> None:
    with pytest.raises(ValueError, match="60 Hz"):
        ecg_plan(50.0)


def test_nothing_gives_nothing_and_foreign_bytes_are_refused() -> None:
    state, out = ecg_beats(ecg_plan(250.0), None, np.empty(0))
    assert (state, len(out.at)) == (None, 0)
    with pytest.raises(UnreadableState):
        EcgState.from_bytes(b"nonsense")


def test_only_the_range_filters_intervals() -> None:
    told = within_range(np.array([199.9, 200, 400, 1_600, 400, 4_000, 4_000.1]))
    assert np.isnan(told).tolist() == [True, False, False, False, False, False, True]


@pytest.mark.realdata
@pytest.mark.parametrize("lead", [0, 1])
def test_mit_bih_record_100(realdata: Path, lead: int) -> None:
    """2273 beats, 150 ms (ANSI/AAMI EC57); intervals against those between the annotations (MANIFEST)."""
    truth = read_atr(realdata / "mitdb100" / "100.atr")
    assert len(truth) == 2273
    found = beats(360.0, read_212(realdata / "mitdb100" / "100.dat")[lead])
    hits, wrong, missed = matched(found.at, truth, 0.150 * 360)
    assert hits / (hits + missed) > 0.999, "sensitivity"
    assert hits / (hits + wrong) > 0.999, "positive predictivity"
    if lead == 0:
        rr = found.rr_ms[1:]
        assert rr.mean() == pytest.approx(794.6, abs=0.5)
        assert rr.std() == pytest.approx(48.8, abs=0.5)
        assert np.sqrt(np.mean(np.diff(rr) ** 2)) == pytest.approx(63.23, abs=0.5)


@pytest.mark.realdata
def test_an_ecg_with_ectopic_beats(realdata: Path) -> None:
    ecg = np.load(realdata / "ecg-5min" / "ecg.npz")["ecg"]
    found = beats(360.0, ecg)
    hits, more, fewer = matched(found.at, knowledge_based_beats(ecg, 360.0), 0.150 * 360)
    assert (hits + more, hits + fewer) == pytest.approx((501, 502), abs=4)
    assert more + fewer <= 8, "a causal and a zero-phase method agree on 99 %"
    assert 500 < np.nanmedian(found.rr_ms) < 700


@pytest.mark.realdata
@pytest.mark.parametrize("lead", [0, 1])
def test_atrial_fibrillation_stays_irregular(realdata: Path, lead: int) -> None:
    """RMSSD / mean RR is about 0.48 (MANIFEST): filtering by neighbours would make it small."""
    ecg = loadmat(realdata / "af" / "TestAFdata.mat")["signal"][:, lead]
    found = beats(128.0, np.ascontiguousarray(ecg))
    hits, _, fewer = matched(found.at, knowledge_based_beats(ecg, 128.0), 0.150 * 128)
    assert hits / (hits + fewer) > 0.97
    rr = found.rr_ms[~np.isnan(found.rr_ms)]
    assert 0.42 < np.sqrt(np.mean(np.diff(rr) ** 2)) / rr.mean() < 0.52
