"""Arrow columns of other types than ours, or only some of them, as sample columns. Pure.

`start`, `metric` and `value` are required, the others have the defaults of `vitals.batch.sample_columns`. Times are of
any unit in UTC, numbers of any width, words plain or from a dictionary. A null is a value that is not given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest.gateway.iso_time import MOST_OFFSET_MIN
from ingest.gateway.parsed import Fault
from vitals.batch import NO_ZONE, SCHEMA, SampleColumns, SchemaMismatch, sample_columns
from vitals.catalogue import number_of

Mask = NDArray[np.bool_]
Faults = list[tuple[Fault, str, Mask]]


@dataclass(frozen=True, slots=True)
class Found:
    """Samples, and which of them cannot be read: (fault, field, samples), of which the first counts."""

    columns: SampleColumns
    faults: Faults


_REQUIRED: Final = ("metric", "start", "value")
_UTC: Final = frozenset({"UTC", "Etc/UTC", "Z", "+00:00"})
_US_PER: Final = MappingProxyType({"s": 1_000_000, "ms": 1_000, "us": 1})
_LONGEST_MS: Final = 1 << 53
_INT16: Final = np.iinfo(np.int16)


def check_columns(schema: pa.Schema) -> None:
    """Raise `SchemaMismatch` unless the columns are some of ours, each once, with the required ones, of fit types."""
    names = list(schema.names)
    if not set(names) <= set(SCHEMA.names) or len(set(names)) != len(names):
        raise SchemaMismatch(f"the columns of a stream are some of {', '.join(SCHEMA.names)}")
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise SchemaMismatch(f"column {missing[0]} is missing")
    for field in schema:
        wanted, fits = _TYPES[field.name]
        if not fits(field.type):
            raise SchemaMismatch(f"column {field.name} must be {wanted}")


def _is_word(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain))


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.tz in _UTC)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


_TIME = ("a timestamp with the zone UTC", _is_time)
_WHOLE = ("an integer", pa.types.is_integer)
_TYPES: Final[MappingProxyType[str, tuple[str, Callable[[pa.DataType], bool]]]] = MappingProxyType(
    {
        "start": _TIME,
        "duration": ("a duration", pa.types.is_duration),
        "zone_offset_min": _WHOLE,
        "metric": ("a string or a dictionary of strings", _is_word),
        "value": ("a number", _is_number),
        "quality": ("a number", _is_number),
        "context": _WHOLE,
        "written": _TIME,
        "received": _TIME,
        "sample_id": ("binary(16)", lambda kind: kind.equals(pa.binary(16))),
        "deleted": ("a boolean", pa.types.is_boolean),
    }
)


def columns_of(batches: list[pa.RecordBatch], received_us: int) -> Found:
    """Return the samples of batches whose schema passed `check_columns`; `received` is not theirs to tell."""
    parts = [_one(batch, received_us) for batch in batches]
    faults: Faults = [
        (fault, field, np.concatenate([part.faults[at][2] for part in parts]))
        for at, (fault, field, _) in enumerate(parts[0].faults)
    ]
    return Found(SampleColumns.concat([part.columns for part in parts]), faults)


def _one(batch: pa.RecordBatch, received_us: int) -> Found:
    read = _Reader(batch)
    start_us, no_start, bad_start = read.times("start", 0)
    written_us, _, bad_written = read.times("written", received_us)
    metric, no_metric = _metrics(batch.column("metric"))
    value, no_value = read.numbers("value", 0.0)
    deleted = read.flags("deleted")
    zone, context = read.whole("zone_offset_min", NO_ZONE), read.whole("context", 0)
    columns = sample_columns(
        start_us,
        metric,
        value,
        received_us=received_us,
        written_us=written_us,
        duration_ms=read.durations_ms("duration"),
        zone_offset_min=zone.clip(_INT16.min, _INT16.max).astype(np.int16),
        quality=read.numbers("quality", 1.0)[0].clip(-1, 2).astype(np.float32),
        context=context.clip(_INT16.min, _INT16.max).astype(np.int16),
        sample_id=_ids(batch),
        deleted=deleted,
    )
    faults: Faults = [
        (Fault.MISSING_FIELD, "metric", no_metric),
        (Fault.MISSING_FIELD, "start", no_start),
        (Fault.MISSING_FIELD, "value", no_value & ~deleted),
        (Fault.BAD_TIME, "start", bad_start),
        *bad_zones(zone),
        (Fault.UNKNOWN_WORD, "context", (context < _INT16.min) | (context > _INT16.max)),
        (Fault.BAD_TIME, "written", bad_written),
    ]
    return Found(columns, faults)


def bad_zones(zone_offset_min: NDArray[np.int16] | NDArray[np.int64]) -> Faults:
    """Return the samples whose zone offset is beyond 18 hours."""
    beyond = (zone_offset_min < -MOST_OFFSET_MIN) | (zone_offset_min > MOST_OFFSET_MIN)
    return [(Fault.BAD_TIME, "zone_offset_min", beyond & (zone_offset_min != NO_ZONE))]


class _Reader:
    """The columns of one batch as numpy, nulls and missing columns filled."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self._names = frozenset(batch.schema.names)
        self._n = batch.num_rows

    def times(self, name: str, default_us: int) -> tuple[NDArray[np.int64], Mask, Mask]:
        """Return microseconds, which are null, and which do not fit into 64 bits."""
        if name not in self._names:
            return np.full(self._n, default_us), np.ones(self._n, np.bool_), np.zeros(self._n, np.bool_)
        ticks, null = self._ticks(name)
        unit = self._batch.column(name).type.unit
        us, beyond = (ticks // 1_000, np.zeros(self._n, np.bool_)) if unit == "ns" else _times(ticks, _US_PER[unit])
        us[null] = default_us
        return us, null, beyond & ~null

    def durations_ms(self, name: str) -> NDArray[np.int64] | int:
        if name not in self._names:
            return 0
        ticks, null = self._ticks(name)
        unit = self._batch.column(name).type.unit
        ms = ticks.clip(-_LONGEST_MS // 1_000, _LONGEST_MS // 1_000) * 1_000 if unit == "s" else ticks // _PER_MS[unit]
        ms[null] = 0
        return ms

    def numbers(self, name: str, default: float) -> tuple[NDArray[np.float64], Mask]:
        if name not in self._names:
            return np.full(self._n, default), np.ones(self._n, np.bool_)
        column = self._batch.column(name)
        filled = column.cast(pa.float64(), safe=False).fill_null(default)
        return np.array(filled.to_numpy()), _nulls(column)

    def whole(self, name: str, default: int) -> NDArray[np.int64]:
        if name not in self._names:
            return np.full(self._n, default)
        column = self._batch.column(name)
        if column.type.equals(pa.uint64()):
            column = pc.min_element_wise(column, pa.scalar(1 << 62, pa.uint64()), skip_nulls=False)
        return np.array(column.cast(pa.int64()).fill_null(default).to_numpy())

    def flags(self, name: str) -> Mask:
        if name not in self._names:
            return np.zeros(self._n, np.bool_)
        return np.array(self._batch.column(name).fill_null(False).to_numpy(zero_copy_only=False))

    def _ticks(self, name: str) -> tuple[NDArray[np.int64], Mask]:
        column = self._batch.column(name)
        return np.array(column.view(pa.int64()).fill_null(0).to_numpy()), _nulls(column)


_PER_MS: Final = MappingProxyType({"ms": 1, "us": 1_000, "ns": 1_000_000})


def _times(ticks: NDArray[np.int64], us_per_tick: int) -> tuple[NDArray[np.int64], Mask]:
    most = (1 << 62) // us_per_tick
    beyond = (ticks < -most) | (ticks > most) if us_per_tick > 1 else np.zeros(len(ticks), np.bool_)
    return np.where(beyond, 0, ticks) * us_per_tick, beyond


def _nulls(column: pa.Array) -> Mask:
    return np.array(column.is_null().to_numpy(zero_copy_only=False))


def _metrics(column: pa.Array) -> tuple[NDArray[np.int16], Mask]:
    """Return metric numbers and which are null. A dictionary is never spelled out: a word may be megabytes long."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    words = column.dictionary.to_pylist()
    numbers = np.array([-1 if word is None else number_of(word) for word in words] + [-1], np.int16)
    indices = column.indices.cast(pa.int64()).fill_null(len(words)).to_numpy()
    metric = numbers[indices]
    return metric.clip(0), metric < 0


def _ids(batch: pa.RecordBatch) -> NDArray[np.uint8] | None:
    if "sample_id" not in batch.schema.names:
        return None
    filled = batch.column("sample_id").fill_null(bytes(16))
    raw = np.frombuffer(filled.buffers()[1], np.uint8)[16 * filled.offset :]
    return raw[: 16 * len(filled)].reshape(-1, 16)
