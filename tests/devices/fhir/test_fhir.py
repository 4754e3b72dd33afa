"""FHIR R4 Observations in."""

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.adapter import Reading
from devices.errors import MalformedExport
from devices.fhir import ADAPTER, Entries, LeftOut
from tests.devices.adapting import KEY, NAME, NOW_US, Told, check_private, told, us
from vitals.batch import NO_ZONE

AT = us(2024, 6, 1, 8)
Json = dict[str, Any]


def observation(code: str = "8867-4", value: object = 72, unit: str = "/min", **changes: object) -> Json:
    """A heart rate; a change to None leaves a field out."""
    given: Json = {
        "resourceType": "Observation", "id": "o-1", "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": "Heart rate"}]},
        "subject": {"reference": "Patient/1"}, "effectiveDateTime": "2024-06-01T10:00:00+02:00",
        "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
    }  # fmt: skip
    return {key: field for key, field in (given | changes).items() if field is not None}


def bundle(*resources: object) -> bytes:
    return json.dumps(
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}
    ).encode()


def read(*resources: object, zone: str = "UTC") -> Told:
    return told(ADAPTER, bundle(*resources), zone=zone)


def refused(resource: object) -> str:
    result = read(resource)
    assert result.pieces == []
    return next(iter(result.reading.tally.rejected))


def component(code: str, value: object, unit: str = "mm[Hg]") -> Json:
    return {"code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": unit}}  # fmt: skip


def test_a_heart_rate() -> None:
    result = read(observation(issued="2024-06-01T08:05:00Z"))
    assert result.of("heart_rate") == [(AT, 72.0)]
    assert result.samples.zone_offset_min.tolist() == [120]
    assert result.samples.written_us.tolist() == [us(2024, 6, 1, 8, 5)]
    assert result.samples.sample_id.any()


def test_blood_pressure_is_told_by_its_components() -> None:
    panel = observation(
        "85354-9",
        valueQuantity=None,
        component=[component("8480-6", 121), component("8462-4", 79), component("1-1", 1)],
    )
    result = read(panel)
    assert (result.of("bp_systolic"), result.of("bp_diastolic")) == ([(AT, 121.0)], [(AT, 79.0)])
    assert len({row.tobytes() for row in result.samples.sample_id}) == 2
    assert result.reading.tally.accepted == 1


def test_a_panel_whose_components_are_wrong_says_what_is_wrong_with_them() -> None:
    assert refused(observation("85354-9", valueQuantity=None, component=[component("8480-6", 121, "psi")])) == "unit"


@pytest.mark.parametrize(
    ("code", "value", "unit", "metric", "expected"),
    [
        ("8310-5", 98.6, "[degF]", "body_temperature", 37.0),
        ("8310-5", 310.15, "K", "body_temperature", 37.0),
        ("8331-1", 37.1, "Cel", "body_temperature", 37.1),
        ("29463-7", 160, "[lb_av]", "weight", 72.5747792),
        ("8302-2", 1.8, "m", "body_height", 180.0),
        ("59408-5", 0.97, "1", "spo2", 97.0),
        ("2708-6", 97, "%", "spo2", 97.0),
        ("15074-8", 5.5, "mmol/L", "glucose", 99.085734),
        ("2339-0", 99, "mg/dL", "glucose", 99.0),
        ("8480-6", 16, "kPa", "bp_systolic", 120.009852),
        ("9279-1", 14, "{breaths}/min", "respiratory_rate", 14.0),
        ("39156-5", 23.1, "kg/m2", "body_mass_index", 23.1),
        ("40443-4", 55, "/min", "resting_heart_rate", 55.0),
        ("80404-7", 0.042, "s", "hrv_sdnn", 42.0),
    ],
)
def test_units_become_the_catalogues(code: str, value: float, unit: str, metric: str, expected: float) -> None:
    ((_, found),) = read(observation(code, value, unit)).of(metric)
    assert found == pytest.approx(expected, abs=1e-6)


def test_sites_and_specimens_do_not_pool() -> None:
    result = read(*(observation(code, 37, "Cel") for code in ("8310-5", "8331-1", "8332-9")))
    assert {piece.source_app for piece in result.pieces} == {"fhir", "fhir.oral", "fhir.rectal"}


