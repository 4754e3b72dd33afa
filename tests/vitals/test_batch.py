"""The sample batch: what goes into Arrow comes out again, sliced or whole, and nothing else is taken for one."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vitals.strategies import columns
from vitals.batch import (
    NO_ZONE,
    SCHEMA,
    SampleColumns,
    SchemaMismatch,
    check_batch,
    from_arrow,
    metric_codes,
    sample_columns,
    to_arrow,
)
from vitals.catalogue import UNKNOWN_METRIC, number_of

T0 = 1_717_243_200_000_000


def assert_same(left: SampleColumns, right: SampleColumns) -> None:
    """Equal to the bit, NaN and the sign of zero included."""
    for field in fields(SampleColumns):
        a, b = getattr(left, field.name), getattr(right, field.name)
        assert a.dtype == b.dtype, field.name
        assert a.shape == b.shape, field.name
        assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes(), field.name


@given(columns())
def test_arrow_round_trip(given_: SampleColumns) -> None:
    batch = to_arrow(given_)
    check_batch(batch)
    batch.validate(full=True)
    assert_same(from_arrow(batch), given_)


@given(given_=columns(min_size=1), data=st.data())
def test_a_slice_of_a_batch_is_a_slice_of_its_samples(given_: SampleColumns, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(given_)))
    length = data.draw(st.integers(0, len(given_) - start))
    part = from_arrow(to_arrow(given_).slice(start, length))
    assert_same(part, given_.take(np.arange(start, start + length)))


@given(st.lists(columns(), min_size=1, max_size=4))
def test_taking_apart_what_was_joined(parts: list[SampleColumns]) -> None:
    joined = SampleColumns.concat(parts)
    at = 0
    for part in parts:
        assert_same(joined.take(np.arange(at, at + len(part))), part)
        at += len(part)
    assert at == len(joined)


def test_a_mask_keeps_what_it_marks() -> None:
    three = _three()
    assert three.take(np.array([True, False, True])).value.tolist() == [61.0, 63.0]


def test_what_a_source_does_not_tell_is_filled_in() -> None:
    one = sample_columns(np.array([T0]), np.array([1], np.int16), np.array([60.0]), received_us=T0 + 5)
    assert (one.written_us[0], one.quality[0], one.zone_offset_min[0]) == (T0 + 5, 1.0, NO_ZONE)
    assert not one.sample_id.any()
    assert not one.deleted[0]


def test_the_schema_is_what_other_tools_read() -> None:
    assert [(field.name, str(field.type), field.nullable) for field in SCHEMA] == [
        ("start", "timestamp[us, tz=UTC]", False),
        ("duration", "duration[ms]", False),
        ("zone_offset_min", "int16", False),
        ("metric", "dictionary<values=string, indices=int16, ordered=0>", False),
        ("value", "double", False),
        ("quality", "float", False),
        ("context", "int16", False),
        ("written", "timestamp[us, tz=UTC]", False),
        ("received", "timestamp[us, tz=UTC]", False),
        ("sample_id", "fixed_size_binary[16]", True),
        ("deleted", "bool", False),
    ]


def test_a_sample_without_an_id_is_null_in_arrow_beside_one_with() -> None:
    ids = np.zeros((3, 16), np.uint8)
    ids[1] = range(16)
    batch = to_arrow(replace(_three(), sample_id=ids))
    assert batch.column("sample_id").to_pylist() == [None, bytes(range(16)), None]


def test_codes_that_the_catalogue_lacks_become_the_unknown_metric() -> None:
    batch = _with(to_arrow(_three()), "metric", _dictionary([1, 0, 2], ["aura", "spo2", "heart_rate", "never used"]))
    check_batch(batch)
    read = from_arrow(batch)
    assert read.metric.tolist() == [number_of("spo2"), UNKNOWN_METRIC, number_of("heart_rate")]
    assert metric_codes(read) == ["spo2", "unknown", "heart_rate"]


def test_a_metric_outside_the_catalogue_cannot_be_written() -> None:
    with pytest.raises(KeyError):
        to_arrow(replace(_three(), metric=np.array([1, 999, 1], np.int16)))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("value", pa.array([1, 2, 3], pa.float32()), "column value must be double, not null"),
        ("metric", pa.array(["heart_rate"] * 3), "column metric must be dictionary"),
        ("sample_id", pa.array([b"1234"] * 3, pa.binary(4)), "column sample_id must be fixed_size_binary"),
        ("start", pa.array([1, 2, 3], pa.timestamp("ms", "UTC")), "column start must be timestamp"),
        ("start", pa.array([1, 2, 3], pa.timestamp("us")), "column start must be timestamp"),
    ],
)
def test_another_type_is_named(column: str, values: pa.Array, message: str) -> None:
    batch = to_arrow(_three())
    index = batch.schema.get_field_index(column)
    schema = batch.schema.set(index, pa.field(column, values.type, SCHEMA.field(column).nullable))
    arrays = [values if at == index else one for at, one in enumerate(batch.columns)]
    with pytest.raises(SchemaMismatch, match=message):
        check_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


@pytest.mark.parametrize("names", [SCHEMA.names[:-1], [*SCHEMA.names[1:], SCHEMA.names[0]]])
def test_missing_and_swapped_columns_are_named(names: list[str]) -> None:
    with pytest.raises(SchemaMismatch, match="expected the columns start, duration"):
        check_batch(to_arrow(_three()).select(names))


@pytest.mark.parametrize("column", [field.name for field in SCHEMA if not field.nullable])
def test_a_null_where_none_may_be_is_named(column: str) -> None:
    batch = to_arrow(_three())
    mask = pa.array([False, True, False])
    field = SCHEMA.field(column)
    holed = batch.column(column)
    if column == "metric":
        holed = _dictionary([0, None, 0], ["heart_rate"])
    else:
        holed = pc.if_else(mask, pa.scalar(None, field.type), holed)
    with pytest.raises(SchemaMismatch, match=f"column {column} must not be null"):
        check_batch(_with(batch, column, holed))


def test_a_null_among_the_words_for_metrics_is_one_too() -> None:
    with pytest.raises(SchemaMismatch, match="metric must not be null"):
        check_batch(_with(to_arrow(_three()), "metric", _dictionary([0, 0, 0], ["heart_rate", None])))


def _three() -> SampleColumns:
    start = T0 + np.arange(3) * 1_000_000
    return sample_columns(start, np.ones(3, np.int16), np.array([61.0, 62.0, 63.0]), received_us=start)


def _dictionary(indices: list[int | None], words: list[str | None]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int16()), pa.array(words, pa.string()))


def _with(batch: pa.RecordBatch, column: str, values: Any) -> pa.RecordBatch:
    arrays = [values if name == column else batch.column(name) for name in SCHEMA.names]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


@given(samples=columns(), data=st.data())
def test_sample_ids_survive_slices_of_arrow_and_nulls_whatever_their_bytes(
    samples: SampleColumns, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(samples)))
    part = to_arrow(samples).slice(first)
    assert (from_arrow(part).sample_id == samples.sample_id[first:]).all()
