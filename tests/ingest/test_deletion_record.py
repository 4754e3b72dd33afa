"""Deletions on the wire: what is told comes back, and hostile bytes are malformed, never anything else."""

import os
import random
import struct
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.deletion_record import decode_deletions, encode_deletions
from ingest.record import decode_header
from ingest.record_arrow import MalformedRecord
from ingest.topics import DELETIONS, MAX_MESSAGE_BYTES, TOPICS
from vitals.batch import BatchHeader
from vitals.ids import device_id, patient_id
from vitals.quality import Reason

TOLD, RECEIVED = 1_795_000_000_000_000, 1_795_000_001_000_000
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HEADER = BatchHeader(patient_id("p1"), device_id("phone"), "vigil-ios", "gateway", TRACE, "req-1")
IDS = [uuid4() for _ in range(3)]


def ids_of(*uuids: UUID) -> np.ndarray:
    return np.frombuffer(b"".join(one.bytes for one in uuids), np.uint8).reshape(-1, 16)


RECORD = encode_deletions(HEADER, ids_of(*IDS), told_us=TOLD, received_us=RECEIVED)


def test_what_is_told_comes_back() -> None:
    found = decode_deletions(RECORD.key, RECORD.value, RECORD.headers)
    assert found.header == HEADER
    assert (found.told_us, found.received_us) == (TOLD, RECEIVED)
    assert {UUID(bytes=one.tobytes()) for one in found.sample_ids} == set(IDS)
    assert RECORD.key == b"p1"


def test_the_bytes_are_as_the_page_says() -> None:
    assert RECORD.value == struct.pack(">qq", TOLD, RECEIVED) + b"".join(one.bytes for one in IDS)
    assert dict(RECORD.headers)["vigil-deletion-schema"] == b"1"


def test_a_reader_of_samples_does_not_take_it_for_its_own() -> None:
    with pytest.raises(MalformedRecord) as caught:
        decode_header(RECORD.key, RECORD.headers)
    assert caught.value.reason is Reason.SCHEMA_VERSION


def test_an_id_told_twice_counts_once_and_that_of_zeros_never() -> None:
    told = ids_of(IDS[0], UUID(int=0), IDS[1], IDS[0])
    record = encode_deletions(HEADER, told, told_us=TOLD, received_us=RECEIVED)
    found = decode_deletions(record.key, record.value, record.headers).sample_ids
    assert {UUID(bytes=one.tobytes()) for one in found} == set(IDS[:2])
    assert len(found) == 2
    only_zeros = encode_deletions(HEADER, ids_of(UUID(int=0)), told_us=TOLD, received_us=RECEIVED)
    assert len(decode_deletions(only_zeros.key, only_zeros.value, only_zeros.headers).sample_ids) == 0


def test_a_record_holds_five_thousand_ids_and_no_more() -> None:
    most = np.frombuffer(os.urandom(5_000 * 16), np.uint8).reshape(-1, 16)
    record = encode_deletions(HEADER, most, told_us=TOLD, received_us=RECEIVED)
    assert len(record.value) < MAX_MESSAGE_BYTES
    assert len(decode_deletions(record.key, record.value, record.headers).sample_ids) == 5_000
    for wrong in (np.concatenate([most, most[:1]]), most[:0]):
        with pytest.raises(MalformedRecord):
            encode_deletions(HEADER, wrong, told_us=TOLD, received_us=RECEIVED)
    with pytest.raises(MalformedRecord) as caught:
        decode_deletions(record.key, record.value + IDS[0].bytes, record.headers)
    assert caught.value.reason is Reason.OVERSIZED


@pytest.mark.parametrize("time_us", [0, -1, 4_102_444_800_000_001, 2**63 - 1])
def test_a_time_that_means_nothing_is_refused(time_us: int) -> None:
    for told_us, received_us in ((time_us, RECEIVED), (TOLD, time_us)):
        with pytest.raises(MalformedRecord):
            encode_deletions(HEADER, ids_of(*IDS), told_us=told_us, received_us=received_us)
        value = struct.pack(">qq", told_us, received_us) + RECORD.value[16:]
        with pytest.raises(MalformedRecord):
            decode_deletions(RECORD.key, value, RECORD.headers)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.OVERSIZED), (b"", Reason.OVERSIZED), (RECORD.value[:16], Reason.OVERSIZED),
        (RECORD.value[:31], Reason.OVERSIZED), (RECORD.value[:-1], Reason.UNDECODABLE),
        (RECORD.value + b"\0", Reason.UNDECODABLE), (bytes(32), Reason.UNDECODABLE),
    ],
)  # fmt: skip
def test_a_value_of_another_shape_is_malformed(value: bytes | None, reason: Reason) -> None:
    with pytest.raises(MalformedRecord) as caught:
        decode_deletions(RECORD.key, value, RECORD.headers)
    assert caught.value.reason is reason


@pytest.mark.parametrize("name", ["vigil-deletion-schema", "vigil-device", "vigil-source-app", "vigil-adapter"])
def test_a_header_that_is_missing_or_no_opaque_id_is_malformed(name: str) -> None:
    for told in (None, b"", b"Erika M.", b"\xff" * 300):
        headers = [(key, value) if key != name else (key, told) for key, value in RECORD.headers]
        with pytest.raises(MalformedRecord) as caught:
            decode_deletions(RECORD.key, RECORD.value, headers)
        assert "Erika" not in str(caught.value)
    for key in (None, b"", b"Erika M."):
        with pytest.raises(MalformedRecord):
            decode_deletions(key, RECORD.value, RECORD.headers)


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_hostile_bytes_are_malformed_or_ids(value: bytes, seed: int) -> None:
    draw = random.Random(seed)
    damaged = bytearray(RECORD.value)
    for _ in range(draw.randrange(1, 4)):
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    for one in (value, RECORD.value[:16] + value, bytes(damaged)):
        try:
            found = decode_deletions(RECORD.key, one, RECORD.headers)
        except MalformedRecord:
            continue
        assert found.sample_ids.shape == (len(found.sample_ids), 16)


def test_the_topic_outlives_an_outage_of_weeks() -> None:
    (topic,) = [one for one in TOPICS if one.name == "vigil.deletions"]
    assert topic.name == DELETIONS
    assert topic.retention_ms == 30 * 86_400_000
    assert topic.partitions is None
