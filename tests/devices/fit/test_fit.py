"""FIT files, written by an encoder of the tests: what each message becomes."""

import pytest

from devices.errors import MalformedExport
from devices.fit import ADAPTER
from tests.devices.adapting import NAME, Told, check_private, told, us
from tests.devices.fit.encode import Fit, at, file_id
from vitals.batch import NO_ZONE
from vitals.quality import Context

T0 = us(2024, 5, 3, 6, 30)
S = 1_000_000


def read(fit: Fit, *, zone: str = "UTC", fails: bool = False) -> Told:
    return told(ADAPTER, fit.data, zone=zone, fails=fails)


def record(
    fit: Fit, seconds: int, *, heart: int | None = 120, way_cm: int | None = None, cadence: int | None = None
) -> Fit:
    return fit.message(
        20, (253, "uint32", at(T0) + seconds), (3, "uint8", heart), (5, "uint32", way_cm), (4, "uint8", cadence),
        (73, "uint32", 2_500), (0, "sint32", 621_000_000), (1, "sint32", 61_000_000), (7, "uint16", 250),
        (13, "sint8", 31), (139, "uint16", 3_725), (108, "uint16", 1_850),
    )  # fmt: skip


def session(fit: Fit, sport: int, sub_sport: int = 0, seconds: int = 10) -> Fit:
    return fit.message(
        18, (253, "uint32", at(T0) + seconds), (2, "uint32", at(T0)), (7, "uint32", seconds * 1_000),
        (5, "enum", sport), (6, "enum", sub_sport), (3, "sint32", 621_000_000),
    )  # fmt: skip


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("header", [12, 14])
def test_an_activity(big: bool, header: int) -> None:
    fit = file_id(Fit(big=big, header=header), T0)
    for second in range(3):
        record(fit, second, heart=120 + second, way_cm=300 * second, cadence=80)
    session(fit, sport=1)
    fit.message(34, (253, "uint32", at(T0) + 10), (5, "uint32", at(T0) + 10 + 7_200))
    result = read(fit)
    assert result.of("heart_rate") == [(T0, 120.0), (T0 + S, 121.0), (T0 + 2 * S, 122.0)]
    assert result.of("speed") == [(T0 + n * S, 2.5) for n in range(3)]
    assert result.of("body_temperature") == [(T0 + n * S, 37.25) for n in range(3)]
    assert result.of("respiratory_rate") == [(T0 + n * S, 18.5) for n in range(3)]
    assert result.of("cadence") == [(T0 + n * S, 160.0) for n in range(3)]  # 80 strides are 160 steps
    assert result.spans("distance") == [(T0, 1_000, 3.0), (T0 + S, 1_000, 3.0)]
    assert result.spans("workout") == [(T0, 10_000, 37.0)]
    assert set(result.samples.zone_offset_min.tolist()) == {120}
    assert set(result.samples.context.tolist()) == {int(Context.WORKOUT)}
    (one,) = result.sessions
    assert (one.kind, one.label, one.start_us, one.end_us, one.confidence) == (
        "workout",
        "running",
        T0,
        T0 + 10 * S,
        1.0,
    )
    assert "heart_rate" in one.metrics
    tally = result.reading.tally
    assert (tally.read, tally.accepted, tally.rejected) == (6, 4, {})
    assert tally.ignored == {"file_id": 1, "activity": 1}
    # power, the watch's own temperature and where it was have no way in
    assert set(tally.by_metric) == {
        "heart_rate", "speed", "body_temperature", "respiratory_rate", "cadence", "distance", "workout"
    }  # fmt: skip


def test_on_a_bicycle_cadence_is_turns() -> None:
    fit = session(record(file_id(Fit(), T0), 1, cadence=85), sport=2)
    assert read(fit).of("cadence") == [(T0 + S, 85.0)]
    assert read(fit).spans("workout") == [(T0, 10_000, 13.0)]


