"""The wire form: what is encoded is decoded, and what is broken breaks alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.record import RawRecord, Record, decode, decode_header, decode_many, encode, hint, split
from ingest.record_arrow import MAX_SAMPLES, MalformedRecord
from ingest.topics import MAX_MESSAGE_BYTES
from tests.vitals.strategies import columns
from tests.vitals.test_batch import assert_same
from vitals.batch import SCHEMA, BatchHeader, SampleColumns, sample_columns, to_arrow
from vitals.catalogue import UNKNOWN_METRIC, number_of
from vitals.ids import device_id, patient_id
from vitals.quality import Reason

T0 = 1_717_243_200_000_000
HEADER = BatchHeader(patient_id("p1"), device_id("d1"), "app", "ble")
words = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
headers = st.builds(
    BatchHeader, words, words, words, words, st.none() | st.from_regex(r"\A00-[0-9a-f]{32}-[0-9a-f]{16}-01\Z")
)
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def raw(record: Record) -> RawRecord:
    return record.key, record.value, record.headers


def heart_rates(count: int = 3) -> SampleColumns:
    start = T0 + np.arange(count) * 1_000_000
    return sample_columns(start, np.ones(count, np.int16), np.float64(60) + np.arange(count) % 100, received_us=start)


def stream(batches: Sequence[pa.RecordBatch], schema: pa.Schema = SCHEMA, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def with_words(count: int, vocabulary: list[str | None]) -> pa.RecordBatch:
    batch = to_arrow(heart_rates(count))
    indices = np.arange(count, dtype=np.int16) % len(vocabulary)
    metric = pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(vocabulary, pa.string()))
    return pa.RecordBatch.from_arrays(
        [metric if name == "metric" else batch.column(name) for name in SCHEMA.names], schema=SCHEMA
    )


GOOD = encode(HEADER, heart_rates())


@relaxed
@given(header=headers, samples=columns(min_size=1))
def test_round_trip(header: BatchHeader, samples: SampleColumns) -> None:
    record = encode(header, samples)
    again, read = decode(*raw(record))
    assert again == header == decode_header(record.key, record.headers)
    assert_same(read, samples)


@relaxed
@given(st.lists(st.tuples(headers, columns(min_size=1, max_size=8)), min_size=1, max_size=6))
def test_many_decode_as_each_alone(batches: list[tuple[BatchHeader, SampleColumns]]) -> None:
    decoded = decode_many(raw(encode(*batch)) for batch in batches)
    assert decoded.headers == [header for header, _ in batches]
    assert decoded.counts.tolist() == [len(samples) for _, samples in batches]
    assert decoded.failures == {}
    assert_same(decoded.columns, SampleColumns.concat([samples for _, samples in batches]))


@relaxed
@given(samples=columns(), size=st.integers(1, 12))
def test_splitting_loses_nothing(samples: SampleColumns, size: int) -> None:
    pieces = split(samples, size)
    assert all(0 < len(piece) <= size for piece in pieces)
    assert sum(map(len, pieces)) == len(samples)
    if pieces:
        assert_same(SampleColumns.concat(pieces), samples)


def test_the_headers_are_what_a_consumer_in_another_language_reads() -> None:
    traced = BatchHeader(
        patient_id("p1"), device_id("d1"), "app", "ble", "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "r1"
    )
    record = encode(traced, heart_rates())
    assert record.key == b"p1"
    assert dict(record.headers) == {
        "vigil-schema": b"1",
        "vigil-device": b"d1",
        "vigil-source-app": b"app",
        "vigil-adapter": b"ble",
        "traceparent": b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
        "vigil-request-id": b"r1",
    }
    assert decode(record.key, record.value, record.headers)[0] == traced
    table = pa.ipc.open_stream(record.value).read_all()
    assert table.column("value").to_pylist() == [60.0, 61.0, 62.0]
    assert table.column("metric").to_pylist() == ["heart_rate"] * 3


def test_the_largest_record_fits_the_broker() -> None:
    draw = np.random.default_rng(7)
    n = MAX_SAMPLES
    noise = draw.integers(1, 2**62, (n, 2))
    largest = sample_columns(
        noise[:, 0],
        draw.integers(1, 41, n).astype(np.int16),
        draw.random(n),
        received_us=noise[:, 1],
        sample_id=draw.integers(1, 255, (n, 16)).astype(np.uint8),
    )
    record = encode(HEADER, largest)
    headers_size = sum(len(name) + len(text) for name, text in record.headers)
    assert len(record.value) + len(record.key) + headers_size < MAX_MESSAGE_BYTES - 4_096
    assert len(decode(*raw(record))[1]) == n


@pytest.mark.parametrize("count", [0, MAX_SAMPLES + 1])
def test_too_many_samples_or_none_cannot_be_encoded(count: int) -> None:
    with pytest.raises(MalformedRecord) as refused:
        encode(HEADER, heart_rates(count))
    assert refused.value.reason is Reason.OVERSIZED


def _other_schema() -> bytes:
    return stream([pa.record_batch({"value": pa.array([1.0])})], pa.schema([("value", pa.float64())]))


def _with_null_value() -> bytes:
    batch = to_arrow(heart_rates())
    values = pa.array([1.0, None, 2.0])
    arrays = [values if name == "value" else batch.column(name) for name in SCHEMA.names]
    return stream([pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)])


def _headers(**changed: bytes | None) -> tuple[tuple[str, bytes | None], ...]:
    """The good headers, with underscored names changed; None takes one away."""
    kept: dict[str, bytes | None] = {**dict(GOOD.headers), **{k.replace("_", "-"): v for k, v in changed.items()}}
    return tuple((name, text) for name, text in kept.items() if text is not None)


_RANDOM = np.random.default_rng(1).bytes(5_000)
BROKEN: dict[str, tuple[RawRecord, Reason]] = {
    "empty value": ((b"p1", b"", GOOD.headers), Reason.OVERSIZED),
    "tombstone": ((b"p1", None, GOOD.headers), Reason.OVERSIZED),
    "too many bytes": ((b"p1", bytes(MAX_MESSAGE_BYTES + 1), GOOD.headers), Reason.OVERSIZED),
    "random bytes": ((b"p1", _RANDOM, GOOD.headers), Reason.UNDECODABLE),
    "text": ((b"p1", b'{"heart_rate": 60}', GOOD.headers), Reason.UNDECODABLE),
    "truncated in the body": ((b"p1", GOOD.value[:-200], GOOD.headers), Reason.UNDECODABLE),
    "truncated in the schema": ((b"p1", GOOD.value[:100], GOOD.headers), Reason.UNDECODABLE),
    "other schema": ((b"p1", _other_schema(), GOOD.headers), Reason.SCHEMA_MISMATCH),
    "null value": ((b"p1", _with_null_value(), GOOD.headers), Reason.SCHEMA_MISMATCH),
    "null word": ((b"p1", stream([with_words(3, ["heart_rate", None])]), GOOD.headers), Reason.SCHEMA_MISMATCH),
    "no batch": ((b"p1", stream([]), GOOD.headers), Reason.OVERSIZED),
    "empty batch": ((b"p1", stream([to_arrow(heart_rates(0))]), GOOD.headers), Reason.OVERSIZED),
    "too many samples": ((b"p1", stream([to_arrow(heart_rates(MAX_SAMPLES + 1))]), GOOD.headers), Reason.OVERSIZED),
    "too many batches": ((b"p1", stream([to_arrow(heart_rates(6_000))] * 2), GOOD.headers), Reason.OVERSIZED),
    "compressed zstd": ((b"p1", stream([to_arrow(heart_rates(99))], SCHEMA, "zstd"), GOOD.headers),
                        Reason.SCHEMA_MISMATCH),
    "compressed lz4": ((b"p1", stream([to_arrow(heart_rates(99))], SCHEMA, "lz4"), GOOD.headers),
                       Reason.SCHEMA_MISMATCH),
    "other version": ((b"p1", GOOD.value, _headers(vigil_schema=b"2")), Reason.SCHEMA_VERSION),
    "no version": ((b"p1", GOOD.value, _headers(vigil_schema=None)), Reason.SCHEMA_VERSION),
    "null version": ((b"p1", GOOD.value, (*GOOD.headers, ("vigil-schema", None))), Reason.SCHEMA_VERSION),
    "no headers": ((b"p1", GOOD.value, None), Reason.SCHEMA_VERSION),
    "no device": ((b"p1", GOOD.value, _headers(vigil_device=None)), Reason.HEADERS),
    "no adapter": ((b"p1", GOOD.value, _headers(vigil_adapter=None)), Reason.HEADERS),
    "no app": ((b"p1", GOOD.value, _headers(vigil_source_app=None)), Reason.HEADERS),
    "no key": ((None, GOOD.value, GOOD.headers), Reason.HEADERS),
    "umlaut in the device": ((b"p1", GOOD.value, _headers(vigil_device="Müllers Uhr".encode())), Reason.HEADERS),
    "latin-1 app": ((b"p1", GOOD.value, _headers(vigil_source_app=b"M\xfcller")), Reason.HEADERS),
    "a name as key": ((b"Erika Mustermann", GOOD.value, GOOD.headers), Reason.HEADERS),
    "an endless header": ((b"p1", GOOD.value, _headers(vigil_device=b"d" * 100_000)), Reason.HEADERS),
}  # fmt: skip

each_broken = pytest.mark.parametrize(("record", "reason"), BROKEN.values(), ids=BROKEN.keys())


@each_broken
def test_each_way_of_being_broken_has_its_reason(record: RawRecord, reason: Reason) -> None:
    with pytest.raises(MalformedRecord) as refused:
        decode(*record)
    assert refused.value.reason is reason
    assert not any(name in str(refused.value) for name in ("Erika", "Mustermann", "ller", "heart_rate"))


@each_broken
def test_a_broken_record_leaves_its_neighbours_alone(record: RawRecord, reason: Reason) -> None:
    decoded = decode_many([raw(GOOD), record, raw(GOOD)])
    assert {index: error.reason for index, error in decoded.failures.items()} == {1: reason}
    assert decoded.headers == [HEADER, None, HEADER]
    assert decoded.counts.tolist() == [3, 0, 3]
    assert_same(decoded.columns, SampleColumns.concat([heart_rates(), heart_rates()]))


def test_nothing_but_broken_records_is_no_samples() -> None:
    decoded = decode_many([record for record, _ in BROKEN.values()])
    assert sorted(decoded.failures) == list(range(len(BROKEN)))
    assert len(decoded.columns) == 0
    assert decode_many([]).headers == []


def test_more_unknown_metrics_than_a_dictionary_can_number_poison_nobody() -> None:
    strange = [stream([with_words(9_000, [f"m{batch}.{n}" for n in range(9_000)])]) for batch in range(5)]
    decoded = decode_many([*((b"p1", value, GOOD.headers) for value in strange), raw(GOOD)])
    assert decoded.failures == {}
    assert decoded.counts.tolist() == [9_000] * 5 + [3]
    assert decoded.columns.metric[:45_000].tolist() == [UNKNOWN_METRIC] * 45_000
    assert decoded.columns.metric[45_000:].tolist() == [number_of("heart_rate")] * 3


def test_a_word_that_stands_twice_in_a_dictionary_means_the_same() -> None:
    value = stream([with_words(4, ["heart_rate", "spo2", "heart_rate"])])
    decoded = decode_many([raw(GOOD), (b"p1", value, GOOD.headers), raw(GOOD)])
    hr, spo2 = number_of("heart_rate"), number_of("spo2")
    assert decoded.columns.metric.tolist() == [hr] * 3 + [hr, spo2, hr, hr] + [hr] * 3


def test_a_record_of_several_batches_is_one_record() -> None:
    value = stream([to_arrow(heart_rates(2)), with_words(2, ["spo2"]), to_arrow(heart_rates(1))])
    _, samples = decode(b"p1", value, GOOD.headers)
    assert samples.metric.tolist() == [1, 1, 5, 5, 1]


def test_a_frame_of_a_compressor_by_accident_is_only_a_number() -> None:
    values = np.frombuffer(b"\x28\xb5\x2f\xfd\x00\x00\xf0\x3f\x04\x22\x4d\x18\x00\x00\xf0\x3f", np.float64)
    samples = sample_columns(np.array([T0, T0 + 1]), np.ones(2, np.int16), values, received_us=T0)
    assert_same(decode(*raw(encode(HEADER, samples)))[1], samples)


def test_sixty_kilobytes_that_would_become_two_gigabytes_are_refused_unopened() -> None:
    zeros = sample_columns(np.zeros(2_000_000, np.int64), np.ones(2_000_000, np.int16), np.zeros(2_000_000),
                           received_us=0)  # fmt: skip
    value = stream([to_arrow(zeros)], SCHEMA, "zstd")
    assert len(value) < MAX_MESSAGE_BYTES
    before = pa.total_allocated_bytes()
    pool_peak = pa.default_memory_pool().max_memory()
    with pytest.raises(MalformedRecord) as refused:
        decode(b"p1", value, GOOD.headers)
    assert refused.value.reason is Reason.SCHEMA_MISMATCH
    assert pa.total_allocated_bytes() == before
    assert pa.default_memory_pool().max_memory() == pool_peak


def test_nor_can_a_dictionary_hide_it() -> None:
    words: list[str | None] = ["heart_rate", "x" * 10_000_000]
    value = stream([with_words(3, words)], SCHEMA, "zstd")
    assert len(value) < 10_000
    peak = pa.default_memory_pool().max_memory()
    with pytest.raises(MalformedRecord, match="plain"):
        decode(b"p1", value, GOOD.headers)
    assert pa.default_memory_pool().max_memory() == peak


_VICTIM = encode(HEADER, heart_rates(20)).value


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_mutated_bytes_are_malformed_or_samples_and_never_anything_else(data: st.DataObject) -> None:
    value = bytearray(_VICTIM)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "insert", "int32"]))
        if kind == "set":
            value[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del value[at : at + data.draw(st.integers(1, 64))]
        elif kind == "insert":
            value[at:at] = data.draw(st.binary(min_size=1, max_size=16))
        else:
            value[at : at + 4] = data.draw(st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31), 65_536])).to_bytes(
                4, "little", signed=True
            )
        value = value or bytearray(b"\0")
    decoded = decode_many([raw(GOOD), (b"p1", bytes(value), GOOD.headers), raw(GOOD)])
    assert set(decoded.failures) <= {1}
    assert decoded.counts[0] == decoded.counts[2] == 3
    assert_same(decoded.columns.take(np.arange(3)), heart_rates())
    assert_same(decoded.columns.take(np.arange(len(decoded.columns) - 3, len(decoded.columns))), heart_rates())


@given(
    key=st.none() | st.binary(max_size=80),
    given_=st.none() | st.lists(st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=80)), max_size=6),
)
def test_no_header_makes_anything_but_a_malformed_record(key: bytes | None, given_: Any) -> None:
    with pytest.raises(MalformedRecord):
        decode_header(key, given_)
    for word in hint(key, given_):
        assert word is None or word.isascii()


def test_the_hint_of_a_broken_record_holds_opaque_words_only() -> None:
    assert hint(b"p1", GOOD.headers) == ("p1", "d1", "ble")
    assert hint(b"Erika M.", _headers(vigil_device="Müllers Uhr".encode(), vigil_adapter=b"ble")) == (None, None, "ble")
    assert hint(None, None) == (None, None, None)
