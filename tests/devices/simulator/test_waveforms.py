"""Waveforms go with the beats, breaths and motion of the samples; Vigil's own detectors find in them what is there."""

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.simulator import AtrialFibrillation, Ectopy, Wearer, physiology, waveforms, wearer
from devices.simulator.beats import beats_around
from stream.features.ecg_beats import ecg_beats, ecg_plan
from stream.features.ppg_beats import ppg_beats, ppg_plan
from tests.devices.simulator.people import HOUR, MIN, NOON, S, rmssd, true
from vitals.catalogue import BY_CODE
from vitals.waveform import chunk_from_arrow, chunk_to_arrow

NIGHT = NOON + 14 * HOUR


def signal_of(who: Wearer, metric: str, start_us: int, end_us: int, **more: int) -> NDArray[np.float64]:
    return np.concatenate([one.physical() for one in waveforms(who, metric, start_us + S, end_us + S, **more)], axis=1)


@pytest.mark.parametrize(
    "scenarios", [(), (AtrialFibrillation(NIGHT - HOUR, 4 * 3_600),), (Ectopy(NIGHT - HOUR, 9_999, 0.1),)]
)
@pytest.mark.parametrize("rate_hz", [128, 250, 512])
def test_the_beat_detector_finds_the_beats_in_the_ecg(scenarios: tuple, rate_hz: int) -> None:  # type: ignore[type-arg]
    who = wearer(2, scenarios=scenarios)
    line = signal_of(who, "ecg", NIGHT, NIGHT + 5 * MIN, rate_hz=rate_hz)[0]
    _, found = ecg_beats(ecg_plan(float(rate_hz)), None, line)
    made = beats_around(who, NIGHT, NIGHT + 5 * MIN).at_us
    made_s = (made[(made > NIGHT + 5 * S) & (made < NIGHT + 5 * MIN - 5 * S)] - NIGHT) / S
    found_s = np.asarray(found.at) / rate_hz
    nearest = np.abs(found_s[:, None] - made_s).min(axis=0)
    assert (nearest < 0.06).mean() > 0.99
    inside = (found_s > 5) & (found_s < 295)
    assert inside.sum() == pytest.approx(len(made_s), rel=0.01)


def test_rr_from_the_ecg_is_the_rr_that_is_told() -> None:
    who = wearer(2)
    line = signal_of(who, "ecg", NIGHT, NIGHT + 5 * MIN)[0]
    _, found = ecg_beats(ecg_plan(250.0), None, line)
    made = np.diff(beats_around(who, NIGHT, NIGHT + 5 * MIN).at_us) / 1_000
    rr = found.rr_ms[~np.isnan(found.rr_ms)]
    assert rmssd(rr) == pytest.approx(rmssd(made), rel=0.15)


def average_beat(who: Wearer, start_us: int, end_us: int, *, early: bool = False) -> NDArray[np.float64]:
    """The ECG around its beats, from 0.3 s before R to 0.5 s after, at 250 Hz; each seen from its own baseline."""
    line = signal_of(who, "ecg", start_us, end_us)[0]
    beats = beats_around(who, start_us, end_us)
    at = np.round((beats.at_us[beats.early == early] - start_us) / S * 250).astype(int)
    at = at[(at > 100) & (at < len(line) - 150)]
    rows = line[at[:, None] + np.arange(-75, 125)]
    return np.asarray(np.mean(rows - np.median(rows, axis=1, keepdims=True), axis=0))


def test_the_shape_of_a_beat() -> None:
    beat = average_beat(wearer(2), NIGHT, NIGHT + 5 * MIN)
    p, q, r, s, t = beat[20:45], beat[62:73], beat[73:78], beat[78:90], beat[120:175]
    assert beat.argmax() == pytest.approx(75, abs=1)
    assert 0.8 < r.max() < 1.3
    assert 0.08 < p.max() < 0.25
    assert -0.3 < q.min() < 0.0
    assert -0.4 < s.min() < -0.1
    assert 0.15 < t.max() < 0.5


