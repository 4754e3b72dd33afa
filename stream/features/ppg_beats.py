"""Systolic peaks and pulse intervals from a photoplethysmogram as it comes in.

Paper: Elgendi et al. 2013, "Systolic peak detection in acceleration photoplethysmograms measured from emergency
responders in tropical conditions", PLoS ONE 8(10):e76585: band-pass 0.5 to 8 Hz, negative half cut off, squared; a
block in which the mean over 111 ms exceeds the mean over 667 ms plus 2 % of the signal's mean, and that lasts at least
111 ms, holds one systolic peak.

Deviations, and why. The band-pass runs forward only (a stream has no end to come back from); its delay is taken off and
the peak then looked for in the signal itself within 150 ms, and timed by a parabola through three samples. The mean of
the whole signal becomes a mean that forgets over ten seconds, because a stream has no whole either and its amplitude
wanders with the finger's pressure. A block whose peak comes less than 240 ms after the last one is a dicrotic wave
(250 beats a minute is the fastest told). Intervals are filtered by range and never by their neighbours (FACTS: rules
that compare with neighbours delete atrial fibrillation).

Latency: about 0.8 s and the rest of the block in which the peak lies (`PpgPlan.latency_s`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from stream.features import filters
from stream.features.memory import pack, unpack
from stream.features.rr import Beats, intervals, vertex

Signal = NDArray[np.float64]

MIN_RATE_HZ: Final = 20.0
REFRACTORY_S: Final = 0.240
_BAND_HZ: Final = (0.5, 8.0)
_PEAK_S, _BEAT_S, _OFFSET = 0.111, 0.667, 0.02
_FORGET_S: Final = 10.0
_SEARCH_S: Final = 0.150
_HELD_S: Final = 4.0
_PULSE_HZ: Final = 2.0
_ROUNDING: Final = 1e-6  # of the signal: below that a wave is what filtering a flat line leaves
_KIND: Final = "ppg_beats/1"


@dataclass(frozen=True, eq=False, slots=True)
class PpgPlan:
    """The detector for one sampling rate; widths in samples, the means' widths odd so that they have a middle."""

    rate_hz: float
    sections: Signal
    peak: int
    beat: int
    delay: int
    search: int
    refractory: int
    held: int

    @property
    def lag(self) -> int:
        """By how many samples a verdict on being in a block comes after its sample in the filtered signal."""
        return (self.beat - 1) // 2

    @property
    def latency_s(self) -> float:
        """How long after a systolic peak it is told, the rest of its block aside."""
        return (self.delay + self.lag + self.search) / self.rate_hz


@lru_cache(maxsize=64)
def ppg_plan(rate_hz: float) -> PpgPlan:
    """Return the detector for `rate_hz`. Raises ValueError below `MIN_RATE_HZ`."""
    if rate_hz < MIN_RATE_HZ:
        raise ValueError(f"a PPG below {MIN_RATE_HZ:g} Hz does not show its pulse's shape")
    sections = filters.band_pass(rate_hz, *_BAND_HZ)
    delay = round(filters.group_delay_s(sections, rate_hz, _PULSE_HZ) * rate_hz)
    peak, beat = (2 * round(width * rate_hz / 2) + 1 for width in (_PEAK_S, _BEAT_S))
    search, refractory, held = (round(width * rate_hz) for width in (_SEARCH_S, REFRACTORY_S, _HELD_S))
    return PpgPlan(rate_hz, sections, peak, beat, delay, search, refractory, held)


