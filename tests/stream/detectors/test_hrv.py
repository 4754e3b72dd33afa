"""Variability of five minutes: true where it can be, corrected where little is wrong, silent where it says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.io import loadmat

from devices.simulator import wearer
from devices.simulator.beats import rr_intervals
from devices.simulator.recipes import cohort
from stream.detectors.hrv import HrvPolicy, Variability, Void, irregularity, variability
from stream.detectors.hrv_artefacts import classify, correct
from stream.features.ecg_beats import ecg_beats, ecg_plan
from tests.stream.detectors.running import T0, S
from tests.stream.features.recordings import read_atr

Floats = NDArray[np.float64]
POLICY = HrvPolicy()
WINDOW_US = 300 * S
START_US = T0 // WINDOW_US * WINDOW_US


def made_beats(seed: int) -> Floats:
    """Return the times of a wearer's beats over five minutes, ms."""
    start_us = START_US + 3_600 * S * seed
    return (rr_intervals(wearer(seed), start_us, start_us + WINDOW_US)[0] - start_us) / 1_000


def of(beats_ms: Floats) -> Variability:
    return variability(beats_ms[:-1], np.diff(beats_ms), POLICY)


def rmssd_of(rr_ms: Floats) -> float:
    return float(np.sqrt(np.mean(np.diff(rr_ms) ** 2)))


def spoiled(kind: str, beats: Floats, rng: np.random.Generator, share: float = 0.02) -> Floats:
    """Return the beats with some missed, put in, or moved; none of them near another."""
    found = beats.copy()
    at = rng.choice(np.arange(5, len(beats) - 5, 6), max(1, round(share * len(beats))), replace=False)
    if kind == "missed":
        return np.delete(found, at)
    if kind == "extra":
        return np.sort(np.append(found, found[at] + rng.uniform(0.25, 0.75, len(at)) * (found[at + 1] - found[at])))
    found[at] -= rng.uniform(0.2, 0.4, len(at)) * (found[at] - found[at - 1])
    return found


def test_a_clean_window_is_as_the_definitions_say() -> None:
    for seed in range(10):
        beats = made_beats(seed)
        rr, found = np.diff(beats), of(beats)
        assert found.void is None
        assert found.corrected_share == 0
        assert found.rmssd_ms == pytest.approx(rmssd_of(rr))
        assert found.sdnn_ms == pytest.approx(rr.std(ddof=1))
        assert found.mean_rr_ms == pytest.approx(rr.mean())


@pytest.mark.parametrize(("kind", "within"), [("missed", 0.03), ("extra", 0.05), ("ectopic", 0.05)])
def test_artefacts_in_two_of_a_hundred_beats_are_corrected(kind: str, within: float) -> None:
    """Uncorrected they make RMSSD two to five times as large."""
    rng = np.random.default_rng(4)
    errors, worse = [], []
    for seed in range(40):
        beats = made_beats(seed)
        bad = spoiled(kind, beats, rng)
        found = of(bad)
        assert found.void is None
        errors.append(found.rmssd_ms / rmssd_of(np.diff(beats)) - 1)
        worse.append(rmssd_of(np.diff(bad)) / rmssd_of(np.diff(beats)) - 1)
    assert np.median(worse) > 1
    assert np.abs(np.median(errors)) < 0.01
    assert np.quantile(np.abs(errors), 0.85) < within


def test_each_artefact_is_of_its_kind() -> None:
    beats = made_beats(3)
    joined = np.ones(len(beats) - 2, np.bool_)
    missed = classify(np.diff(np.delete(beats, 100)), joined)
    assert np.flatnonzero(missed.missed).tolist() == [99]
    joined = np.ones(len(beats), np.bool_)
    extra = classify(np.diff(np.insert(beats, 100, beats[99:101].mean())), joined)
    assert np.flatnonzero(extra.extra).tolist() == [99]
    early = beats.copy()
    early[100] -= 0.35 * (beats[100] - beats[99])
    ectopic = classify(np.diff(early), np.ones(len(beats) - 1, np.bool_))
    assert np.flatnonzero(ectopic.ectopic).tolist() == [100]
    assert [one.beats for one in (missed, extra, ectopic)] == [1, 1, 1]


def test_correcting_keeps_the_time_that_a_missed_and_an_extra_beat_took() -> None:
    beats = made_beats(5)
    for bad in (np.delete(beats, 50), np.insert(beats, 50, beats[49:51].mean())):
        rr = np.diff(bad)
        series = correct(rr, np.arange(len(rr)) > 0)
        assert series.rr_ms.sum() == pytest.approx(rr.sum())
        assert len(series.rr_ms) == len(beats) - 1
        assert len(series.joined) == len(series.measured) == len(series.rr_ms)


def test_too_many_artefacts_are_no_window() -> None:
    rng = np.random.default_rng(1)
    found = of(spoiled("ectopic", made_beats(2), rng, share=0.08))
    assert found.void is Void.CORRECTED
    assert np.isnan(found.rmssd_ms)
    assert found.corrected_share > 0.05


