"""The sample batch: the one definition of a sample's columns, on the wire (Arrow) and on the hot path (numpy).

A batch comes from one device of one patient through one source application; those three stand in its header, not in
its columns. Three clocks travel with every sample: `start` (the device measured), `written` (the phone or bridge wrote
it down) and `received` (Vigil took it over).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitals.catalogue import BY_NUMBER, UNKNOWN_METRIC, number_of
from vitals.errors import VigilError
from vitals.ids import DeviceId, PatientId, is_opaque

SCHEMA_VERSION: Final = 1
NO_ZONE: Final = -32_768
"""The zone offset, in minutes, of a sample whose source does not tell where its wearer was."""

_UTC_US: Final = pa.timestamp("us", "UTC")
SCHEMA: Final = pa.schema(
    [
        pa.field("start", _UTC_US, nullable=False),
        pa.field("duration", pa.duration("ms"), nullable=False),
        pa.field("zone_offset_min", pa.int16(), nullable=False),  # NO_ZONE: unknown
        pa.field("metric", pa.dictionary(pa.int16(), pa.string()), nullable=False),
        pa.field("value", pa.float64(), nullable=False),  # in the catalogue's unit
        pa.field("quality", pa.float32(), nullable=False),  # 0 useless to 1 good
        pa.field("context", pa.int16(), nullable=False),  # vitals.quality.Context
        pa.field("written", _UTC_US, nullable=False),
        pa.field("received", _UTC_US, nullable=False),
        pa.field("sample_id", pa.binary(16), nullable=True),  # the bridge's own id, for corrections and deletions
        pa.field("deleted", pa.bool_(), nullable=False),  # the bridge says that this sample is no more
    ]
)

SCHEMA_MESSAGE: Final = SCHEMA.serialize().to_pybytes()
"""How an IPC stream of the schema begins: comparing these bytes costs a hundredth of comparing schemas."""


class SchemaMismatch(VigilError):
    """A batch's columns are not those of the sample schema; the message names the first that differs."""


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """Whose samples these are and how they came. `source_app` and `adapter` are opaque words, never display names."""

    patient_id: PatientId
    device_id: DeviceId
    source_app: str
    adapter: str
    traceparent: str | None = None
    request_id: str | None = None

    def __post_init__(self) -> None:
        """Refuse anything that is not an opaque id. Raises `VigilError`, naming the field, not its content."""
        for name in ("patient_id", "device_id", "source_app", "adapter"):
            if not is_opaque(getattr(self, name)):
                raise VigilError(f"{name} of a batch is not an opaque id")
        if self.request_id is not None and not is_opaque(self.request_id):
            raise VigilError("request_id of a batch is not an opaque id")