def test_an_interval_needs_a_period() -> None:
    period = {"start": "2024-06-01T08:00:00Z", "end": "2024-06-01T09:00:00Z"}
    steps = observation("55423-8", 500, "{steps}", effectiveDateTime=None, effectivePeriod=period)
    assert read(steps).spans("steps") == [(AT, 3_600_000, 500.0)]
    whole = observation("55423-8", effectiveDateTime=None, effectivePeriod=period, valueQuantity=None, valueInteger=7)
    assert read(whole).spans("steps") == [(AT, 3_600_000, 7.0)]
    assert refused(observation("55423-8", 500, "{steps}")) == "duration"
    backwards = {"start": "2024-06-01T08:00:00Z", "end": "2024-06-01T07:00:00Z"}
    assert refused(observation(effectiveDateTime=None, effectivePeriod=backwards)) == "duration"


def test_an_instant_and_a_local_time() -> None:
    instant = observation(effectiveDateTime=None, effectiveInstant="2024-06-01T08:00:00.25Z")
    assert read(instant).of("heart_rate") == [(AT + 250_000, 72.0)]
    assert read(instant).samples.zone_offset_min.tolist() == [NO_ZONE]
    local = read(observation(effectiveDateTime="2024-06-01T10:00:00"), zone="Europe/Vienna")
    assert local.of("heart_rate") == [(AT, 72.0)]


@pytest.mark.parametrize(
    "text", ["2024", "2024-06", "2024-06-01", "yesterday", "", "2024-13-01T00:00:00Z", None, "9999-12-31T23:59:59Z"]
)
def test_a_date_without_a_time_is_no_moment(text: str | None) -> None:
    assert refused(observation(effectiveDateTime=text)) == "date"


def test_what_was_entered_in_error_is_deleted() -> None:
    wrong = read(observation(status="entered-in-error", valueQuantity=None))
    right = read(observation())
    assert wrong.samples.deleted.tolist() == [True]
    assert wrong.samples.start_us.tolist() == right.samples.start_us.tolist()
    assert wrong.samples.sample_id.tobytes() == right.samples.sample_id.tobytes()
    assert {piece.device_id for piece in wrong.pieces} == {piece.device_id for piece in right.pieces}


@pytest.mark.parametrize("status", ["registered", "cancelled", "unknown"])
def test_without_a_result_nothing_is_told(status: str) -> None:
    assert read(observation(status=status)).reading.tally.ignored == {"without_result": 1}


def test_an_absent_value_and_an_unknown_code_are_ignored() -> None:
    absent = observation(valueQuantity=None, dataAbsentReason={"coding": [{"code": "not-performed"}]})
    result = read(absent, observation("1234-5"), {"resourceType": "Patient", "name": NAME}, {"resourceType": NAME})
    assert result.reading.tally.ignored == {"absent": 1, "code": 1, "Patient": 1, "other": 1}


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        (observation(unit="furlong"), "unit"),
        (observation(unit=""), "unit"),
        (observation(valueQuantity={"value": 72}), "unit"),
        (observation(valueQuantity={"code": "/min"}), "value"),
        (observation(valueQuantity={"value": 72, "code": "/min", "comparator": "<"}), "comparator"),
        (observation(valueQuantity={"value": "72", "code": "/min"}), "not_well_formed"),
        (observation(valueQuantity={"value": True, "code": "/min"}), "not_well_formed"),
        (observation(value=float("inf")), "not_well_formed"),
        (observation("8480-6", 1.7e308, "kPa"), "value"),
        (observation(valueQuantity=None, valueString="72"), "value_type"),
        (observation(status="done"), "not_well_formed"),
        (observation(status=None), "not_well_formed"),
        (observation() | {"code": "8867-4"}, "not_well_formed"),
        ("no resource", "not_well_formed"),
        (None, "not_well_formed"),
    ],
)
def test_what_is_wrong_is_named(resource: object, reason: str) -> None:
    assert refused(resource) == reason


def test_one_file_is_of_one_person() -> None:
    other = observation(subject={"reference": "Patient/2"}, effectiveDateTime="2024-06-01T11:00:00Z")
    result = read(observation(), other, observation(subject=None, effectiveDateTime="2024-06-01T12:00:00Z"))
    assert [start for start, _ in result.of("heart_rate")] == [AT, AT + 14_400_000_000]
    assert result.reading.tally.rejected == {"other_subject": 1}


def test_a_person_may_be_named_by_an_identifier() -> None:
    one, two = ({"identifier": {"system": "urn:x", "value": value}} for value in "ab")
    result = read(observation(subject=one), observation(subject=two, effectiveDateTime="2024-06-01T11:00:00Z"))
    assert result.reading.tally.rejected == {"other_subject": 1}


def test_devices_are_told_apart_and_not_named() -> None:
    named = ({"reference": "Device/a"}, {"identifier": {"value": "b"}}, {"display": "c"}, None)
    result = read(*(observation(device=device) for device in named))
    assert len({piece.device_id for piece in result.pieces}) == 3


