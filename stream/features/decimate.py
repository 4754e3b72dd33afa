"""Anti-aliased decimation of a live signal: every q-th sample of what a linear-phase low-pass leaves.

Method: a Kaiser-window FIR low-pass (Kaiser 1974, "Nonrecursive digital filter design using the I0-sinh window
function", IEEE ISCAS) evaluated only where an output is due. The pass band ends at 0.8 and the stop band begins at 1.0
of the new Nyquist frequency; 60 dB lie between them.

Deviation from the usual Chebyshev IIR (`scipy.signal.decimate`), and why: an IIR filter run causally delays each
frequency by another time, which bends an ST segment and moves a T wave against its R wave. A symmetric FIR delays all
of them by the same whole number of samples, so the delay can be taken off the time stamps exactly and causal and
zero-phase processing agree. The price is latency (`Decimation.latency_s`), 18 samples of the new rate.

The signal is held constant beyond its ends, so that a recording keeps its length: n samples become ceil(n / q).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, kaiserord, upfirdn

from stream.features.memory import pack, unpack

Signal = NDArray[np.float64]

STOP_BAND_DB: Final = 60.0
PASS_BAND: Final = 0.8
_KIND: Final = "decimate/1"


@dataclass(frozen=True, eq=False, slots=True)
class Decimation:
    """A filter and a factor. `taps`: shape (2 * delay + 1,), unit gain at 0 Hz; `delay` in input samples."""

    rate_hz: float
    factor: int
    taps: Signal

    @property
    def new_rate_hz(self) -> float:
        """Samples per second after decimation."""
        return self.rate_hz / self.factor

    @property
    def delay(self) -> int:
        """How many further input samples an output waits for; a multiple of `factor`."""
        return len(self.taps) // 2

    @property
    def latency_s(self) -> float:
        """The same in seconds."""
        return self.delay / self.rate_hz


@lru_cache(maxsize=64)
def decimation(rate_hz: float, target_hz: float) -> Decimation:
    """Return the decimation by the largest whole factor that keeps at least `target_hz`; factor 1 passes through."""
    factor = max(1, int(rate_hz / target_hz + 1e-9))
    if factor == 1:
        return Decimation(rate_hz, 1, np.ones(1))
    nyquist = 1.0 / factor  # in units of the input's Nyquist frequency
    wanted, beta = kaiserord(STOP_BAND_DB, (1 - PASS_BAND) * nyquist)
    half = -(-(wanted - 1) // (2 * factor)) * factor
    taps = firwin(2 * half + 1, (1 + PASS_BAND) / 2 * nyquist, window=("kaiser", beta))
    taps.flags.writeable = False
    return Decimation(rate_hz, factor, taps)


@dataclass(frozen=True, eq=False, slots=True)
class DecimateState:
    """What comes before the next output. `held`: shape (axes, m), input from the first tap of the next output on.

    `next_at`: the input sample (counted from the first since the last reset) at which the next output stands; `seen`:
    how many input samples there were.
    """

    held: Signal
    next_at: int = 0
    seen: int = 0

    def to_bytes(self) -> bytes:
        """Return the state as bytes."""
        return pack(_KIND, held=self.held, at=np.array([self.next_at, self.seen], np.int64))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the state that `to_bytes` wrote. Raises `UnreadableState`."""
        fields = unpack(_KIND, data)
        return cls(fields["held"], *map(int, fields["at"]))


@dataclass(frozen=True, eq=False, slots=True)
class Decimated:
    """Outputs. `values`: shape (axes, n) in the input's unit; `first_at`: where the first stands in the input."""

    values: Signal
    first_at: int


def decimate(plan: Decimation, state: DecimateState | None, signal: Signal) -> tuple[DecimateState | None, Decimated]:
    """Take in `signal`, shape (axes, n), and return the outputs that are now complete.

    `state` None begins anew: so does whoever calls, after a gap or a change of rate. Cutting a signal into other
    chunks changes no bit of the output.
    """
    if not signal.shape[1]:
        return state, Decimated(signal, 0 if state is None else state.next_at)
    if state is None:
        state = DecimateState(np.repeat(signal[:, :1], plan.delay, axis=1))
    return _advance(plan, state, signal, state.seen + signal.shape[1])


def flush(plan: Decimation, state: DecimateState) -> Decimated:
    """Return the outputs that still waited for input when the signal ended."""
    tail = np.repeat(state.held[:, -1:], plan.delay, axis=1)
    return _advance(plan, state, tail, state.seen)[1]


def _advance(plan: Decimation, state: DecimateState, signal: Signal, seen: int) -> tuple[DecimateState, Decimated]:
    buffer = np.concatenate((state.held, signal), axis=1)
    count = max(0, (buffer.shape[1] - len(plan.taps)) // plan.factor + 1)
    values = buffer[:, :count].copy() if plan.factor == 1 else _filtered(plan, buffer, count)
    held = buffer[:, count * plan.factor :].copy()
    after = DecimateState(held, state.next_at + count * plan.factor, seen)
    return after, Decimated(values, state.next_at)


def _filtered(plan: Decimation, buffer: Signal, count: int) -> Signal:
    # upfirdn adds up each output tap after tap in one order, whatever stands around it: no bit depends on the chunks.
    # Its first 2 * delay / factor outputs reach beyond the buffer and are left out.
    skip = 2 * plan.delay // plan.factor
    return np.ascontiguousarray(upfirdn(plan.taps, buffer, 1, plan.factor, axis=1)[:, skip : skip + count])
