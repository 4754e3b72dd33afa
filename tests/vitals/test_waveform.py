"""Waveform chunks to Arrow and back, and what is refused."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from vitals.batch import SchemaMismatch
from vitals.waveform import WAVEFORM_SCHEMA, WAVEFORMS, WaveformChunk, chunk_from_arrow, chunk_to_arrow

T0 = 1_800_000_000_000_000
XYZ = WaveformChunk(
    metric="acceleration", start_us=T0, rate_hz=52.0, values=np.arange(12, dtype=np.int32).reshape(3, 4), scale=0.001,
    written_us=T0 + 1, received_us=T0 + 2, channel="wrist", quality=0.5, context=2, zone_offset_min=60,
)  # fmt: skip


def test_there_and_back() -> None:
    back = chunk_from_arrow(chunk_to_arrow(XYZ))
    assert back.values.tolist() == XYZ.values.tolist()
    assert replace(back, values=XYZ.values).__repr__() == XYZ.__repr__()


def test_axes_are_interleaved_on_the_wire() -> None:
    assert chunk_to_arrow(XYZ).column("values")[0].as_py()[:6] == [0, 4, 8, 1, 5, 9]


def test_times_and_units_follow_from_rate_and_scale() -> None:
    assert XYZ.samples == 4
    assert XYZ.end_us == T0 + round(4 / 52 * 1_000_000)
    assert XYZ.physical()[2].tolist() == pytest.approx([0.008, 0.009, 0.010, 0.011])


def test_the_catalogues_waveforms() -> None:
    assert {"ecg", "ppg", "acceleration"} == WAVEFORMS


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("unit", pa.array(["mV"])),
        ("axes", pa.array([0], pa.int8())),
        ("axes", pa.array([5], pa.int8())),
        ("values", pa.array([[]], WAVEFORM_SCHEMA.field("values").type)),
    ],
)
def test_what_cannot_be_is_refused(column: str, value: pa.Array) -> None:
    batch = chunk_to_arrow(XYZ)
    index = WAVEFORM_SCHEMA.get_field_index(column)
    columns = [value if at == index else one for at, one in enumerate(batch.columns)]
    with pytest.raises(SchemaMismatch):
        chunk_from_arrow(pa.RecordBatch.from_arrays(columns, schema=WAVEFORM_SCHEMA))


def test_other_columns_and_other_numbers_of_rows_are_refused() -> None:
    batch = chunk_to_arrow(XYZ)
    with pytest.raises(SchemaMismatch, match="expected the waveform columns"):
        chunk_from_arrow(batch.select(WAVEFORM_SCHEMA.names[1:]))
    with pytest.raises(SchemaMismatch, match="one chunk"):
        chunk_from_arrow(batch.slice(0, 0))
