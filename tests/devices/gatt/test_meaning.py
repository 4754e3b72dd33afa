"""What values mean: units, status bits to quality and context, what gives no sample, and what people read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devices.gatt import DeviceClock, cgm, decode_json, decode_samples
from tests.devices.gatt import encoders
from tests.devices.gatt.encoders import Decimal
from vitals.batch import SampleColumns, metric_codes
from vitals.quality import Context

NOW = 1_772_366_400_000_000  # 2026-03-01 12:00:00 UTC
MINUTE = 60_000_000
WHEN = (2026, 3, 1, 11, 58, 0)
UTC_CLOCK = DeviceClock(zone_offset_min=0)
NAN, NRES, PLUS_INF, MINUS_INF, RESERVED = 0x07FF, 0x0800, 0x07FE, 0x0802, 0x0801


def values(samples: SampleColumns) -> dict[str, float]:
    return dict(zip(metric_codes(samples), samples.value.tolist(), strict=True))


def test_fahrenheit_becomes_celsius_and_the_raw_value_stays() -> None:
    payload = encoders.temperature(Decimal(986, -1), True, None, 9)
    told = decode_json("2A1C", payload)
    assert (told["temperature_celsius"], told["raw_value"], told["raw_unit"]) == (37.0, 98.6, "degF")
    assert told["site"] == "tympanum"
    assert values(decode_samples("2A1C", payload, NOW)) == pytest.approx({"body_temperature": 37.0})


def test_an_intermediate_temperature_is_kept_but_not_trusted() -> None:
    payload = encoders.temperature(Decimal(352, -1), False, None, None)
    assert decode_samples("2A1E", payload, NOW).quality.tolist() == [0.25]
    assert decode_samples("2A1C", payload, NOW).quality.tolist() == [1.0]


def test_kilopascal_becomes_millimetres_of_mercury() -> None:
    payload = encoders.blood_pressure(
        (Decimal(160, -1), Decimal(107, -1), Decimal(1_247, -2)), True, None, None, None, None
    )
    told = decode_json("2A35", payload)
    # 16.0, 10.7 and 12.47 kPa over 133.322387415 Pa.
    assert told["systolic_mmhg"] == pytest.approx(120.0098521, abs=1e-6)
    assert told["diastolic_mmhg"] == pytest.approx(80.2565886, abs=1e-6)
    assert told["mean_arterial_pressure_mmhg"] == pytest.approx(93.5326785, abs=1e-6)
    assert (told["raw_systolic"], told["raw_unit"]) == (16.0, "kPa")
    assert values(decode_samples("2A35", payload, NOW))["bp_systolic"] == pytest.approx(120.0098521, abs=1e-6)


@pytest.mark.parametrize(
    ("status", "flags", "pulse_range", "quality"),
    [
        (0x00, [], "within", 1.0),
        (0x01, ["body_movement"], "within", 0.25),
        (0x02, ["cuff_too_loose"], "within", 0.25),
        (0x04, ["irregular_pulse"], "within", 1.0),
        (0x08, [], "above_upper_limit", 1.0),
        (0x10, [], "below_lower_limit", 1.0),
        (0x20, ["improper_position"], "within", 0.25),
        (0xFFC0, [], "within", 1.0),  # reserved
    ],
)
def test_blood_pressure_status(status: int, flags: list[str], pulse_range: str, quality: float) -> None:
    payload = encoders.blood_pressure((Decimal(120), Decimal(80), Decimal(93)), False, WHEN, Decimal(61), 1, status)
    told = decode_json("2A35", payload)
    assert (told["status_flags"], told["pulse_rate_range"]) == (flags, pulse_range)
    samples = decode_samples("2A35", payload, NOW, UTC_CLOCK)
    assert values(samples) == {
        "bp_systolic": 120,
        "bp_diastolic": 80,
        "bp_mean": 93,
        "pulse_rate": 61,
        "clock_offset": -120,
    }
    assert samples.quality.tolist() == [quality] * 4 + [1.0]
    assert (NOW - samples.start_us).tolist() == [2 * MINUTE] * 4 + [0]


def test_a_cuff_on_its_way_down_has_no_blood_pressure() -> None:
    payload = encoders.blood_pressure((Decimal(143), NAN, NAN), False, WHEN, None, None, None)
    told = decode_json("2A36", payload)
    assert told["cuff_pressure_mmhg"] == told["raw_cuff_pressure"] == 143.0
    assert "systolic_mmhg" not in told
    assert len(decode_samples("2A36", payload, NOW, UTC_CLOCK)) == 0


@pytest.mark.parametrize(
    ("special", "word"),
    [(NAN, "NaN"), (NRES, "NRes"), (PLUS_INF, "+INF"), (MINUS_INF, "-INF"), (RESERVED, "reserved")],
)
def test_what_is_no_number_gives_no_sample_and_is_told(special: int, word: str) -> None:
    payload = encoders.continuous((special, Decimal(60)), (special, special), None, None, None, special)
    told = decode_json("2A5F", payload)
    assert told["spo2_percent"] is None
    assert told["special"] == {"spo2_percent": word, "pulse_amplitude_index_percent": word}
    assert told["fast"] == {"spo2_percent": None, "pulse_rate_bpm": None}
    json.dumps(told, allow_nan=False)
    assert values(decode_samples("2A5F", payload, NOW)) == {"pulse_rate": 60}


MEASUREMENT = {5: 1.0, 6: 0.25, 7: 1.0, 8: 1.0, 12: 0.25, 13: 0.0, 14: 0.25, 15: 0.0}
DEVICE = {
    0: 1.0, 1: 0.0, 2: 0.25, 3: 0.25, 4: 0.25, 5: 1.0, 6: 0.25, 7: 0.25, 8: 0.25, 9: 1.0, 10: 0.25, 11: 0.0, 12: 0.25,
    13: 0.0, 14: 0.0, 15: 0.0, 16: 1.0, 23: 1.0,
}  # fmt: skip


@pytest.mark.parametrize(("bit", "quality"), MEASUREMENT.items())
def test_each_bit_of_a_measurement_status(bit: int, quality: float) -> None:
    payload = encoders.continuous((Decimal(97), Decimal(60)), None, None, 1 << bit, None, None)
    samples = decode_samples("2A5F", payload, NOW, DeviceClock(zone_offset_min=0))
    assert decode_json("2A5F", payload)["quality"] == quality
    assert samples.quality.tolist() == ([quality] * 2)


@pytest.mark.parametrize(("bit", "quality"), DEVICE.items())
def test_each_bit_of_a_device_status(bit: int, quality: float) -> None:
    payload = encoders.continuous((Decimal(97), Decimal(60)), None, None, None, 1 << bit, None)
    samples = decode_samples("2A5F", payload, NOW)
    off = bit in {11, 13, 15}
    assert values(samples) == {"spo2": 97, "pulse_rate": 60, "wear_state": 0.0 if off else 1.0}
    assert samples.quality.tolist() == [quality, quality, 1.0]
    context = {5: Context.LOW_PERFUSION}.get(bit, Context.NO_CONTACT if off else 0)
    assert samples.context.tolist() == [context] * 3


@pytest.mark.parametrize("mark", [1 << 10, 1 << 11])
def test_a_demonstration_is_nobodys(mark: int) -> None:
    payload = encoders.spot_check((Decimal(97), Decimal(60)), WHEN, mark, 0, None, False)
    assert len(decode_samples("2A5E", payload, NOW, UTC_CLOCK)) == 0
    assert decode_json("2A5E", payload)["measurement_status_flags"] == [
        {1 << 10: "demonstration", 1 << 11: "testing"}[mark]
    ]


def test_a_stored_value_without_a_time_is_refused() -> None:
    payload = encoders.continuous((Decimal(97), Decimal(60)), None, None, 1 << 9, None, None)
    assert len(decode_samples("2A5F", payload, NOW, UTC_CLOCK)) == 0


def test_a_spot_check_from_storage_is_placed_by_its_clock_or_refused() -> None:
    payload = encoders.spot_check((Decimal(97), Decimal(60)), (2026, 2, 1, 3, 0, 0), 1 << 9, None, None, False)
    assert len(decode_samples("2A5E", payload, NOW)) == 0
    samples = decode_samples("2A5E", payload, NOW, UTC_CLOCK)
    assert values(samples) == {"spo2": 97, "pulse_rate": 60}
    assert set((NOW - samples.start_us).tolist()) == {(28 * 24 + 9) * 60 * MINUTE}


def test_a_spot_check_whose_clock_is_not_set_is_placed_at_arrival() -> None:
    payload = encoders.spot_check((Decimal(97), Decimal(60)), WHEN, None, None, None, True)
    samples = decode_samples("2A5E", payload, NOW, UTC_CLOCK)
    assert values(samples) == {"spo2": 97, "pulse_rate": 60}
    assert set(samples.start_us.tolist()) == {NOW}


@pytest.mark.parametrize(
    ("concentration", "mol", "mg_dl", "unit"),
    [
        (Decimal(55, -4), True, 99.085734, "mol/L"),  # 5.5 mmol/L at 180.15588 g/mol
        (Decimal(99, -5), False, 99.0, "kg/L"),
        (Decimal(2_045, -6), False, 204.5, "kg/L"),
    ],
)
def test_glucose_units(concentration: Decimal, mol: bool, mg_dl: float, unit: str) -> None:
    payload = encoders.glucose(1, WHEN, -10, (concentration, 1, 1), mol, None, False)
    told = decode_json("2A18", payload)
    assert told["glucose_mg_dl"] == pytest.approx(mg_dl, rel=1e-9)
    assert (told["raw_unit"], told["measured"]) == (unit, "2026-03-01T11:48:00")
    samples = decode_samples("2A18", payload, NOW, UTC_CLOCK)
    assert values(samples) == pytest.approx({"glucose": mg_dl})
    assert (NOW - samples.start_us).tolist() == [12 * MINUTE]


@pytest.mark.parametrize(("fluid", "location"), [(10, 1), (1, 4)])
def test_a_control_solution_is_nobodys(fluid: int, location: int) -> None:
    payload = encoders.glucose(1, WHEN, 0, (Decimal(99, -5), fluid, location), False, None, False)
    assert decode_json("2A18", payload)["control_solution"] is True
    assert len(decode_samples("2A18", payload, NOW, UTC_CLOCK)) == 0


@pytest.mark.parametrize(("bit", "quality"), [(0, 1.0), *((bit, 0.0) for bit in range(1, 11)), (15, 1.0)])
def test_each_bit_of_a_glucose_status(bit: int, quality: float) -> None:
    payload = encoders.glucose(1, WHEN, None, (Decimal(99, -5), 1, 1), False, 1 << bit, False)
    assert decode_samples("2A18", payload, NOW, UTC_CLOCK).quality.tolist() == [quality]


def test_a_glucose_record_of_unknown_time_is_refused() -> None:
    fault = encoders.glucose(1, WHEN, None, (Decimal(99, -5), 1, 1), False, 1 << 11, False)
    overrun = encoders.glucose(1, WHEN, 0x7FFF, (Decimal(99, -5), 1, 1), False, None, False)
    unset = encoders.glucose(1, (0, 0, 0, 0, 0, 0), None, (Decimal(99, -5), 1, 1), False, None, False)
    for payload in (fault, overrun, unset):
        assert len(decode_samples("2A18", payload, NOW, UTC_CLOCK)) == 0
        assert decode_json("2A18", payload)["glucose_mg_dl"] == 99.0
    assert len(decode_samples("2A18", unset, NOW)) == 0


def test_a_record_without_a_concentration_gives_no_sample() -> None:
    payload = encoders.glucose(1, WHEN, None, None, False, None, True)
    assert decode_json("2A18", payload)["glucose_mg_dl"] is None
    assert len(decode_samples("2A18", payload, NOW, UTC_CLOCK)) == 0


def test_a_glucose_context_in_words_and_grams() -> None:
    payload = encoders.glucose_context(
        9, None, (2, Decimal(45, -3)), 2, (2, 4), (65_535, 60), (1, Decimal(30, -6)), False, Decimal(67, -1)
    )
    told = decode_json("2A34", payload)
    assert (told["carbohydrate"], told["carbohydrate_g"], told["meal"]) == ("lunch", 45.0, "after_meal")
    assert (told["tester"], told["health"]) == ("health_care_professional", "under_stress")
    assert (told["exercise_duration_s"], told["exercise_duration_overrun"]) == (None, True)
    assert (told["medication"], told["medication_mg"], told["hba1c_percent"]) == ("rapid_acting_insulin", 30.0, 6.7)
    assert len(decode_samples("2A34", payload, NOW)) == 0
    litres = encoders.glucose_context(9, None, None, 9, (7, 9), None, (99, Decimal(3, -4)), True, None)
    told = decode_json("2A34", litres)
    assert (told["medication"], told["medication_ml"]) == ("reserved", 0.3)
    assert (told["meal"], told["tester"], told["health"]) == ("reserved",) * 3


def test_annunciation_octets_in_both_orders() -> None:
    """Flag bits 5, 6 and 7 gate the octets in that order; what the first one is about, makers disagree on."""
    payload = encoders.cgm_record(Decimal(90), 5, (0x01, 0x02, 0x04), None, None, secured=False)
    (nordic,) = cgm.decode(payload)
    assert tuple(nordic.annunciation) == (0x01, 0x02, 0x04)  # warning, calibration/temperature, status
    (sig,) = cgm.decode(payload, cgm.STATUS_FIRST)
    assert sig.annunciation._asdict() == {"status": 0x01, "calibration_temperature": 0x02, "warning": 0x04}
    assert nordic.annunciation_octets == sig.annunciation_octets == b"\x01\x02\x04"
    assert (nordic.quality, sig.quality) == (0.0, 0.0)  # a sensor of the wrong type; a session that has stopped
    (alone,) = cgm.decode(encoders.cgm_record(Decimal(90), 5, (None, None, 0x08), None, None, secured=False))
    assert alone.annunciation == cgm.Annunciation(status=0x08)


def test_nordics_vector_in_nordics_order() -> None:
    told: Any = decode_json("2AA7", bytes.fromhex("0fe3d2e405000214ff02f0e5f38e3f"))
    record = told["records"][0]
    assert (record["warning"], record["calibration_temperature"], record["status"]) == (0x02, 0x14, 0xFF)
    assert record["warning_flags"] == ["above_patient_high"]
    assert record["calibration_temperature_flags"] == ["calibration_recommended", "sensor_temperature_too_high"]
    assert "sensor_malfunction" in record["status_flags"]


@pytest.mark.parametrize(
    ("octets", "quality"),
    [
        ((0x3F, None, None), 1.0),  # below or above a limit, falling or rising: findings
        ((0x40, None, None), 0.0), ((0x80, None, None), 0.0),  # beyond what the sensor can tell
        ((None, 0x07, None), 1.0), ((None, 0x08, None), 0.25), ((None, 0x10, None), 0.0), ((None, 0x20, None), 0.0),
        ((None, None, 0x01), 0.0), ((None, None, 0x02), 1.0), ((None, None, 0x04), 0.0), ((None, None, 0x08), 0.0),
        ((None, None, 0x10), 0.25), ((None, None, 0x20), 0.0), ((None, None, 0xC0), 1.0),
    ],
)  # fmt: skip
def test_each_annunciation(octets: tuple[int | None, int | None, int | None], quality: float) -> None:
    (record,) = cgm.decode(encoders.cgm_record(Decimal(90), 5, octets, None, None, secured=True))
    assert record.quality == quality


def test_a_sensors_own_percentage_is_quality() -> None:
    (record,) = cgm.decode(
        encoders.cgm_record(Decimal(90), 5, (None, None, None), None, Decimal(425, -1), secured=False)
    )
    assert record.quality == 0.425


def test_several_records_are_timed_by_their_session() -> None:
    payload = b"".join(
        encoders.cgm_record(Decimal(100 + minute), minute, (None, None, None), None, None, secured=True)
        for minute in (10, 15, 20)
    )
    session = DeviceClock(session_start_us=NOW - 25 * MINUTE)
    assert (NOW - decode_samples("2AA7", payload, NOW, session).start_us).tolist() == [
        15 * MINUTE,
        10 * MINUTE,
        5 * MINUTE,
    ]
    # Live without a session's start, or with one that cannot be: the newest is now.
    for clock in (DeviceClock(), DeviceClock(session_start_us=NOW + 60 * MINUTE)):
        assert (NOW - decode_samples("2AA7", payload, NOW, clock).start_us).tolist() == [10 * MINUTE, 5 * MINUTE, 0]
    assert len(decode_samples("2AA7", payload, NOW, DeviceClock(stored=True))) == 0
    assert decode_json("2AA7", payload)["glucose_mg_dl"] == 120.0


def test_a_record_whose_checksum_is_wrong_is_told_and_gives_no_sample() -> None:
    good = encoders.cgm_record(Decimal(100), 5, (None, None, None), None, None, secured=True)
    bad = good[:2] + bytes((good[2] ^ 1,)) + good[3:]
    told: Any = decode_json("2AA7", good + bad)
    assert [record["crc_ok"] for record in told["records"]] == [True, False]
    assert values(decode_samples("2AA7", good + bad, NOW)) == {"glucose": 100}


@pytest.mark.parametrize(
    ("zone", "dst", "utc"),
    [
        (8, 4, "2018-04-24T10:08:24+00:00"), (-20, 0, "2018-04-24T18:08:24+00:00"),
        (23, 255, "2018-04-24T07:23:24+00:00"),
        (-128, 0, None), (57, 0, None),
    ],
)  # fmt: skip
def test_when_a_session_began(zone: int, dst: int, utc: str | None) -> None:
    payload = encoders.date((2018, 4, 24, 13, 8, 24)) + zone.to_bytes(1, "little", signed=True) + bytes((dst,))
    assert decode_json("2AAA", payload)["utc"] == utc
    assert decode_json("2AAA", payload)["crc_ok"] is None
    assert decode_json("2AAA", payload + encoders.crc(payload))["crc_ok"] is True
    assert decode_json("2AAA", payload + b"\0\0")["crc_ok"] is False


def test_weight_in_pounds_and_inches() -> None:
    payload = encoders.weight(15_432, True, None, 255, (244, 669))
    told = decode_json("2A9D", payload)
    assert told["weight_kg"] == pytest.approx(69.9983745, abs=1e-7)  # 154.32 lb x 0.45359237
    assert (told["raw_weight"], told["raw_unit"], told["body_mass_index"]) == (154.32, "lb", 24.4)
    assert told["height_cm"] == pytest.approx(169.926)  # 66.9 in x 2.54
    assert values(decode_samples("2A9D", payload, NOW)) == pytest.approx(
        {"weight": 69.9983745, "body_mass_index": 24.4, "body_height": 169.926}
    )


def test_weighing_that_did_not_succeed() -> None:
    payload = encoders.weight(0xFFFF, False, None, None, None)
    assert (decode_json("2A9D", payload)["weight_kg"], decode_json("2A9D", payload)["unsuccessful"]) == (None, True)
    assert len(decode_samples("2A9D", payload, NOW)) == 0


def test_body_composition() -> None:
    fields = [7_000, 421, 6_000, 11_000, 10_000, 8_000, 5_123, 14_000, 1_755]
    payload = encoders.body_composition(214, False, WHEN, 3, fields, True)
    told = decode_json("2A9C", payload)
    expect = {
        "body_fat_percent": 21.4, "basal_metabolism_kj": 7_000, "muscle_percent": 42.1, "muscle_mass_kg": 30.0,
        "fat_free_mass_kg": 55.0, "soft_lean_mass_kg": 50.0, "body_water_mass_kg": 40.0, "impedance_ohm": 512.3,
        "weight_kg": 70.0, "height_cm": 175.5, "several_packets": True, "user_id": 3,
    }  # fmt: skip
    assert {key: told[key] for key in expect} == expect
    assert values(decode_samples("2A9C", payload, NOW, UTC_CLOCK)) == {
        "body_fat": 21.4, "lean_body_mass": 55.0, "weight": 70.0, "body_height": 175.5, "clock_offset": -120.0,
    }  # fmt: skip
    failed = encoders.body_composition(0xFFFF, True, None, None, [None] * 9, False)
    assert len(decode_samples("2A9C", failed, NOW)) == 0


def test_running() -> None:
    payload = encoders.running(768, 172, 105, 12_345, True)
    told = decode_json("2A53", payload)
    assert (told["speed_m_s"], told["cadence_per_min"], told["stride_length_m"]) == (3.0, 172, 1.05)
    assert (told["total_distance_m"], told["activity"]) == (1_234.5, "running")
    assert values(decode_samples("2A53", payload, NOW)) == {"speed": 3.0, "cadence": 172, "activity_class": 3}
    standing = encoders.running(0, 0, None, None, False)
    assert values(decode_samples("2A53", standing, NOW)) == {"speed": 0.0, "cadence": 0.0}


@pytest.mark.parametrize(("level", "told"), [(0, 0), (100, 100), (101, None), (255, None)])
def test_battery(level: int, told: int | None) -> None:
    assert decode_json("2A19", bytes((level,)))["battery_percent"] == told
    assert values(decode_samples("2A19", bytes((level,)), NOW)) == ({} if told is None else {"battery": told})


def test_a_clock_that_is_read_tells_its_offset() -> None:
    payload = encoders.date((2026, 3, 1, 12, 0, 7)) + bytes((7, 128, 0))
    assert values(decode_samples("2A2B", payload, NOW, UTC_CLOCK)) == {"clock_offset": 7.5}
    assert decode_json("2A2B", payload)["day_of_week"] == "sunday"
    assert len(decode_samples("2A2B", bytes(10), NOW)) == 0
    assert decode_json("2A0F", b"\x04\x04")["zone_offset_min"] == 120


def test_body_sensor_location_that_is_reserved() -> None:
    assert decode_json("2A38", b"\x07")["location"] == "reserved"
    assert decode_json("2A1D", b"\x0a")["site"] == "reserved"


def test_a_string_of_other_octets_than_utf_8_is_still_read() -> None:
    assert decode_json("2A26", b"1.0\xff\0")["firmware"] == "1.0\ufffd"
