"""Arrow streams: ours as they are, others by their columns, and nothing believed that was not looked at."""

import random
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.gateway.parse_arrow import parse_arrow
from ingest.gateway.parsed import BodyRefused, Outcome, Parsed, Retry, Status
from ingest.record import encode
from tests.ingest.test_record import HEADER, heart_rates, stream, with_words
from tests.vitals.strategies import columns
from tests.vitals.test_batch import assert_same
from vitals.batch import NO_ZONE, SCHEMA, SCHEMA_MESSAGE, SampleColumns, to_arrow

RECEIVED_US = 1_795_251_660_000_000
NINE_US = RECEIVED_US - 60_000_000
UTC_US = pa.timestamp("us", "UTC")
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def read(body: bytes) -> Parsed:
    return parse_arrow(body, received_us=RECEIVED_US, device="d1", source_app="app")


def refused(body: bytes, **who: str) -> BodyRefused:
    with pytest.raises(BodyRefused) as error:
        parse_arrow(body, received_us=RECEIVED_US, device=who.get("device"), source_app=who.get("source_app"))
    return error.value


def table(**given: pa.Array) -> bytes:
    """Return a stream of the required columns, replaced and extended by what is given."""
    n = len(next(iter(given.values()))) if given else 1
    base = {
        "start": pa.array([NINE_US] * n, UTC_US),
        "metric": pa.array(["heart_rate"] * n),
        "value": pa.array([72.0] * n),
    }
    arrays = {name: one for name, one in {**base, **given}.items() if one is not None}
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
    return stream([batch], batch.schema)


def now_received(samples: SampleColumns) -> SampleColumns:
    return replace(samples, received_us=np.full(len(samples), RECEIVED_US))


@relaxed
@given(columns(min_size=1))
def test_our_own_records_are_taken_over_but_for_when_they_were_received(samples: SampleColumns) -> None:
    told = read(encode(HEADER, samples).value)
    strange = (np.abs(samples.zone_offset_min.astype(int)) > 1_080) & (samples.zone_offset_min != NO_ZONE)
    assert told.count == len(samples)
    assert told.index.tolist() == np.flatnonzero(~strange).tolist()
    assert_same(told.columns, now_received(samples).take(~strange))
    assert [(one.index, one.reason, one.field) for one in told.faults] == [
        (at, "bad_time", "zone_offset_min") for at in np.flatnonzero(strange).tolist()
    ]
    assert (told.device, told.source_app, told.written_us) == ("d1", "app", RECEIVED_US)


def test_our_own_records_are_not_copied() -> None:
    body = encode(HEADER, heart_rates(5_000)).value
    told = read(body)
    buffer = np.frombuffer(body, np.uint8)
    for name in ("start_us", "duration_ms", "zone_offset_min", "value", "quality", "context", "written_us"):
        assert np.shares_memory(getattr(told.columns, name), buffer), name


@relaxed
@given(columns(min_size=1))
def test_the_same_columns_in_other_types_say_the_same(samples: SampleColumns) -> None:
    samples = replace(
        samples,
        zone_offset_min=samples.zone_offset_min.clip(-1_080, 1_080),
        quality=samples.quality.clip(-1, 2),
        duration_ms=samples.duration_ms.clip(-(2**40), 2**40),
    )
    ours = to_arrow(samples)
    other = {
        "metric": ours.column("metric").cast(pa.large_string()),
        "zone_offset_min": ours.column("zone_offset_min").cast(pa.int64()),
        "context": ours.column("context").cast(pa.int32()),
        "quality": ours.column("quality").cast(pa.float64()),
        "duration": ours.column("duration").cast(pa.duration("us")),
    }
    names = sorted(SCHEMA.names, reverse=True)
    batch = pa.RecordBatch.from_arrays([other.get(name, ours.column(name)) for name in names], names=names)
    told = read(stream([batch.slice(0, 1), batch.slice(1)], batch.schema))
    assert told.faults == ()
    assert_same(told.columns, now_received(samples))


def test_three_columns_are_enough() -> None:
    told = read(table()).columns
    assert told.start_us.tolist() == [NINE_US]
    assert told.metric.tolist() == [1]
    assert told.value.tolist() == [72]
    assert (told.zone_offset_min[0], told.duration_ms[0], told.quality[0], told.context[0]) == (NO_ZONE, 0, 1, 0)
    assert told.written_us.tolist() == told.received_us.tolist() == [RECEIVED_US]
    assert not told.sample_id.any()
    assert not told.deleted.any()


