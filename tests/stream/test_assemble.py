"""From raw records to rows: every sample keeps its place, and what is rejected its reason."""

from dataclasses import replace

import numpy as np
import pytest

from ingest.record import encode
from stream.assemble import RawRecord, place, rejected, validate
from tests.stream.making import HEADER, T0, samples
from timeseries.model import Rejected
from timeseries.rows import ROW
from vitals.batch import BatchHeader, SampleColumns
from vitals.ids import device_id, patient_id

PATIENTS = {"p1": 11, "p2": 22}
ORIGINS = {("d1", "app"): 5, ("d1", "other"): 6}


def record(columns: SampleColumns, header: BatchHeader = HEADER, offset: int = 0) -> RawRecord:
    made = encode(header, columns)
    return RawRecord("vigil.samples", 3, offset, 1_800_000_000_000, made.key, made.value, made.headers)


def test_rows_carry_every_column() -> None:
    columns = replace(
        samples("steps", [0.0], [42.0], quality=0.75, context=5, received_s=9),
        duration_ms=np.array([60_000]), written_us=np.array([T0 + 7]), zone_offset_min=np.array([120], np.int16),
    )  # fmt: skip
    rows = place(validate([record(columns)]), PATIENTS, ORIGINS).rows
    assert rows.dtype == ROW
    assert dict(zip(ROW.names or (), rows[0].item(), strict=True)) == {
        "time": T0, "written_at": T0 + 7, "received_at": T0 + 9_000_000, "value": 42.0, "patient_key": 11,
        "origin_key": 5, "duration_ms": 60_000, "quality": 0.75, "metric_key": 16, "flags": 0, "context": 5,
        "zone_offset_min": 120,
    }  # fmt: skip


def test_accepted_and_rejected_know_their_record_and_index() -> None:
    other = BatchHeader(patient_id("p2"), device_id("d1"), "other", "healthkit")
    records = [
        record(samples("heart_rate", [0, 1, 2], [60, 999, np.nan])),
        RawRecord("vigil.samples", 3, 1, 0, b"p1", b"rubbish", ()),
        record(samples("spo2", [0, 1], [30, 97]), other),
    ]
    validated = validate(records)
    placed = place(validated, PATIENTS, ORIGINS)
    assert list(zip(placed.record.tolist(), placed.index.tolist(), placed.rows["value"].tolist(), strict=True)) == [
        (0, 0, 60.0), (2, 1, 97.0),
    ]  # fmt: skip
    assert placed.rows[["patient_key", "origin_key"]].tolist() == [(11, 5), (22, 6)]
    assert rejected(validated) == [
        Rejected(1, -1, "schema_version", None),
        Rejected(0, 1, "out_of_range", "heart_rate"),
        Rejected(0, 2, "not_finite", "heart_rate"),
        Rejected(2, 0, "out_of_range", "spo2"),
    ]
    assert validated.adapters == ["ble", "unknown", "healthkit"]
    assert sorted(validated.patients) == ["p1", "p2"]
    assert sorted(validated.origins) == [("d1", "app"), ("d1", "other")]


def test_a_deletion_becomes_a_tombstone_without_a_value() -> None:
    gone = replace(samples("heart_rate", [0], [np.nan], quality=np.nan, context=3), deleted=np.array([True]))
    row = place(validate([record(gone)]), PATIENTS, ORIGINS).rows[0]
    assert (row["value"], row["quality"], row["flags"]) == (0.0, 0.0, 128)


def test_the_longest_duration_survives_the_narrower_column() -> None:
    longest = replace(samples("af_burden", [0], [3.0]), duration_ms=np.array([24 * 86_400_000]))
    assert place(validate([record(longest)]), PATIENTS, ORIGINS).rows["duration_ms"].tolist() == [24 * 86_400_000]


def test_a_patient_without_a_key_is_an_error_of_ours() -> None:
    with pytest.raises(KeyError):
        place(validate([record(samples("heart_rate", [0], [60]))]), {}, ORIGINS)


def test_nothing_is_nothing() -> None:
    validated = validate([])
    assert len(place(validated, {}, {}).rows) == 0
    assert rejected(validated) == []


def test_what_the_quarantine_keeps_of_a_record_names_nobody() -> None:
    made = replace(record(samples("heart_rate", [0], [60])), key=b"Erika M.", epoch=4, follows=9)
    source = made.source()
    assert (source.patient_id, source.device_id, source.adapter, source.epoch) == (None, "d1", "ble", 4)
    assert (source.key, source.value) == (made.key, made.value), "whole, for its second chance"
