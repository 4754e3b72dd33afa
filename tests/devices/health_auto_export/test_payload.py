"""Payloads as a whole: sleep, workouts, events, real ones, hostile ones; and no name in anything."""

import io
import json
import logging
import pickle
import uuid
import zipfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.adapter import Adapter, Piece, Reading
from devices.errors import MalformedExport
from devices.health_auto_export import ADAPTER, adapter, intake, read_payload
from stream.waveform_validate import fault
from tests.devices.health_auto_export.payloads import (
    KEY,
    NOW_US,
    apps,
    check,
    metric,
    point,
    read,
    reading,
    rows,
    sessions,
    utc,
)
from vigil.sessions import annotation_of
from vitals.batch import BatchHeader, to_arrow
from vitals.ids import is_opaque, patient_id

START, END = "2024-06-01 10:00:00 +0200", "2024-06-01 10:30:00 +0200"
SPAN = {"start": START, "end": END}


def _stage(value: str, start: str, end: str, **more: object) -> dict[str, object]:
    return {
        "startDate": f"2024-06-{start} +0000",
        "endDate": f"2024-06-{end} +0000",
        "value": value,
        "source": "W",
    } | more


def test_raw_sleep_is_stretches_and_derived_nights() -> None:
    data = metric(
        "sleep_analysis",
        "hr",
        _stage("In Bed", "01 22:00:00", "02 06:00:00", source="Phone"),
        _stage("Core", "01 23:00:00", "02 01:00:00"),
        _stage("Deep", "02 01:00:00", "02 02:00:00"),
        _stage("REM", "02 02:00:00", "02 02:30:00"),
        _stage("Awake", "02 02:30:00", "02 02:40:00"),
        _stage("Asleep", "02 03:30:00", "02 05:00:00"),
        _stage("Unspecified", "02 13:00:00", "02 13:30:00"),
        _stage("Dreaming", "02 13:00:00", "02 13:30:00"),
        _stage("Core", "02 14:00:00", "02 13:30:00"),
    )
    pieces, tally = read(data)
    assert [(row[0], row[2] // 60_000, row[3]) for row in rows(pieces)] == [
        ("in_bed", 480, 1.0),
        ("sleep_stage", 120, 3.0),
        ("sleep_stage", 60, 4.0),
        ("sleep_stage", 30, 5.0),
        ("sleep_stage", 10, 2.0),
        ("sleep_stage", 90, 1.0),
        ("sleep_stage", 30, 1.0),
    ]
    assert tally.rejected == {"value": 1, "duration": 1}
    nights = [(one.kind, (one.end_us - one.start_us) // 60_000_000, one.confidence) for one in sessions(pieces)]
    assert nights == [("sleep", 480, 0.8), ("sleep", 360, 0.8), ("sleep", 30, 0.8)]


NIGHT = {"sleepStart": "2024-06-01 23:00:00 +0200", "sleepEnd": "2024-06-02 07:00:00 +0200"}


@pytest.mark.parametrize(
    ("totals", "minutes"),
    [
        ({"asleep": 7.5}, {1: 450}),
        ({"asleep": 7, "core": 4, "deep": 1, "rem": 2, "awake": 0.5}, {3: 240, 4: 60, 5: 120, 2: 30}),
        ({"totalSleep": 7.5, "asleep": 0.5, "core": 4, "deep": 1, "rem": 2}, {1: 30, 3: 240, 4: 60, 5: 120}),
        ({"totalSleep": 7, "asleep": 0, "core": 4, "deep": 1, "rem": 2, "inBed": 0}, {3: 240, 4: 60, 5: 120}),
        ({"asleep": 0, "core": 4, "deep": 1, "rem": 2}, {3: 240, 4: 60, 5: 120}),
    ],
)
def test_totals_of_a_night_keep_their_amounts_and_never_mix_with_what_was_measured(
    totals: dict[str, float], minutes: dict[int, int]
) -> None:
    pieces, _ = read(metric("sleep_analysis", "hr", {"date": "2024-06-02", "source": "W"} | NIGHT | totals))
    told = rows(pieces)
    assert {int(row[3]): row[2] // 60_000 for row in told} == minutes
    assert min(row[1] for row in told) == "2024-06-01 21:00:00"
    assert apps(pieces) == [".totals"]
    (night,) = sessions(pieces)
    assert (night.start_us, night.end_us) == (utc("2024-06-01T23:00:00+02:00"), utc("2024-06-02T07:00:00+02:00"))
    assert night.confidence == 1.0


def test_time_in_bed_has_its_own_source_and_times() -> None:
    bed = {
        "inBed": 8.5,
        "inBedStart": "2024-06-01 22:30:00 +0200",
        "inBedEnd": "2024-06-02 07:00:00 +0200",
        "inBedSource": "iPhone",
        "sleepSource": "Watch",
        "asleep": 7,
    }
    pieces, _ = read(metric("sleep_analysis", "hr", NIGHT | bed))
    assert rows(pieces)[0] == ("in_bed", "2024-06-01 20:30:00", 30_600_000, 1.0, 120)
    assert len({piece.device_id for piece in pieces}) == 2


@pytest.mark.parametrize(
    ("night", "reason"),
    [
        ({}, "missing_value"),
        ({"asleep": 7}, "date"),
        (NIGHT | {"asleep": -1}, "value"),
        (NIGHT | {"asleep": 99}, "duration"),
    ],
)
def test_a_night_that_says_nothing_is_counted(night: dict[str, object], reason: str) -> None:
    pieces, tally = read(metric("sleep_analysis", "hr", night))
    assert (pieces, tally.rejected) == ([], {reason: 1})


@pytest.mark.parametrize(
    ("name", "number", "label"),
    [
        ("Walking", 52, "walking"),
        ("Outdoor Walk", 52, "walking"),
        ("Indoor Run", 37, "running"),
        ("Yoga", 57, "yoga"),
        ("High Intensity Interval Training", 63, "hiit"),
        ("Traditional Strength Training", 50, "traditional_strength"),
        ("Pool Swim", 46, "swimming"),
        ("Tai Chi", 3000, "tai_chi"),
        ("Petronella's Own", 3000, "other"),
        (None, 3000, "other"),
        ("HKWorkoutActivityTypeCycling", 13, "cycling"),
    ],
)
def test_workouts(name: str | None, number: int, label: str) -> None:
    pieces, _ = read({"workouts": [{"name": name, **SPAN}]})
    assert rows(pieces) == [("workout", "2024-06-01 08:00:00", 1_800_000, float(number), 120)]
    assert [(one.kind, one.label) for one in sessions(pieces)] == [("workout", label)]


def test_what_a_workout_holds_has_an_origin_of_its_own_and_places_are_never_read() -> None:
    workout = {
        "id": str(uuid.UUID(int=7)),
        "name": "Running",
        **SPAN,
        "location": "Outdoor",
        "heartRateData": [{"Min": 90, "Avg": 100, "Max": 110, "units": "bpm", "date": START}, {"qty": 1}, None],
        "activeEnergy": [{"qty": 4.184, "units": "kJ", "date": START}],
        "activeEnergyBurned": {"qty": 9, "units": "kcal"},
        "distance": {"qty": 5, "units": "km"},
        "stepCount": {"qty": 900, "units": "steps"},
        "flightsClimbed": {"qty": 1, "units": "furlong"},
        "route": [{"lat": 52.3675, "lon": 4.9041, "timestamp": START}],
    }
    pieces, tally = read({"workouts": [workout]})
    at = "2024-06-01 08:00:00"
    assert rows(pieces) == [
        ("active_energy", at, 60_000, 1.0, 120),
        ("distance", at, 1_800_000, 5_000.0, 120),
        ("heart_rate", at, 1_000, 100.0, 120),
        ("steps", at, 1_800_000, 900.0, 120),
        ("workout", at, 1_800_000, 37.0, 120),
    ]
    assert apps(pieces) == ["", ".workout"]
    assert (tally.accepted, tally.ignored) == (1, {"workout_point": 1})
    assert sessions(pieces)[0].metrics == ("workout", "active_energy", "distance", "heart_rate", "steps")
    (own,) = [
        piece.samples
        for piece in pieces
        if piece.samples is not None and piece.sessions == () and len(piece.samples) == 1
    ]
    assert own.sample_id.tolist() == [list(uuid.UUID(int=7).bytes)], "the bridge's own id travels with its sample"


@pytest.mark.parametrize(
    ("kind", "suffix", "duration_ms"),
    [
        ("Daily Mood", ".daily_mood", 1_800_000),
        ("dailyMood", ".daily_mood", 1_800_000),
        ("Momentary Emotion", "", 0),
        ("momentary_emotion", "", 0),
        ("Petronella", "", 0),
    ],
)
def test_state_of_mind_is_a_valence_and_apples_own_words(kind: str, suffix: str, duration_ms: int) -> None:
    mind = {
        "id": "x",
        "kind": kind,
        "labels": ["Anxious", "sad", "Petronella"],
        "associations": ["Family"],
        "valence": -0.6,
        "valenceClassification": 2,
        "metadata": {"note": "Petronella"},
        **SPAN,
    }
    pieces, _ = read({"stateOfMind": [mind]})
    assert rows(pieces) == [("state_of_mind_valence", "2024-06-01 08:00:00", duration_ms, -0.6, 120)]
    assert apps(pieces) == [suffix]
    assert [(one.kind, one.label) for one in sessions(pieces)] == [("state_of_mind", "anxious.sad")]


def test_symptoms_of_one_moment_are_told_apart_without_free_text() -> None:
    given = [
        {"name": name, "severity": severity, "userEntered": True, **SPAN}
        for name, severity in (
            ("Headache", "Severe"),
            ("Shortness of Breath", "Mild"),
            ("Rapid, Pounding, or Fluttering Heartbeat", "Present"),
            ("Petronella's own", "Not Present"),
            ("Fever", "Terrible"),
        )
    ]
    pieces, tally = read({"symptoms": given})
    assert sorted(row[3] for row in rows(pieces)) == [0, 1, 2, 4]
    assert apps(pieces) == [".headache", ".other", ".rapid_pounding_or_fluttering_heartbeat", ".shortness_of_breath"]
    assert tally.rejected == {"value": 1}


def test_medication_events() -> None:
    given = [
        {"displayText": name, "status": status, "start": START}
        for name, status in (
            ("Lithium", "Taken"),
            ("lithium ", "Skipped"),
            ("Quetiapine", "Snoozed"),
            ("Quetiapine", "Not Logged"),
            ("Q", "Eaten"),
        )
    ]
    pieces, tally = read({"medications": given})
    assert sorted(row[3] for row in rows(pieces)) == [1, 2, 3]
    assert len(pieces) == 2, "one origin a medicine"
    assert (tally.rejected, tally.ignored) == ({"value": 1}, {"medication_without_event": 1})


@pytest.mark.parametrize(("threshold", "event"), [(120, 2), (40, 1), (None, 3)])
def test_heart_rate_notifications(threshold: int | None, event: int) -> None:
    stamp = {"timestamp": {**SPAN, "interval": {"duration": 1_800, "units": "s"}}}
    given = {**SPAN, "threshold": threshold, "heartRate": [{"hr": 125, "units": "bpm", **stamp}, {"hr": None}, 5]}
    told = rows(read({"heartRateNotifications": [given]})[0])
    assert told == [
        ("heart_rate", "2024-06-01 08:00:00", 1_800_000, 125.0, 120),
        ("heart_rate_event", "2024-06-01 08:00:00", 1_800_000, event, 120),
    ]


def test_an_ecg_is_a_waveform_and_a_session() -> None:
    voltages = [{"date": START, "voltage": v, "units": "mcV"} for v in (1.5, -2, 3)]
    given = {
        **SPAN,
        "classification": "Sinus Rhythm",
        "samplingFrequency": 512,
        "voltageMeasurements": voltages,
        "source": "W",
    }
    pieces, _ = read({"ecg": [given, given | {"classification": "Petronella", "voltageMeasurements": []}]})
    (chunk,) = [chunk for piece in pieces for chunk in piece.waveforms]
    np.testing.assert_allclose(chunk.physical(), [[0.0015, -0.002, 0.003]])
    assert (chunk.start_us, chunk.zone_offset_min, fault(chunk)) == (utc("2024-06-01T10:00:00+02:00"), 120, None)
    assert sorted(one.label for one in sessions(pieces)) == ["sinus_rhythm", "unclassified"]
    for bad, reason in (
        ({"voltageMeasurements": [*voltages, {"voltage": 1, "units": "furlong"}]}, "unit"),
        ({"voltageMeasurements": [*voltages, None]}, "not_well_formed"),
        ({"samplingFrequency": 0}, "unit"),
        ({"samplingFrequency": None}, "missing_value"),
    ):
        pieces, tally = read({"ecg": [given | bad]})
        assert (pieces, tally.rejected) == ([], {reason: 1})


def test_what_is_not_read_is_counted_by_name_only_if_that_is_a_plain_identifier() -> None:
    data = {
        "metrics": [
            {"name": name, "units": "x", "data": [point(), point()]}
            for name in ("handwashing", "Petronella Q", "", None, 5, "x" * 100)
        ],
        "cycleTracking": [{}],
        "clinical_notes": [{}, {}],
        "Petronella": {"a": 1},
    }
    assert read(data)[1].ignored == {"handwashing": 2, "other": 11, "clinical_notes": 2}
    many = {"metrics": [{"name": f"m{i}", "data": [point()]} for i in range(700)]}
    assert read(many)[1].ignored["other"] == 200


@pytest.mark.realdata
def test_real_payloads(realdata: Path) -> None:
    folder = realdata / "health-auto-export"
    told = {path.name[:2]: read(path.read_bytes())[0] for path in sorted(folder.glob("0*.json"))}
    at = "2021-12-24 00:02:43"
    assert {name: rows(pieces) for name, pieces in told.items()} == {
        "01": [
            ("active_energy", "2021-12-23 16:04:00", 60_000, 0.183692, 480),
            ("active_energy", "2021-12-23 16:05:00", 60_000, 0.090308, 480),
        ],
        "02": [
            ("active_energy", at, 1_150_000, 54.065781, 480),
            ("heart_rate", "2021-12-24 00:02:47", 0, 108.0, 480),
            ("steps", at, 1_150_000, 908.0, 480),
            ("workout", at, 1_150_000, 52.0, 480),
        ],
        "03": [
            ("in_bed", "2021-12-17 18:12:50", 24_715_000, 1.0, 480),
            ("sleep_stage", "2021-12-17 18:21:06", 21_990_000, 1.0, 480),
        ],
        "04": [("sleep_stage", "2021-12-17 18:21:06", 23_760_000, 3.0, 480)],
        "05": [],
    }
    assert [one.kind for name in sorted(told) for one in sessions(told[name])] == ["workout", "sleep", "sleep"]


def test_a_payload_sent_again_tells_the_same() -> None:
    data = metric("sleep_analysis", "hr", _stage("Core", "01 23:00:00", "02 01:00:00")) | {
        "workouts": [{"name": "Run", **SPAN}]
    }
    (one, _), (two, _) = read(data), read(data)
    assert [pickle.dumps(piece) for piece in one] == [pickle.dumps(piece) for piece in two]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Petronella",
        b"[]",
        b"5",
        b"null",
        b'{"data": 5}',
        b'{"data": []}',
        b'{"Petronella": 1}',
        b'{"data": {"metrics": [',
        b"[" * 100_000,
        b'{"data":' * 5_000,
        b'{"data": {"metrics": "\xff"}}',
        b"\x00" * 1_000,
    ],
    ids=range(13),
)
def test_what_is_no_payload_is_refused_without_repeating_it(body: bytes) -> None:
    with pytest.raises(MalformedExport) as caught:
        read(body)
    assert "Petronella" not in repr(caught.value) + str(caught.value.__cause__)


def test_a_payload_is_bounded_in_bytes_and_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "MAX_BYTES", 1_000)
    with pytest.raises(MalformedExport, match="at most 1000 bytes"):
        read(b" " * 1_001)
    monkeypatch.setattr(intake, "MAX_RECORDS", 3)
    how = reading()
    body = json.dumps({"data": metric("heart_rate", "bpm", *[point()] * 5)}).encode()
    pieces: list[Piece] = []
    with pytest.raises(MalformedExport, match="more than 3 records"):
        pieces.extend(read_payload(body, how))
    assert how.tally.by_metric.total() == sum(len(piece.samples or ()) for piece in pieces) == 3, "what stood before"


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from([START, END, "Watch"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "units",
                    "data",
                    "date",
                    "qty",
                    "Avg",
                    "start",
                    "end",
                    "value",
                    "startDate",
                    "endDate",
                    "asleep",
                    "sleepStart",
                    "heartRate",
                    "timestamp",
                    "hr",
                    "voltageMeasurements",
                    "samplingFrequency",
                    "labels",
                    "kind",
                    "valence",
                    "severity",
                    "status",
                    "stepCount",
                    "heartRateData",
                    "threshold",
                    "inBed",
                    "inBedStart",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@settings(deadline=None, max_examples=300)
@given(
    metrics=st.lists(
        st.tuples(
            st.sampled_from(["heart_rate", "step_count", "sleep_analysis", "blood_pressure", "mindful_minutes"]), _JSON
        ),
        max_size=3,
    ),
    others=st.dictionaries(
        st.sampled_from(["workouts", "stateOfMind", "medications", "symptoms", "ecg", "heartRateNotifications"]),
        _JSON | st.lists(_JSON, max_size=3),
    ),
)
def test_whatever_stands_in_a_payload_it_is_counted(
    metrics: list[tuple[str, object]], others: dict[str, object]
) -> None:
    named = [{"name": name, "units": "hr", "data": data} for name, data in metrics]
    pieces, _ = read(others | {"metrics": named})
    for piece in pieces:
        BatchHeader(patient_id("p"), piece.device_id, piece.source_app, ADAPTER.name)
        if piece.samples is not None:
            to_arrow(piece.samples)


SECRETS = ("Petronella", "Quackenbush", "1971-11-23", "52.3675", "Utrecht", "Lithium")
NAME = "Petronella Quackenbush Utrecht"


def test_nothing_that_comes_out_holds_a_name(caplog: pytest.LogCaptureFixture) -> None:
    free = {
        "notes": NAME,
        "id": NAME,
        "metadata": {NAME: NAME},
        "source": NAME,
        "location": NAME,
        "name": NAME,
        "kind": NAME,
        "classification": NAME,
        "labels": [NAME],
        "associations": [NAME],
        "displayText": f"Lithium {NAME}",
        "nickname": NAME,
        "status": "Taken",
        "severity": "Mild",
        "valence": 0.5,
        "birthDate": "1971-11-23",
        "latitude": 52.3675,
    }
    everything = {
        key: [free | SPAN, free, {**free, "start": NAME}]
        for key in (
            "workouts",
            "stateOfMind",
            "medications",
            "symptoms",
            "ecg",
            "heartRateNotifications",
            "cycleTracking",
        )
    }
    metrics = [
        {
            "name": name,
            "units": unit,
            "data": [
                point(60, source=NAME, **{NAME: NAME}),
                point(NAME),
                point(60, NAME),
                point(60, source=NAME, units=NAME),
                NAME,
                _stage("Core", "01 23:00:00", "02 01:00:00", source=NAME),
                NIGHT | {"asleep": 7, "sleepSource": NAME},
            ],
        }
        for name, unit in (("heart_rate", "bpm"), ("step_count", NAME), ("sleep_analysis", "hr"), (NAME, NAME))
    ]
    with caplog.at_level(logging.DEBUG):
        pieces, tally = read(everything | {"metrics": metrics, NAME: [free]})
    assert tally.accepted == 10
    out = [repr(tally) + repr(asdict(tally)) + repr(tally.to_json()) + caplog.text]
    for piece in pieces:
        BatchHeader(patient_id("p"), piece.device_id, piece.source_app, ADAPTER.name)
        assert all(is_opaque(one.session_id) and is_opaque(one.label or "x") for one in piece.sessions)
        wire = b"" if piece.samples is None else to_arrow(piece.samples).serialize().to_pybytes()
        out += [repr(piece), pickle.dumps(piece).decode("latin-1"), wire.decode("latin-1")]
    for secret in SECRETS:
        for text in out:
            assert secret.lower() not in text.lower()


def _zip(*bodies: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.txt", b"Petronella")
        for i, body in enumerate(bodies):
            archive.writestr(f"HealthAutoExport {NAME} {i}.json", body)
    return file


def test_a_file_and_a_zip_read_alike(tmp_path: Path) -> None:
    body = json.dumps({"data": metric("heart_rate", "bpm", point(60))}).encode()
    path = tmp_path / "export.json"
    path.write_bytes(body)
    assert isinstance(ADAPTER, Adapter)
    for source, count in ((path, 1), (io.BytesIO(body), 1), (_zip(body, body), 2)):
        how = reading()
        pieces = list(ADAPTER.read(source, how))
        check(how.tally, pieces)
        assert how.tally.accepted == count
    for bad in (_zip(), _zip(b"Petronella"), io.BytesIO(_zip(body).getvalue()[:-30])):
        with pytest.raises(MalformedExport) as caught:
            list(ADAPTER.read(bad, reading()))
        assert "Petronella" not in str(caught.value)


def test_ids_are_the_keys_own() -> None:
    body = json.dumps({"data": metric("heart_rate", "bpm", point(60))}).encode()
    one, two = (next(read_payload(body, Reading(NOW_US, key))) for key in (KEY, b"another"))
    assert one.device_id != two.device_id
    assert one.source_app != two.source_app


EVERYTHING = {
    "metrics": [
        {"name": "heart_rate", "units": "bpm", "data": [point(60), {"Min": 1, "Avg": 2, "Max": 3, "date": START}]},
        {"name": "step_count", "units": "count", "data": [point(1e300), point(5)]},
        {"name": "mindful_minutes", "units": "min", "data": [point(5), point(1e308)]},
        {"name": "blood_pressure", "units": "mmHg", "data": [{"systolic": 120, "diastolic": 80, "date": START}]},
        {"name": "sleep_analysis", "units": "hr", "data": [
            _stage("Core", "01 23:00:00", "02 01:00:00"), NIGHT | {"totalSleep": 7, "deep": 1e308},
            NIGHT | {"asleep": 7}]},
    ],
    "workouts": [{"name": "Run", **SPAN, "stepCount": {"qty": 1e308, "units": "steps"}}],
    "stateOfMind": [{"valence": 0.5, "labels": ["calm"], **SPAN}],
    "symptoms": [{"name": "Fever", "severity": "Mild", **SPAN}],
    "medications": [{"displayText": "x", "status": "Taken", "start": START}],
    "heartRateNotifications": [{"threshold": 120, **SPAN}],
    "ecg": [{**SPAN, "samplingFrequency": 1, "voltageMeasurements": [{"voltage": 1e300, "units": "V"}]},
            {**SPAN, "samplingFrequency": 1, "voltageMeasurements": [{"voltage": 1, "units": "mcV"}]}],
}  # fmt: skip


def test_every_session_fits_the_annotation_that_it_travels_as() -> None:
    pieces, tally = read(EVERYTHING)
    assert tally.rejected == {"duration": 2, "value": 1}
    notes = [annotation_of(patient_id("p"), piece, one) for piece in pieces for one in piece.sessions]
    labels = sorted(note.label for note in notes)
    assert labels == ["ecg.unclassified", "mindfulness", "sleep", "sleep", "state_of_mind.calm", "workout.running"]


@settings(deadline=None, max_examples=300)
@given(at=st.integers(0, 10_000), noise=st.binary(max_size=4), cut=st.integers(0, 4))
def test_whatever_the_bytes_a_payload_is_read_or_malformed(at: int, noise: bytes, cut: int) -> None:
    body = json.dumps({"data": EVERYTHING}).encode()
    at %= len(body)
    with suppress(MalformedExport):
        read(body[:at] + noise + body[at + cut :])


@pytest.mark.parametrize("end", [[], {}, ["x"], 5, True])
def test_an_end_that_is_no_text_costs_its_own_record_only(end: object) -> None:
    broken, whole = ({"name": "Outdoor Run", "id": name, **SPAN} for name in ("a", "b"))
    pieces, tally = read({"workouts": [broken | {"end": end}, whole]})
    assert (len(sessions(pieces)), tally.rejected["date"]) == (1, 1)