@pytest.mark.parametrize(
    ("sport", "sub_sport", "category"),
    [(4, 15, 16), (10, 20, 50), (10, 43, 57), (10, 70, 63), (17, 0, 24), (8, 0, 3000), (200, 0, 3000)],
)
def test_workouts_keep_their_kind(sport: int, sub_sport: int, category: int) -> None:
    assert [value for _, value in read(session(file_id(Fit(), T0), sport, sub_sport)).of("workout")] == [category]


def test_beats_follow_one_another_and_begin_anew_after_a_gap() -> None:
    fit = record(file_id(Fit(), T0), 0)
    fit.message(78, (0, "uint16", (800, 810, None, None, None)), local=1)
    fit.message(78, (0, "uint16", (790, None, None, None, None)), local=1)
    record(fit, 60)
    fit.message(78, (0, "uint16", (1_000, None, None, None, None)), local=1)
    assert read(fit).of("rr_interval") == [
        (T0, 800.0), (T0 + 800_000, 810.0), (T0 + 1_610_000, 790.0), (T0 + 60 * S, 1_000.0)
    ]  # fmt: skip


def test_short_timestamps_wrap_and_totals_become_what_was_added() -> None:
    midnight = us(2024, 5, 2, 22)  # of a wearer two hours ahead
    begin = at(midnight)
    fit = file_id(Fit(), midnight, kind=32)
    fit.message(103, (253, "uint32", begin), (0, "uint32", begin + 7_200))
    turn = (begin | 0xFFFF) - begin + 1  # seconds until the low half is zero again
    fit.message(55, (26, "uint16", (begin + 60) & 0xFFFF), (27, "uint8", 61), local=1)
    fit.message(55, (26, "uint16", (begin + turn + 5) & 0xFFFF), (27, "uint8", 62), local=1)
    fit.message(55, (253, "uint32", begin + turn + 60), (5, "enum", 6), (3, "uint32", 50), local=2)
    fit.message(55, (253, "uint32", begin + turn + 120), (5, "enum", 6), (3, "uint32", 80), local=2)
    fit.message(55, (253, "uint32", begin + turn + 120), (5, "enum", 1), (3, "uint32", 7), local=2)
    fit.message(55, (253, "uint32", begin + turn + 180), (5, "enum", 6), (3, "uint32", 4), local=2)  # began again
    fit.message(55, (253, "uint32", begin + turn + 240), (5, "enum", 6), (3, "uint32", 9), local=2)
    result = read(fit)
    assert result.of("heart_rate") == [(midnight + 60 * S, 61.0), (midnight + (turn + 5) * S, 62.0)]
    assert sum(value for _, value in result.of("steps")) == 80 + 7 + 5
    later = midnight + turn * S
    assert (midnight, (turn + 60) * 1_000, 50.0) in result.spans("steps")
    assert (later + 60 * S, 60_000, 30.0) in result.spans("steps")
    assert {piece.source_app for piece in result.pieces} == {"fit", "fit-walking", "fit-running"}
    assert set(result.samples.zone_offset_min.tolist()) == {120}


def test_without_midnight_the_first_total_is_where_counting_begins() -> None:
    fit = file_id(Fit(), T0, kind=32)
    for seconds, total in ((0, 4_000), (60, 4_020)):
        fit.message(55, (253, "uint32", at(T0) + seconds), (5, "enum", 6), (3, "uint32", total))
    assert read(fit).spans("steps") == [(T0, 60_000, 20.0)]


def test_a_short_timestamp_without_a_full_one_before_is_rejected() -> None:
    result = read(file_id(Fit(), T0, kind=32).message(55, (26, "uint16", 17), (27, "uint8", 60), local=1))
    assert result.pieces == []
    assert result.reading.tally.rejected == {"date": 1}