def sampled(code: str, data: str, *, system: str = "urn:iso:std:iso:11073:10101", **changes: object) -> Json:
    series: Json = {
        "origin": {"value": 0, "unit": "mV", "code": "mV"},
        "period": 4,
        "factor": 0.005,
        "dimensions": 1,
        "data": data,
    }
    concept = {"coding": [{"system": system, "code": code}]}
    return observation(valueQuantity=None) | {"code": concept, "valueSampledData": series | changes}


def test_sampled_data_of_an_ecg_is_a_waveform_broken_where_it_is() -> None:
    result = read(sampled("131329", "1 2 3 E 5 6 U L 9"))
    chunks = [chunk for piece in result.pieces for chunk in piece.waveforms]
    assert [chunk.values.tolist() for chunk in chunks] == [[[1, 2, 3]], [[5, 6]], [[9]]]
    assert [chunk.start_us for chunk in chunks] == [AT, AT + 16_000, AT + 32_000]
    assert {(chunk.metric, chunk.rate_hz, chunk.scale, chunk.channel) for chunk in chunks} == {
        ("ecg", 250.0, 0.005, "lead_i")
    }


def test_sampled_data_keep_their_physical_values() -> None:
    origin = {"value": 2, "unit": "uV", "code": "uV"}
    ((piece,),) = [read(sampled("131328", "-10 0 1.5", origin=origin, factor=3)).pieces]
    assert piece.waveforms[0].physical()[0] == pytest.approx([-0.028, 0.002, 0.0065], abs=1e-9)
    long = read(sampled("131328", " ".join(["7"] * 130_000)))
    sizes = [chunk.samples for piece in long.pieces for chunk in piece.waveforms]
    assert (sum(sizes), max(sizes) <= 60_000) == (130_000, True)


def test_sampled_data_of_a_vital_sign_are_samples() -> None:
    origin = {"value": 0, "code": "/min"}
    series = sampled("8867-4", "60 E 62", system="http://loinc.org", origin=origin, period=1_000, factor=1)
    assert read(series).of("heart_rate") == [(AT, 60.0), (AT + 2_000_000, 62.0)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": "1 two"}, "value"), ({"data": "nan"}, "value"), ({"period": 0}, "value"), ({"period": -1}, "value"),
        ({"factor": 0, "data": "1"}, None), ({"data": ""}, None), ({"dimensions": 0}, "not_well_formed"),
        ({"dimensions": 3, "data": "1 2"}, "value_type"), ({"origin": {"value": 0, "code": "furlong"}}, "unit"),
        ({"data": "1e300 1"}, "value"), ({"period": 1e300, "data": "1 2"}, "value"), ({"data": "E E"}, None),
        ({"factor": 1e308, "data": "1e10"}, "value"),
    ],
)  # fmt: skip
def test_series_that_are_none(changes: Json, reason: str | None) -> None:
    result = read(sampled("131328", **{"data": "1 2 3"} | changes))
    assert next(iter(result.reading.tally.rejected), None) == reason


def test_ndjson_and_a_single_resource() -> None:
    lines = [
        json.dumps(observation(id=f"o-{n}", effectiveDateTime=f"2024-06-01T10:{n:02d}:00+02:00")) for n in range(10)
    ]
    lines[4] = lines[4][:-9]
    result = told(ADAPTER, "\n".join(lines).encode() + b"\n\n")
    assert len(result.of("heart_rate")) == 9
    assert result.reading.tally.rejected == {"not_well_formed": 1}
    pretty = json.dumps(observation(), indent=2).encode()
    assert told(ADAPTER, b"\xef\xbb\xbf" + pretty).of("heart_rate") == [(AT, 72.0)]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"null", b"<Bundle/>", b"[" * 10_000 + b"]" * 10_000,
        b'{"resourceType": "Bundle", "entry": 7}',
        b'{"resourceType": "Bundle", "entry": [{"resource": ' * 3_000, bundle(observation())[:-3],
        b'{"a": ' + b"9" * 5_000 + b"}",
        bundle(observation()).decode().encode("utf-16"), b"\xff\xfe", b"PK\x03\x04",
    ],
)  # fmt: skip
def test_what_is_no_fhir_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(MalformedExport, match="FHIR"):
        told(ADAPTER, data)


def test_too_large_a_bundle_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.fhir.adapter.MAX_DOCUMENT_BYTES", 100)
    with pytest.raises(MalformedExport, match="ndjson"):
        told(ADAPTER, bundle(observation()))


