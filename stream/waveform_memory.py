"""A signal's memory as bytes and back: what stands in `feature_state` beside the watermark."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.features.decimate import DecimateState
from stream.features.ecg_beats import EcgState
from stream.features.enmo import EnmoState
from stream.features.memory import Fields, UnreadableState, pack, unpack
from stream.features.ppg_beats import PpgState
from stream.features.timeline import Timeline
from stream.waveform_derive import DerivedState
from stream.waveform_signal import SignalState
from vitals.waveform import WaveformChunk

_KIND: Final = "signal/1"
_DETECTORS: Final = {"ecg": EcgState, "ppg": PpgState, "acceleration": EnmoState}
_CLOCKS: Final = ("start_us", "written_us", "received_us", "context", "zone_offset_min")


def to_bytes(state: SignalState) -> bytes:
    """Return the memory as bytes."""
    last = state.last
    return pack(
        _KIND,
        at=state.timeline.at,
        us=state.timeline.us,
        counts=np.array([state.timeline.seen, state.factor, last.values.shape[0]], np.int64),
        told=np.array([last.rate_hz, last.scale, last.quality]),
        clocks=np.array([getattr(last, name) for name in _CLOCKS], np.int64),
        decimated=_raw(state.decimated),
        derived=_raw(state.derived),
    )


def from_bytes(metric: str, channel: str, data: bytes) -> SignalState:
    """Return the memory of a signal of this metric and channel. Raises `UnreadableState`."""
    fields = unpack(_KIND, data)
    try:
        return _signal(metric, channel, fields)
    except (KeyError, ValueError, IndexError) as error:
        raise UnreadableState("a signal's saved state is damaged") from error


def _signal(metric: str, channel: str, fields: Fields) -> SignalState:
    seen, factor, axes = map(int, fields["counts"])
    rate_hz, scale, quality = map(float, fields["told"])
    clocks: dict[str, Any] = {name: int(one) for name, one in zip(_CLOCKS, fields["clocks"], strict=True)}
    nothing = np.empty((axes, 0), np.int32)
    last = WaveformChunk(
        metric=metric, channel=channel, rate_hz=rate_hz, scale=scale, quality=quality, values=nothing, **clocks
    )
    decimated = fields["decimated"].tobytes()
    return SignalState(
        Timeline(rate_hz, fields["at"], fields["us"], seen), last, factor,
        DecimateState.from_bytes(decimated) if decimated else None, _detector(metric, fields["derived"].tobytes()),
    )  # fmt: skip


def _detector(metric: str, data: bytes) -> DerivedState:
    detector: Any = _DETECTORS[metric]
    state: DerivedState = detector.from_bytes(data) if data else None
    return state


def _raw(state: DecimateState | DerivedState) -> NDArray[np.uint8]:
    return np.frombuffer(b"" if state is None else state.to_bytes(), np.uint8)
