"""Fitbit's archive, in the shapes that fitbit.com and Google Takeout hand it out."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import MalformedExport
from devices.fitbit import ADAPTER
from devices.fitbit.nights import Span, stages
from devices.fitbit.times import UNREAD, utc_us
from tests.devices.adapting import NAME, Told, check_private, told, us
from tests.devices.zips import zipped
from vitals.batch import NO_ZONE

GLOBAL = "Takeout/Fitbit/Global Export Data/"
NIGHT = {
    "logId": 1, "dateOfSleep": "2024-06-02", "startTime": "2024-06-01T23:00:00.000",
    "endTime": "2024-06-02T01:00:00.000",
    "duration": 7_200_000, "type": "stages", "mainSleep": True,
    "levels": {
        "summary": {"deep": {"count": 1}},
        "data": [
            {"dateTime": "2024-06-01T23:00:00.000", "level": "light", "seconds": 3_600},
            {"dateTime": "2024-06-02T00:00:00.000", "level": "deep", "seconds": 3_600},
        ],
        "shortData": [{"dateTime": "2024-06-01T23:30:00.000", "level": "wake", "seconds": 60}],
    },
}  # fmt: skip


def one(name: str, content: object, *, zone: str = "UTC") -> Told:
    return told(ADAPTER, zipped({name: content}), zone=zone)


def test_heart_rates_are_in_utc_and_keep_their_confidence() -> None:
    points = [
        {"dateTime": "06/01/24 22:00:05", "value": {"bpm": 61, "confidence": 3}},
        {"dateTime": "06/01/24 22:00:10", "value": {"bpm": 70, "confidence": 0}},
    ]
    result = one(GLOBAL + "heart_rate-2024-06-01.json", points, zone="Europe/Vienna")
    start = us(2024, 6, 1, 22, 0, 5)
    assert result.of("heart_rate") == [(start, 61.0), (start + 5_000_000, 70.0)]
    assert result.samples.quality.tolist() == [1.0, 0.0]
    assert result.samples.zone_offset_min.tolist() == [120, 120]
    assert set(one(GLOBAL + "heart_rate-2024-06-01.json", points).samples.zone_offset_min.tolist()) == {NO_ZONE}


def test_a_minute_of_steps_and_of_way() -> None:
    result = told(
        ADAPTER,
        zipped(
            {
                GLOBAL + "steps-2024-06-01.json": [{"dateTime": "06/01/24 10:00:00", "value": "42"}],
                "MyFitbitData/distance-2024-06-01.json": [{"dateTime": "06/01/24 10:00:00", "value": "3120"}],
                GLOBAL + "calories-2024-06-01.json": [{"dateTime": "06/01/24 10:00:00", "value": "1.2"}],
            }
        ),
    )
    start = us(2024, 6, 1, 10)
    assert result.spans("steps") == [(start, 60_000, 42.0)]
    assert result.spans("distance") == [(start, 60_000, 31.2)]
    assert result.reading.tally.ignored == {"calories": 1}


def test_a_night_is_in_local_time_and_its_short_wakes_cut_its_stages() -> None:
    result = one(GLOBAL + "sleep-2024-06-01.json", [NIGHT], zone="Europe/Vienna")
    start = us(2024, 6, 1, 21)
    minute = 60_000_000
    assert result.spans("in_bed") == [(start, 7_200_000, 1.0)]
    assert result.spans("sleep_stage") == [
        (start, 30 * 60_000, 3.0), (start + 30 * minute, 60_000, 2.0), (start + 31 * minute, 29 * 60_000, 3.0),
        (start + 60 * minute, 3_600_000, 4.0),
    ]  # fmt: skip
    assert set(result.samples.zone_offset_min.tolist()) == {120}
    (night,) = result.sessions
    assert (night.kind, night.start_us, night.end_us, night.confidence) == ("sleep", start, start + 120 * minute, 1.0)


def test_a_night_in_which_clocks_go_back_has_no_hour_twice() -> None:
    stages = [
        {"dateTime": f"2024-10-27T0{hour}:{minute:02d}:00.000", "level": level, "seconds": 1_800}
        for hour, minute, level in ((1, 30, "light"), (2, 0, "deep"), (2, 30, "rem"), (3, 0, "light"))
    ]
    night = {"startTime": "2024-10-27T01:30:00.000", "endTime": "2024-10-27T03:30:00.000", "levels": {"data": stages}}
    start = us(2024, 10, 26, 23, 30)
    result = one("sleep-2024-10-27.json", [night], zone="Europe/Vienna")
    assert [at for at, _ in result.of("sleep_stage")] == [start + n * 1_800_000_000 for n in range(4)]
    assert result.spans("in_bed") == [(start, 7_200_000, 1.0)]


def test_a_classic_night() -> None:
    night = {
        "startTime": "2016-06-01T23:00:00.000", "endTime": "2016-06-01T23:30:00.000", "type": "classic",
        "levels": {"data": [
            {"dateTime": "2016-06-01T23:00:00.000", "level": "asleep", "seconds": 1_200},
            {"dateTime": "2016-06-01T23:20:00.000", "level": "restless", "seconds": 600},
        ]},
    }  # fmt: skip
    assert [value for _, value in one("sleep-2016-06-01.json", [night]).of("sleep_stage")] == [1.0, 2.0]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=6),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 5)), max_size=6),
)
def test_stages_and_wakes_never_overlap_and_lose_no_time(
    long: list[tuple[int, int]], short: list[tuple[int, int]]
) -> None:
    def apart(pairs: list[tuple[int, int]], stage: float) -> list[Span]:
        spans, at = [], 0
        for gap, length in pairs:
            spans.append(Span(at + gap, at + gap + length, stage))
            at += gap + length
        return spans

    longs, wakes = apart(long, 3.0), apart(short, 2.0)
    night = sorted(stages(longs, wakes), key=lambda span: span.start_us)
    assert all(a.end_us <= b.start_us for a, b in pairwise(night))
    covered = {t for span in night for t in range(span.start_us, span.end_us)}
    assert covered == {t for span in [*longs, *wakes] for t in range(span.start_us, span.end_us)}
    assert {t for s in night if s.stage == 2.0 for t in range(s.start_us, s.end_us)} == {
        t for span in wakes for t in range(span.start_us, span.end_us)
    }


def test_spo2_by_the_minute_with_fitbits_filler_of_no_quality() -> None:
    table = (
        "timestamp,value\n2024-06-01T01:00:00Z,96.5\n2024-06-01T01:01:00Z,50.0\nsometime,97\n2024-06-01T01:02:00Z,?\n"
    )
    result = one("Takeout/Fitbit/Oxygen Saturation (SpO2)/Minute SpO2 - 2024-06-01.csv", table)
    assert [value for _, value in result.of("spo2")] == [96.5, 50.0]
    assert result.samples.quality.tolist() == [1.0, 0.0]
    assert result.reading.tally.rejected == {"date": 1, "value": 1}


def test_what_is_told_of_a_night_or_a_day() -> None:
    result = told(
        ADAPTER,
        zipped(
            {
                "a/Heart Rate Variability Details - 2024-06-01.csv": (
                    "timestamp,rmssd,coverage,low_frequency,high_frequency\n2024-06-01T02:00:00,38.2,0.6,1,2\n"
                ),
                "a/Daily Respiratory Rate Summary - 2024-06-01.csv": (
                    "timestamp,daily_respiratory_rate\n2024-06-01T00:00:00,14.6\n"
                ),
                "a/Computed Temperature - 2024-06-01.csv": (
                    "type,sleep_start,sleep_end,temperature_samples,nightly_temperature\n"
                    "SKIN,2024-06-01T00:10,2024-06-01T06:10,360,34.1\n"
                ),
                "a/resting_heart_rate-2024-06-01.json": [
                    {"dateTime": "06/01/24 00:00:00", "value": {"date": "06/01/24", "value": 58.25, "error": 6.8}},
                    {"dateTime": "06/02/24 00:00:00", "value": {"date": None, "value": 0.0, "error": 0.0}},
                ],
                "a/weight-2024-06-01.json": [
                    {"weight": 170.2, "bmi": 23.1, "fat": 21.5, "date": "06/01/24", "time": "07:00:00"}
                ],
            }
        ),
        zone="Europe/Vienna",
    )
    midnight = us(2024, 5, 31, 22)
    assert result.spans("hrv_rmssd") == [(us(2024, 6, 1), 300_000, 38.2)]
    assert result.spans("respiratory_rate") == [(midnight, 86_400_000, 14.6)]
    assert result.spans("wrist_temperature") == [(us(2024, 5, 31, 22, 10), 21_600_000, 34.1)]
    assert result.spans("resting_heart_rate") == [(midnight, 86_400_000, 58.25)]
    assert result.of("body_mass_index") == [(us(2024, 6, 1, 5), 23.1)]
    assert result.of("body_fat") == [(us(2024, 6, 1, 5), 21.5)]
    assert not result.of("weight")  # its unit is the user's setting, which the file does not tell
    assert result.reading.tally.rejected == {"value": 1}


def test_a_workout() -> None:
    run = {"activityName": "Run", "startTime": "06/01/24 05:00:00", "duration": 1_800_000}
    own = {"activityName": NAME, "startTime": "06/01/24 06:00:00", "duration": 60_000}
    result = one("exercise-0.json", [run, own, {"activityName": "Run", "startTime": "06/01/24 05:00:00"}])
    assert result.spans("workout") == [(us(2024, 6, 1, 5), 1_800_000, 37.0), (us(2024, 6, 1, 6), 60_000, 3_000.0)]
    assert [session.label for session in result.sessions] == ["running", "other"]
    assert result.reading.tally.rejected == {"duration": 1}


def test_googles_own_tables_are_a_source_of_their_own() -> None:
    result = told(
        ADAPTER,
        zipped(
            {
                "x/heart_rate_2024-06-01.csv": (
                    "timestamp,beats per minute,data source\n2024-06-01T10:00:04Z,65.0,Charge 6\n"
                ),
                "x/steps_2024-06-01.csv": "timestamp,steps\n2024-06-01T10:00:00Z,12\n",
                "x/daily_resting_heart_rate.csv": "timestamp,beats per minute\n2024-06-01T00:00:00Z,60.5\n",
                "x/heart_rate-2024-06-01.json": [
                    {"dateTime": "06/01/24 10:00:04", "value": {"bpm": 65, "confidence": 2}}
                ],
            }
        ),
    )
    assert {piece.source_app for piece in result.pieces} == {"fitbit", "fitbit-google"}
    assert [value for _, value in result.of("heart_rate")] == [65.0, 65.0]
    assert result.of("resting_heart_rate") == [(us(2024, 6, 1), 60.5)]


@given(st.lists(st.sampled_from(["06/01/24 10:00:00", "06/31/24 10:00:00", "06/01/24 24:00:00", "06/01/24x10:00:00",
                                 "ab/01/24 10:00:00", "06/01/24 1a:00:00", "06/01/24 10:60:00"]),
                max_size=5))  # fmt: skip
def test_the_quick_way_and_the_slow_one_read_the_same_times(texts: list[str]) -> None:
    quick = utc_us(list(texts)).tolist()
    slow = utc_us([*texts, None])[:-1].tolist()  # one that is no text: the slow way
    assert quick == slow
    assert [time != UNREAD for time in quick] == [text == "06/01/24 10:00:00" for text in texts]


def test_many_points_come_in_bounded_pieces() -> None:
    points = [
        {"dateTime": f"06/01/24 {s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}", "value": {"bpm": 60}}
        for s in range(2_500)
    ]
    result = told(ADAPTER, zipped({"heart_rate-2024-06-01.json": points}), batch_size=1_000)
    assert [len(piece.samples) for piece in result.pieces if piece.samples is not None] == [1_000, 1_000, 500]
    assert len(set(result.samples.start_us.tolist())) == 2_500


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 10_000 + b"]" * 10_000, "not_well_formed"),
        (b"{}", "not_well_formed"),
        (b'[{"dateTime": "06/01/24 10:00:00", "value": ' + b"9" * 5_000 + b"}]", "not_well_formed"),
        ('[{"dateTime": "06/01/24 10:00:00", "value": "1"}]'.encode("utf-16"), "not_well_formed"),
        (b'[{"dateTime": "06/01/24 10:00:00", "value": 1e999}]', "value"),
        (b'[{"dateTime": "06/01/24 10:00:00", "value": true}, 7, null]', "value"),
        (b'[{"dateTime": 7, "value": 1}]', "date"),
    ],
)
def test_a_file_that_cannot_be_read_costs_that_file(content: bytes, reason: str) -> None:
    good = [{"dateTime": "06/02/24 10:00:00", "value": "5"}]
    result = told(ADAPTER, zipped({"steps-2024-06-01.json": content, "steps-2024-06-02.json": good}))
    assert result.of("steps") == [(us(2024, 6, 2, 10), 5.0)]
    assert result.reading.tally.rejected[reason] >= 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("steps-2024-06-01.json", b"[" + b"{}," * 2_000_001 + b"{}]"),
        ("steps-2024-06-01.json", b"[" + b"1," * 6_000_001 + b"1]"),
        ("Minute SpO2 - 2024-06-01.csv", b"timestamp,value" + b"\n," * 4_000_001),
    ],
)
def test_a_document_that_would_fill_the_memory_is_not_parsed(name: str, content: bytes) -> None:
    assert one(name, content).reading.tally.rejected == {"too_large": 1}


def test_a_night_of_more_stages_than_it_has_time_for_is_rejected() -> None:
    spans = NIGHT["levels"]["data"] * 3_000  # type: ignore[index]
    assert one("sleep-2024-06-01.json", [NIGHT | {"levels": {"data": spans}}]).reading.tally.rejected == {"too_many": 1}


def test_a_wrong_encoding_of_a_table_costs_that_table() -> None:
    result = one("Minute SpO2 - 2024-06-01.csv", "timestamp,value\n2024-06-01T01:00:00Z,96.5\n".encode("utf-16"))
    assert result.reading.tally.rejected == {"encoding": 1}


def test_another_zip_is_no_fitbit_archive() -> None:
    for data in (zipped({"notes.json": []}), zipped({}), b"no zip", b""):
        with pytest.raises(MalformedExport):
            told(ADAPTER, data)


SECRET = f"{NAME} 1971-11-23 Utrecht petra@mail.example"
PLANTED = {
    f"Takeout/Fitbit/{SECRET}/steps-2024-06-01.json": [
        {"dateTime": SECRET, "value": "4"}, {"dateTime": "06/01/24 10:00:00", "value": SECRET},
        {"dateTime": "06/01/24 10:00:00", "value": "7", "name": SECRET},
    ],
    "Takeout/Fitbit/Your Profile/Profile.csv": f"id,full_name,email\n1,{NAME},petra@mail.example\n",
    f"Takeout/Fitbit/{NAME}.json": [SECRET],
    "exercise-0.json": [{"activityName": SECRET, "startTime": "06/01/24 05:00:00", "duration": 1_000, "source": SECRET,
                         "tcxLink": SECRET}],
    "sleep-2024-06-01.json": [NIGHT | {"type": SECRET}, NIGHT | {"startTime": SECRET}],
    "heart_rate_2024-06-01.csv": f"timestamp,beats per minute,data source\n2024-06-01T10:00:04Z,65.0,{NAME}'s Charge\n",
    f"Minute SpO2 - {NAME}.csv": f"timestamp,value,{NAME}\n{SECRET},96.5,1\n",
    f"Minute SpO2 - {NAME} 2.csv": f"{SECRET}\n\"{SECRET}",
}  # fmt: skip


def test_no_name_comes_out() -> None:
    result = told(ADAPTER, zipped(PLANTED))
    assert result.reading.tally.accepted >= 4
    check_private(result)
    data = zipped(PLANTED)
    check_private(told(ADAPTER, data[:-40], fails=True))
    check_private(told(ADAPTER, data.replace(b"PK\x03\x04", b"PK\x03\x05"), fails=True))
    check_private(told(ADAPTER, zipped({f"{NAME}.txt": SECRET}), fails=True))


VALID = zipped(PLANTED, stored=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_mutated_archives_are_malformed_or_archives(changes: list[tuple[int, int]]) -> None:
    data = bytearray(VALID)
    for place, value in changes:
        data[place] = value
    check_private(told(ADAPTER, bytes(data), fails=True))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["dateTime", "value", "bpm", "confidence", "levels", "data", "shortData", "startTime", "endTime", "seconds",
         "level"]
    ), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(_json, st.sampled_from(["heart_rate-2024-06-01.json", "steps-2024-06-01.json", "sleep-2024-06-01.json",
                               "exercise-0.json", "resting_heart_rate-2024-06-01.json",
                               "weight-2024-06-01.json"]))  # fmt: skip
def test_any_json_in_any_file(document: object, name: str) -> None:
    told(ADAPTER, zipped({name: json.dumps([document, NIGHT | {"levels": document}])}))
