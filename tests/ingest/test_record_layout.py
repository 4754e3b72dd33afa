"""A record that is read by where its columns stand says what Arrow says, whatever its bytes."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import record, record_layout
from ingest.record import RawRecord, decode, decode_many, encode
from ingest.record_arrow import MalformedRecord
from ingest.record_layout import Layouts
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import BY_NUMBER
from vitals.ids import device_id, patient_id

HEADER = BatchHeader(patient_id("p1"), device_id("d1"), "app", "test")
METRICS = sorted(BY_NUMBER)


def columns(seed: int, rows: int, ids: str, deleted: bool) -> SampleColumns:
    draw = np.random.default_rng(seed)
    sample_id = draw.integers(1, 256, (rows, 16)).astype(np.uint8)
    if ids != "all":
        sample_id[:: 1 if ids == "none" else 2] = 0
    return sample_columns(
        draw.integers(-(2**40), 2**60, rows), draw.choice(METRICS[:5], rows).astype(np.int16), draw.normal(size=rows),
        received_us=draw.integers(0, 2**60, rows), written_us=draw.integers(0, 2**60, rows),
        duration_ms=draw.integers(0, 10_000, rows), quality=draw.random(rows).astype(np.float32),
        context=draw.integers(0, 64, rows).astype(np.int16), sample_id=sample_id,
        zone_offset_min=draw.integers(-720, 720, rows).astype(np.int16),
        deleted=draw.random(rows) < 0.3 if deleted else False,
    )  # fmt: skip


def raw(told: SampleColumns) -> RawRecord:
    made = encode(HEADER, told)
    return made.key, made.value, made.headers


def equal(one: SampleColumns, other: SampleColumns) -> bool:
    return all(
        getattr(one, each.name).dtype == getattr(other, each.name).dtype
        and getattr(one, each.name).shape == getattr(other, each.name).shape
        and getattr(one, each.name).tobytes() == getattr(other, each.name).tobytes()
        for each in fields(SampleColumns)
    )


def by_arrow(told: RawRecord) -> SampleColumns | str:
    try:
        return decode(*told)[1]
    except MalformedRecord as error:
        return str(error)


def known(value: bytes) -> bool:
    return record._LAYOUTS.find(value) is not None


SAMPLES = st.builds(
    columns, st.integers(0, 9), st.integers(1, 20), st.sampled_from(["none", "all", "some"]), st.booleans()
)


@given(st.lists(SAMPLES, min_size=1, max_size=8))
def test_whatever_is_known_already_the_samples_are_arrows(told: list[SampleColumns]) -> None:
    records = [raw(one) for one in told]
    for _ in range(2):  # what the first has read the second finds
        decoded = decode_many(records)
        assert not decoded.failures
        assert decoded.counts.tolist() == [len(one) for one in told]
        assert equal(decoded.columns, SampleColumns.concat([decode(*one)[1] for one in records]))


@pytest.mark.parametrize(("ids", "found"), [("none", True), ("all", True), ("some", False)])
def test_second_record_of_a_kind_is_not_read_by_arrow(ids: str, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_LAYOUTS", Layouts())
    first, second = (columns(1, 12, ids, deleted=False) for _ in range(2))
    second = second.take(np.arange(12))
    second.value[:] = 7.0
    decode_many([raw(first)])
    assert known(encode(HEADER, second).value) is found
    assert equal(decode_many([raw(second)]).columns, second)


@settings(max_examples=300)
@given(SAMPLES, st.data())
def test_broken_bytes_fail_as_they_do_in_arrow(told: SampleColumns, data: st.DataObject) -> None:
    key, value, headers = raw(told)
    assert value is not None
    decode_many([(key, value, headers)])
    broken = bytearray(value)
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    one = (key, bytes(broken), headers)
    expected = by_arrow(one)
    decoded = decode_many([(key, value, headers), one])
    if isinstance(expected, str):
        assert str(decoded.failures[1]) == expected
        assert decoded.headers[1] is None
        assert equal(decoded.columns, decode(key, value, headers)[1])
    else:
        assert equal(decoded.columns, SampleColumns.concat([decode(key, value, headers)[1], expected]))


def test_an_index_beyond_its_dictionary_is_refused_and_its_neighbours_are_not() -> None:
    told = columns(3, 10, "none", deleted=True)
    good = raw(told)
    decode_many([good])
    layout = record._LAYOUTS.find(good[1] or b"")
    assert layout is not None
    value = bytearray(good[1] or b"")
    for index in (len(layout.numbers), 32_767, -1):
        value[layout.spans[3]] = np.full(10, index, np.int16).tobytes()
        assert known(bytes(value))
        decoded = decode_many([good, (good[0], bytes(value), good[2]), good])
        assert list(decoded.failures) == [1]
        assert decoded.counts.tolist() == [10, 0, 10]
        assert equal(decoded.columns, SampleColumns.concat([decode(*good)[1]] * 2))


def test_no_more_layouts_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_layout, "MAX_LAYOUTS", 3)
    layouts = Layouts()
    monkeypatch.setattr(record, "_LAYOUTS", layouts)
    records = [raw(columns(1, rows, "none", deleted=False)) for rows in range(1, 9)]
    for _ in range(2):
        for one in records:
            assert equal(decode_many([one]).columns, decode(*one)[1])
            assert len(layouts) <= 3
