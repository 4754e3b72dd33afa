"""A second chance by today's rules: what passes is sent as it was, what does not stays, nobody's name travels."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from ingest.record import Record, decode, encode
from ingest.record_arrow import MAX_SAMPLES
from ingest.topics import MAX_MESSAGE_BYTES
from ingest.waveform_record import decode_chunk, encode_chunk
from stream import quarantine_replay as module
from stream.quarantine_feed import message
from stream.quarantine_replay import OURS, Chance, chances
from tests.stream.making import HEADER, T0, samples
from tests.stream.waveforms import chunks
from timeseries.model import REPLAY, SourceRecord
from timeseries.quarantine_model import Held, Place
from timeseries.quarantine_outbox import Unpublished
from vitals.batch import BatchHeader, SampleColumns, sample_columns
from vitals.ids import device_id, patient_id
from vitals.validity import reasons

PLACE = Place("vigil.samples", 3, 1, 17)
NAME = "Anna Schmidt, 1961-04-12"


def held(record: Record, *indices: int, **changes: object) -> Held:
    source = SourceRecord(*PLACE, 1_800_000_000_000, "p1", "d1", "ble", record.key, record.headers, record.value)
    return Held(replace(source, **changes), indices)  # type: ignore[arg-type]


def chance(one: Held) -> Chance:
    (found,) = chances([one])
    return found


def full() -> SampleColumns:
    """Four samples, every column with something of its own; the second and the last cannot be true."""
    columns = samples("heart_rate", [0, 1, 2, 3], [60, 400, 62, 12], quality=[1, 0.5, 0.25, 1], context=[0, 1, 2, 4])
    ids = np.arange(64, dtype=np.uint8).reshape(4, 16)
    return replace(
        columns, written_us=np.arange(4) + T0 + 5, received_us=np.arange(4) + T0 + 9_000_000, sample_id=ids,
        zone_offset_min=np.array([60, 120, 180, -32768], np.int16), deleted=np.array([False, False, False, False]),
    )  # fmt: skip


def sent(one: Chance) -> tuple[BatchHeader, SampleColumns]:
    assert one.record is not None
    return decode(one.record.key, one.record.value, one.record.headers)


@pytest.fixture
def relaxed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Today a heart rate of 400 is possible."""

    def rules(columns: SampleColumns) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        codes = reasons(columns)
        codes[(codes == 4) & (columns.value != 12)] = 0
        return codes

    monkeypatch.setattr(module, "reasons", rules)


def test_what_the_rules_still_reject_stays_and_nothing_is_sent() -> None:
    one = chance(held(encode(HEADER, full()), 1, 3))
    assert one == Chance(rejected=Counter(out_of_range=2))


@pytest.mark.usefixtures("relaxed")
def test_only_the_quarantined_samples_that_pass_are_sent_and_keep_every_column() -> None:
    one = chance(held(encode(HEADER, full()), 1, 3))
    assert (one.indices, one.accepted, one.rejected, one.returning) == ((1,), 1, Counter(out_of_range=1), Counter())
    header, columns = sent(one)
    assert header == HEADER
    expected = full().take(np.array([1]))
    for name in SampleColumns.__slots__:
        np.testing.assert_array_equal(getattr(columns, name), getattr(expected, name), name)


@pytest.mark.usefixtures("relaxed")
def test_a_neighbour_that_was_stored_is_not_sent_again() -> None:
    one = chance(held(encode(HEADER, full()), 1))
    assert sent(one)[1].value.tolist() == [400]


def test_a_record_that_opens_now_is_sent_as_it_was() -> None:
    record = encode(HEADER, full().take(np.array([0, 2])))
    one = chance(held(record, -1))
    assert one.record is not None
    assert (one.record.key, one.record.value) == (record.key, record.value)
    assert (one.indices, one.accepted, one.rejected, one.returning) == ((-1,), 2, Counter(), Counter())


def test_what_is_wrong_in_a_whole_record_will_come_back_under_its_own_index() -> None:
    one = chance(held(encode(HEADER, full()), -1))
    assert (one.indices, one.accepted, one.returning) == ((-1,), 2, Counter(out_of_range=2))
    assert one.record is not None


