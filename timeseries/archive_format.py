"""The archive's form of samples: numpy rows -> Arrow columns with words for keys, and the hash of each patient's rows.

Pure. A file is sorted by patient id, metric, origin and time, so one patient's rows are one stretch of it, and one
series (metric and origin of a patient) one stretch of that. A *run* is such a stretch within a slice of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from timeseries.rows import ROW, Rows
from vitals.batch import NO_ZONE

Index = NDArray[np.intp]

FORMAT_VERSION: Final = 1
WORDS: Final = ("patient_id", "metric", "unit", "device_id", "source_app")
KEYS: Final = ("patient_key", "metric_key", "origin_key")
_TIMES: Final = frozenset({"time", "written_at", "received_at"})
_WORD: Final = pa.dictionary(pa.int32(), pa.string())
_UTC_US: Final = pa.timestamp("us", "UTC")


def _field(name: str, kind: pa.DataType, doc: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


SCHEMA: Final = pa.schema(
    [
        _field("patient_id", _WORD, "opaque id of the person measured"),
        _field("metric", _WORD, "code of the metric catalogue"),
        _field("time", _UTC_US, "when the device measured; the beginning, where duration_ms is not 0"),
        _field("duration_ms", pa.int32(), "milliseconds that the sample covers"),
        _field("value", pa.float64(), "in the unit of its row; without meaning in a tombstone"),
        _field("unit", _WORD, "UCUM unit"),
        _field("quality", pa.float32(), "0 useless to 1 good; trustworthy from 0.5"),
        _field("device_id", _WORD, "opaque id of the sensor or phone"),
        _field("source_app", _WORD, "opaque id of the application that spoke for it"),
        _field("zone_offset_min", pa.int16(), "wearer's offset from UTC in minutes; null: unknown", nullable=True),
        _field("context", pa.int16(), "bits: 1 sedentary, 2 active, 4 user entered, 8 asleep, 16 workout, 32 off"),
        _field("flags", pa.int16(), "doubts of validation as bits; 128: tombstone, the source deleted this sample"),
        _field("written_at", _UTC_US, "when the phone or bridge wrote it; of one identity the greatest stands"),
        _field("received_at", _UTC_US, "when Vigil received it"),
        _field("patient_key", pa.int32(), "key in the database that it was archived from"),
        _field("metric_key", pa.int16(), "number in the metric catalogue"),
        _field("origin_key", pa.int32(), "key of (device_id, source_app) in that database"),
    ],
    metadata={
        "vigil.format": str(FORMAT_VERSION),
        "vigil.what": "samples of one retention class and UTC day, as they stood when they were archived",
        "vigil.identity": "patient_id, metric, device_id, source_app, time, duration_ms",
        "vigil.versions": "a later part may hold another version of an identity: the greatest written_at stands, "
        "then a tombstone, then the greatest (value, quality, context, zone_offset_min)",
        "vigil.sorted": "patient_id, metric_key, origin_key, time, duration_ms",
    },
)


class UnknownKey(Exception):
    """A row has a key for which there is no word."""


@dataclass(slots=True)
class Words:
    """What the keys stand for: patient ids, (code, unit) of metrics, (device id, source app) of origins."""

    patients: dict[int, str] = field(default_factory=dict)
    metrics: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    origins: dict[int, tuple[str, str]] = field(default_factory=dict)

    def of(self, row: np.void) -> tuple[str, ...]:
        """Return the five words of a row. Raises `UnknownKey`."""
        patient, metric, origin = (int(row[name]) for name in KEYS)
        try:
            return (self.patients[patient], *self.metrics[metric], *self.origins[origin])
        except KeyError as missing:
            raise UnknownKey(missing.args[0]) from None


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows in the order of a file, where each run begins, and the five words of each run."""

    rows: Rows
    starts: Index
    words: list[tuple[str, ...]]

    def runs(self) -> Iterator[tuple[tuple[str, ...], Rows]]:
        """Yield (words, rows) of each run."""
        ends = [*self.starts[1:], len(self.rows)][: len(self.starts)]
        for words, start, end in zip(self.words, self.starts, ends, strict=True):
            yield words, self.rows[start:end]

    def of_patients(self, patients: frozenset[str]) -> Slice:
        """Return what of this is about these patients."""
        kept = np.array([words[0] in patients for words in self.words], np.bool_)
        lengths = np.diff(self.starts, append=len(self.rows))
        starts = np.concatenate([[0], np.cumsum(lengths[kept])[:-1]]).astype(np.intp)[: kept.sum()]
        words = [one for one, keep in zip(self.words, kept, strict=True) if keep]
        return Slice(self.rows[np.repeat(kept, lengths)], starts, words)


def _run_starts(columns: list[NDArray[Any]]) -> Index:
    changes = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    starts: Index = np.flatnonzero(np.concatenate([np.ones(min(len(columns[0]), 1), np.bool_), changes]))
    return starts


def slice_of(rows: Rows, words: Words) -> Slice:
    """Return rows that are in order as a slice. Raises `UnknownKey` for a key without a word."""
    starts = _run_starts([rows[name] for name in KEYS])
    return Slice(rows, starts, [words.of(rows[start]) for start in starts])


def to_arrow(part: Slice) -> pa.Table:
    """Return a slice as a table of `SCHEMA`."""
    lengths = np.diff(part.starts, append=len(part.rows))
    columns: dict[str, pa.Array] = {}
    for at, name in enumerate(WORDS):
        words = [one[at] for one in part.words]
        known = {word: code for code, word in enumerate(dict.fromkeys(words))}
        codes = np.repeat(np.array([known[word] for word in words], np.int32), lengths)
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(known), pa.string()))
    for name in ROW.names or ():
        values = np.ascontiguousarray(part.rows[name])
        columns[name] = pa.array(values).view(_UTC_US) if name in _TIMES else pa.array(values)
    zone = np.ascontiguousarray(part.rows["zone_offset_min"])
    columns["zone_offset_min"] = pa.array(zone, mask=zone == NO_ZONE)
    return pa.Table.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def from_arrow(table: pa.Table) -> Slice:
    """Return a table of `SCHEMA` as a slice. Raises ValueError for other columns, or a null that cannot be."""
    if table.schema.names != SCHEMA.names:
        raise ValueError("the columns are not those of an archived file")
    rows = np.empty(table.num_rows, ROW)
    for name in ROW.names or ():
        rows[name] = _numbers(table.column(name), name)
    dictionaries = [_dictionary(table.column(name)) for name in WORDS]
    codes = [words.indices.to_numpy() for words in dictionaries]
    known = [words.dictionary.to_pylist() for words in dictionaries]
    starts = _run_starts([*(rows[name] for name in KEYS), *codes])
    words = [tuple(known[at][codes[at][start]] for at in range(len(WORDS))) for start in starts]
    return Slice(rows, starts, words)


def _numbers(column: pa.ChunkedArray, name: str) -> NDArray[Any]:
    array = column.combine_chunks()
    if name == "zone_offset_min":
        array = array.fill_null(NO_ZONE)
    if array.null_count or not array.type.equals(SCHEMA.field(name).type):
        raise ValueError(f"column {name} of an archived file has another type, or a null")
    values: NDArray[Any] = (array.view(pa.int64()) if name in _TIMES else array).to_numpy()
    return values


def _dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    array = array if isinstance(array, pa.DictionaryArray) else array.chunk(0)
    if array.null_count or array.dictionary.null_count:
        raise ValueError("a word of an archived file is null")
    return array