def test_a_night() -> None:
    fit = file_id(Fit(), T0, kind=49)
    for minute, level in ((0, 2), (20, 3), (50, 4), (60, 0), (65, 1)):
        fit.message(275, (253, "uint32", at(T0) + minute * 60), (0, "enum", level))
    fit.message(21, (253, "uint32", at(T0) + 70 * 60), (0, "enum", 74), (1, "enum", 1))
    fit.message(269, (253, "uint32", at(T0)), (0, "uint8", 96), local=1)
    fit.message(297, (253, "uint32", at(T0)), (0, "sint16", 1_425), local=2)
    fit.message(297, (253, "uint32", at(T0) + 60), (0, "sint16", -300), local=2)
    fit.message(371, (253, "uint32", at(T0)), (0, "uint16", 55 * 128), local=3)
    fit.message(211, (253, "uint32", at(T0)), (0, "uint8", 50), (1, "uint8", 48), local=4)
    fit.message(227, (1, "uint32", at(T0)), (0, "sint16", 30), local=5)
    result = read(fit)
    minute_ms = 60_000
    assert result.spans("sleep_stage") == [
        (T0, 20 * minute_ms, 3.0), (T0 + 1_200 * S, 30 * minute_ms, 4.0), (T0 + 3_000 * S, 10 * minute_ms, 5.0),
        (T0 + 3_900 * S, 5 * minute_ms, 2.0),
    ]  # fmt: skip
    assert result.of("spo2") == [(T0, 96.0)]
    assert result.of("respiratory_rate") == [(T0, 14.25)]
    assert result.of("hrv_rmssd") == [(T0, 55.0)]
    assert result.of("resting_heart_rate") == [(T0, 48.0)]
    (night,) = result.sessions
    assert (night.kind, night.start_us, night.end_us) == ("sleep", T0, T0 + 4_200 * S)
    assert result.reading.tally.ignored["stress_level"] == 1


def test_more_sessions_and_stages_than_a_file_can_have_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.fit.reader._MAX_SESSIONS", 2)
    monkeypatch.setattr("devices.fit.reader._MAX_STAGES", 3)
    fit = file_id(Fit(), T0)
    for number in range(5):
        session(fit, 1)
        fit.message(275, (253, "uint32", at(T0) + number), (0, "enum", 3), local=1)
    result = read(fit)
    assert result.reading.tally.rejected == {"too_many": 5}
    assert len(result.sessions) == 3


def test_a_stage_without_an_end_is_no_stage() -> None:
    fit = file_id(Fit(), T0, kind=49).message(275, (253, "uint32", at(T0)), (0, "enum", 3))
    assert "sleep_stage" not in read(fit).reading.tally.by_metric


def test_a_scale_and_a_cuff() -> None:
    fit = file_id(Fit(), T0, kind=9)
    fit.message(30, (253, "uint32", at(T0)), (0, "uint16", 7_250), (1, "uint16", 2_150), local=1)
    fit.message(30, (253, "uint32", at(T0) + 60), (0, "uint16", 65_534), local=2)  # still calculating
    fit.message(
        51, (253, "uint32", at(T0)), (0, "uint16", 121), (1, "uint16", 79), (2, "uint16", 93), (6, "uint8", 66), local=3
    )
    result = read(fit)
    assert (result.of("weight"), result.of("body_fat")) == ([(T0, 72.5)], [(T0, 21.5)])
    assert (result.of("bp_systolic"), result.of("bp_diastolic"), result.of("bp_mean")) == (
        [(T0, 121.0)],
        [(T0, 79.0)],
        [(T0, 93.0)],
    )
    assert result.of("pulse_rate") == [(T0, 66.0)]


def test_a_compressed_timestamp() -> None:
    fit = record(file_id(Fit(), T0), 0)
    stamp = at(T0) + 3
    fit.message(20, (3, "uint8", 99), local=1, offset=stamp & 0x1F)
    assert read(fit).of("heart_rate") == [(T0, 120.0), (T0 + 3 * S, 99.0)]


def test_times_since_power_on_name_no_moment() -> None:
    result = read(file_id(Fit(), T0).message(20, (253, "uint32", 4_000), (3, "uint8", 99), local=1))
    assert (result.pieces, result.reading.tally.rejected) == ([], {"date": 1})


