"""Garmin's archive: FIT files in zips within it, and JSON summaries."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import MalformedExport
from devices.fit import ADAPTER as FIT
from devices.garmin import ADAPTER
from tests.devices.adapting import NAME, check_private, told, us
from tests.devices.fit.encode import Fit, file_id
from tests.devices.fit.test_fit import T0, record, session
from tests.devices.zips import zipped

UDS = "DI_CONNECT/DI-Connect-Aggregator/UDSFile_2024-05-01_2024-08-09.json"
SLEEP = "DI_CONNECT/DI-Connect-Wellness/2024-05-01_2024-08-09_1234_sleepData.json"
DONE = "DI_CONNECT/DI-Connect-Fitness/1234_0_summarizedActivities.json"
FILES = "DI_CONNECT/DI-Connect-Uploaded-Files/UploadedFiles_0-_Part1.zip"
DAY: dict[str, Any] = {
    "calendarDate": "2024-05-03", "uuid": "8de4", "totalSteps": 8_240, "totalDistanceMeters": 5_640,
    "activeKilocalories": 612.0, "bmrKilocalories": 1_900.0, "totalKilocalories": 2_512.0, "restingHeartRate": 49,
    "wellnessStartTimeGmt": "2024-05-02T22:00:00.0", "wellnessEndTimeGmt": "2024-05-03T22:00:00.0",
    "wellnessStartTimeLocal": "2024-05-03T00:00:00.0",
}  # fmt: skip
NIGHT: dict[str, Any] = {
    "calendarDate": "2024-05-03", "sleepWindowConfirmationType": "ENHANCED_CONFIRMED_FINAL",
    "sleepStartTimestampGMT": "2024-05-02T21:10:00.0", "sleepEndTimestampGMT": "2024-05-03T05:10:00.0",
    "deepSleepSeconds": 5_400, "averageRespiration": 14.0,
}  # fmt: skip
RUN: dict[str, Any] = {
    "activityId": 111, "name": "Morning Run", "activityType": "trail_running", "beginTimestamp": T0 // 1_000,
    "startTimeLocal": T0 // 1_000 + 7_200_000, "duration": 1_800_000.0, "distance": 500_000.0, "startLatitude": 52.3675,
}  # fmt: skip
FIT_FILE = session(record(file_id(Fit(), T0), 1), 1).data


def test_a_day() -> None:
    result = told(ADAPTER, zipped({UDS: [DAY]}))
    start, day = us(2024, 5, 2, 22), 86_400_000
    assert result.spans("steps") == [(start, day, 8_240.0)]
    assert result.spans("distance") == [(start, day, 5_640.0)]
    assert (result.of("active_energy"), result.of("resting_energy")) == ([(start, 612.0)], [(start, 1_900.0)])
    assert result.of("resting_heart_rate") == [(start, 49.0)]
    assert set(result.samples.zone_offset_min.tolist()) == {120}


def test_a_day_that_the_watch_was_not_worn_has_no_resting_heart_rate() -> None:
    result = told(ADAPTER, zipped({UDS: [DAY | {"restingHeartRate": 0, "totalSteps": None}]}))
    assert {"resting_heart_rate", "steps"}.isdisjoint(result.reading.tally.by_metric)


def test_a_night_is_a_session() -> None:
    nights = [
        NIGHT,
        NIGHT | {"sleepWindowConfirmationType": "UNCONFIRMED", "sleepStartTimestampGMT": "2024-05-02T21:11:00.0"},
        {"calendarDate": "2024-05-04", "sleepWindowConfirmationType": "OFF_WRIST"}, {"retro": False},
        NIGHT | {"sleepEndTimestampGMT": "2024-05-02T05:10:00.0"},
    ]  # fmt: skip
    result = told(ADAPTER, zipped({SLEEP: nights}))
    one, two = result.sessions
    assert (one.kind, one.start_us, one.end_us, one.confidence) == (
        "sleep",
        us(2024, 5, 2, 21, 10),
        us(2024, 5, 3, 5, 10),
        1.0,
    )
    assert two.confidence == 0.5
    assert result.spans("respiratory_rate")[0] == (us(2024, 5, 2, 21, 10), 28_800_000, 14.0)
    assert result.reading.tally.ignored == {"nothing_new": 2}
    assert result.reading.tally.rejected == {"duration": 1}


def test_a_workout_without_its_fit_file() -> None:
    result = told(
        ADAPTER,
        zipped(
            {
                DONE: [
                    {
                        "summarizedActivitiesExport": [
                            RUN,
                            RUN | {"activityType": NAME, "beginTimestamp": T0 // 1_000 + 5_000},
                        ]
                    }
                ]
            }
        ),
    )
    assert [value for _, value in result.of("workout")] == [37.0, 3_000.0]
    assert result.spans("workout")[0] == (T0, 1_800_000, 37.0)
    assert [one.label for one in result.sessions] == ["running", "other"]
    assert result.samples.zone_offset_min.tolist()[0] == 120


@pytest.mark.parametrize("stored", [True, False])
def test_fit_files_in_a_zip_within_tell_what_they_tell_alone(stored: bool) -> None:
    inner = zipped({"petra@mail.example_1.fit": FIT_FILE, "broken.fit": FIT_FILE[:-3] + b"\0\0\0", "notes.txt": b""})
    data = zipped({DONE: [{"summarizedActivitiesExport": [RUN]}], FILES: inner, "x/y.fit": FIT_FILE}, stored=stored)
    result, alone = told(ADAPTER, data), told(FIT, FIT_FILE)
    assert result.of("heart_rate") == alone.of("heart_rate") * 2
    assert {piece.device_id for piece in result.pieces} == {piece.device_id for piece in alone.pieces}
    assert {one.session_id for one in result.sessions} == {one.session_id for one in alone.sessions}
    assert result.reading.tally.rejected == {"fit_file": 1}
    assert result.reading.tally.ignored["nothing_new"] == 1  # the summary of the workout that the FIT file tells


def test_a_damaged_inner_zip_costs_itself() -> None:
    result = told(ADAPTER, zipped({FILES: b"PK\x03\x04 and no more", UDS: [DAY]}))
    assert result.reading.tally.rejected == {"damaged": 1}
    assert result.of("steps")


def test_deep_json_costs_its_file() -> None:
    result = told(ADAPTER, zipped({UDS: b"[" * 10_000 + b"]" * 10_000, SLEEP: [NIGHT]}))
    assert result.reading.tally.rejected == {"not_well_formed": 1}
    assert len(result.sessions) == 1


def test_another_zip_is_no_garmin_archive() -> None:
    for data in (zipped({"notes.json": []}), zipped({}), b"no zip"):
        with pytest.raises(MalformedExport):
            told(ADAPTER, data)


SECRET = f"{NAME} 1971-11-23 Utrecht petra@mail.example 52.3675"
PLANTED: dict[str, object] = {
    "DI_CONNECT/DI-Connect-User/user_profile.json": {"firstName": NAME, "emailAddress": "petra@mail.example"},
    f"DI_CONNECT/{SECRET}/UDSFile_{NAME}.json": [DAY | {"wellnessDescription": SECRET, "calendarDate": SECRET},
                                                 DAY | {"wellnessStartTimeGmt": SECRET}],
    f"{NAME}_sleepData.json": [NIGHT | {"sleepWindowConfirmationType": SECRET},
                               NIGHT | {"sleepStartTimestampGMT": SECRET}],
    f"{NAME}_summarizedActivities.json": [
        {"summarizedActivitiesExport": [RUN | {"name": SECRET, "activityType": SECRET, "beginTimestamp": 1}, SECRET]},
    ],
    f"UploadedFiles_{NAME}.zip": zipped({f"{SECRET}.fit": FIT_FILE, "bad.fit": SECRET.encode()}, stored=True),
}  # fmt: skip
VALID = zipped(PLANTED, stored=True)


def test_no_name_comes_out() -> None:
    result = told(ADAPTER, VALID)
    assert result.reading.tally.accepted >= 5
    check_private(result)
    check_private(told(ADAPTER, VALID[:-40], fails=True))
    check_private(told(ADAPTER, zipped({f"{NAME}.txt": SECRET}), fails=True))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_mutated_archives_are_malformed_or_archives(changes: list[tuple[int, int]]) -> None:
    data = bytearray(VALID)
    for place, value in changes:
        data[place] = value
    check_private(told(ADAPTER, bytes(data), fails=True))


_values: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just([]) | st.just({})
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted({*DAY, *NIGHT, *RUN})), _values, max_size=5), _values)
def test_any_values_in_any_field(changes: dict[str, object], instead: object) -> None:
    members = {
        UDS: [DAY | changes, instead],
        SLEEP: [NIGHT | changes],
        DONE: [{"summarizedActivitiesExport": [RUN | changes, instead]}, instead],
    }
    told(ADAPTER, zipped({name: json.dumps(content) for name, content in members.items()}))
