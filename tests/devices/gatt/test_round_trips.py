"""What a sensor encodes is what the decoder says, over every combination of flags, and spare octets change nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.gatt import (
    blood_pressure,
    body_composition,
    cgm,
    current_time,
    cycling,
    decode_json,
    glucose,
    glucose_context,
    pulse_oximeter,
    running,
    thermometer,
    weight,
)
from devices.gatt.clock import DeviceTime
from devices.gatt.ieee11073 import MedicalFloat
from tests.devices.gatt import encoders
from tests.devices.gatt.encoders import Date, Decimal
from tests.devices.gatt.strategies import (
    dates,
    floats,
    nibble,
    pairs,
    sfloats,
    sint16,
    spare,
    uint8,
    uint16,
    uint24,
    uint32,
)

maybe = st.none


def when(date: Date | None) -> DeviceTime | None:
    return None if date is None else DeviceTime(*date)


def exact(value: Decimal | None) -> MedicalFloat | None:
    return None if value is None else value.exact


def exact_pair(two: tuple[Decimal, Decimal] | None) -> tuple[float, float] | None:
    return None if two is None else (two[0].exact, two[1].exact)


@given(
    value=floats, fahrenheit=st.booleans(), date=maybe() | dates, site=maybe() | uint8, reserved=st.integers(0, 31),
    spare=spare, uuid=st.sampled_from(["2A1C", "2A1E"]),
)  # fmt: skip
def test_temperature(
    value: Decimal, fahrenheit: bool, date: Date | None, site: int | None, reserved: int, spare: bytes, uuid: str
) -> None:
    payload = encoders.temperature(value, fahrenheit, date, site, reserved, spare)
    told = thermometer.decode(payload, uuid)
    assert told.value == pytest.approx(value.exact, rel=1e-15)
    assert (told.fahrenheit, told.device_time) == (fahrenheit, when(date))
    names = ["reserved", "armpit", "body", "ear", "finger", "gastro_intestinal_tract", "mouth", "rectum", "toe"]
    names.append("tympanum")
    assert told.site == (None if site is None else names[site] if site < 10 else "reserved")


@given(
    pressures=st.tuples(sfloats, sfloats, sfloats), kilopascal=st.booleans(), date=maybe() | dates,
    pulse=maybe() | sfloats, user=maybe() | uint8, status=maybe() | uint16, reserved=st.integers(0, 7), spare=spare,
    uuid=st.sampled_from(["2A35", "2A36"]),
)  # fmt: skip
def test_blood_pressure(
    pressures: tuple[Decimal, Decimal, Decimal], kilopascal: bool, date: Date | None, pulse: Decimal | None,
    user: int | None, status: int | None, reserved: int, spare: bytes, uuid: str,
) -> None:  # fmt: skip
    payload = encoders.blood_pressure(pressures, kilopascal, date, pulse, user, status, reserved, spare)
    told = blood_pressure.decode(payload, uuid)
    first, second, third = (one.exact for one in pressures)
    assert told == blood_pressure.BloodPressure(
        uuid, (first, second, third), kilopascal, when(date), exact(pulse), user, status
    )


@given(
    normal=pairs, date=maybe() | dates, measurement=maybe() | uint16, device=maybe() | uint24, index=maybe() | sfloats,
    unset=st.booleans(), reserved=st.integers(0, 7), spare=spare,
)  # fmt: skip
def test_spot_check(
    normal: tuple[Decimal, Decimal], date: Date | None, measurement: int | None, device: int | None,
    index: Decimal | None, unset: bool, reserved: int, spare: bytes,
) -> None:  # fmt: skip
    payload = encoders.spot_check(normal, date, measurement, device, index, unset, reserved, spare)
    assert pulse_oximeter.decode_spot_check(payload) == pulse_oximeter.Oximetry(
        "2A5E", (normal[0].exact, normal[1].exact), None, None, when(date), unset, measurement, device, exact(index)
    )


@given(
    normal=pairs, fast=maybe() | pairs, slow=maybe() | pairs, measurement=maybe() | uint16, device=maybe() | uint24,
    index=maybe() | sfloats, reserved=st.integers(0, 7), spare=spare,
)  # fmt: skip
def test_continuous(
    normal: tuple[Decimal, Decimal], fast: tuple[Decimal, Decimal] | None, slow: tuple[Decimal, Decimal] | None,
    measurement: int | None, device: int | None, index: Decimal | None, reserved: int, spare: bytes,
) -> None:  # fmt: skip
    payload = encoders.continuous(normal, fast, slow, measurement, device, index, reserved, spare)
    assert pulse_oximeter.decode_continuous(payload) == pulse_oximeter.Oximetry(
        "2A5F", (normal[0].exact, normal[1].exact), exact_pair(fast), exact_pair(slow), None, False, measurement,
        device, exact(index),
    )  # fmt: skip


@given(
    sequence=uint16, base=dates, offset=maybe() | sint16, concentration=maybe() | st.tuples(sfloats, nibble, nibble),
    mol=st.booleans(), status=maybe() | uint16, context=st.booleans(), reserved=st.integers(0, 7), spare=spare,
)  # fmt: skip
def test_glucose(
    sequence: int, base: Date, offset: int | None, concentration: tuple[Decimal, int, int] | None, mol: bool,
    status: int | None, context: bool, reserved: int, spare: bytes,
) -> None:  # fmt: skip
    payload = encoders.glucose(sequence, base, offset, concentration, mol, status, context, reserved, spare)
    value, fluid, location = (None, None, None) if concentration is None else concentration
    assert glucose.decode(payload) == glucose.Glucose(
        sequence, DeviceTime(*base), offset, exact(value), mol, fluid, location, status, context
    )


@given(
    sequence=uint16, extended=maybe() | uint8, carbohydrate=maybe() | st.tuples(uint8, sfloats), meal=maybe() | uint8,
    tester_health=maybe() | st.tuples(nibble, nibble), exercise=maybe() | st.tuples(uint16, uint8),
    medication=maybe() | st.tuples(uint8, sfloats), litres=st.booleans(), hba1c=maybe() | sfloats, spare=spare,
)  # fmt: skip
def test_glucose_context(
    sequence: int, extended: int | None, carbohydrate: tuple[int, Decimal] | None, meal: int | None,
    tester_health: tuple[int, int] | None, exercise: tuple[int, int] | None, medication: tuple[int, Decimal] | None,
    litres: bool, hba1c: Decimal | None, spare: bytes,
) -> None:  # fmt: skip
    payload = encoders.glucose_context(
        sequence, extended, carbohydrate, meal, tester_health, exercise, medication, litres, hba1c, spare
    )
    told = glucose_context.decode(payload)
    assert told.sequence_number == sequence
    assert (told.carbohydrate, told.carbohydrate_kg) == _with_amount(carbohydrate)
    assert (told.tester, told.health) == (tester_health or (None, None))
    assert (told.exercise_s, told.exercise_percent) == (exercise or (None, None))
    assert (told.medication, told.medication_amount) == _with_amount(medication)
    assert (told.meal, told.in_litres, told.hba1c_percent) == (meal, litres, exact(hba1c))


def _with_amount(two: tuple[int, Decimal] | None) -> tuple[int | None, MedicalFloat | None]:
    return (None, None) if two is None else (two[0], two[1].exact)


records = st.tuples(
    sfloats, uint16, st.tuples(maybe() | uint8, maybe() | uint8, maybe() | uint8), maybe() | sfloats,
    maybe() | sfloats, st.booleans(), st.integers(0, 7),
)  # fmt: skip


@given(st.lists(records, min_size=1, max_size=20))
def test_continuous_glucose(sent: list[Any]) -> None:
    payload = b"".join(
        encoders.cgm_record(value, minutes, octets, trend, quality, secured=secured, reserved=reserved)
        for value, minutes, octets, trend, quality, secured, reserved in sent
    )
    for told, (value, minutes, octets, trend, quality, secured, _) in zip(cgm.decode(payload), sent, strict=True):
        assert (told.mg_dl, told.offset_min) == (value.exact, minutes)
        assert tuple(told.annunciation) == octets
        assert (told.trend_mg_dl_min, told.quality_percent) == (exact(trend), exact(quality))
        assert told.crc_ok is (True if secured else None)


@given(
    steps=uint16, imperial=st.booleans(), date=maybe() | dates, user=maybe() | uint8,
    bmi_height=maybe() | st.tuples(uint16, uint16), reserved=nibble, spare=spare,
)  # fmt: skip
def test_weight(
    steps: int, imperial: bool, date: Date | None, user: int | None, bmi_height: tuple[int, int] | None, reserved: int,
    spare: bytes,
) -> None:  # fmt: skip
    payload = encoders.weight(steps, imperial, date, user, bmi_height, reserved, spare)
    assert weight.decode(payload) == weight.Weight(steps, imperial, when(date), user, *(bmi_height or (None, None)))


FIELDS = (
    "basal_metabolism", "muscle_percentage", "muscle_mass", "fat_free_mass", "soft_lean_mass", "body_water_mass",
    "impedance", "weight", "height",
)  # fmt: skip


@given(
    fat=uint16, imperial=st.booleans(), date=maybe() | dates, user=maybe() | uint8,
    fields=st.lists(maybe() | uint16, min_size=9, max_size=9), several=st.booleans(), spare=spare,
)  # fmt: skip
def test_body_composition(
    fat: int, imperial: bool, date: Date | None, user: int | None, fields: list[int | None], several: bool, spare: bytes
) -> None:
    told = body_composition.decode(encoders.body_composition(fat, imperial, date, user, fields, several, spare))
    present = {name: value for name, value in zip(FIELDS, fields, strict=True) if value is not None}
    assert told == body_composition.BodyComposition(fat, imperial, when(date), user, present, several)


@given(
    speed=uint16, cadence=uint8, stride=maybe() | uint16, total=maybe() | uint32, runs=st.booleans(),
    reserved=st.integers(0, 31), spare=spare,
)  # fmt: skip
def test_running(
    speed: int, cadence: int, stride: int | None, total: int | None, runs: bool, reserved: int, spare: bytes
) -> None:
    payload = encoders.running(speed, cadence, stride, total, runs, reserved, spare)
    assert running.decode(payload) == running.Running(speed, cadence, stride, total, runs)


@given(
    wheel=maybe() | st.tuples(uint32, uint16), crank=maybe() | st.tuples(uint16, uint16),
    reserved=st.integers(0, 63), spare=spare,
)  # fmt: skip
def test_cycling(wheel: tuple[int, int] | None, crank: tuple[int, int] | None, reserved: int, spare: bytes) -> None:
    told = cycling.decode(encoders.cycling(wheel, crank, reserved, spare))
    assert told == cycling.Cycling(wheel and cycling.Turn(*wheel), crank and cycling.Turn(*crank))


@given(date=dates, weekday=uint8, fraction=uint8, reason=uint8, spare=spare)
def test_current_time(date: Date, weekday: int, fraction: int, reason: int, spare: bytes) -> None:
    payload = encoders.date(date) + bytes((weekday, fraction, reason)) + spare
    assert current_time.decode_current(payload) == current_time.ClockReading(
        "2A2B", DeviceTime(*date), weekday, fraction, reason
    )


@given(st.text(max_size=60).filter(lambda text: "\0" not in text))
def test_device_information(text: str) -> None:
    assert decode_json("2A24", text.encode() + b"\0\0")["model"] == text.strip()