@dataclass(frozen=True, slots=True)
class SampleColumns:
    """Samples as numpy columns, all of one length: what the hot path works on.

    Times are int64 microseconds UTC, `duration_ms` int64 milliseconds, `metric` int16 catalogue numbers
    (`UNKNOWN_METRIC` where the code is not in the catalogue), `sample_id` an object-free (n, 16) uint8 array with
    zeros where the bridge gave no id.
    """

    start_us: NDArray[np.int64]
    duration_ms: NDArray[np.int64]
    zone_offset_min: NDArray[np.int16]
    metric: NDArray[np.int16]
    value: NDArray[np.float64]
    quality: NDArray[np.float32]
    context: NDArray[np.int16]
    written_us: NDArray[np.int64]
    received_us: NDArray[np.int64]
    sample_id: NDArray[np.uint8]
    deleted: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.start_us)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Return the samples that `index` (positions or a mask) selects, in its order."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @classmethod
    def concat(cls, parts: list[Self]) -> Self:
        """Join columns one after the other. `parts` must not be empty."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})


def sample_columns(
    start_us: NDArray[np.int64],
    metric: NDArray[np.int16],
    value: NDArray[np.float64],
    *,
    received_us: NDArray[np.int64] | int,
    written_us: NDArray[np.int64] | int | None = None,
    duration_ms: NDArray[np.int64] | int = 0,
    zone_offset_min: NDArray[np.int16] | int = NO_ZONE,
    quality: NDArray[np.float32] | float = 1.0,
    context: NDArray[np.int16] | int = 0,
    sample_id: NDArray[np.uint8] | None = None,
    deleted: NDArray[np.bool_] | bool = False,
) -> SampleColumns:
    """Build columns, filling what a source does not tell: written as received, quality 1, zone unknown."""
    n = len(start_us)

    def column(given: object, dtype: type[np.generic]) -> NDArray[np.generic]:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(given, dtype), (n,)))

    return SampleColumns(
        start_us=column(start_us, np.int64),  # type: ignore[arg-type]
        duration_ms=column(duration_ms, np.int64),  # type: ignore[arg-type]
        zone_offset_min=column(zone_offset_min, np.int16),  # type: ignore[arg-type]
        metric=column(metric, np.int16),  # type: ignore[arg-type]
        value=column(value, np.float64),  # type: ignore[arg-type]
        quality=column(quality, np.float32),  # type: ignore[arg-type]
        context=column(context, np.int16),  # type: ignore[arg-type]
        written_us=column(received_us if written_us is None else written_us, np.int64),  # type: ignore[arg-type]
        received_us=column(received_us, np.int64),  # type: ignore[arg-type]
        sample_id=np.zeros((n, 16), np.uint8) if sample_id is None else sample_id,
        deleted=column(deleted, np.bool_),  # type: ignore[arg-type]
    )


def to_arrow(columns: SampleColumns) -> pa.RecordBatch:
    """Return the columns as one record batch of `SCHEMA`. Raises KeyError for a metric that the catalogue lacks."""
    numbers, indices = np.unique(columns.metric, return_inverse=True)
    codes = pa.array([BY_NUMBER[int(n)].code for n in numbers], pa.string())
    metric = pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int16)), codes)
    arrays = [
        pa.array(columns.start_us).view(_UTC_US),
        pa.array(columns.duration_ms).view(pa.duration("ms")),
        pa.array(columns.zone_offset_min),
        metric,
        pa.array(columns.value, from_pandas=False),
        pa.array(columns.quality, from_pandas=False),
        pa.array(columns.context),
        pa.array(columns.written_us).view(_UTC_US),
        pa.array(columns.received_us).view(_UTC_US),
        _ids_to_arrow(columns.sample_id),
        pa.array(columns.deleted),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _ids_to_arrow(sample_id: NDArray[np.uint8]) -> pa.Array:
    present = sample_id.any(axis=1)
    if not present.any():
        return pa.nulls(len(sample_id), pa.binary(16))
    raw = pa.py_buffer(np.ascontiguousarray(sample_id))
    validity = pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(sample_id), [validity, raw])


def check_batch(batch: pa.RecordBatch) -> None:
    """Raise `SchemaMismatch` unless `batch` has the sample columns, in order, typed, without forbidden nulls."""
    check_schema(batch.schema)
    check_nulls(batch)


def check_schema(schema: pa.Schema) -> None:
    """Raise `SchemaMismatch` unless it is `SCHEMA`."""
    if not schema.equals(SCHEMA):
        raise SchemaMismatch(_difference(schema))


def check_nulls(batch: pa.RecordBatch) -> None:
    """Raise `SchemaMismatch` for a null where `SCHEMA` has none; `batch` is of that schema."""
    for index in _REQUIRED:
        if batch.column(index).null_count:
            raise SchemaMismatch(f"column {SCHEMA.field(index).name} must not be null")
    if batch.column(_METRIC).dictionary.null_count:
        raise SchemaMismatch("column metric must not be null, nor its dictionary")


def may_have_nulls(batches: list[pa.RecordBatch]) -> bool:
    """Tell whether any of these batches of `SCHEMA` may fail `check_nulls`; all at once costs a tenth."""
    try:
        table = pa.Table.from_batches(batches, SCHEMA).unify_dictionaries()
    except pa.ArrowInvalid:  # more words for metrics than one dictionary can number
        return True
    words = table.column(_METRIC)
    return any(table.column(index).null_count for index in _REQUIRED) or bool(
        words.num_chunks and words.chunk(0).dictionary.null_count
    )


_METRIC: Final = SCHEMA.get_field_index("metric")
_REQUIRED: Final = tuple(index for index, column in enumerate(SCHEMA) if not column.nullable)


def _difference(schema: pa.Schema) -> str:
    if schema.names != SCHEMA.names:
        return f"expected the columns {', '.join(SCHEMA.names)}"
    wrong = next(expected for expected, given in zip(SCHEMA, schema, strict=True) if not given.equals(expected))
    return f"column {wrong.name} must be {wrong.type}{'' if wrong.nullable else ', not null'}"


def from_arrow(batch: pa.RecordBatch) -> SampleColumns:
    """Return a record batch of `SCHEMA` (see `check_batch`) as numpy columns; fixed-width columns are not copied."""
    metric = batch.column(_METRIC)
    return SampleColumns(
        start_us=batch.column(0).view(pa.int64()).to_numpy(),
        duration_ms=batch.column(1).view(pa.int64()).to_numpy(),
        zone_offset_min=batch.column(2).to_numpy(),
        metric=metric_numbers(metric.dictionary)[metric.indices.to_numpy()],
        value=batch.column(4).to_numpy(),
        quality=batch.column(5).to_numpy(),
        context=batch.column(6).to_numpy(),
        written_us=batch.column(7).view(pa.int64()).to_numpy(),
        received_us=batch.column(8).view(pa.int64()).to_numpy(),
        sample_id=_ids_from_arrow(batch.column(9)),
        deleted=batch.column(10).to_numpy(zero_copy_only=False),
    )


def metric_numbers(codes: pa.Array) -> NDArray[np.int16]:
    """Return the catalogue's number of each code of a dictionary, never none at all."""
    return np.array([number_of(code or "") for code in codes.to_pylist()] or [UNKNOWN_METRIC], np.int16)


def _ids_from_arrow(ids: pa.Array) -> NDArray[np.uint8]:
    if ids.null_count == len(ids):
        return np.zeros((len(ids), 16), np.uint8)
    raw = np.frombuffer(ids.buffers()[1], np.uint8)[16 * ids.offset :][: 16 * len(ids)].reshape(-1, 16)
    if not ids.null_count:
        return raw
    told = ids.is_valid().to_numpy(zero_copy_only=False)
    return np.where(told[:, None], raw, np.uint8(0))  # the bytes of a null are anything


def metric_codes(columns: SampleColumns) -> list[str]:
    """Return each sample's metric code, or `unknown`: for errors and tables, not for the hot path."""
    return ["unknown" if n == UNKNOWN_METRIC else BY_NUMBER[int(n)].code for n in columns.metric]
