"""Readers for the recordings and a made-up ECG and PPG: written here, used only by tests and benchmarks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

Signal = NDArray[np.float64]

# MIT annotation codes that mark a beat (WFDB, ecgcodes.h).
_BEATS = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25, 30, 31, 34, 35, 38, 41}


def read_212(path: Path, zero: int = 1024, gain: float = 200.0) -> Signal:
    """Format 212: two 12-bit two's-complement samples in three bytes; returns shape (2, n) in mV."""
    packed = np.fromfile(path, np.uint8).reshape(-1, 3).astype(np.int32)
    first = packed[:, 0] | (packed[:, 1] & 0x0F) << 8
    second = packed[:, 2] | (packed[:, 1] & 0xF0) << 4
    raw = np.stack((first, second))
    raw[raw > 2047] -= 4096
    return (raw - zero) / gain


def read_atr(path: Path) -> NDArray[np.int64]:
    """MIT annotation file: 6 bits of code, 10 bits of time since the last; returns the samples of beats."""
    words = np.fromfile(path, "<u2").astype(int)
    at, i, beats = 0, 0, []
    while words[i]:
        code, value = words[i] >> 10, words[i] & 0x3FF
        i += 1
        if code == 59:  # SKIP: a long distance follows, high word first
            at += (words[i] << 16) + words[i + 1]
            i += 2
        elif code == 63:  # AUX: that many bytes of text follow
            i += (value + 1) // 2
        elif code < 59:
            at += value
            if code in _BEATS:
                beats.append(at)
    return np.array(beats)


def matched(found: Signal, truth: NDArray[np.int64] | Signal, window: float) -> tuple[int, int, int]:
    """(true positives, false positives, false negatives), each beat matched at most once (ANSI/AAMI EC57)."""
    i = j = hits = 0
    while i < len(found) and j < len(truth):
        distance = found[i] - truth[j]
        if abs(distance) <= window:
            hits, i, j = hits + 1, i + 1, j + 1
        elif distance < 0:
            i += 1
        else:
            j += 1
    return hits, len(found) - hits, len(truth) - hits


def knowledge_based_beats(signal: Signal, rate_hz: float) -> Signal:
    """Another method, on the whole signal at once, with zero phase: Elgendi 2013, PLoS ONE 8(9):e73557."""
    power = sosfiltfilt(butter(3, (8, 20), "bandpass", fs=rate_hz, output="sos"), signal) ** 2
    short, long = (int(width * rate_hz) | 1 for width in (0.097, 0.611))
    qrs, beat = (np.convolve(power, np.ones(width) / width, "same") for width in (short, long))
    edges = np.diff(np.concatenate(([0], qrs > beat + 0.08 * power.mean(), [0])).astype(int))
    blocks = zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)
    return np.array([at + power[at:end].argmax() for at, end in blocks if end - at >= short], np.float64)


def made_ecg(rate_hz: float, beats_s: Signal, seconds: float, *, seed: int = 1) -> Signal:
    """P, Q, R, S and T waves as bumps around each beat, 1 mV high, with 0.01 mV of noise."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    signal = np.random.default_rng(seed).normal(0, 0.01, len(time))
    waves = ((-0.17, 0.12, 0.022), (-0.03, -0.12, 0.010), (0.0, 1.0, 0.011), (0.03, -0.2, 0.011), (0.27, 0.28, 0.05))
    for beat in beats_s:
        for shift, height, width in waves:
            signal += height * np.exp(-0.5 * ((time - beat - shift) / width) ** 2)
    return signal


def made_ppg(rate_hz: float, beats_s: Signal, seconds: float) -> Signal:
    """A systolic and a dicrotic bump for each beat on a slow wander; the systolic peak stands at the beat."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    signal = 500 + 3 * np.sin(2 * np.pi * 0.2 * time)
    for beat in beats_s:
        for shift, height, width in ((0.0, 100.0, 0.09), (0.28, 25.0, 0.08)):
            signal += height * np.exp(-0.5 * ((time - beat - shift) / width) ** 2)
    return signal


def regular_beats(seconds: float, rr_s: float = 0.8, *, seed: int = 2) -> Signal:
    """Beats `rr_s` apart, 30 ms of normal variability, away from both ends."""
    count = int((seconds - 3) / rr_s)
    return 1 + np.cumsum(rr_s + np.random.default_rng(seed).normal(0, 0.03, count))


def cut(signal: Signal, cuts: list[int]) -> list[Signal]:
    """The signal's last axis cut at these places; a place may come twice and so make an empty piece."""
    return np.split(signal, sorted(at % signal.shape[-1] for at in cuts), axis=-1)