def test_fibrillation_has_no_p_wave_but_a_fine_one() -> None:
    af = AtrialFibrillation(NIGHT, 1_200, faster_bpm=0.0)
    who = wearer(2, scenarios=(af,))
    inside, before = (average_beat(who, start, start + 10 * MIN) for start in (NIGHT + MIN, NIGHT - 20 * MIN))
    assert before[25:42].max() > 0.08
    assert abs(inside[25:42]).max() < 0.06
    waving = [restless_before_beats(who, start, start + 10 * MIN) for start in (NIGHT + MIN, NIGHT - 20 * MIN)]
    assert waving[0] > 3 * waving[1]


def restless_before_beats(who: Wearer, start_us: int, end_us: int) -> float:
    """By how much two points before R differ that lie half a wave of 6 Hz apart, beat by beat (mV)."""
    line, at_us = signal_of(who, "ecg", start_us, end_us)[0], beats_around(who, start_us, end_us).at_us
    at_us = at_us[1:][np.diff(at_us) > 700_000]  # before these the T wave is over
    at = np.round((at_us - start_us) / S * 250).astype(int)
    at = at[(at > 100) & (at < len(line))]
    across = line[at - 50] - line[at - 29]
    return float(np.median(np.abs(across - np.median(across))))


def test_an_early_beat_is_wide_and_without_p_wave() -> None:
    who = wearer(2, scenarios=(Ectopy(NIGHT - HOUR, 9_999, 0.1),))
    early = average_beat(who, NIGHT, NIGHT + 20 * MIN, early=True)
    ordinary = average_beat(who, NIGHT, NIGHT + 20 * MIN)
    widths = [int((beat[60:92] > beat.max() / 2).sum()) for beat in (early, ordinary)]
    assert widths[0] > 1.8 * widths[1]
    assert early[120:175].min() < -0.15 < 0.15 < ordinary[120:175].max()


def test_the_pulse_detector_finds_the_beats_in_the_ppg() -> None:
    who = wearer(4)
    line = signal_of(who, "ppg", NIGHT, NIGHT + 5 * MIN)[0]
    _, found = ppg_beats(ppg_plan(64.0), None, line)
    made = beats_around(who, NIGHT, NIGHT + 5 * MIN).at_us
    expected = ((made >= NIGHT) & (made < NIGHT + 5 * MIN)).sum()
    assert len(found.at) == pytest.approx(expected, rel=0.04)


def test_acceleration_is_gravity_and_steps() -> None:
    who = wearer(1)
    moving = true(who, "moving", NOON, NOON + 8 * HOUR, MIN)
    walks, rests = NOON + int(moving.argmax()) * MIN, NIGHT
    length, spread = [], []
    for start in (walks, rests):
        axes = signal_of(who, "acceleration", start, start + 20 * S)
        assert axes.shape == (3, 1_000)
        size = np.sqrt((axes**2).sum(axis=0))
        length.append(float(size.mean()))
        spread.append(float(size.std()))
    assert length == pytest.approx([1.0, 1.0], abs=0.08)
    assert spread[0] > 10 * spread[1]
    still = signal_of(who, "acceleration", rests, rests + 20 * S)
    assert np.sqrt((still**2).sum(axis=0)).std() < 0.02
    walk = signal_of(who, "acceleration", walks, walks + 40 * S)
    size = np.sqrt((walk**2).sum(axis=0))
    power = np.abs(np.fft.rfft(size - size.mean()))
    assert power.argmax() / 40 == pytest.approx(110 / 60, abs=0.05)


def test_chunks_survive_the_wire_and_say_their_times() -> None:
    who = wearer(3, zone_offset_min=60)
    for metric, rate in (("ecg", 250), ("ppg", 64), ("acceleration", 50)):
        chunk = waveforms(who, metric, NOON, NOON + 20 * S, chunk_s=10)[0]
        again = chunk_from_arrow(chunk_to_arrow(chunk))
        assert np.array_equal(again.values, chunk.values)
        assert (chunk.samples, chunk.rate_hz, chunk.zone_offset_min) == (10 * rate, rate, 60)
        assert (chunk.end_us, chunk.written_us, chunk.received_us) == (NOON, NOON, NOON + 300_000)
        physical = chunk.physical()
        assert (physical >= BY_CODE[metric].low).all()
        assert (physical <= BY_CODE[metric].high).all()
    assert physiology(who, np.array([NOON])).moving.shape == (1,)
