"""What the waveform store takes: chunk rows and, beside them, all that a batch of samples holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from timeseries.model import WriteBatch

SignalKey = tuple[int, int, int, str]
"""(patient key, origin key, metric key, channel)."""


@dataclass(frozen=True, eq=False, slots=True)
class ChunkRow:
    """A row of `waveforms`. `values`: shape (axes, n), int32; times in microseconds UTC; `adapter` told it."""

    signal: SignalKey
    time_us: int
    first_us: int
    sample_rate_hz: float
    original_rate_hz: float
    scale: float
    values: NDArray[np.int32]
    written_us: int
    received_us: int
    quality: float
    flags: int
    context: int
    zone_offset_min: int
    adapter: str

    @property
    def identity(self) -> tuple[SignalKey, int]:
        """What makes it this chunk."""
        return self.signal, self.time_us


@dataclass(frozen=True, slots=True)
class WaveformBatch(WriteBatch):
    """Everything of one transaction: beside derived samples the chunks, and the memory of each signal by its key."""

    chunks: Sequence[ChunkRow] = ()
    states: Mapping[SignalKey, bytes] = field(default_factory=dict)
