"""Exports read to the end: our fixture, and real fragments against the csv files that came with them."""

import csv
import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.adapter import Adapter, Reading
from devices.apple import ADAPTER, ExportSummary, read_export
from devices.apple.categories import SYMPTOMS
from devices.errors import MalformedExport
from tests.devices.apple.exports import FIXTURES, KEY, NOW_US, document, element, origins, read, samples, sessions
from vitals.adapters import is_export
from vitals.batch import metric_codes, to_arrow
from vitals.clock import from_datetime
from vitals.ids import is_opaque
from vitals.quality import Context
from vitals.validity import reasons

WATCH = (
    "&lt;&lt;HKDevice: {pointer}&gt;, name:{name}, manufacturer:Apple Inc., model:Watch, "
    "hardware:{hardware}, software:{software}&gt;"
)


def _watch(pointer: str = "0x1", name: str = "Apple Watch", hardware: str = "Watch6,7", software: str = "10.2") -> str:
    return WATCH.format(pointer=pointer, name=name, hardware=hardware, software=software)


def test_the_fixture_gives_what_stands_beside_it() -> None:
    expected = json.loads((FIXTURES / "everyday.expected.json").read_text())
    batches, summary = read(FIXTURES / "everyday.xml")
    assert summary.to_json() == expected["summary"]
    columns = samples(batches)
    rows = sorted(
        zip(
            columns.start_us.tolist(), columns.duration_ms.tolist(), columns.zone_offset_min.tolist(),
            metric_codes(columns), columns.value.tolist(), columns.context.tolist(), strict=True,
        )
    )  # fmt: skip
    assert rows == [(from_datetime(datetime.fromisoformat(start)), *rest) for start, *rest in expected["samples"]]
    assert (columns.received_us == NOW_US).all()
    assert (columns.quality == 1.0).all()


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "code", "factor"), [("StepCount", "steps", 1), ("DistanceWalkingRunning", "distance", 1_000)]
)
def test_a_real_export_agrees_with_its_csv(realdata: Path, name: str, code: str, factor: float) -> None:
    folder = realdata / "apple-health" / "tdda"
    batches, summary = read(folder / "export6s3sample.xml")
    assert (summary.read, summary.activity_summaries, summary.workouts) == (15, 2, 1)
    assert summary.by_metric == {"steps": 10, "distance": 5, "workout": 1}
    columns = samples(batches)
    columns = columns.take(np.array(metric_codes(columns)) == code)
    with (folder / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(columns)
    times = {column: [_us(row[column]) for row in rows] for column in ("startDate", "endDate", "creationDate")}
    assert columns.start_us.tolist() == times["startDate"]
    assert (columns.start_us + columns.duration_ms * 1_000).tolist() == times["endDate"]
    assert columns.written_us.tolist() == times["creationDate"]
    assert columns.value.tolist() == pytest.approx([float(row["value"]) * factor for row in rows])
    assert (columns.zone_offset_min == 60).all()


def _us(text: str) -> int:
    return from_datetime(datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").astimezone(UTC))


@pytest.mark.realdata
def test_a_real_zip_reads_as_its_xml(realdata: Path) -> None:
    folder = realdata / "apple-health" / "apple-health-parser"
    plain, summary = read(folder / "export.xml")
    packed, _ = read(folder / "export.zip")
    assert summary.read == summary.accepted == 8
    assert to_arrow(samples(plain)).equals(to_arrow(samples(packed)))
    assert origins(plain) == origins(packed)
    by_code = dict(zip(metric_codes(samples(plain)), samples(plain).zone_offset_min.tolist(), strict=True))
    assert (by_code["heart_rate"], by_code["in_bed"]) == (120, 60)  # HKTimeZone knows that it was winter


@pytest.mark.realdata
def test_a_real_export_with_a_route(realdata: Path) -> None:
    batches, summary = read(realdata / "apple-health" / "healthkit-to-sqlite" / "export.xml")
    assert summary.by_metric == {"body_mass_index": 1, "heart_rate": 1, "workout": 1}
    assert samples(batches).value.tolist() == [22.5312, 72.0, 37.0]


def test_the_wearers_offset_follows_each_date_over_a_change_of_clocks() -> None:
    dates = [
        "2024-03-31 01:59:59 +0100",
        "2024-03-31 03:00:00 +0200",
        "2023-12-31 23:30:00 -0330",
        "2024-02-29 12:00:00 +0000",
    ]
    batches, _ = read(document(*(element(startDate=date, endDate=date) for date in dates)))
    assert samples(batches).zone_offset_min.tolist() == [60, 120, -210, 0]
    assert np.diff(samples(batches).start_us)[0] == 1_000_000


@pytest.mark.parametrize(
    ("zone", "offset"),
    [("Europe/Amsterdam", 120), ("Asia/Kolkata", 330), ("Nowhere/Land", 60), ("../../etc/passwd", 60), ("", 60)],
)
def test_the_zone_that_a_record_names_is_the_wearers(zone: str, offset: int) -> None:
    date = "2024-07-01 10:00:00 +0100"
    inside = element(startDate=date, endDate=date).replace(
        "/>", f'><MetadataEntry key="HKTimeZone" value="{zone}"/></Record>'
    )
    assert samples(read(document(inside))[0]).zone_offset_min.tolist() == [offset]


@pytest.mark.parametrize(
    ("kind", "unit", "value", "code", "expected"),
    [
        ("HeartRate", "count/min", "61.5", "heart_rate", 61.5),
        ("RespiratoryRate", "count/s", "0.25", "respiratory_rate", 15),
        ("OxygenSaturation", "%", "0.97", "spo2", 97),
        ("AtrialFibrillationBurden", "%", "0.02", "af_burden", 2),
        ("BodyFatPercentage", "%", "0.283", "body_fat", 28.3),
        ("BodyTemperature", "degF", "98.6", "body_temperature", 37),
        ("AppleSleepingWristTemperature", "degC", "35.4", "wrist_temperature", 35.4),
        ("BloodGlucose", "mg/dL", "99", "glucose", 99),
        ("BodyMass", "kg", "70", "weight", 70),
        ("BodyMass", "lb", "100", "weight", 45.359237),
        ("DistanceCycling", "mi", "1", "distance", 1609.344),
        ("ActiveEnergyBurned", "Cal", "12", "active_energy", 12),
        ("ActiveEnergyBurned", "kJ", "4.184", "active_energy", 1),
        ("AppleExerciseTime", "min", "1", "exercise_time", 1),
        ("AppleStandTime", "min", "3", "stand_time", 3),
        ("TimeInDaylight", "min", "8", "time_in_daylight", 8),
        ("EnvironmentalAudioExposure", "dBASPL", "71", "environmental_sound", 71),
        ("RestingHeartRate", "count/min", "55", "resting_heart_rate", 55),
        ("BloodPressureSystolic", "kPa", "16", "bp_systolic", 120.009852),
        ("FlightsClimbed", "count", "3", "flights_climbed", 3),
        ("BasalEnergyBurned", "kJ", "4184", "resting_energy", 1_000),
        ("VO2Max", "mL/min·kg", "41.5", "vo2_max", 41.5),
        ("VO2Max", "mL/(kg*min)", "41.5", "vo2_max", 41.5),
        ("WalkingHeartRateAverage", "count/min", "101", "walking_heart_rate", 101),
        ("HeartRateRecoveryOneMinute", "count/min", "27.5", "heart_rate_recovery", 27.5),
        ("NumberOfTimesFallen", "count", "1", "falls", 1),
        ("Height", "ft", "6", "body_height", 182.88),
        ("Height", "cm", "181", "body_height", 181),
        ("Height", "m", "1.81", "body_height", 181),
        ("LeanBodyMass", "lb", "100", "lean_body_mass", 45.359237),
        ("PeripheralPerfusionIndex", "%", "0.031", "perfusion_index", 3.1),
        ("InsulinDelivery", "IU", "4", "insulin", 4),
        ("DietaryCarbohydrates", "g", "12.5", "carbohydrates", 12.5),
        ("WalkingSpeed", "km/hr", "3.6", "speed", 1),
        ("RunningSpeed", "mi/hr", "10", "speed", 4.4704),
        ("BasalBodyTemperature", "degC", "36.4", "body_temperature", 36.4),
        ("DistanceSwimming", "yd", "100", "distance", 91.44),
        ("BloodGlucose", "mmol&lt;180.1558800000541&gt;/L", "5.5", "glucose", 99.085734),
        ("BloodGlucose", "mmol&lt;180.15588&gt;/L", "5.5", "glucose", 99.085734),
        ("BloodGlucose", "mmol/L", "5.5", "glucose", 99.085734),
        ("HeartRate", "count\u00a0/\u00a0min", "60", "heart_rate", 60),
        ("HeartRate", "次/分", "60", "heart_rate", 60),
        ("HeartRate", "уд/мин", "60", "heart_rate", 60),
        ("ActiveEnergyBurned", "千卡", "12", "active_energy", 12),
        ("ActiveEnergyBurned", "cal", "12000", "active_energy", 12),
        ("BodyTemperature", "°F", "98.6", "body_temperature", 37),
        ("BodyMass", "公斤", "70", "weight", 70),
    ],
)  # fmt: skip
def test_units(kind: str, unit: str, value: str, code: str, expected: float) -> None:
    batches, _ = read(document(element(type="HKQuantityTypeIdentifier" + kind, unit=unit, value=value)))
    assert (metric_codes(samples(batches)), samples(batches).value.tolist()) == ([code], [expected])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (element(unit="stone"), "unit"),
        (element(type="HKQuantityTypeIdentifierBloodGlucose", unit="mmol&lt;97&gt;/L"), "unit"),
        (element(type="HKCategoryTypeIdentifierHeadache", value="Terrible"), "value"),
        (element(type="HKCategoryTypeIdentifierHeadache", value="7"), "value"),
        (element(unit=None), "missing_attribute"),
        (element(type=None), "missing_attribute"),
        (element(value=None), "missing_attribute"),
        (element(sourceName=None), "missing_attribute"),
        (element(startDate=None), "missing_attribute"),
        (element(value="nan"), "not_finite"),
        (element(value="-inf"), "not_finite"),
        (element(value="sixty"), "value"),
        (element(type="HKCategoryTypeIdentifierSleepAnalysis", value="Snoring"), "value"),
        (element(type="HKQuantityTypeIdentifierPhysicalEffort"), "unknown_metric"),
        (element(endDate="2024-01-01 09:59:59 +0100"), "duration"),
        *((element(startDate=date), "date") for date in (
            "", "2024-01-01", "2024-02-30 10:00:00 +0100", "2024-01-01 24:00:00 +0100", "2024-01-01 10:60:00 +0100",
            "2024-01-01 10:00:00", "2024-01-01 10:00:00 +9900", "2024-01-01T10:00:00 +0100",
            "0001-01-01 10:00:00 +0100", "2024-01-01 10:00:00 AM +0100", "٢٠٢٤-01-01 10:00:00 +0100")),
    ],
)  # fmt: skip
def test_one_bad_record_costs_that_record(record: str, reason: str) -> None:
    _, summary = read(document(element(), record, element()))
    assert (summary.read, summary.accepted, summary.rejected) == (3, 2, {reason: 1})


