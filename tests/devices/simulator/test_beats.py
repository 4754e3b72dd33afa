"""RR intervals: heart rate variability against published adults, breathing in it, 1/f, and irregular rhythms."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import periodogram

from devices.simulator import AtrialFibrillation, Ectopy, cohort, simulate, wearer
from devices.simulator.beats import beats_around
from tests.devices.simulator.people import DAY, HOUR, MIN, NOON, S, of, rmssd, rr_ms, true

Series = NDArray[np.float64]


def test_beats_agree_with_the_heart_rate_and_its_variability() -> None:
    who = wearer(11)
    day = simulate(who, NOON, NOON + 12 * HOUR)
    rr = of(day, "rr_interval")
    assert 60_000 / rr.value.mean() == pytest.approx(of(day, "heart_rate").value.mean(), rel=0.03)
    assert of(day, "hrv_rmssd").value.mean() == pytest.approx(
        true(who, "hrv_rmssd", NOON, NOON + 12 * HOUR).mean(), rel=0.1
    )
    ends = rr.start_us + rr.value * 1_000
    assert np.abs(rr.start_us[1:] - ends[:-1]).max() < 1_000  # no beat is missing; ticks round by half a millisecond
    assert (rr.value * 1.024 % 1 < 1e-6).all()  # 1/1024 s, as straps tell it


def test_the_hrv_channels_are_those_of_the_beats() -> None:
    who = wearer(8, cadences_s={"hrv_rmssd": 300.0, "hrv_sdnn": 300.0})
    columns = simulate(who, NOON, NOON + 2 * HOUR)
    rr = of(columns, "rr_interval")
    for code, measure in (("hrv_rmssd", rmssd), ("hrv_sdnn", lambda x: float(np.std(x)))):
        told = of(columns, code)
        assert (told.duration_ms == 300_000).all()
        for start, value in zip(told.start_us[1:].tolist(), told.value[1:].tolist(), strict=True):
            inside = (rr.written_us >= start) & (rr.written_us < start + 300 * S)
            assert value == pytest.approx(measure(rr.value[inside]), abs=0.06)


def test_short_term_variability_is_that_of_adults() -> None:
    """Nunan et al. 2010, five minutes at rest: SDNN 50 +- 16 ms (32 to 93), RMSSD 42 +- 15 ms (19 to 75)."""
    found = []
    for seed in range(40):
        who = wearer(seed)
        calm = true(who, "heart_rate", NOON + 5 * HOUR, NOON + 10 * HOUR).reshape(-1, 60)  # five minutes a row
        quiet = int(calm.max(axis=1).argmin())
        rr = rr_ms(who, NOON + 5 * HOUR + quiet * 5 * MIN, NOON + 5 * HOUR + (quiet + 1) * 5 * MIN)
        found.append((float(np.std(rr)), rmssd(rr)))
    sdnn, short = np.median(found, axis=0)
    assert 32 < sdnn < 66
    assert 27 < short < 57
    assert np.percentile([one for _, one in found], 5) > 10
    assert np.percentile([one for _, one in found], 95) < 100


def test_long_term_variability_is_that_of_adults() -> None:
    """Task Force 1996, 24 hours: SDNN 141 +- 39 ms, SDANN 127 +- 35 ms, RMSSD 27 +- 12 ms; here the cohort's mean."""
    sdnn, sdann, short = [], [], []
    for seed in range(12):
        rr = of(simulate(wearer(seed), NOON, NOON + DAY), "rr_interval")
        bins = (rr.written_us - NOON) // (5 * MIN)
        means = [rr.value[bins == k].mean() for k in range(288)]
        sdnn.append(rr.value.std())
        sdann.append(np.std(means))
        short.append(rmssd(rr.value))
    assert 102 < np.mean(sdnn) < 180
    assert 92 < np.mean(sdann) < 162
    assert 15 < np.mean(short) < 45