def test_a_whole_record_of_which_nothing_passes_stays() -> None:
    one = chance(held(encode(HEADER, full().take(np.array([1, 3]))), -1))
    assert one == Chance(rejected=Counter(out_of_range=1))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": b"not Arrow"}, "undecodable"),
        ({"value": None}, "oversized"),
        ({"value": b"x" * (MAX_MESSAGE_BYTES + 1)}, "oversized"),
        ({"key": None}, "headers"),
        ({"key": NAME.encode()}, "headers"),
        ({"headers": [("vigil-schema", b"1")]}, "headers"),
        ({"headers": [("vigil-schema", b"99")]}, "schema_version"),
        ({"headers": []}, "schema_version"),
    ],
)
@pytest.mark.parametrize("indices", [(-1,), (1, 3)])
def test_a_record_that_does_not_open_stays(changes: dict[str, object], reason: str, indices: tuple[int, ...]) -> None:
    assert chance(held(encode(HEADER, full()), *indices, **changes)) == Chance(rejected=Counter({reason: len(indices)}))


@pytest.mark.usefixtures("relaxed")
def test_an_index_that_the_record_does_not_have_stays() -> None:
    one = chance(held(encode(HEADER, full()), 1, 99))
    assert (one.indices, one.rejected) == ((1,), Counter(undecodable=1))


def test_only_our_headers_travel_and_one_says_where_it_was() -> None:
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    record = encode(replace(HEADER, traceparent=trace.decode()), full())
    foreign = [
        ("patient-name", NAME.encode()),
        (REPLAY, b"vigil.samples/0/0/1"),
        ("vigil-note", NAME.encode()),
        ("x", None),
    ]
    one = chance(held(record, -1, headers=[*foreign, *record.headers]))
    assert one.record is not None
    assert one.record.headers == (*record.headers, (REPLAY, b"vigil.samples/3/1/17"))
    assert dict(one.record.headers)["traceparent"] == trace


def test_a_traceparent_that_is_none_does_not_travel() -> None:
    record = encode(HEADER, full())
    one = chance(held(record, -1, headers=[*record.headers, ("traceparent", NAME.encode())]))
    assert one.record is not None
    assert "traceparent" not in dict(one.record.headers)


def test_of_a_header_told_twice_only_the_one_that_was_judged_travels() -> None:
    record = encode(HEADER, full())
    one = chance(held(record, -1, headers=[("vigil-device", NAME.encode()), *record.headers]))
    assert one.record is not None
    assert NAME.encode() not in [raw for _, raw in one.record.headers]


def test_every_header_that_we_write_travels() -> None:
    assert {name for name, _ in encode(replace(HEADER, traceparent="00"), full()).headers} == OURS


@pytest.mark.usefixtures("relaxed")
def test_words_that_the_value_carries_beside_the_columns_do_not_travel() -> None:
    """A part is written anew: what a stranger put into the schema's metadata stays behind."""
    import pyarrow as pa

    from vitals.batch import to_arrow

    batch = to_arrow(full()).replace_schema_metadata({"patient": NAME})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    value = sink.getvalue().to_pybytes()
    assert NAME.encode() in value
    one = chance(held(encode(HEADER, full()), 1, value=value))
    assert one.record is not None
    assert NAME.encode() not in one.record.value


def test_a_record_at_the_limit_that_cannot_grow_by_a_header_stays() -> None:
    record = encode(HEADER, full())
    padded = record.value + bytes(MAX_MESSAGE_BYTES - len(record.value))
    assert len(decode(record.key, padded, record.headers)[1]) == 4
    one = chance(held(record, -1, value=padded))
    assert (one.record, one.indices, one.rejected) == (None, (), Counter(oversized=1))


def test_the_largest_batch_is_sent_again() -> None:
    n = MAX_SAMPLES
    start = T0 + np.arange(n)
    ids = np.ones((n, 16), np.uint8)
    large = sample_columns(start, np.ones(n, np.int16), np.full(n, 60.0), received_us=start, sample_id=ids)
    assert chance(held(encode(HEADER, large), -1)).accepted == n


def test_any_bytes_are_judged_and_none_raise() -> None:
    rng = np.random.default_rng(7)
    record = encode(HEADER, full())
    for _ in range(300):
        value = bytearray(record.value)
        for at in rng.integers(0, len(value), 3):
            value[at] = rng.integers(0, 256)
        one = chance(held(record, 1, 3, value=bytes(value)))
        assert len(one.indices) + one.rejected.total() == 2
        if one.record is not None:
            assert not reasons(sent(one)[1]).any()


