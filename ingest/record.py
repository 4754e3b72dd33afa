"""The one wire form: a Kafka record is one batch of one device of one patient.

The value is an Arrow IPC stream of `vitals.batch.SCHEMA` with plain buffers (the producer compresses whole record
batches with zstd, which halves the bytes against compressing each record: FACTS, Kafka). The key is the patient id, so
that one patient's records keep their order. Headers say what a consumer must know before it opens the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.record_arrow import MAX_SAMPLES, MalformedRecord, join, read_batches, without_nulls
from ingest.record_layout import Layout, Layouts, columns_of
from ingest.topics import MAX_MESSAGE_BYTES
from vitals.batch import (
    SCHEMA_VERSION,
    BatchHeader,
    SampleColumns,
    check_schema,
    may_have_nulls,
    to_arrow,
)
from vitals.errors import VigilError
from vitals.ids import device_id, is_opaque, patient_id
from vitals.quality import Reason

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Record:
    """What goes to the broker: key, value and headers of one Kafka record."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def encode(header: BatchHeader, columns: SampleColumns) -> Record:
    """Return the Kafka record of one batch.

    Raises `MalformedRecord` for more than `MAX_SAMPLES` samples or none, KeyError for a metric outside the catalogue.
    """
    if not 0 < len(columns) <= MAX_SAMPLES:
        raise MalformedRecord(Reason.OVERSIZED, f"a record holds 1 to {MAX_SAMPLES} samples, not {len(columns)}")
    batch = to_arrow(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return Record(header.patient_id.encode(), sink.getvalue().to_pybytes(), _headers(header))


def split(columns: SampleColumns, size: int = MAX_SAMPLES) -> list[SampleColumns]:
    """Cut columns into pieces of at most `size` samples, in order; what is no larger is not copied."""
    if 0 < len(columns) <= size:
        return [columns]
    return [columns.take(np.arange(at, min(at + size, len(columns)))) for at in range(0, len(columns), size)]


def _headers(header: BatchHeader) -> tuple[tuple[str, bytes], ...]:
    fields = [
        ("vigil-schema", str(SCHEMA_VERSION)),
        ("vigil-device", header.device_id),
        ("vigil-source-app", header.source_app),
        ("vigil-adapter", header.adapter),
    ]
    if header.traceparent is not None:
        fields.append(("traceparent", header.traceparent))
    if header.request_id is not None:
        fields.append(("vigil-request-id", header.request_id))
    return tuple((name, text.encode()) for name, text in fields)


@dataclass(frozen=True, slots=True)
class Decoded:
    """Many records, decoded together.

    `headers` and `counts` (samples) have one entry a record; a record that is none of ours has the header None, no
    samples, and an entry in `failures` under its index. `columns` holds all samples, record after record.
    """

    headers: list[BatchHeader | None]
    counts: NDArray[np.int64]
    columns: SampleColumns
    failures: dict[int, MalformedRecord]


RawRecord = tuple[bytes | None, bytes | None, Headers | None]
"""Key, value and headers of a Kafka record as the consumer hands them over."""


def decode_many(records: Iterable[RawRecord]) -> Decoded:
    """Decode records; those that fail stand in `failures`, their neighbours go on.

    A record laid out like one before costs a few slices (`ingest.record_layout`). The others are joined in Arrow before
    they become numpy: at 100 samples a record this is four times as fast as converting each by itself.
    """
    opened = _Opened()
    headers: list[BatchHeader | None] = []
    for index, (key, value, given) in enumerate(records):
        try:
            headers.append(decode_header(key, given))
        except MalformedRecord as error:
            headers.append(None)
            opened.failures[index] = error
        else:
            opened.open(index, value)
    columns = opened.columns()
    for index in opened.failures:
        headers[index] = None
    return Decoded(headers, opened.counts(len(headers)), columns, opened.failures)


@dataclass(slots=True)
class _Opened:
    """Values as far as they are opened, by the index of their record: found by their layout, or read by Arrow."""

    laid_out: dict[int, tuple[Layout, bytes]] = field(default_factory=dict)
    read: dict[int, tuple[list[pa.RecordBatch], bytes]] = field(default_factory=dict)
    failures: dict[int, MalformedRecord] = field(default_factory=dict)

    def open(self, index: int, value: bytes | None) -> None:
        layout = _LAYOUTS.find(value) if value else None
        if layout is None:
            self._read(index, value)
        else:
            self.laid_out[index] = layout, value or b""

    def _read(self, index: int, value: bytes | None) -> None:
        try:
            self.read[index] = _open(value), value or b""
        except MalformedRecord as error:
            self.failures[index] = error

    def columns(self) -> SampleColumns:
        """Return all samples in the order of their records; what is wrong with a value is found by now."""
        quick = columns_of(list(self.laid_out.values())) if self.laid_out else None
        if quick is None:
            for index, (_, value) in self.laid_out.items():
                self._read(index, value)
            self.laid_out.clear()
        self._take_out_nulls()
        for batches, value in self.read.values():
            _LAYOUTS.learn(value, batches)
        if quick is not None and not self.read:
            return quick
        rest = join([batch for _, (batches, _) in sorted(self.read.items()) for batch in batches])
        if quick is None:
            return rest
        record = [*self.laid_out, *sorted(self.read)]
        order = np.argsort(np.repeat(record, self.counts(max(record) + 1)[record]), kind="stable")
        return SampleColumns.concat([quick, rest]).take(order)

    def counts(self, records: int) -> NDArray[np.int64]:
        """Return how many samples each record has."""
        counts = np.zeros(records, np.int64)
        for index, (layout, _) in self.laid_out.items():
            counts[index] = layout.rows
        for index, (batches, _) in self.read.items():
            counts[index] = sum(batch.num_rows for batch in batches)
        return counts

    def _take_out_nulls(self) -> None:
        """Turn records with a null where none may be into failures: looked for in all together, then one by one."""
        if not self.read or not may_have_nulls([batch for batches, _ in self.read.values() for batch in batches]):
            return
        for index, (batches, _) in list(self.read.items()):
            try:
                without_nulls(batches)
            except MalformedRecord as error:
                self.failures[index] = error
                del self.read[index]


_LAYOUTS: Final = Layouts()


def decode(key: bytes | None, value: bytes | None, headers: Headers | None) -> tuple[BatchHeader, SampleColumns]:
    """Return the batch of one Kafka record. Raises `MalformedRecord`."""
    return decode_header(key, headers), join(without_nulls(_open(value)))


def decode_header(key: bytes | None, headers: Headers | None) -> BatchHeader:
    """Return who and what a record is about, without opening its value. Raises `MalformedRecord`."""
    given: dict[str, bytes | None] = dict(headers or ())
    header = _header(
        key or b"",
        given.get("vigil-schema") or b"",
        given.get("vigil-device") or b"",
        given.get("vigil-source-app") or b"",
        given.get("vigil-adapter") or b"",
    )
    trace, request = given.get("traceparent"), given.get("vigil-request-id")
    if trace is None and request is None:
        return header
    try:
        return replace(header, traceparent=_told(trace), request_id=_told(request))
    except VigilError as error:
        raise MalformedRecord(Reason.HEADERS, str(error)) from error


@lru_cache(maxsize=8_192)
def _header(key: bytes, version: bytes, device: bytes, source_app: bytes, adapter: bytes) -> BatchHeader:
    if version != str(SCHEMA_VERSION).encode():
        raise MalformedRecord(Reason.SCHEMA_VERSION, f"header vigil-schema must be {SCHEMA_VERSION}")
    try:
        return BatchHeader(
            patient_id=patient_id(_text(key)),
            device_id=device_id(_text(device)),
            source_app=_text(source_app),
            adapter=_text(adapter),
        )
    except VigilError as error:
        raise MalformedRecord(Reason.HEADERS, str(error)) from error


def hint(key: bytes | None, headers: Headers | None) -> tuple[str | None, str | None, str | None]:
    """Return (patient, device, adapter) of a broken record as far as they are opaque ids: for the quarantine table."""
    given = dict(headers or ())
    words = (_text(key), _text(given.get("vigil-device")), _text(given.get("vigil-adapter")))
    patient, device, adapter = (word if is_opaque(word) else None for word in words)
    return patient, device, adapter


def _told(raw: bytes | None) -> str | None:
    return None if raw is None else _text(raw)


def _text(raw: bytes | None) -> str:
    return (raw or b"")[:256].decode("ascii", errors="replace")


def _open(value: bytes | None) -> list[pa.RecordBatch]:
    if not value or len(value) > MAX_MESSAGE_BYTES:
        raise MalformedRecord(
            Reason.OVERSIZED, f"a record's value has 1 to {MAX_MESSAGE_BYTES} bytes, not {len(value or b'')}"
        )
    batches = read_batches(value, check=check_schema)
    if not batches:
        raise MalformedRecord(Reason.OVERSIZED, "a record holds at least one sample")
    return batches