@pytest.mark.parametrize(
    ("kind", "ticks"),
    [
        (pa.timestamp("s", "UTC"), NINE_US // 1_000_000),
        (pa.timestamp("ms", "Etc/UTC"), NINE_US // 1_000),
        (pa.timestamp("us", "+00:00"), NINE_US),
        (pa.timestamp("ns", "UTC"), NINE_US * 1_000 + 999),
    ],
)
def test_times_of_any_unit(kind: pa.DataType, ticks: int) -> None:
    told = read(table(start=pa.array([ticks], pa.int64()).view(kind), written=pa.array([ticks], pa.int64()).view(kind)))
    assert told.columns.start_us.tolist() == told.columns.written_us.tolist() == [NINE_US]


@pytest.mark.parametrize("unit", ["s", "ms"])
@pytest.mark.parametrize("ticks", [2**63 - 1, -(2**63), 2**62])
def test_a_time_beyond_64_bits_is_none_and_wraps_to_no_other(unit: str, ticks: int) -> None:
    nine = NINE_US // (1_000_000 if unit == "s" else 1_000)
    beyond = pa.array([ticks, nine], pa.int64()).view(pa.timestamp(unit, "UTC"))
    for field in ("start", "written"):
        faults = read(table(**{field: beyond})).faults
        assert [(one.index, one.reason, one.field) for one in faults] == [(0, "bad_time", field)]


@pytest.mark.parametrize(
    ("duration", "ms"),
    [
        (pa.array([2], pa.duration("s")), 2_000),
        (pa.array([2], pa.duration("ms")), 2),
        (pa.array([2_999], pa.duration("us")), 2),
        (pa.array([-1], pa.duration("ns")), -1),
        (pa.array([None], pa.duration("ms")), 0),
    ],
)
def test_durations_of_any_unit(duration: pa.Array, ms: int) -> None:
    assert read(table(duration=duration)).columns.duration_ms.tolist() == [ms]


@pytest.mark.parametrize("seconds", [2**63 - 1, -(2**63)])
def test_an_endless_duration_stays_one(seconds: int) -> None:
    (ms,) = read(table(duration=pa.array([seconds], pa.duration("s")))).columns.duration_ms.tolist()
    assert abs(ms) > 10**15
    assert (ms > 0) == (seconds > 0)


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()])
def test_numbers_of_any_width(kind: pa.DataType) -> None:
    assert read(table(value=pa.array([72], kind))).columns.value.tolist() == [72]


@pytest.mark.parametrize(
    "metric",
    [
        pa.array(["heart_rate", "spo2", "heart_rate", "no_such", ""]),
        pa.array(["heart_rate", "spo2", "heart_rate", "no_such", ""], pa.large_string()),
        pa.array(["heart_rate", "spo2", "heart_rate", "no_such", ""]).dictionary_encode(),
        pa.array(["heart_rate", "spo2", "heart_rate", "no_such", ""], pa.large_string()).dictionary_encode(),
        pa.DictionaryArray.from_arrays(
            pa.array([3, 0, 3, 1, 2], pa.uint8()), pa.array(["spo2", "no_such", "", "heart_rate"])
        ),
    ],
)
def test_words_plain_or_from_a_dictionary(metric: pa.Array) -> None:
    told = read(table(metric=metric))
    assert told.columns.metric.tolist() == [1, 5, 1, 0, 0]
    assert told.faults == ()


def test_batches_have_dictionaries_of_their_own() -> None:
    for nullable in (False, True):
        schema = pa.schema([field.with_nullable(nullable or field.nullable) for field in SCHEMA])
        batches = [with_words(2, [word]).cast(schema) for word in ("heart_rate", "spo2", "no_such")]
        assert read(stream(batches, schema)).columns.metric.tolist() == [1, 1, 5, 5, 0, 0]