def test_a_hole_is_no_difference_and_much_hole_no_window() -> None:
    beats = made_beats(7)
    rr, at = np.diff(beats), beats[:-1]
    short = (at < 100_000) | (at > 120_000)
    found = variability(at[short], rr[short], POLICY)
    assert found.void is None
    left, right = rr[at < 100_000], rr[at > 120_000]
    squares = np.concatenate((np.diff(left) ** 2, np.diff(right) ** 2))
    assert found.rmssd_ms == pytest.approx(np.sqrt(squares.mean()), rel=1e-6)
    long = (at < 100_000) | (at > 180_000)
    assert variability(at[long], rr[long], POLICY).void is Void.SPARSE
    twice = np.repeat(np.arange(len(at)), 2)
    assert variability(at[twice], rr[twice], POLICY).void is Void.OVERFULL


def test_a_strap_that_dates_by_arrival_has_no_holes() -> None:
    """Intervals of a second are told together and dated back from then: up to a second off, and all there."""
    beats = made_beats(8)
    rr = np.diff(beats)
    arrival = np.ceil(beats[1:] / 1_000) * 1_000
    later = np.array([rr[k : np.searchsorted(arrival, one, "right")].sum() for k, one in enumerate(arrival)])
    found = variability(arrival - later, rr, POLICY)
    assert found.rmssd_ms == pytest.approx(rmssd_of(rr), rel=1e-6)


@pytest.mark.parametrize("variation", [0.15, 0.24])
def test_void_in_an_irregular_rhythm(variation: float) -> None:
    rr = 800 * np.exp(np.random.default_rng(3).normal(0, variation, 375))
    found = variability(np.cumsum(rr) - rr, rr, POLICY)
    assert found.void is Void.IRREGULAR
    half = rr.copy()
    half[:200] = np.diff(made_beats(3))[:200]
    assert variability(np.cumsum(half) - half, half, POLICY).void is not None


def test_a_trained_heart_asleep_is_not_irregular() -> None:
    for who in cohort(12, 5, START_US, START_US + WINDOW_US, scenarios=("athlete",)):
        ends, _ = rr_intervals(who, START_US + 12 * 3_600 * S, START_US + 12 * 3_600 * S + WINDOW_US)
        found = of((ends - ends[0]) / 1_000)
        assert found.void is None
        assert found.rmssd_ms > 30


@given(st.lists(st.floats(0, 10_000), max_size=400), st.integers(0, 2**32 - 1))
def test_any_intervals_give_figures_or_a_reason(rr: list[float], seed: int) -> None:
    at = np.sort(np.random.default_rng(seed).uniform(0, 300_000, len(rr)))
    found = variability(at, np.array(rr, np.float64), POLICY)
    assert (found.void is None) == np.isfinite(found.rmssd_ms)


@given(st.lists(st.sampled_from([250.0, 400.0, 800.0, 820.0, 1_600.0, 2_000.0]), min_size=3, max_size=300))
def test_correcting_any_series_leaves_positive_intervals(rr: list[float]) -> None:
    series = correct(np.array(rr), np.arange(len(rr)) > 0)
    assert (series.rr_ms > 0).all()
    assert len(series.rr_ms) == len(series.joined) == len(series.measured)


def test_scaling_time_scales_what_comes_out() -> None:
    beats = made_beats(9)
    slower = variability(beats[:-1] * 1.1, np.diff(beats) * 1.1, HrvPolicy(window_s=330))
    assert slower.rmssd_ms == pytest.approx(1.1 * of(beats).rmssd_ms)


@pytest.mark.realdata
def test_mit_bih_record_100(realdata: Path) -> None:
    """Uncorrected RMSSD 63.23 (MANIFEST): 33 atrial and one ventricular ectopic beats in it."""
    beats = read_atr(realdata / "mitdb100" / "100.atr") / 360 * 1_000
    rr = np.diff(beats)
    assert rmssd_of(rr) == pytest.approx(63.23, abs=0.01)
    assert rr.mean() == pytest.approx(794.6, abs=0.05)
    assert 30 <= classify(rr, np.arange(len(rr)) > 0).beats <= 42
    windows = [of(beats[(beats >= at) & (beats < at + 300_000)]) for at in range(0, 1_800_000, 300_000)]
    assert [one.void for one in windows] == [None] * 6
    assert all(24 < one.rmssd_ms < 31 and one.corrected_share < 0.04 for one in windows)


@pytest.mark.realdata
def test_a_day_of_normal_sinus_rhythm(realdata: Path) -> None:
    beats = read_atr(realdata / "af" / "nsr001.ecg") / 128 * 1_000
    begins = range(0, int(beats[-1]) - 300_000, 300_000)
    windows = [of(beats[(beats >= at) & (beats < at + 300_000)]) for at in begins]
    assert len(windows) > 260
    assert sum(one.void is None for one in windows) > 0.97 * len(windows)
    assert np.median([one.corrected_share for one in windows]) < 0.01


@pytest.mark.realdata
def test_atrial_fibrillation_is_void(realdata: Path) -> None:
    ecg = np.ascontiguousarray(loadmat(realdata / "af" / "TestAFdata.mat")["signal"][:, 0])
    found = ecg_beats(ecg_plan(128.0), None, ecg)[1]
    at_ms = found.at / 128 * 1_000
    rr = np.diff(at_ms)
    assert irregularity(rr) > 2 * POLICY.max_irregularity
    assert variability(at_ms[:-1], rr, POLICY).void is Void.IRREGULAR


@pytest.mark.parametrize(
    ("field", "value"),
    [("window_s", 10), ("min_measured_share", 1.2), ("max_corrected_share", 0.0), ("max_hole_ms", 0.0)],
)
def test_a_policy_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        HrvPolicy(**{field: value})  # type: ignore[arg-type]
