"""What Vigil writes as FHIR it reads again as it was."""

import json
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.fhir import ADAPTER, to_bundle
from tests.devices.adapting import NOW_US, told, us
from vitals.batch import NO_ZONE, BatchHeader, SampleColumns, sample_columns
from vitals.catalogue import METRICS, Kind, Metric
from vitals.ids import DeviceId, PatientId

HEADER = BatchHeader(PatientId("p-1"), DeviceId("d-1"), "app-1", "test")
_METRICS = [metric for metric in METRICS if metric.kind is not Kind.WAVEFORM]


@st.composite
def pressures(draw: st.DrawFn) -> list[tuple[object, ...]]:
    """Pressures of one moment, some of them deleted together, some told twice."""
    start, _, _, duration, *rest = draw(rows())
    deleted = rest[4]
    told = draw(st.lists(st.tuples(st.sampled_from((10, 11, 12)), st.floats(40, 200)), min_size=1, max_size=4))
    return [(start, metric, 0.0 if deleted else value, duration, *rest) for metric, value in told]


@st.composite
def rows(draw: st.DrawFn) -> tuple[object, ...]:
    metric: Metric = draw(st.sampled_from(_METRICS))
    deleted = draw(st.booleans())
    value = draw(
        st.sampled_from(sorted(metric.categories)) if metric.categories else st.floats(metric.low, metric.high)
    )
    shortest = 1 if metric.kind is Kind.INTERVAL else 0
    return (
        draw(st.integers(us(2000, 1, 2), us(2099, 12, 30))), metric.number, 0.0 if deleted else float(value),
        draw(st.integers(shortest, 86_400_000)), draw(st.just(NO_ZONE) | st.integers(-840, 840)),
        draw(st.integers(0, 255)), draw(st.integers(us(2000, 1, 2), us(2099, 12, 30))),
        draw(st.floats(0, 1, width=32)), deleted, draw(st.just(bytes(16)) | st.binary(min_size=16, max_size=16)),
    )  # fmt: skip


def columns(drawn: Sequence[tuple[object, ...]]) -> SampleColumns:
    start, metric, value, duration, zone, context, written, quality, deleted, ids = zip(*drawn, strict=True)
    return sample_columns(
        np.array(start, np.int64), np.array(metric, np.int16), np.array(value, np.float64), received_us=NOW_US,
        written_us=np.array(written, np.int64), duration_ms=np.array(duration, np.int64),
        zone_offset_min=np.array(zone, np.int16), quality=np.array(quality, np.float32),
        context=np.array(context, np.int16), deleted=np.array(deleted, np.bool_),
        sample_id=np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16),
    )  # fmt: skip


def in_order(of: SampleColumns) -> list[int]:
    """Places by all columns: a panel tells its pressures together, wherever they stood."""
    return sorted(range(len(of)), key=lambda at: [getattr(of, field.name)[at].tolist() for field in fields(of)])


def test_blood_pressures_of_one_moment_are_a_panel() -> None:
    at, bp = us(2024, 6, 1), (10, 11, 12)
    drawn = [(at, metric, 80.0, 0, 0, 0, at, 1.0, False, bytes(16)) for metric in (*bp, 1, 10)]
    drawn += [(at + 1_000_000, 10, 120.0, 0, 0, 0, at, 1.0, False, bytes(16))]
    resources = [entry["resource"] for entry in to_bundle(HEADER, columns(drawn))["entry"]]
    codes = [resource["code"]["coding"][0]["code"] for resource in resources]
    assert codes == ["85354-9", "8867-4", "8480-6", "8480-6"]
    parts = [part["code"]["coding"][0]["code"] for part in resources[0]["component"]]
    assert parts == ["8480-6", "8462-4", "8478-0"]
    assert resources[0]["category"][0]["coding"][0]["code"] == "vital-signs"


@settings(max_examples=150, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=8), pressures())
def test_every_column_comes_back_bit_by_bit(drawn: list[tuple[object, ...]], more: list[tuple[object, ...]]) -> None:
    samples = columns([*drawn, *more])
    written = json.dumps(to_bundle(HEADER, samples), allow_nan=False).encode()
    result = told(ADAPTER, written)
    assert result.reading.tally.rejected == {}
    assert sum(result.reading.tally.by_metric.values()) == len(samples)
    for field in fields(samples):
        found, expected = (getattr(of, field.name)[in_order(of)] for of in (result.samples, samples))
        assert np.array_equal(found, expected), field.name


def test_a_resource_says_what_the_vital_signs_profile_asks_for() -> None:
    samples = sample_columns(
        np.array([us(2024, 6, 1, 8)], np.int64), np.array([1], np.int16), np.array([72.0]), received_us=NOW_US,
        written_us=us(2024, 6, 1, 9), zone_offset_min=120,
    )  # fmt: skip
    (entry,) = to_bundle(HEADER, samples)["entry"]
    assert entry["fullUrl"].startswith("urn:uuid:")
    assert entry["resource"] == {
        "resourceType": "Observation",
        "status": "final",
        "category": [
            {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
                ]
            }
        ],
        "code": {
            "coding": [
                {"system": "http://loinc.org", "code": "8867-4"},
                {"system": "urn:vigil:metric", "code": "heart_rate"},
            ]
        },
        "subject": {"identifier": {"system": "urn:vigil:patient", "value": "p-1"}},
        "device": {"identifier": {"system": "urn:vigil:device", "value": "d-1"}},
        "issued": "2024-06-01T09:00:00.000000Z",
        "effectiveDateTime": "2024-06-01T10:00:00.000000+02:00",
        "valueQuantity": {"value": 72.0, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
    }


def test_the_same_sample_has_the_same_url_whenever_it_is_written() -> None:
    samples = columns([(us(2024, 6, 1), 1, 72.0, 0, 0, 0, us(2024, 6, 1), 1.0, False, bytes(16))])
    assert to_bundle(HEADER, samples) == to_bundle(HEADER, samples)
    moved = columns([(us(2024, 6, 2), 1, 72.0, 0, 0, 0, us(2024, 6, 1), 1.0, False, bytes(16))])
    assert to_bundle(HEADER, samples)["entry"][0]["fullUrl"] != to_bundle(HEADER, moved)["entry"][0]["fullUrl"]
