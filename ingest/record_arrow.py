"""Edge of trust: an Arrow IPC stream that nobody has looked at yet, read and found right or refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa

from vitals.batch import SCHEMA_MESSAGE, SampleColumns, SchemaMismatch, check_nulls, from_arrow, sample_columns
from vitals.errors import VigilError
from vitals.quality import Reason

MAX_SAMPLES: Final = 10_000
"""The most samples one record may hold: at 81 bytes each (with sample ids) it stays below `MAX_MESSAGE_BYTES`."""


class MalformedRecord(VigilError):
    """A Kafka record is none of ours: `reason` says which check it failed, the message what was expected."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


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