def test_a_null_is_a_value_that_is_not_given() -> None:
    n = 5
    told = read(
        table(
            start=pa.array([NINE_US, None, NINE_US, NINE_US, NINE_US], UTC_US),
            metric=pa.array(["heart_rate", "heart_rate", None, "heart_rate", "heart_rate"]).dictionary_encode(),
            value=pa.array([72.0, 72.0, 72.0, None, None]),
            deleted=pa.array([None, None, None, None, True]),
            quality=pa.nulls(n, pa.float32()),
            context=pa.nulls(n, pa.int16()),
            zone_offset_min=pa.nulls(n, pa.int16()),
            written=pa.nulls(n, UTC_US),
            duration=pa.nulls(n, pa.duration("ms")),
            sample_id=pa.array([None, None, None, None, b"\1" * 16], pa.binary(16)),
        )
    )
    assert told.faults == tuple(
        Outcome(at, Status.REJECTED, "missing_field", Retry.NEVER, field)
        for at, field in ((1, "start"), (2, "metric"), (3, "value"))
    )
    assert told.index.tolist() == [0, 4]
    assert told.columns.deleted.tolist() == [False, True]
    assert told.columns.quality.tolist() == [1, 1]
    assert told.columns.zone_offset_min.tolist() == [NO_ZONE] * 2
    assert told.columns.written_us.tolist() == [RECEIVED_US] * 2
    assert told.columns.sample_id.tolist() == [[0] * 16, [1] * 16]


def test_a_null_in_a_dictionary_is_one_too() -> None:
    metric = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["heart_rate", None]))
    assert [(one.index, one.field) for one in read(table(metric=metric)).faults] == [(1, "metric")]


def test_where_our_schema_has_no_null_there_is_none() -> None:
    body = stream([with_words(2, ["heart_rate", None])])
    assert (refused(body).status, refused(body).code) == (422, "bad_columns")


@pytest.mark.parametrize(
    ("name", "column", "fault"),
    [
        ("zone_offset_min", pa.array([1_081, -1_080, 1_080, -32_768], pa.int32()), "bad_time"),
        ("zone_offset_min", pa.array([2**40, 0, 0, 0], pa.int64()), "bad_time"),
        ("context", pa.array([2**15, 0, 0, 0], pa.int32()), "unknown_word"),
        ("context", pa.array([2**64 - 1, 0, 0, 0], pa.uint64()), "unknown_word"),
    ],
)
def test_what_our_columns_cannot_hold_is_a_fault(name: str, column: pa.Array, fault: str) -> None:
    told = read(table(**{name: column}))
    assert [(one.index, one.reason, one.field) for one in told.faults] == [(0, fault, name)]
    assert told.index.tolist() == [1, 2, 3]


def test_what_a_sender_says_of_when_we_received_it_is_not_believed() -> None:
    told = read(table(received=pa.array([1], UTC_US)))
    assert told.columns.received_us.tolist() == [RECEIVED_US]


INTS = pa.array([1], pa.int64())


@pytest.mark.parametrize(
    "given",
    [
        {"start": None}, {"metric": None}, {"value": None}, {"patient": pa.array(["p1"])}, {"Value": INTS},
        {"start": pa.array([NINE_US], pa.timestamp("us"))}, {"start": INTS},
        {"start": pa.array([NINE_US], pa.timestamp("us", "Europe/Paris"))},
        {"start": pa.array(["2026-11-21T09:00:00Z"])}, {"start": pa.array([1], pa.date32())},
        {"metric": INTS}, {"metric": pa.array([b"heart_rate"])}, {"metric": pa.array([1]).dictionary_encode()},
        {"value": pa.array(["72"])}, {"value": pa.array([True])}, {"value": pa.array([[72.0]])},
        {"value": pa.array([{"a": 1}])}, {"value": pa.nulls(1)}, {"duration": INTS}, {"context": pa.array([1.0])},
        {"quality": pa.array(["1"])}, {"sample_id": pa.array([b"1" * 16])},
        {"sample_id": pa.array([b"1"], pa.binary(1))}, {"deleted": pa.array([1])}, {"written": INTS},
        {"received": INTS}, {"value": pa.RunEndEncodedArray.from_arrays(pa.array([1], pa.int32()), pa.array([1.0]))},
        {"metric": pa.array(["heart_rate"], pa.string_view())},
    ],
)  # fmt: skip
def test_other_columns_are_refused(given: dict[str, Any]) -> None:
    base = {"start": pa.array([NINE_US], UTC_US), "metric": pa.array(["heart_rate"]), "value": pa.array([72.0])}
    kept = {name: one for name, one in {**base, **given}.items() if one is not None}
    batch = pa.RecordBatch.from_arrays(list(kept.values()), names=list(kept))
    error = refused(stream([batch], batch.schema))
    assert (error.status, error.code) == (422, "bad_columns")


