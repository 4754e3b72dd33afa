"""Short ways to make waveform chunks and their records."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ingest.waveform_record import encode_chunk
from stream.assemble import RawRecord
from tests.stream.features.recordings import Signal
from tests.stream.making import HEADER, T0, S
from vitals.batch import BatchHeader
from vitals.waveform import WaveformChunk

TOPIC = "vigil.waveforms"
SCALES = {"ecg": 0.001, "ppg": 1.0, "acceleration": 0.001}


def chunks(
    metric: str, rate_hz: float, signal: Signal, cuts: Sequence[int] = (), *, start_us: int = T0, **changes: Any
) -> list[WaveformChunk]:
    """The signal, shape (axes, n) in its unit, cut at these samples; each chunk starts where the one before it ends."""
    values = np.round(signal / SCALES[metric]).astype(np.int32)
    made = []
    places = [0, *cuts, values.shape[1]]
    for first, last in pairwise(places):
        if last > first:
            start = start_us + round(first / rate_hz * S)
            told: dict[str, Any] = {
                "metric": metric, "start_us": start, "rate_hz": rate_hz, "values": values[:, first:last],
                "scale": SCALES[metric], "written_us": start + S, "received_us": start + 2 * S,
            }  # fmt: skip
            made.append(WaveformChunk(**{**told, **changes}))
    return made


def every(rate_hz: float, seconds: float, signal: Signal) -> list[int]:
    """Where to cut a signal into chunks of this length."""
    return list(range(0, signal.shape[1], round(rate_hz * seconds)))[1:]


def record(offset: int, chunk: WaveformChunk, header: BatchHeader = HEADER, partition: int = 0) -> RawRecord:
    made = encode_chunk(header, chunk)
    return RawRecord(TOPIC, partition, offset, 1_800_000_000_000 + offset, made.key, made.value, made.headers)