def _spectrum(who_seed: int, start_us: int, end_us: int) -> tuple[Series, Series]:
    rr = of(simulate(wearer(who_seed), start_us, end_us), "rr_interval")
    even = np.interp(np.arange(start_us, end_us, S // 4), rr.written_us, rr.value)
    frequency, power = periodogram(even - even.mean(), 4.0)
    return frequency, power


def test_breathing_is_in_the_beats() -> None:
    """Respiratory sinus arrhythmia: in quiet sleep the high-frequency peak stands at the respiratory rate."""
    for seed in range(6):
        start, end = NOON + 14 * HOUR, NOON + 14 * HOUR + 20 * MIN
        frequency, power = _spectrum(seed, start, end)
        high = (frequency > 0.15) & (frequency < 0.4)
        centre = (frequency[high] * power[high]).sum() / power[high].sum()
        assert centre * 60 == pytest.approx(true(wearer(seed), "respiratory_rate", start, end).mean(), abs=1.5)


def test_there_is_a_wave_of_a_tenth_of_a_hertz() -> None:
    frequency, power = np.mean([_spectrum(seed, NOON + 13 * HOUR, NOON + 16 * HOUR) for seed in range(6)], axis=0)
    around = [power[(frequency >= low) & (frequency < high)].mean() for low, high in ((0.08, 0.12), (0.13, 0.17))]
    assert around[0] > 1.5 * around[1]


def test_slow_variability_is_like_one_over_f() -> None:
    """Bigger et al. 1996 found a slope of -1.06 +- 0.12 in 24 hours from 0.1 to 10 mHz.

    Here it is steeper, between -1 and -1.7: bouts of activity are a larger part of an ordinary simulated day.
    """
    edges = np.logspace(-4, -2, 17)
    for seed in range(4):
        frequency, power = _spectrum(seed, NOON, NOON + DAY)
        bands = [(frequency >= a) & (frequency < b) for a, b in pairwise(edges)]
        levels = [np.log10(power[band].mean()) for band in bands]
        slope = np.polyfit([np.log10(frequency[band].mean()) for band in bands], levels, 1)[0]
        assert -1.8 < slope < -0.9


def sample_entropy(series: Series, m: int = 2, tolerance_ms: float = 30.0) -> float:
    """Richman and Moorman 2000, with a fixed tolerance as Lake and Moorman 2011 take it for fibrillation."""
    rows = np.lib.stride_tricks.sliding_window_view(series, m + 1)
    far = np.abs(rows[:, None, :] - rows[None, :, :]) <= tolerance_ms
    short, long = far[:, :, :m].all(axis=2), far.all(axis=2)
    n = len(rows)
    return float(-np.log((long.sum() - n) / (short.sum() - n)))


@pytest.mark.parametrize("irregularity", [0.15, 0.24, 0.32])
@pytest.mark.parametrize("seed", [1, 2])
def test_fibrillation_is_as_irregular_as_it_says(seed: int, irregularity: float) -> None:
    episode = AtrialFibrillation(NOON + HOUR, duration_s=1_200, irregularity=irregularity)
    who = wearer(seed, scenarios=(episode,))
    inside = rr_ms(who, episode.start_us + 5 * S, episode.end_us - 5 * S)
    # The rate wanders as well: minute by minute it is the rhythm's own irregularity.
    steady = np.concatenate([part / part.mean() for part in np.array_split(inside, 20)])
    assert steady.std() == pytest.approx(irregularity, rel=0.08)
    assert rmssd(inside) / inside.mean() == pytest.approx(irregularity * 2**0.5, rel=0.1)
    assert abs(np.corrcoef(steady[1:], steady[:-1])[0, 1]) < 0.1  # each interval forgets the one before
    assert sample_entropy(inside[:600]) > 1.5
    assert inside.min() > 200
    for start, end in ((NOON, episode.start_us - 5 * S), (episode.end_us + 5 * S, NOON + 3 * HOUR)):
        outside = rr_ms(who, start, end)
        assert rmssd(outside) / outside.mean() < 0.1
        assert sample_entropy(outside[:600]) < 1.2
    assert 60_000 / inside.mean() == pytest.approx(
        true(who, "heart_rate", episode.start_us, episode.end_us).mean(), rel=0.03
    )


def test_ectopic_beats_are_as_many_as_stated_and_come_with_a_pause() -> None:
    who = wearer(3, scenarios=(Ectopy(NOON, duration_s=6 * 3_600, burden=0.05),))
    beats = beats_around(who, NOON + MIN, NOON + 5 * HOUR)
    rr = np.diff(beats.at_us) / 1_000
    early = np.flatnonzero(beats.early[1:-1])
    assert len(early) / len(rr) == pytest.approx(0.05, rel=0.1)
    alone = early[1:-1][(np.diff(early)[1:] > 2) & (np.diff(early)[:-1] > 2)]
    pair = rr[alone] + rr[alone + 1]
    assert np.median(rr[alone] / rr[alone - 1]) == pytest.approx(0.65, abs=0.03)
    assert np.median(pair / (2 * rr[alone - 1])) == pytest.approx(1.0, abs=0.03)


def test_beats_keep_their_order() -> None:
    for who in cohort(
        12, 9, NOON, NOON + 2 * DAY, scenarios=["well", "athlete", "af+fever", "ectopy", "panic", "apnoea"]
    ):
        at = beats_around(who, NOON, NOON + 2 * DAY).at_us
        assert np.diff(at).min() > 200_000