SECRET = f"{NAME} 1971-11-23 Utrecht petra@mail.example"
PERSON: Json = {"resourceType": "Patient", "id": "p", "name": [{"text": SECRET}], "birthDate": "1971-11-23"}
PLANTED = bundle(
    PERSON,
    observation(
        subject={"reference": f"Patient/{NAME}", "display": SECRET}, performer=[{"display": SECRET}],
        note=[{"text": SECRET}],
        device={"reference": f"Device/{NAME}", "display": SECRET}, contained=[PERSON], text={"div": SECRET},
        encounter={"display": "Utrecht"}, bodySite={"text": SECRET}, id=NAME,
        identifier=[{"system": SECRET, "value": SECRET}],
    ),
    observation(subject={"reference": f"Patient/{NAME}"}, unit=SECRET), observation(status=SECRET),
    observation(effectiveDateTime=SECRET), observation(code=SECRET), {"resourceType": SECRET}, SECRET,
    observation(valueQuantity=None, valueString=SECRET), sampled("131328", SECRET),
)  # fmt: skip


def test_no_name_comes_out() -> None:
    result = told(ADAPTER, PLANTED)
    assert result.reading.tally.accepted == 1
    check_private(result)
    for data in (
        PLANTED[:-9],
        SECRET.encode(),
        json.dumps({NAME: SECRET}).encode(),
        PLANTED.replace(b'"status"', b'"status'),
    ):
        check_private(told(ADAPTER, data, fails=True))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PLANTED) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_bundles_are_malformed_or_bundles(changes: list[tuple[int, int]]) -> None:
    data = bytearray(PLANTED)
    for place, value in changes:
        data[place] = value
    told(ADAPTER, bytes(data), fails=True)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("2024-06-01T10:00:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["coding", "system", "code", "value", "unit", "start", "end", "origin", "period", "data"]),
        inner,
        max_size=4,
    ),
    max_leaves=10,
)  # fmt: skip
_FIELDS = ["status", "code", "effectiveDateTime", "effectivePeriod", "valueQuantity", "valueSampledData", "component",
           "issued",
           "meta", "subject", "device", "extension", "identifier", "valueInteger"]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(_FIELDS), _json, max_size=4), _json)
def test_any_json_in_any_field(changes: Json, resource: object) -> None:
    told(ADAPTER, bundle(observation() | changes, sampled("131328", "1 2") | changes, resource), fails=True)


def test_ten_thousand_are_read_in_bounded_pieces() -> None:
    resources = [
        observation(id=str(n), effectiveDateTime=f"2024-06-{1 + n // 1440:02d}T{n // 60 % 24:02d}:{n % 60:02d}:00Z")
        for n in range(10_000)
    ]
    reading = Reading(NOW_US, KEY, batch_size=1_000)
    sizes = [
        len(piece.samples)
        for piece in ADAPTER.read(io.BytesIO(bundle(*resources)), reading)
        if piece.samples is not None
    ]
    assert (sum(sizes), max(sizes)) == (10_000, 1_000)
    assert np.sum(sizes) == reading.tally.accepted


def test_entries_say_what_became_of_each_and_where_each_sample_came_from() -> None:
    panel = observation("85354-9", valueQuantity=None, component=[component("8480-6", 121), component("8462-4", 79)])
    resources = [
        observation(value=60 + n, device={"reference": f"Device/{n % 2}"}) if n % 5 else {"resourceType": "Patient"}
        for n in range(23)
    ] + [panel, 7, observation("8310-5", 37, "furlong")]  # fmt: skip
    entries, reading = Entries(most=6), Reading(NOW_US, KEY, batch_size=3)
    places: dict[tuple[str, str], list[int]] = {}
    found: dict[int, list[float]] = {}
    for piece in ADAPTER.read(io.BytesIO(bundle(*resources)), reading, entries):
        assert piece.samples is not None
        origin = (piece.device_id, piece.source_app)
        left = places.setdefault(origin, list(entries.places[piece.device_id, piece.source_app]))  # type: ignore[index]
        for value in piece.samples.value.tolist():
            found.setdefault(left.pop(0), []).append(value)
    expected: dict[int, list[float]] = {n: [60.0 + n] for n in range(23) if n % 5}
    assert {place: sorted(values) for place, values in found.items()} == {**expected, 23: [79.0, 121.0]}
    ignored = [LeftOut(n, "Patient", ignored=True) for n in range(0, 23, 5)]
    assert entries.left_out == [*ignored, LeftOut(24, "not_well_formed", ignored=False)]
    assert reading.tally.rejected == {"not_well_formed": 1, "unit": 1}


@pytest.mark.parametrize("kind", [[], {}, 5, True])
def test_a_document_whose_type_is_no_word_is_refused_and_not_an_error(kind: object) -> None:
    with pytest.raises(MalformedExport):
        told(ADAPTER, json.dumps({"resourceType": kind, "entry": []}).encode())