def _category(kind: str, value: str | None, **attributes: str) -> str:
    end = {"endDate": "2024-01-01 10:20:00 +0100"} | attributes
    return element(type="HKCategoryTypeIdentifier" + kind, value=value, unit=None, **end)


@pytest.mark.parametrize(
    ("kind", "value", "code", "number"),
    [
        *((("SleepAnalysis", "HKCategoryValueSleepAnalysis" + name, *told)) for name, told in {
            "InBed": ("in_bed", 1), "Asleep": ("sleep_stage", 1), "AsleepUnspecified": ("sleep_stage", 1),
            "Awake": ("sleep_stage", 2), "AsleepCore": ("sleep_stage", 3), "AsleepDeep": ("sleep_stage", 4),
            "AsleepREM": ("sleep_stage", 5)}.items()),
        ("SleepAnalysis", "0", "in_bed", 1),
        ("SleepAnalysis", "5", "sleep_stage", 5),
        ("MindfulSession", "HKCategoryValueNotApplicable", "mindful_session", 1),
        ("MindfulSession", None, "mindful_session", 1),
        ("LowHeartRateEvent", "HKCategoryValueNotApplicable", "heart_rate_event", 1),
        ("HighHeartRateEvent", "HKCategoryValueNotApplicable", "heart_rate_event", 2),
        ("IrregularHeartRhythmEvent", "HKCategoryValueNotApplicable", "heart_rate_event", 3),
        ("Headache", "HKCategoryValueSeveritySevere", "symptom", 4),
        ("Fatigue", "HKCategoryValueSeverityNotPresent", "symptom", 1),
        ("MoodChanges", "HKCategoryValuePresencePresent", "symptom", 0),
        ("AppetiteChanges", "HKCategoryValueAppetiteChangesDecreased", "symptom", 0),
    ],
)  # fmt: skip
def test_categories(kind: str, value: str | None, code: str, number: int) -> None:
    columns = samples(read(document(_category(kind, value)))[0])
    assert (metric_codes(columns), columns.value.tolist(), columns.duration_ms.tolist()) == (
        [code],
        [number],
        [1_200_000],
    )
    assert not reasons(columns).any(), "what the catalogue takes"