def test_a_column_stands_once() -> None:
    batch = pa.record_batch([pa.array([NINE_US], UTC_US), pa.array(["heart_rate"]), pa.array([1.0]), pa.array([2.0])],
                            names=["start", "metric", "value", "value"])  # fmt: skip
    assert refused(stream([batch], batch.schema)).code == "bad_columns"


def counted(n: int) -> bytes:
    return stream([to_arrow(heart_rates(n))])


def test_how_many_samples_a_request_may_hold() -> None:
    assert read(counted(50_000)).count == 50_000
    for body in (counted(50_001), stream([to_arrow(heart_rates(30_000))] * 2)):
        assert (refused(body).status, refused(body).code) == (413, "too_many")


def test_a_stream_without_samples_is_refused() -> None:
    for batches in ([], [to_arrow(heart_rates(0))], [to_arrow(heart_rates(0))] * 3):
        assert (refused(stream(batches)).status, refused(stream(batches)).code) == (422, "empty")


def test_empty_batches_cannot_keep_us_busy() -> None:
    empty = to_arrow(heart_rates(0))
    assert read(stream([empty, to_arrow(heart_rates(3)), empty])).count == 3
    assert refused(stream([*[empty] * 5_000, to_arrow(heart_rates(3))])).code == "too_many"


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_buffers_are_refused(compression: str) -> None:
    error = refused(stream([to_arrow(heart_rates(1_000))], compression=compression))
    assert (error.status, error.code) == (422, "bad_columns")


def test_a_dictionary_has_bounds() -> None:
    words: Sequence[str | None] = ["heart_rate", *map(str, range(4_096))]
    for schema in (SCHEMA, pa.schema([field.with_nullable(True) for field in SCHEMA])):
        error = refused(stream([with_words(3, list(words)).cast(schema)], schema))
        assert (error.status, error.code) == (422, "bad_columns")
        assert read(stream([with_words(3, list(words[:-1])).cast(schema)], schema)).count == 3


def test_the_dictionaries_of_many_batches_have_bounds_together() -> None:
    batches = [with_words(2, [f"{at} {word}" for word in range(4_000)]) for at in range(17)]
    assert refused(stream(batches)).code == "bad_columns"
    assert read(stream(batches[1:])).count == 32


def test_a_long_word_is_not_spelled_out_for_each_sample() -> None:
    long = pa.array(["x" * 1_000_000])
    metric = pa.DictionaryArray.from_arrays(pa.array(np.zeros(50_000, np.int32)), long)
    assert not read(table(metric=metric)).columns.metric.any()


@pytest.mark.parametrize(
    "body",
    [b"", b"\0" * 7, b"{}", b"ARROW1\0\0", b"\xff" * 100, counted(3)[:40], counted(3)[:-60], SCHEMA_MESSAGE[:-1]],
)
def test_what_is_no_stream(body: bytes) -> None:
    assert (refused(body).status, refused(body).code) == (400, "bad_arrow")


def test_who_sends_is_an_opaque_id() -> None:
    for who in ({"device": "Jane's watch"}, {"source_app": "a b"}, {"device": ""}):
        error = refused(counted(1), **who)
        assert (error.status, error.code) == (422, "bad_field")
        assert "Jane" not in str(error)
    assert parse_arrow(counted(1), received_us=1, device=None, source_app=None).device is None


PLAIN = table(
    metric=pa.array(["heart_rate", "spo2", None]).dictionary_encode(),
    sample_id=pa.array([b"1" * 16, None, b"2" * 16], pa.binary(16)),
    deleted=pa.array([True, False, None]),
)


@relaxed
@given(st.sampled_from([PLAIN, counted(3)]), st.data())
def test_any_damage_is_refused_or_read(body: bytes, data: st.DataObject) -> None:
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 4))
        with_what = data.draw(st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31), 7]) | st.integers(-(2**31), 2**31 - 1))
        damaged[at : at + 4] = struct.pack("<i", with_what)
    try:
        told = read(bytes(damaged))
    except BodyRefused:
        return
    assert len(told.columns) + len(told.faults) == told.count <= 50_000
    assert not told.columns.metric.min(initial=0) < 0


def test_much_damage_is_refused_or_read() -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    for body in (PLAIN, counted(3)):
        for _ in range(1_500):
            damaged = bytearray(body)
            for _ in range(draw.randrange(1, 4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            try:
                read(bytes(damaged))
            except BodyRefused:
                continue
            except Exception as error:
                raise AssertionError(f"seed {seed}") from error
