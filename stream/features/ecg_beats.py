"""Beats and RR intervals from an ECG as it comes in.

Papers: Pan & Tompkins 1985 (IEEE Trans Biomed Eng 32(3):230-236) for the chain band-pass, derivative, rectification,
moving window; Hamilton 2002 (Computers in Cardiology 29:101-104) for 10 ms differences, an 80 ms window and the rules
(see `ecg_rules`).

Deviations, and why. The band-pass is a Butterworth filter of 5 to 15 Hz designed for the rate at hand instead of
integer filters for 200 Hz. A beat's time is that of the filtered QRS's extremum, by a parabola through three samples:
at 128 Hz a whole sample is 8 ms, which alone would add 3 ms to RMSSD. It is told minus the filter's delay at 10 Hz, so
it lies within some ms of the R peak for any QRS and at a constant distance from it for QRS of one shape; RR intervals,
being differences, do not carry that distance.

Latency: about 0.4 s (filter 0.07, window 0.08, refractory 0.2), 2.4 s after a reset.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from stream.features import filters
from stream.features.ecg_rules import REFRACTORY_S, Judge, Peak, RuleState
from stream.features.memory import Fields, pack, unpack
from stream.features.rr import Beats, intervals, vertex

Signal = NDArray[np.float64]

MIN_RATE_HZ: Final = 60.0
_BAND_HZ: Final = (5.0, 15.0)
_DIFFERENCE_S: Final = 0.010
_WINDOW_S: Final = 0.080
_WAVE_S: Final = 0.120  # how far before the energy's peak its QRS may lie
_KIND: Final = "ecg_beats/1"
_NOWHERE: Final = -1


@dataclass(frozen=True, eq=False, slots=True)
class EcgPlan:
    """The detector for one sampling rate; widths in samples."""

    rate_hz: float
    sections: Signal
    lag: int
    window: int
    refractory: int
    wave: int
    delay: float

    @property
    def held(self) -> int:
        """How many samples are kept: a candidate is judged with `refractory` to either side and its wave before it."""
        return 2 * self.refractory + self.wave + 2

    @property
    def latency_s(self) -> float:
        """How long after an R peak its beat is told, learning aside."""
        return (self.delay + self.window + self.refractory) / self.rate_hz


@lru_cache(maxsize=64)
def ecg_plan(rate_hz: float) -> EcgPlan:
    """Return the detector for `rate_hz`. Raises ValueError below `MIN_RATE_HZ`."""
    if rate_hz < MIN_RATE_HZ:
        raise ValueError(f"an ECG below {MIN_RATE_HZ:g} Hz does not show its QRS complexes")
    sections = filters.band_pass(rate_hz, *_BAND_HZ)
    lag, window = max(1, round(_DIFFERENCE_S * rate_hz)), max(2, round(_WINDOW_S * rate_hz))
    delay = filters.group_delay_s(sections, rate_hz, 10.0) * rate_hz
    return EcgPlan(
        rate_hz, sections, lag, window, round(REFRACTORY_S * rate_hz), round(_WAVE_S * rate_hz), delay
    )  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class EcgState:
    """Memory between chunks. `held`: shape (3, m), the newest filtered, differentiated and integrated samples."""

    band: Signal
    slope: Signal
    mean: Signal
    held: Signal
    seen: int = 0  # samples since the last reset
    last_beat: float = np.nan
    rules: RuleState = field(default_factory=RuleState)

    def to_bytes(self) -> bytes:
        """Return the state as bytes."""
        rules = self.rules
        return pack(
            _KIND, band=self.band, slope=self.slope, mean=self.mean, held=self.held,
            seen=np.array([self.seen, _NOWHERE if rules.last_at is None else rules.last_at], np.int64),
            beat=np.array([self.last_beat, rules.last_slope]),
            rules=np.array([rules.learning, rules.searched, rules.sign], np.int8),
            beats=np.array(rules.beats, np.float64), noise=np.array(rules.noise, np.float64),
            intervals=np.array(rules.intervals, np.int64),
            waiting=np.array(rules.waiting, np.float64).reshape(-1, len(Peak._fields)),
        )  # fmt: skip

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the state that `to_bytes` wrote. Raises `UnreadableState`."""
        held = unpack(_KIND, data)
        seen, beat = held["seen"], held["beat"]
        return cls(
            held["band"], held["slope"], held["mean"], held["held"], int(seen[0]), float(beat[0]), _rules(held)
        )  # fmt: skip


