"""Causal filters with carried memory, whose output does not depend on how the signal is cut, to the last bit.

Everything here runs scipy's compiled recursions sample after sample. `lfilter` with a single denominator coefficient
would take another path (a convolution a chunk), so a moving average is given a second one, which is 0.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, freqz_sos, lfilter, sosfilt, sosfilt_zi

Signal = NDArray[np.float64]

_RECURSIVE: Final = np.array([1.0, 0.0])


@lru_cache(maxsize=64)
def band_pass(rate_hz: float, low_hz: float, high_hz: float, order: int = 2) -> Signal:
    """Return a Butterworth band-pass as second-order sections, shape (order, 6)."""
    sections: Signal = butter(order, (low_hz, high_hz), "bandpass", fs=rate_hz, output="sos")
    return sections


def at_rest(sections: Signal, level: float) -> Signal:
    """Return the memory of a filter that has seen `level` for ever: no transient, and offsets do not matter."""
    memory: Signal = sosfilt_zi(sections) * level
    return memory


def run(sections: Signal, memory: Signal, signal: Signal) -> tuple[Signal, Signal]:
    """Filter `signal`, shape (n,); return (output, memory)."""
    output, after = sosfilt(sections, signal, zi=memory)
    return output, after


def group_delay_s(sections: Signal, rate_hz: float, at_hz: float) -> float:
    """Return by how many seconds the filter delays what it passes around `at_hz`."""
    around = np.array([at_hz * 0.99, at_hz * 1.01])
    _, response = freqz_sos(sections, around, fs=rate_hz)
    turn = np.angle(response[1] / response[0])
    return float(-turn / (2 * np.pi * (around[1] - around[0])))


def moving_mean(width: int, memory: Signal, signal: Signal) -> tuple[Signal, Signal]:
    """Return (mean over the last `width` samples, memory); the memory begins as zeros of shape (width - 1,)."""
    return _fir(np.full(width, 1.0 / width), memory, signal)


def difference(lag: int, memory: Signal, signal: Signal) -> tuple[Signal, Signal]:
    """Return (signal minus itself `lag` samples before, memory); the memory begins as zeros of shape (lag,)."""
    taps = np.zeros(lag + 1)
    taps[0], taps[-1] = 1.0, -1.0
    return _fir(taps, memory, signal)


def forgetting_mean(weight: float, memory: Signal, signal: Signal) -> tuple[Signal, Signal]:
    """Return (exponential mean in which each new sample has `weight`, memory of shape (1,))."""
    output, after = lfilter([weight], [1.0, weight - 1.0], signal, zi=memory)
    return output, after


def _fir(taps: Signal, memory: Signal, signal: Signal) -> tuple[Signal, Signal]:
    if len(taps) == 1:
        return signal * taps[0], memory
    output, after = lfilter(taps, _RECURSIVE, signal, zi=memory)
    return output, after