def test_two_symptoms_of_one_moment_are_two_samples_and_their_origins_are_opaque() -> None:
    kinds = [kind.removeprefix("HKCategoryTypeIdentifier") for kind in SYMPTOMS]
    found = origins(read(document(*(_category(kind, "HKCategoryValueSeverityMild") for kind in kinds)))[0])
    assert len(found) == len(kinds) == 39
    assert all(is_opaque(app) for _, app in found)


def test_a_night_is_one_session_of_its_source_and_another_hour_another() -> None:
    def stage(start: str, end: str, name: str, source: str = "Watch") -> str:
        value = "HKCategoryValueSleepAnalysis" + name
        return _category("SleepAnalysis", value, startDate=start, endDate=end, sourceName=source)

    text = document(
        stage("2024-01-01 23:00:00 +0000", "2024-01-02 00:00:00 +0000", "AsleepCore"),
        stage("2024-01-02 00:00:00 +0000", "2024-01-02 00:30:00 +0000", "AsleepDeep"),
        stage("2024-01-01 22:50:00 +0000", "2024-01-02 06:00:00 +0000", "InBed", "Phone"),
        stage("2024-01-02 01:00:00 +0000", "2024-01-02 05:00:00 +0000", "AsleepREM"),
        stage("2024-01-02 13:00:00 +0000", "2024-01-02 13:30:00 +0000", "AsleepUnspecified"),
    )
    found = sessions(read(text)[0])
    hours = [((one.start_us // 60_000_000) % 1440, (one.end_us - one.start_us) // 60_000_000) for one in found]
    assert hours == [(1370, 430), (1380, 360), (780, 30)]
    assert {(one.kind, one.confidence, one.metrics) for one in found} == {("sleep", 0.8, ("sleep_stage", "in_bed"))}
    assert sessions(read(text, batch_size=1)[0]) == found, "whatever the batches"


def test_workouts_and_mindful_minutes_are_sessions() -> None:
    dates = 'startDate="2024-01-01 10:00:00 +0100" endDate="2024-01-01 10:30:00 +0100"'
    workout = (
        f'<Workout workoutActivityType="HKWorkoutActivityTypeTaiChi" sourceName="Watch" {dates}>'
        f'<WorkoutEvent type="HKWorkoutEventTypePause" {dates}/>'
        f'<WorkoutStatistics type="HKQuantityTypeIdentifierHeartRate" {dates} average="100" unit="count/min"/>'
        f'<WorkoutStatistics type="HKQuantityTypeIdentifierNikeFuel" {dates} sum="1" unit="count"/></Workout>'
    )
    found, summary = read(document(workout, _category("MindfulSession", "HKCategoryValueNotApplicable")))
    mindful, exercise = sessions(found)
    assert (exercise.kind, exercise.label, exercise.metrics) == ("workout", "tai_chi", ("workout", "heart_rate"))
    assert (exercise.end_us - exercise.start_us, exercise.confidence) == (1_800_000_000, 1.0)
    assert (mindful.kind, mindful.end_us - mindful.start_us) == ("mindfulness", 1_200_000_000)
    assert summary.by_metric == {"workout": 1, "mindful_session": 1}, "totals are sums of records told elsewhere"
    assert all(is_opaque(one.session_id) for one in (mindful, exercise))
    assert sessions(read(document(workout))[0]) == [exercise], "the same id in every import"


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name",
    [
        "tdda/export6s3sample.xml",
        "healthkit-to-sqlite/export.xml",
        "healthkit-to-sqlite/zip_contents/export.xml",
        "apple-health-parser/export.xml",
    ],
)
def test_real_exports_are_as_another_parser_counts_them(realdata: Path, name: str) -> None:
    path = realdata / "apple-health" / name
    root = ElementTree.parse(path).getroot()
    expected = Counter[tuple[int, int, int, int]]()
    for one in root:
        if one.tag in {"Record", "Workout"}:
            zone = next(
                (entry.get("value") for entry in one.iter("MetadataEntry") if entry.get("key") == "HKTimeZone"), ""
            )
            start = datetime.strptime(one.attrib["startDate"], "%Y-%m-%d %H:%M:%S %z")
            local = start.astimezone(ZoneInfo(zone)) if zone else start
            offset = local.utcoffset() or timedelta()
            expected[_us(one.attrib["startDate"]), _us(one.attrib["endDate"]), _us(one.attrib["creationDate"]),
                     offset // timedelta(minutes=1)] += 1  # fmt: skip
    columns = samples(read(path)[0])
    ends = columns.start_us + columns.duration_ms * 1_000
    told = zip(columns.start_us.tolist(), ends.tolist(), columns.written_us.tolist(), columns.zone_offset_min.tolist(),
               strict=True)  # fmt: skip
    assert Counter(told) == expected
    assert not reasons(columns).any()


def test_unknown_types_are_counted_by_name_unless_the_name_is_none() -> None:
    kinds = ["HKQuantityTypeIdentifierPhysicalEffort"] * 2 + ["Anna Petronella born 1971"]
    _, summary = read(document(*(element(type=kind) for kind in kinds)))
    assert summary.unknown_types == {"HKQuantityTypeIdentifierPhysicalEffort": 2, "other": 1}


def test_a_device_is_the_same_whatever_its_software_pointer_or_name() -> None:
    same = [
        element(device=_watch()),
        element(device=_watch(pointer="0x77f")),
        element(device=_watch(software="11.0")),
        element(device=_watch(name="Anna, my Watch")),
    ]
    assert list(origins(read(document(*same))[0]).values()) == [4]
    assert origins(read(document(same[0]))[0]).keys() == origins(read(document(same[2]))[0]).keys()
    other = [element(device=_watch(hardware="Watch7,1")), element(sourceName="Phone"), element()]
    assert len(origins(read(document(same[0], *other))[0])) == 4


def test_a_no_break_space_is_a_space() -> None:
    assert (
        len(origins(read(document(element(sourceName="Anna's\u00a0Watch"), element(sourceName="Anna's Watch")))[0]))
        == 1
    )


def test_walking_and_cycling_never_share_an_identity() -> None:
    kinds = ("HKQuantityTypeIdentifierDistanceWalkingRunning", "HKQuantityTypeIdentifierDistanceCycling")
    batches, _ = read(document(*(element(type=kind, unit="km") for kind in kinds)))
    (walking, cycling) = origins(batches)
    assert cycling == (walking[0], walking[1] + ".cycling")


def test_what_a_person_entered_is_marked() -> None:
    inside = element().replace("/>", '><MetadataEntry key="HKWasUserEntered" value="1"/></Record>')
    assert samples(read(document(inside, element()))[0]).context.tolist() == [Context.USER_ENTERED, 0]


@given(batch_size=st.integers(1, 40), sources=st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=120))
def test_batches_hold_each_origin_in_order_and_never_too_much(batch_size: int, sources: list[str]) -> None:
    records = [element(sourceName=name, value=str(30 + index)) for index, name in enumerate(sources)]
    batches, _ = read(document(*records), batch_size=batch_size)
    assert max(len(batch.samples or ()) for batch in batches) <= batch_size
    values: dict[str, list[float]] = {}
    for batch in batches:
        assert batch.samples is not None
        values.setdefault(batch.source_app, []).extend(batch.samples.value.tolist())
    expected = [[30.0 + i for i, one in enumerate(sources) if one == name] for name in dict.fromkeys(sources)]
    assert sorted(values.values()) == sorted(expected)


def test_batches_come_while_the_file_is_read(tmp_path: Path) -> None:
    path, summary, told = tmp_path / "export.xml", ExportSummary(), []
    path.write_bytes(document(*[element()] * 20_000))
    batches = read_export(
        path,
        received_us=NOW_US,
        hash_key=KEY,
        summary=summary,
        on_progress=lambda done, total: told.append((done, total)),
    )
    next(batches)
    assert 0 < summary.read < 20_000
    assert len(samples(list(batches))) == 15_000
    size = path.stat().st_size
    assert told[-1] == (size, size)
    assert told == sorted(told)


def test_many_sources_do_not_pile_up() -> None:
    batches, summary = read(document(*(element(sourceName=f"source {i}") for i in range(9_000))), batch_size=10)
    assert summary.accepted == 9_000
    assert len(origins(batches)) == 9_000


def test_a_batch_size_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(read_export(FIXTURES / "everyday.xml", received_us=NOW_US, hash_key=KEY, batch_size=0))


def test_the_adapter_reads_the_same_and_counts_workouts_and_unread_types_too() -> None:
    reading = Reading(NOW_US, KEY, batch_size=3)
    pieces = list(ADAPTER.read(FIXTURES / "everyday.xml", reading))
    assert isinstance(ADAPTER, Adapter)
    assert is_export(ADAPTER.name)
    assert to_arrow(samples(pieces)).num_rows == 19
    told, (_, summary) = reading.tally, read(FIXTURES / "everyday.xml")
    assert (told.read, told.accepted) == (summary.read + 2, summary.accepted + 1)
    assert told.read == told.accepted + told.rejected.total() + told.ignored.total()
    assert (told.by_metric, told.sessions) == (summary.by_metric, 3)
    again = Reading(NOW_US, KEY)
    with pytest.raises(MalformedExport):
        list(ADAPTER.read(io.BytesIO(document(element())[:-8]), again))
    assert again.tally.accepted == 1, "what came before the damage is counted"