@dataclass(frozen=True, eq=False, slots=True)
class PpgState:
    """Memory between chunks. `held`: shape (3, m): newest raw and filtered samples and short means."""

    band: Signal
    short: Signal
    long: Signal
    level: Signal
    held: Signal
    seen: int = 0  # samples since the last reset
    block_at: int = -1  # where the open block began; -1 outside
    last_beat: float = np.nan

    def to_bytes(self) -> bytes:
        """Return the state as bytes."""
        return pack(
            _KIND, band=self.band, short=self.short, long=self.long, level=self.level, held=self.held,
            at=np.array([self.seen, self.block_at], np.int64), beat=np.array([self.last_beat]),
        )  # fmt: skip

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the state that `to_bytes` wrote. Raises `UnreadableState`."""
        fields = unpack(_KIND, data)
        seen, block_at = map(int, fields["at"])
        band, short, long, level, held = (fields[name] for name in ("band", "short", "long", "level", "held"))
        return cls(band, short, long, level, held, seen, block_at, float(fields["beat"][0]))


def ppg_beats(plan: PpgPlan, state: PpgState | None, signal: Signal) -> tuple[PpgState | None, Beats]:
    """Take in `signal`, shape (n,) in any unit, up with the blood volume; return the peaks that are now certain.

    `state` None begins anew: so does whoever calls, after a gap or a change of rate. Cutting a signal into other
    chunks changes no bit of the output.
    """
    if not len(signal):
        return state, Beats(signal, signal)
    state = state or _begin(plan, float(signal[0]))
    seen = state.seen + len(signal)
    inside, state = _in_block(plan, state, signal)
    first = seen - state.held.shape[1]
    begun, ended, block_at = _blocks(inside, seen - len(signal) - plan.lag, state.block_at)
    found: list[float] = []
    for begin, end in zip(begun, ended, strict=True):
        if end - begin >= plan.peak:
            at = _peak(plan, state.held, begin, end, first)
            last = found[-1] if found else state.last_beat
            if not at - last < plan.refractory:
                found.append(at)
    beats = np.array(found, np.float64)
    after = PpgState(
        state.band, state.short, state.long, state.level, state.held[:, -plan.held :].copy(), seen, block_at,
        found[-1] if found else state.last_beat,
    )  # fmt: skip
    return after, Beats(beats, intervals(beats, state.last_beat, plan.rate_hz))


def _begin(plan: PpgPlan, level: float) -> PpgState:
    held = np.zeros((3, plan.held))
    held[0] = level
    rest = filters.at_rest(plan.sections, level)
    return PpgState(rest, np.zeros(plan.peak - 1), np.zeros(plan.beat - 1), np.zeros(1), held)


def _in_block(plan: PpgPlan, state: PpgState, signal: Signal) -> tuple[NDArray[np.bool_], PpgState]:
    """Tell which samples lie in a block, `lag` samples late; return the state with all its filters moved on."""
    wave, band = filters.run(plan.sections, state.band, signal)
    power = np.where(wave > _ROUNDING * np.abs(signal), wave, 0.0) ** 2
    short, short_memory = filters.moving_mean(plan.peak, state.short, power)
    long, long_memory = filters.moving_mean(plan.beat, state.long, power)
    weight = 1.0 / (_FORGET_S * plan.rate_hz)
    level, level_memory = filters.forgetting_mean(weight, state.level, power)
    # The forgetting mean began at 0: what it has not seen yet is taken off again.
    level = level / -np.expm1(np.arange(state.seen + 1, state.seen + 1 + len(signal)) * np.log1p(-weight))
    held = np.concatenate((state.held, np.stack((signal, wave, short))), axis=1)
    # Both means end at the newest sample: the short one of an earlier moment has the long one's middle.
    shift = plan.lag - (plan.peak - 1) // 2
    centred = held[2, held.shape[1] - shift - len(signal) : held.shape[1] - shift]
    after = PpgState(band, short_memory, long_memory, level_memory, held, state.seen, state.block_at, state.last_beat)
    return centred > long + _OFFSET * level, after


def _blocks(inside: NDArray[np.bool_], at: int, open_at: int) -> tuple[list[int], list[int], int]:
    """Return (begins, ends) of the blocks that end here and the begin of the one still open; `at`: first position."""
    edges = np.diff(np.concatenate(([open_at >= 0], inside)).astype(np.int8))
    begun, ended = (at + np.flatnonzero(edges == 1)).tolist(), (at + np.flatnonzero(edges == -1)).tolist()
    if open_at >= 0:
        begun = [open_at, *begun]
    return begun[: len(ended)], ended, begun[-1] if len(begun) > len(ended) else -1


def _peak(plan: PpgPlan, held: Signal, begin: int, end: int, first: int) -> float:
    """Return where the signal itself peaks, given the block [begin, end); `first`: the position of `held`'s first."""
    raw, wave = held[0], held[1]
    begin = max(begin - first, 0)
    near = begin + int(wave[begin : end - first].argmax()) - plan.delay
    low = max(near - plan.search, 0)
    at = low + int(raw[low : near + plan.search + 1].argmax())
    return (first + at) + vertex(raw, at)