def test_the_message_says_where_and_why_and_nothing_of_what() -> None:
    row = Unpublished(5, *PLACE, 2, "future", "spo2", datetime(2026, 1, 2, tzinfo=UTC), "p1", "d1", "ble")
    key, value = message(row)
    assert key == b"p1"
    assert value == (
        b'{"id": "vigil.samples/3/1/17/2", "topic": "vigil.samples", "partition": 3, "epoch": 1, "offset": 17, '
        b'"index": 2, "reason": "future", "metric": "spo2", "adapter": "ble", "device_id": "d1", '
        b'"recorded_at": "2026-01-02T00:00:00+00:00"}'
    )
    nobody = replace(row, patient_id=None, device_id=None, adapter=None, metric=None, index=-1)
    assert message(nobody)[0] == b"vigil.samples/3/1/17"


def test_the_ids_of_another_patient_stay_theirs() -> None:
    other = BatchHeader(patient_id("p2"), device_id("d2"), "other", "export")
    assert sent(chance(held(encode(other, full()), -1)))[0] == other


def test_many_are_judged_as_each_by_itself() -> None:
    good, bad = encode(HEADER, full()), encode(HEADER, full().take(np.array([1, 3])))
    other = encode(
        BatchHeader(patient_id("p2"), device_id("d2"), "other", "export"), samples("spo2", [0, 1], [97, 400])
    )
    page = [held(good, -1), held(bad, -1), held(good, 0, key=None), held(other, 0, 1), held(good, 0, 1, 99)]
    assert chances(page) == [chance(one) for one in page]
    assert [one.accepted for one in chances(page)] == [2, 0, 0, 1, 1]
    assert chances([]) == []


ECG = chunks("ecg", 250.0, np.sin(np.arange(500.0)).reshape(1, -1))[0]


def wave(*indices: int, **changes: object) -> Held:
    return held(encode_chunk(HEADER, ECG), *indices, **{"topic": "vigil.waveforms", **changes})


def test_a_chunk_that_passes_today_is_sent_to_the_waveforms_again() -> None:
    one = chance(wave(-1))
    assert (one.topic, one.indices, one.accepted, one.chunks, one.rejected) == ("vigil.waveforms", (-1,), 0, 1, {})
    assert one.record is not None
    header, chunk = decode_chunk(one.record.key, one.record.value, one.record.headers)
    assert header == HEADER
    for name in ECG.__slots__:
        np.testing.assert_array_equal(getattr(chunk, name), getattr(ECG, name), name)
    assert dict(one.record.headers)[REPLAY] == b"vigil.waveforms/3/1/17"


def test_a_chunk_that_does_not_pass_stays() -> None:
    late = encode_chunk(HEADER, replace(ECG, received_us=ECG.start_us - 10**9))
    assert chance(held(late, -1, topic="vigil.waveforms")) == Chance(rejected=Counter(future=1))
    assert chance(wave(-1, value=b"rubbish")) == Chance(rejected=Counter(undecodable=1))
    assert chance(wave(-1, key=NAME.encode())) == Chance(rejected=Counter(headers=1))
    assert chance(held(encode(HEADER, full()), -1, topic="vigil.waveforms")) == Chance(
        rejected=Counter(schema_version=1)
    ), "samples on the wrong topic"


def test_what_was_derived_from_a_stored_chunk_stays() -> None:
    assert chance(wave(0, 3)) == Chance(rejected=Counter(derived=2))


def test_of_a_chunk_only_what_it_is_made_of_travels() -> None:
    import pyarrow as pa

    from vitals.waveform import chunk_to_arrow

    batch = chunk_to_arrow(ECG).replace_schema_metadata({"patient": NAME})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    headers = [("patient-name", NAME.encode()), ("traceparent", NAME.encode()), *encode_chunk(HEADER, ECG).headers]
    one = chance(wave(-1, value=sink.getvalue().to_pybytes(), headers=headers))
    assert one.record is not None
    assert NAME.encode() not in one.record.value
    assert not [raw for _, raw in one.record.headers if NAME.encode() in raw]


def test_samples_and_waveforms_of_one_page_are_judged_each_by_its_own_rules() -> None:
    record = encode(HEADER, full().take(np.array([0, 2])))
    page = [wave(-1), held(record, -1), wave(0), held(record, -1, value=b"x"), wave(-1)]
    assert [(one.accepted, one.chunks, one.topic) for one in chances(page)] == [
        (0, 1, "vigil.waveforms"), (2, 0, "vigil.samples.backfill"), (0, 0, "vigil.samples.backfill"),
        (0, 0, "vigil.samples.backfill"), (0, 1, "vigil.waveforms"),
    ]  # fmt: skip
