"""The one wire form: a Kafka record is one batch of one device of one patient.

The value is an Arrow IPC stream of `vitals.batch.SCHEMA` with plain buffers (the producer compresses whole record
batches with zstd, which halves the bytes against compressing each record: FACTS, Kafka). The key is the patient id, so
that one patient's records keep their order. Headers say what a consumer must know before it opens the value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.topics import MAX_MESSAGE_BYTES
from vitals.batch import (
    SCHEMA_MESSAGE,
    SCHEMA_VERSION,
    BatchHeader,
    SampleColumns,
    SchemaMismatch,
    check_nulls,
    check_schema,
    from_arrow,
    may_have_nulls,
    sample_columns,
    to_arrow,
)
from vitals.errors import VigilError
from vitals.ids import device_id, is_opaque, patient_id
from vitals.quality import Reason

MAX_SAMPLES: Final = 10_000
"""The most samples one record may hold: at 81 bytes each (with sample ids) it stays below `MAX_MESSAGE_BYTES`."""

Headers = Sequence[tuple[str, bytes | None]]


class MalformedRecord(VigilError):
    """A Kafka record is none of ours: `reason` says which check it failed, the message what was expected."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


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

    Columns are joined in Arrow before they become numpy: at 100 samples a record this is four times as fast as
    converting each record by itself.
    """
    headers: list[BatchHeader | None] = []
    opened: list[list[pa.RecordBatch]] = []
    failures: dict[int, MalformedRecord] = {}
    for index, (key, value, given) in enumerate(records):
        try:
            header = decode_header(key, given)
            batches = _open(value)
        except MalformedRecord as error:
            failures[index] = error
            header, batches = None, []
        headers.append(header)
        opened.append(batches)
    _take_out_nulls(headers, opened, failures)
    counts = np.array([sum(batch.num_rows for batch in batches) for batches in opened], np.int64)
    return Decoded(headers, counts, join([batch for batches in opened for batch in batches]), failures)


def _take_out_nulls(
    headers: list[BatchHeader | None], opened: list[list[pa.RecordBatch]], failures: dict[int, MalformedRecord]
) -> None:
    """Turn records with a null where none may be into failures: looked for in all together, then one by one."""
    if not may_have_nulls([batch for batches in opened for batch in batches]):
        return
    for index, batches in enumerate(opened):
        try:
            without_nulls(batches)
        except MalformedRecord as error:
            failures[index] = error
            headers[index], opened[index] = None, []


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


def read_batches(
    value: bytes, *, check: Callable[[pa.Schema], None], most_samples: int = MAX_SAMPLES
) -> list[pa.RecordBatch]:
    """Return the batches of an IPC stream whose bytes nobody has looked at yet, each validated, none empty.

    `check` raises `SchemaMismatch` for a schema that is not wanted; it is not asked about `SCHEMA`. Nulls are left to
    `without_nulls`. Raises `MalformedRecord`, also for compressed buffers and more than `most_samples`.
    """
    try:
        if len(value) > _LOOK_BYTES or any(magic in value for magic in FRAMES):
            refuse_compression(value)
        with pa.ipc.open_stream(value) as reader:
            if not value.startswith(SCHEMA_MESSAGE):
                check(reader.schema)
            return _read(reader, most_samples)
    except (pa.ArrowException, OSError, UnicodeDecodeError, struct.error) as error:
        raise MalformedRecord(Reason.UNDECODABLE, "the value is no readable Arrow IPC stream") from error
    except SchemaMismatch as error:
        raise MalformedRecord(Reason.SCHEMA_MISMATCH, str(error)) from error


MAX_BATCHES: Final = 1_000  # a batch of no samples costs its reader more than its sender
_LOOK_BYTES: Final = 1 << 13  # in more than these the heads of messages are read sooner than frames are looked for
FRAMES: Final = (b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")  # how zstd and LZ4 frames begin


def refuse_compression(value: bytes) -> None:
    """Raise `SchemaMismatch` if a batch has compressed buffers: 60 kB can hold 2 GB, allocated before it is counted.

    pyarrow cannot tell, so the Flatbuffers of each message are read by hand (Message.fbs: table Message, field 2 is the
    header; table DictionaryBatch, field 1 is its batch; table RecordBatch, field 3 is the compression).
    """
    for message in pa.ipc.MessageReader.open_stream(value):
        if message.type == "schema":
            continue
        metadata = message.metadata.to_pybytes()
        (root,) = struct.unpack_from("<I", metadata, 0)
        batch = _table(metadata, root, 2)
        if message.type == "dictionary":
            batch = _table(metadata, batch, 1)
        if _field(metadata, batch, 3):
            raise SchemaMismatch("the buffers of a batch must be plain: the producer compresses")


def _table(metadata: bytes, table: int, number: int) -> int:
    """Return where the table stands that a field points to."""
    at = _field(metadata, table, number)
    return int(at + struct.unpack_from("<I", metadata, at)[0])


def _field(metadata: bytes, table: int, number: int) -> int:
    """Return where a field of a Flatbuffers table stands, 0 where the table does not have it."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    (size,) = struct.unpack_from("<H", metadata, vtable)
    slot = 4 + 2 * number
    offset = struct.unpack_from("<H", metadata, vtable + slot)[0] if slot < size else 0
    return table + int(offset) if offset else 0


def _read(reader: pa.RecordBatchStreamReader, most_samples: int) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = []
    samples = 0
    for count, batch in enumerate(reader):
        samples += batch.num_rows
        if samples > most_samples or count >= MAX_BATCHES:
            raise MalformedRecord(
                Reason.OVERSIZED, f"a record holds at most {most_samples} samples in {MAX_BATCHES} batches"
            )
        if not batch.num_rows:
            continue
        batch.validate(full=True)  # offsets and dictionary indices are untrusted bytes
        batches.append(batch)
    return batches


def without_nulls(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Return batches of `SCHEMA` as they are. Raises `MalformedRecord` for a null where there may be none."""
    try:
        for batch in batches:
            check_nulls(batch)
    except SchemaMismatch as error:
        raise MalformedRecord(Reason.SCHEMA_MISMATCH, str(error)) from error
    return batches


def join(batches: list[pa.RecordBatch]) -> SampleColumns:
    """Return the samples of batches of `SCHEMA` without nulls, batch after batch; one batch is not copied."""
    if not batches:
        none = np.empty(0, np.int64)
        return sample_columns(none, none.astype(np.int16), none.astype(np.float64), received_us=none)
    try:
        table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    except pa.ArrowInvalid:  # more words for metrics in these records together than one dictionary can number
        return SampleColumns.concat([from_arrow(batch) for batch in batches])
    return from_arrow(table.to_batches()[0])
