"""One signal, chunk by chunk: what of it is stored, what is derived from it, what is remembered. Pure.

The result depends on the chunks and their order alone, not on how Kafka groups them, so a replay from the stored memory
gives the same rows. A chunk that starts before the signal's end is late (told again, or out of a spool): it is stored,
decimated by itself, but nothing is derived from it, because beats need their predecessors and those are gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.features import decimate as decimation_
from stream.features.decimate import DecimateState, Decimation, decimate, decimation
from stream.features.timeline import Timeline
from stream.waveform_derive import Derived, DerivedState, begin, derive
from vitals.waveform import WaveformChunk

_INT32: Final = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True)
class WaveformPolicy:
    """What is kept of waveforms.

    `target_hz` by metric: stored at the lowest whole fraction of its rate that is not below this; how long is the
    database's `retention_policies` (class waveform, 90 days), how long the undecimated record stays on the broker the
    topic's retention (3 days). 250 Hz is what HRV standards ask of an ECG (Task Force 1996: 250 to 500 Hz); a pulse
    wave has nothing above 16 Hz, body movement hardly anything above 20 Hz. Beats are found before decimation.
    `jitter_us`: how far a chunk's start may lie from where the signal ended and still continue it.
    """

    target_hz: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType({"ecg": 250.0, "ppg": 50.0, "acceleration": 50.0})
    )
    jitter_us: int = 50_000


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """Values to store: shape (axes, n), int32 in the chunk's scale; `start_us` is the first one's time.

    `chunk` is the chunk with which they are stored, `time_us` their identity: the chunk's start. What ends an earlier
    stretch (`is_tail`) belongs to no chunk and takes the last microsecond of its stretch, at which none can begin.
    """

    chunk: WaveformChunk
    time_us: int
    start_us: int
    rate_hz: float
    values: NDArray[np.int32]
    is_tail: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class SignalState:
    """Memory between chunks. `last` is the newest chunk without its values, `factor` that of the decimation."""

    timeline: Timeline
    last: WaveformChunk
    factor: int
    decimated: DecimateState | None
    derived: DerivedState


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """What a chunk comes to; `late` tells that it was only stored."""

    state: SignalState
    pieces: list[Piece]
    derived: list[Derived]
    late: bool = False


def advance(policy: WaveformPolicy, state: SignalState | None, chunk: WaveformChunk) -> Outcome:
    """Take in a chunk that validation accepted."""
    plan = decimation(chunk.rate_hz, policy.target_hz[chunk.metric])
    if state is None:
        return _take(plan, _begin(plan, chunk), chunk)
    beyond = chunk.start_us - state.timeline.end_us
    if beyond < -policy.jitter_us:
        return Outcome(state, _alone(plan, chunk), [], late=True)
    if beyond <= policy.jitter_us and _continues(state, plan, chunk):
        return _take(plan, state, chunk)
    fresh = _take(plan, _begin(plan, chunk, state.derived), chunk)
    return replace(fresh, pieces=[*_tail(policy, state), *fresh.pieces])


def _begin(plan: Decimation, chunk: WaveformChunk, before: DerivedState = None) -> SignalState:
    timeline = Timeline.begin(chunk.rate_hz, chunk.start_us)
    return SignalState(timeline, _without_values(chunk), plan.factor, None, begin(chunk.metric, before))


def _continues(state: SignalState, plan: Decimation, chunk: WaveformChunk) -> bool:
    last = state.last
    return (last.rate_hz, last.scale, state.factor) == (chunk.rate_hz, chunk.scale, plan.factor)


def _take(plan: Decimation, state: SignalState, chunk: WaveformChunk) -> Outcome:
    first = state.timeline.seen
    timeline = state.timeline.extend(chunk.start_us, chunk.samples)
    memory, out = decimate(plan, state.decimated, chunk.values.astype(np.float64))
    derived_state, derived = derive(state.derived, timeline, first, chunk)
    pieces = [_piece(chunk, plan, timeline, out)] if out.values.shape[1] else []
    after = SignalState(timeline, _without_values(chunk), plan.factor, memory, derived_state)
    return Outcome(after, pieces, derived)


def _piece(chunk: WaveformChunk, plan: Decimation, timeline: Timeline, out: decimation_.Decimated) -> Piece:
    start_us = int(timeline.times(np.array([out.first_at]))[0])
    return Piece(chunk, chunk.start_us, start_us, plan.new_rate_hz, _whole(out.values))


def _alone(plan: Decimation, chunk: WaveformChunk) -> list[Piece]:
    """Decimate a chunk as if nothing stood before or after it."""
    memory, out = decimate(plan, None, chunk.values.astype(np.float64))
    if memory is None:
        return []
    values = np.concatenate((out.values, decimation_.flush(plan, memory).values), axis=1)
    return [Piece(chunk, chunk.start_us, chunk.start_us, plan.new_rate_hz, _whole(values))]


def _tail(policy: WaveformPolicy, state: SignalState) -> list[Piece]:
    """Return what the filter still held when the signal broke off."""
    if state.decimated is None or state.factor == 1:
        return []
    plan = decimation(state.last.rate_hz, policy.target_hz[state.last.metric])
    if plan.factor != state.factor:  # the policy changed: the old filter is gone, and so are its last milliseconds
        return []
    out = decimation_.flush(plan, state.decimated)
    start_us = int(state.timeline.times(np.array([out.first_at]))[0])
    last_us = state.timeline.end_us - 1
    return [Piece(state.last, last_us, start_us, plan.new_rate_hz, _whole(out.values), is_tail=True)]


def _whole(values: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.clip(np.round(values), _INT32.min, _INT32.max).astype(np.int32)


def _without_values(chunk: WaveformChunk) -> WaveformChunk:
    return replace(chunk, values=np.empty((chunk.values.shape[0], 0), np.int32))
