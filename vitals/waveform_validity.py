"""Whether a waveform chunk is accepted: pure, a function of the chunk alone. A chunk is taken or refused whole.

The gateway and the recorder ask it.
"""

from __future__ import annotations

import math
from typing import Final

from vitals.catalogue import BY_CODE
from vitals.ids import is_opaque
from vitals.quality import Reason
from vitals.validity import EARLIEST_US, FUTURE_TOLERANCE_US, LATEST_US
from vitals.waveform import WAVEFORMS, WaveformChunk

MIN_RATE_HZ: Final = 1.0
MAX_RATE_HZ: Final = 20_000.0
MAX_DURATION_S: Final = 600.0
MAX_CHANNEL: Final = 16
AXES: Final = {"ecg": 1, "ppg": 1, "acceleration": 3}


def fault(chunk: WaveformChunk) -> Reason | None:
    """Return why the chunk cannot be, None where it can. Of several faults the first counts."""
    if chunk.metric not in WAVEFORMS:
        return Reason.UNKNOWN_METRIC
    if len(chunk.channel) > MAX_CHANNEL or not is_opaque(chunk.channel):
        return Reason.HEADERS
    if chunk.values.shape[0] != AXES[chunk.metric]:
        return Reason.SCHEMA_MISMATCH
    if not (math.isfinite(chunk.rate_hz) and math.isfinite(chunk.scale)) or chunk.scale == 0:
        return Reason.NOT_FINITE
    if not 0 <= chunk.quality <= 1:
        return Reason.QUALITY
    return _range_fault(chunk) or _time_fault(chunk)


def _range_fault(chunk: WaveformChunk) -> Reason | None:
    metric = BY_CODE[chunk.metric]
    ends = (int(chunk.values.min()) * chunk.scale, int(chunk.values.max()) * chunk.scale)
    if min(ends) < metric.low or max(ends) > metric.high:
        return Reason.OUT_OF_RANGE
    if not MIN_RATE_HZ <= chunk.rate_hz <= MAX_RATE_HZ or chunk.samples > MAX_DURATION_S * chunk.rate_hz:
        return Reason.DURATION
    return None


def _time_fault(chunk: WaveformChunk) -> Reason | None:
    if min(chunk.start_us, chunk.written_us, chunk.received_us) < EARLIEST_US:
        return Reason.TOO_OLD
    if max(chunk.written_us, chunk.received_us) > LATEST_US or chunk.start_us - FUTURE_TOLERANCE_US > chunk.received_us:
        return Reason.FUTURE
    return None
