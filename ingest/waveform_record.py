"""The wire form of waveforms: a Kafka record on `vigil.waveforms` is one chunk of one signal of one patient's device.

Key and headers are those of sample records, but the schema's version stands in `vigil-waveform-schema`, so that neither
reader takes the other's record for its own. The value is an Arrow IPC stream of `vitals.waveform.WAVEFORM_SCHEMA` with
plain buffers; the producer compresses.
"""

from __future__ import annotations

import struct
from typing import Final

import pyarrow as pa

from ingest.record import Headers, Record, decode_header
from ingest.record_arrow import FRAMES, MalformedRecord, refuse_compression
from ingest.topics import MAX_MESSAGE_BYTES
from vitals.batch import SCHEMA_VERSION, BatchHeader, SchemaMismatch
from vitals.quality import Reason
from vitals.waveform import WAVEFORM_SCHEMA_VERSION, WaveformChunk, chunk_from_arrow, chunk_to_arrow

MAX_VALUES: Final = 131_072
"""The most values (samples times axes) one record may hold: half of `MAX_MESSAGE_BYTES`."""
_VERSION_HEADER: Final = "vigil-waveform-schema"


def encode_chunk(header: BatchHeader, chunk: WaveformChunk) -> Record:
    """Return the Kafka record of one chunk.

    Raises `MalformedRecord` for more than `MAX_VALUES` values or none, KeyError for a metric outside the catalogue.
    """
    _check_size(chunk.values.size)
    batch = chunk_to_arrow(chunk)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    fields = [
        (_VERSION_HEADER, str(WAVEFORM_SCHEMA_VERSION)),
        ("vigil-device", header.device_id),
        ("vigil-source-app", header.source_app),
        ("vigil-adapter", header.adapter),
    ]
    if header.traceparent is not None:
        fields.append(("traceparent", header.traceparent))
    if header.request_id is not None:
        fields.append(("vigil-request-id", header.request_id))
    headers = tuple((name, text.encode()) for name, text in fields)
    return Record(header.patient_id.encode(), sink.getvalue().to_pybytes(), headers)


def decode_chunk(key: bytes | None, value: bytes | None, headers: Headers | None) -> tuple[BatchHeader, WaveformChunk]:
    """Return whose chunk a Kafka record holds, and the chunk. Raises `MalformedRecord`."""
    given = dict(headers or ())
    if given.pop(_VERSION_HEADER, None) != str(WAVEFORM_SCHEMA_VERSION).encode():
        raise MalformedRecord(Reason.SCHEMA_VERSION, f"header {_VERSION_HEADER} must be {WAVEFORM_SCHEMA_VERSION}")
    header = decode_header(key, [*given.items(), ("vigil-schema", str(SCHEMA_VERSION).encode())])
    return header, open_chunk(value)


def open_chunk(value: bytes | None) -> WaveformChunk:
    """Return the chunk that a record's value holds. Raises `MalformedRecord`."""
    if not value or len(value) > MAX_MESSAGE_BYTES:
        raise MalformedRecord(
            Reason.OVERSIZED, f"a record's value has 1 to {MAX_MESSAGE_BYTES} bytes, not {len(value or b'')}"
        )
    try:
        if any(magic in value for magic in FRAMES):
            refuse_compression(value)
        with pa.ipc.open_stream(value) as reader:
            chunk = _read(list(reader))
    except (pa.ArrowException, OSError, UnicodeDecodeError, struct.error) as error:
        raise MalformedRecord(Reason.UNDECODABLE, "the value is no readable Arrow IPC stream") from error
    except SchemaMismatch as error:
        raise MalformedRecord(Reason.SCHEMA_MISMATCH, str(error)) from error
    _check_size(chunk.values.size)
    return chunk


def _read(batches: list[pa.RecordBatch]) -> WaveformChunk:
    if len(batches) != 1:
        raise SchemaMismatch("a waveform record holds one batch")
    batches[0].validate(full=True)  # offsets are untrusted bytes
    return chunk_from_arrow(batches[0])


def _check_size(values: int) -> None:
    if not 0 < values <= MAX_VALUES:
        raise MalformedRecord(Reason.OVERSIZED, f"a record holds 1 to {MAX_VALUES} values, not {values}")
