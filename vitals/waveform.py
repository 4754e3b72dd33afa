"""A chunk of a waveform: the one definition of its columns on the wire (Arrow) and of its form in memory.

One record carries one chunk: consecutive samples of one signal (ECG, PPG, acceleration with its axes) of one device of
one patient. Values travel as `list<int32>` beside one scale, which is what an analogue-to-digital converter gives:
exact for every sensor up to 32 bits. Measured on record 100 of MIT-BIH (one second at 360 Hz, 16 records to a zstd
batch): int32 1.2 bytes a sample, int16 1.05, float32 1.4. int16 would save an eighth and lose the 24-bit ECG and 22-bit
PPG counts of common straps; float32 costs more than int32 and rounds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitals.batch import NO_ZONE, SchemaMismatch
from vitals.catalogue import BY_CODE, Kind
from vitals.clock import US_PER_S

WAVEFORM_SCHEMA_VERSION: Final = 1
MAIN_CHANNEL: Final = "main"
"""The channel of a device that has one of its kind."""

_UTC_US: Final = pa.timestamp("us", "UTC")
WAVEFORM_SCHEMA: Final = pa.schema(
    [
        pa.field("start", _UTC_US, nullable=False),  # of the first sample
        pa.field("sample_rate_hz", pa.float64(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),  # a code of kind waveform
        pa.field("channel", pa.string(), nullable=False),  # ECG lead, PPG colour; an opaque word
        pa.field("unit", pa.string(), nullable=False),  # of value times scale: the catalogue's
        pa.field("axes", pa.int8(), nullable=False),  # values are interleaved: x0, y0, z0, x1, ...
        pa.field("scale", pa.float64(), nullable=False),
        pa.field("values", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
        pa.field("quality", pa.float32(), nullable=False),
        pa.field("context", pa.int16(), nullable=False),
        pa.field("zone_offset_min", pa.int16(), nullable=False),
        pa.field("written", _UTC_US, nullable=False),
        pa.field("received", _UTC_US, nullable=False),
    ]
)
WAVEFORMS: Final = frozenset(code for code, metric in BY_CODE.items() if metric.kind is Kind.WAVEFORM)
"""The metrics that are waveforms."""


@dataclass(frozen=True, eq=False, slots=True)
class WaveformChunk:
    """Consecutive samples of one signal. `values`: shape (axes, n), int32; times `scale` they are in the unit.

    Times are microseconds UTC; `channel` an opaque word that tells signals of one metric and device apart.
    """

    metric: str
    start_us: int
    rate_hz: float
    values: NDArray[np.int32]
    scale: float
    written_us: int
    received_us: int
    channel: str = MAIN_CHANNEL
    quality: float = 1.0
    context: int = 0
    zone_offset_min: int = NO_ZONE

    @property
    def samples(self) -> int:
        """How many samples each axis has."""
        return int(self.values.shape[1])

    @property
    def end_us(self) -> int:
        """When the sample after the last is due."""
        return self.start_us + round(self.samples / self.rate_hz * US_PER_S)

    def physical(self) -> NDArray[np.float64]:
        """Return the values in the metric's unit, shape (axes, n)."""
        return np.multiply(self.values, self.scale, dtype=np.float64)


def chunk_to_arrow(chunk: WaveformChunk) -> pa.RecordBatch:
    """Return the chunk as a record batch of one row. Raises KeyError for a metric that the catalogue lacks."""
    flat = pa.array(np.ascontiguousarray(chunk.values.T, np.int32).ravel())
    offsets = pa.array([0, len(flat)], pa.int32())
    columns = [
        pa.array([chunk.start_us], pa.int64()).view(_UTC_US),
        pa.array([chunk.rate_hz], pa.float64()),
        pa.array([chunk.metric], pa.string()),
        pa.array([chunk.channel], pa.string()),
        pa.array([BY_CODE[chunk.metric].unit], pa.string()),
        pa.array([chunk.values.shape[0]], pa.int8()),
        pa.array([chunk.scale], pa.float64()),
        pa.ListArray.from_arrays(offsets, flat, type=WAVEFORM_SCHEMA.field("values").type),
        pa.array([chunk.quality], pa.float32()),
        pa.array([chunk.context], pa.int16()),
        pa.array([chunk.zone_offset_min], pa.int16()),
        pa.array([chunk.written_us], pa.int64()).view(_UTC_US),
        pa.array([chunk.received_us], pa.int64()).view(_UTC_US),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=WAVEFORM_SCHEMA)


def chunk_from_arrow(batch: pa.RecordBatch) -> WaveformChunk:
    """Return the chunk of a validated record batch. Raises `SchemaMismatch` unless it is one row of the schema."""
    if not batch.schema.equals(WAVEFORM_SCHEMA):
        raise SchemaMismatch(f"expected the waveform columns {', '.join(WAVEFORM_SCHEMA.names)}, typed, not null")
    if batch.num_rows != 1 or any(column.null_count for column in batch.columns):
        raise SchemaMismatch("a waveform record holds one chunk, and no column of it is null")
    flat = batch.column("values").flatten()
    axes = _scalar(batch, "axes")
    if flat.null_count or axes < 1 or not len(flat) or len(flat) % axes:
        raise SchemaMismatch("values must hold whole samples of every axis")
    if _scalar(batch, "unit") != getattr(BY_CODE.get(_scalar(batch, "metric")), "unit", _scalar(batch, "unit")):
        raise SchemaMismatch("column unit must be the catalogue's unit of the metric")
    return WaveformChunk(
        metric=_scalar(batch, "metric"),
        start_us=_time(batch, "start"),
        rate_hz=_scalar(batch, "sample_rate_hz"),
        values=np.ascontiguousarray(flat.to_numpy().reshape(-1, axes).T),
        scale=_scalar(batch, "scale"),
        written_us=_time(batch, "written"),
        received_us=_time(batch, "received"),
        channel=_scalar(batch, "channel"),
        quality=_scalar(batch, "quality"),
        context=_scalar(batch, "context"),
        zone_offset_min=_scalar(batch, "zone_offset_min"),
    )


def _scalar(batch: pa.RecordBatch, name: str) -> Any:
    return batch.column(name)[0].as_py()


def _time(batch: pa.RecordBatch, name: str) -> int:
    return int(batch.column(name).view(pa.int64())[0].as_py())
