"""Samples derived from waveforms: RR intervals from ECG and PPG, ENMO epochs from acceleration. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream.features import ecg_beats as ecg
from stream.features import enmo as activity
from stream.features import ppg_beats as ppg
from stream.features.rr import Beats
from stream.features.timeline import Timeline
from vitals.clock import US_PER_S
from vitals.waveform import MAIN_CHANNEL, WaveformChunk

DerivedState: TypeAlias = ecg.EcgState | ppg.PpgState | activity.EnmoState | None
"""A detector's memory; None where it has seen nothing, or where the signal's rate is below what it needs."""

MAX_BEAT_RATE_HZ: Final = 2_000.0
"""Beats need no more, and a detector's memory grows with the rate (25 kB for an ECG at this one)."""
EPOCH_US: Final = 5 * US_PER_S
_APPS: Final = {"ecg": "vigil-ecg", "ppg": "vigil-ppg", "acceleration": "vigil-enmo"}


@dataclass(frozen=True, eq=False, slots=True)
class Derived:
    """Samples of one metric: `start_us`, `value` and `quality` have shape (n,)."""

    metric: str
    duration_ms: int
    start_us: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.float32]


def derived_app(metric: str, channel: str) -> str:
    """Return the source application of what is derived: the method is part of a series, and so is the lead."""
    return _APPS[metric] if channel == MAIN_CHANNEL else f"{_APPS[metric]}-{channel}"


def begin(metric: str, before: DerivedState) -> DerivedState:
    """Return the memory of a detector where a signal starts, or starts again after a gap.

    Beats have no predecessor there. An epoch goes on: its samples need no neighbours, and told twice it would be two
    values of one identity.
    """
    if metric != "acceleration":
        return None
    return before if isinstance(before, activity.EnmoState) else activity.EnmoState()


def derive(
    state: DerivedState, timeline: Timeline, first: int, chunk: WaveformChunk
) -> tuple[DerivedState, list[Derived]]:
    """Take in a chunk whose first sample is the signal's `first`; `timeline` knows the chunk already."""
    signal = chunk.physical()
    if isinstance(state, activity.EnmoState):
        times = timeline.times(np.arange(first, first + chunk.samples))
        # A chunk that starts a little before its time belongs to the open epoch, never to one that is over.
        after, epochs = activity.enmo(state, np.maximum(times, state.start_us), signal, epoch_us=EPOCH_US)
        return after, _activity(epochs, chunk)
    if (
        chunk.metric == "ecg"
        and ecg.MIN_RATE_HZ <= chunk.rate_hz <= MAX_BEAT_RATE_HZ
        and not isinstance(state, ppg.PpgState)
    ):
        beat_state, beats = ecg.ecg_beats(ecg.ecg_plan(chunk.rate_hz), state, signal[0])
        return beat_state, _intervals(beats, timeline, chunk)
    if (
        chunk.metric == "ppg"
        and ppg.MIN_RATE_HZ <= chunk.rate_hz <= MAX_BEAT_RATE_HZ
        and not isinstance(state, ecg.EcgState)
    ):
        pulse_state, beats = ppg.ppg_beats(ppg.ppg_plan(chunk.rate_hz), state, signal[0])
        return pulse_state, _intervals(beats, timeline, chunk)
    return state, []


def _intervals(beats: Beats, timeline: Timeline, chunk: WaveformChunk) -> list[Derived]:
    told = ~np.isnan(beats.rr_ms)
    if not told.any():
        return []
    times = timeline.times(beats.at[told])
    # To a microsecond: what remains of a float would make the same interval another value on another machine.
    values = np.round(beats.rr_ms[told], 3)
    return [Derived("rr_interval", 0, times, values, np.full(len(times), chunk.quality, np.float32))]


def _activity(epochs: activity.Epochs, chunk: WaveformChunk) -> list[Derived]:
    if not len(epochs):
        return []
    share = np.minimum(epochs["samples"] / (chunk.rate_hz * EPOCH_US / US_PER_S), 1.0)
    quality = (chunk.quality * share).astype(np.float32)
    return [Derived("enmo", EPOCH_US // 1_000, epochs["start_us"], epochs["enmo_mg"], quality)]
