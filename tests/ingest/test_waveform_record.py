"""The wire form of waveforms: anything that can be sent comes back, anything else is refused with a reason."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ingest.record import decode, encode
from ingest.record_arrow import MalformedRecord
from ingest.waveform_record import MAX_VALUES, decode_chunk, encode_chunk
from vitals.batch import BatchHeader, sample_columns
from vitals.ids import device_id, patient_id
from vitals.quality import Reason
from vitals.waveform import WaveformChunk, chunk_to_arrow

HEADER = BatchHeader(patient_id("p1"), device_id("d1"), "app", "ble", "00-1-2-01")
T0 = 1_800_000_000_000_000


def ecg(n: int = 100, **changes: Any) -> WaveformChunk:
    told: dict[str, Any] = {
        "metric": "ecg", "start_us": T0, "rate_hz": 130.0, "values": np.arange(n, dtype=np.int32).reshape(1, n),
        "scale": 0.001, "written_us": T0, "received_us": T0,
    }  # fmt: skip
    return WaveformChunk(**{**told, **changes})


def refused(value: bytes | None, **headers: bytes | None) -> MalformedRecord:
    record = encode_chunk(HEADER, ecg())
    told = {**dict(record.headers), **{name.replace("_", "-"): text for name, text in headers.items()}}
    with pytest.raises(MalformedRecord) as caught:
        decode_chunk(record.key, value, list(told.items()))
    return caught.value


@given(
    hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=50)),
    st.sampled_from(["ecg", "ppg", "acceleration"]),
    st.floats(allow_nan=False),
    st.integers(-(2**62), 2**62),
)
def test_there_and_back(values: np.ndarray, metric: str, number: float, time: int) -> None:
    chunk = ecg(metric=metric, values=values, rate_hz=number, scale=-number, start_us=time, written_us=-time)
    record = encode_chunk(HEADER, chunk)
    header, back = decode_chunk(record.key, record.value, record.headers)
    assert header == HEADER
    assert back.values.tolist() == values.tolist()
    assert (back.metric, back.rate_hz, back.scale, back.start_us, back.written_us) == (
        metric, number, -number, time, -time,
    )  # fmt: skip


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(value: bytes) -> None:
    assert refused(value).reason in {Reason.UNDECODABLE, Reason.OVERSIZED}


@given(st.integers(0, 2_000), st.integers(0, 255))
def test_a_damaged_record_is_refused_or_of_the_schema(at: int, byte: int) -> None:
    record = encode_chunk(HEADER, ecg())
    value = bytearray(record.value)
    value[at % len(value)] = byte
    try:
        _, chunk = decode_chunk(record.key, bytes(value), record.headers)
    except MalformedRecord:
        return
    assert 0 < chunk.values.size <= MAX_VALUES


def test_bounds() -> None:
    most = encode_chunk(HEADER, ecg(MAX_VALUES))
    assert len(most.value) < 1024 * 1024
    for n in (0, MAX_VALUES + 1):
        with pytest.raises(MalformedRecord) as caught:
            encode_chunk(HEADER, ecg(n))
        assert caught.value.reason is Reason.OVERSIZED
    assert refused(None).reason is refused(b"x" * (1024 * 1024 + 1)).reason is Reason.OVERSIZED


def test_compressed_buffers_are_refused() -> None:
    batch = chunk_to_arrow(ecg(MAX_VALUES))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    assert refused(sink.getvalue().to_pybytes()).reason is Reason.SCHEMA_MISMATCH


@pytest.mark.parametrize("batches", [0, 2])
def test_one_batch_a_record(batches: int) -> None:
    batch = chunk_to_arrow(ecg())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        for _ in range(batches):
            writer.write_batch(batch)
    assert refused(sink.getvalue().to_pybytes()).reason is Reason.SCHEMA_MISMATCH


def test_headers_are_checked_and_never_quoted() -> None:
    value = encode_chunk(HEADER, ecg()).value
    error = refused(value, vigil_device=b"Anna's strap")
    assert error.reason is Reason.HEADERS
    assert "Anna" not in str(error)
    assert refused(value, vigil_waveform_schema=b"2").reason is Reason.SCHEMA_VERSION


def test_neither_reader_takes_the_others_record_for_its_own() -> None:
    now = np.array([T0])
    samples = encode(HEADER, sample_columns(now, np.array([1], np.int16), np.array([60.0]), received_us=now))
    waveform = encode_chunk(HEADER, ecg())
    with pytest.raises(MalformedRecord) as caught:
        decode_chunk(samples.key, samples.value, samples.headers)
    assert caught.value.reason is Reason.SCHEMA_VERSION
    with pytest.raises(MalformedRecord) as caught:
        decode(waveform.key, waveform.value, waveform.headers)
    assert caught.value.reason is Reason.SCHEMA_VERSION