def _rules(held: Fields) -> RuleState:
    last_at = int(held["seen"][1])
    learning, searched, sign = (int(one) for one in held["rules"])
    return RuleState(
        learning=bool(learning), searched=bool(searched), sign=sign,
        last_at=None if last_at == _NOWHERE else last_at, last_slope=float(held["beat"][1]),
        beats=tuple(map(float, held["beats"])), noise=tuple(map(float, held["noise"])),
        intervals=tuple(map(int, held["intervals"])),
        waiting=tuple(Peak(int(at), *map(float, rest)) for at, *rest in held["waiting"]),
    )  # fmt: skip


def ecg_beats(plan: EcgPlan, state: EcgState | None, signal: Signal) -> tuple[EcgState | None, Beats]:
    """Take in `signal`, shape (n,) in mV, and return the beats that are now certain.

    `state` None begins anew: so does whoever calls, after a gap or a change of rate. Cutting a signal into other
    chunks changes no bit of the output.
    """
    if not len(signal):
        return state, Beats(signal, signal)
    state = state or _begin(plan, float(signal[0]))
    band, slope, mean, held = _filtered(plan, state, signal)
    seen = state.seen + len(signal)
    first = seen - held.shape[1]
    # Every sample whose neighbours to the right are all there, once.
    begin, end = state.seen - plan.refractory - first, seen - plan.refractory - first
    peaks = [_describe(held, plan, at, first) for at in _candidates(held[2], plan.refractory, begin, end)]
    judge = Judge(plan.rate_hz, state.rules)
    found = np.array(judge.hear(peaks, seen - plan.refractory - 1), np.float64)
    rr_ms = intervals(found, state.last_beat, plan.rate_hz)
    last_beat = float(found[-1]) if len(found) else state.last_beat
    after = EcgState(band, slope, mean, held[:, -plan.held :].copy(), seen, last_beat, judge.state)
    return after, Beats(found - plan.delay, rr_ms)


def _begin(plan: EcgPlan, level: float) -> EcgState:
    return EcgState(
        filters.at_rest(plan.sections, level), np.zeros(plan.lag), np.zeros(plan.window - 1), np.zeros((3, plan.held))
    )  # fmt: skip


def _filtered(plan: EcgPlan, state: EcgState, signal: Signal) -> tuple[Signal, Signal, Signal, Signal]:
    wave, band = filters.run(plan.sections, state.band, signal)
    change, slope = filters.difference(plan.lag, state.slope, wave)
    steep = np.abs(change)
    energy, mean = filters.moving_mean(plan.window, state.mean, steep)
    return band, slope, mean, np.concatenate((state.held, np.stack((wave, steep, energy))), axis=1)


def _candidates(energy: Signal, reach: int, begin: int, end: int) -> list[int]:
    """Return the positions in [begin, end) that top everything within `reach`; of equal ones the first."""
    begin = max(begin, reach)
    if end <= begin:
        return []
    part = energy[begin - reach : end + reach]
    highest = maximum_filter1d(part, 2 * reach + 1, mode="constant", cval=-np.inf)[reach : reach + end - begin]
    here = part[reach : reach + end - begin]
    tops = np.flatnonzero((here == highest) & (here > 0))
    return [begin + int(at) for at in tops if not (part[at : at + reach] == here[at]).any()]


def _describe(held: Signal, plan: EcgPlan, at: int, first: int) -> Peak:
    wave, steep, energy = held
    begin = max(1, at - plan.wave)
    stretch = wave[begin : at + 1]
    up, down = begin + int(stretch.argmax()), begin + int(stretch.argmin())
    return Peak(
        first + at, float(energy[at]), (first + up) + vertex(wave, up), float(wave[up]),
        (first + down) + vertex(wave, down), float(-wave[down]), float(steep[begin : at + 1].max()),
    )  # fmt: skip
