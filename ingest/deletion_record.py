"""The wire form of deletions: a Kafka record on `vigil.deletions` names samples of one patient that are no more.

HealthKit tells of a deleted object nothing but its UUID; which sample that was, the database knows (`sample_ids`). Key
and headers are those of sample records, but the version stands in `vigil-deletion-schema`, so that no reader takes one
for the other. The value is two big-endian 64-bit numbers (when the sender told of it, when Vigil received it, both
microseconds UTC), then 16 bytes for each sample id.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.record import Headers, Record, decode_header
from ingest.record_arrow import MalformedRecord
from vitals.batch import SCHEMA_VERSION, BatchHeader
from vitals.quality import Reason
from vitals.validity import EARLIEST_US, LATEST_US

DELETION_SCHEMA_VERSION: Final = 1
MAX_IDS: Final = 5_000
"""The most sample ids one record may hold: 80 kB."""
ID_BYTES: Final = 16
_VERSION_HEADER: Final = "vigil-deletion-schema"
_TIMES: Final = struct.Struct(">qq")


@dataclass(frozen=True, slots=True)
class Deletions:
    """Who tells that which samples are no more. `sample_ids`: (n, 16) uint8, each once, none of zeros.

    `told_us` (by the sender's clock) is what the deletion's version counts as `written`; microseconds UTC.
    """

    header: BatchHeader
    sample_ids: NDArray[np.uint8]
    told_us: int
    received_us: int


def encode_deletions(header: BatchHeader, sample_ids: NDArray[np.uint8], *, told_us: int, received_us: int) -> Record:
    """Return the Kafka record that deletes `sample_ids`, (n, 16) uint8; an id of zeros names no sample and is left out.

    Raises `MalformedRecord` for more than `MAX_IDS` ids or none, or a time outside of 2000 to 2100.
    """
    ids = np.ascontiguousarray(sample_ids, np.uint8).reshape(-1, ID_BYTES)
    _check_count(len(ids))
    _check_times(told_us, received_us)
    fields = [
        (_VERSION_HEADER, str(DELETION_SCHEMA_VERSION)),
        ("vigil-device", header.device_id),
        ("vigil-source-app", header.source_app),
        ("vigil-adapter", header.adapter),
    ]
    if header.traceparent is not None:
        fields.append(("traceparent", header.traceparent))
    if header.request_id is not None:
        fields.append(("vigil-request-id", header.request_id))
    headers = tuple((name, text.encode()) for name, text in fields)
    return Record(header.patient_id.encode(), _TIMES.pack(told_us, received_us) + ids.tobytes(), headers)


def decode_deletions(key: bytes | None, value: bytes | None, headers: Headers | None) -> Deletions:
    """Return what a Kafka record deletes. Raises `MalformedRecord`."""
    given = dict(headers or ())
    if given.pop(_VERSION_HEADER, None) != str(DELETION_SCHEMA_VERSION).encode():
        raise MalformedRecord(Reason.SCHEMA_VERSION, f"header {_VERSION_HEADER} must be {DELETION_SCHEMA_VERSION}")
    header = decode_header(key, [*given.items(), ("vigil-schema", str(SCHEMA_VERSION).encode())])
    body = value or b""
    count, rest = divmod(len(body) - _TIMES.size, ID_BYTES)
    _check_count(count)
    if rest:
        raise MalformedRecord(Reason.UNDECODABLE, f"a deletion's value is two times and ids of {ID_BYTES} bytes")
    told_us, received_us = _TIMES.unpack_from(body)
    _check_times(told_us, received_us)
    return Deletions(header, _distinct(body[_TIMES.size :]), told_us, received_us)


def _distinct(raw: bytes) -> NDArray[np.uint8]:
    """Return each id once, without that of zeros, in ascending order."""
    ids: NDArray[np.uint8] = np.unique(np.frombuffer(raw, np.uint8).reshape(-1, ID_BYTES), axis=0)
    return ids[ids.any(axis=1)]


def _check_count(count: int) -> None:
    if not 0 < count <= MAX_IDS:
        raise MalformedRecord(Reason.OVERSIZED, f"a record of deletions holds 1 to {MAX_IDS} ids, not {count}")


def _check_times(*times_us: int) -> None:
    if not all(EARLIEST_US <= time_us <= LATEST_US for time_us in times_us):
        raise MalformedRecord(Reason.UNDECODABLE, "the times of a deletion lie between 2000 and 2100")