def test_developer_fields_are_left_out() -> None:
    fit = file_id(Fit(), T0)
    fit.message(207, (3, "uint8", 0), (1, "byte", list(range(16))), local=1)
    fit.message(
        206,
        (0, "uint8", 0),
        (1, "uint8", 0),
        (2, "uint8", 2),
        (3, "string", "heart_rate"),
        (8, "string", NAME),
        local=2,
    )
    fit.message(20, (253, "uint32", at(T0)), (3, "uint8", 120), local=3, dev=[(0, 0, b"\x07")])
    result = read(fit)
    assert result.of("heart_rate") == [(T0, 120.0)]


def test_without_an_offset_of_its_own_the_zone_given_counts() -> None:
    fit = record(file_id(Fit(), T0), 0)
    assert set(read(fit).samples.zone_offset_min.tolist()) == {NO_ZONE}
    assert set(read(fit, zone="Europe/Vienna").samples.zone_offset_min.tolist()) == {120}


def test_chained_files_are_read_one_after_the_other() -> None:
    one, two = record(file_id(Fit(), T0), 0), record(file_id(Fit(), T0, serial=99), 5, heart=70)
    result = told(ADAPTER, one.data + two.data)
    assert result.of("heart_rate") == [(T0, 120.0), (T0 + 5 * S, 70.0)]
    assert len({piece.device_id for piece in result.pieces}) == 2
    damaged = bytearray(two.data)
    damaged[-5] ^= 1
    result = told(ADAPTER, one.data + bytes(damaged), fails=True)
    assert result.of("heart_rate") == [(T0, 120.0)]
    assert "CRC" in str(result.error)


def test_a_file_whose_crc_does_not_fit_tells_nothing() -> None:
    data = bytearray(record(file_id(Fit(), T0), 0).data)
    data[40] ^= 0x10
    result = told(ADAPTER, bytes(data), fails=True)
    assert result.pieces == []
    assert "CRC" in str(result.error)


def test_a_file_that_was_cut_short_tells_what_stands_in_it() -> None:
    fit = file_id(Fit(), T0)
    for second in range(100):
        record(fit, second)
    data = fit.data
    for cut, least, most in ((len(data) - 1, 100, 100), (len(data) - 3, 99, 99), (len(data) // 2, 40, 50)):
        result = told(ADAPTER, data[:cut], fails=True)
        assert "cut short" in str(result.error)
        assert least <= len(result.of("heart_rate")) <= most


@pytest.mark.parametrize(
    "data",
    [b"", b"\x0e\x10", b"PK\x03\x04" + bytes(40), b"{}" * 40, bytes(14), b"\x0e\x10\0\0\xff\xff\xff\xff.FIT\0\0"],
)
def test_what_is_no_fit_file_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(MalformedExport, match="FIT file"):
        told(ADAPTER, data)


def test_reading_it_again_gives_the_same_ids() -> None:
    fit = session(record(file_id(Fit(), T0), 0), 1)
    one, two = read(fit), read(fit)
    assert [p.device_id for p in one.pieces] == [p.device_id for p in two.pieces]
    assert one.sessions == two.sessions


def test_no_name_and_no_place_comes_out() -> None:
    fit = file_id(Fit(), T0)
    fit.message(3, (0, "string", NAME), (8, "string", "Utrecht"), local=1)  # user_profile
    fit.message(23, (253, "uint32", at(T0)), (27, "string", NAME), (3, "uint32z", 7), local=2)  # device_info
    fit.message(12, (0, "enum", 1), (3, "string", NAME), local=3)  # sport
    fit.message(26, (8, "string", f"{NAME} petra@mail.example"), local=4)  # workout
    fit.message(31, (5, "string", "Utrecht 52.3675"), local=5)  # course
    fit.message(0xFF00, (0, "string", f"{NAME} 1971-11-23"), local=6)  # a maker's own
    session(record(fit, 1), 1)
    result = read(fit)
    assert result.reading.tally.accepted == 2
    check_private(result)
    for piece in result.pieces:
        assert piece.samples is None or not (piece.samples.value == 621_000_000).any()
    check_private(told(ADAPTER, fit.data[:-40], fails=True))
    check_private(told(ADAPTER, NAME.encode() * 3, fails=True))
