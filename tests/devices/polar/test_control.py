"""Polar's control point: requests as octets, answers and settings as sensors send them."""

from __future__ import annotations

import struct

import pytest

from devices.errors import MalformedFrame
from devices.gatt import decode_json
from devices.polar import SERVICE, control
from devices.polar.control import Answer, Features, Measurement, Setting, Stopped
from vitals.errors import VigilError


def answer(payload: str) -> Answer:
    told = control.decode(bytes.fromhex(payload))
    assert isinstance(told, Answer)
    return told


def test_requests() -> None:
    assert control.get_settings(Measurement.ECG) == bytes.fromhex("0100")
    chosen = {Setting.SAMPLE_RATE_HZ: 130, Setting.RESOLUTION_BITS: 14}
    assert control.start(Measurement.ECG, chosen) == bytes.fromhex("0200 00018200 01010e00")
    acceleration = {Setting.SAMPLE_RATE_HZ: 200, Setting.RESOLUTION_BITS: 16, Setting.RANGE: 8, Setting.CHANNELS: 3}
    assert control.start(Measurement.ACCELERATION, acceleration) == bytes.fromhex(
        "0202 0001c800 01011000 02010800 040103"
    )
    assert control.start(Measurement.BEAT_INTERVALS) == bytes.fromhex("0203")
    assert control.start(Measurement.PPG, {Setting.FACTOR: 1}) == bytes.fromhex("0201")
    assert control.stop(Measurement.PPG) == bytes.fromhex("0301")


@pytest.mark.parametrize("rate", [-1, 65_536])
def test_a_setting_that_does_not_fit_is_refused(rate: int) -> None:
    with pytest.raises(VigilError, match="sample_rate_hz"):
        control.start(Measurement.ECG, {Setting.SAMPLE_RATE_HZ: rate})


def test_features() -> None:
    """0x0F, then a bit a measurement: 0x0E is PPG, acceleration and beat intervals; bit 9 is the SDK mode."""
    assert control.decode(bytes.fromhex("0f0e02")) == Features((1, 2, 3, 9))
    assert decode_json(control.UUID, bytes.fromhex("0f05"))["features"] == ["ecg", "acceleration"]


def test_settings() -> None:
    """52 Hz, 16 bits, four ranges, three channels, as a published test has them."""
    told = answer("f0010200000001340001011000 0204f500f401e803d007 040103")
    assert (told.ok, told.more, told.measurement) == (True, False, Measurement.ACCELERATION)
    assert control.settings([told]) == {
        Setting.SAMPLE_RATE_HZ: (52,),
        Setting.RESOLUTION_BITS: (16,),
        Setting.RANGE: (245, 500, 1_000, 2_000),
        Setting.CHANNELS: (3,),
    }
    json = decode_json(control.UUID, bytes.fromhex("f00102000000013400"))
    assert (json["request"], json["status"], json["settings"]) == ("get_settings", "success", {"sample_rate_hz": [52]})


def test_settings_over_several_answers() -> None:
    parts = [answer("f0010200010001340001"), answer("f00102000001 1000")]
    assert [part.more for part in parts] == [True, False]
    assert control.settings(parts) == {Setting.SAMPLE_RATE_HZ: (52,), Setting.RESOLUTION_BITS: (16,)}
    assert decode_json(control.UUID, bytes.fromhex("f00102000001 1000"))["settings"] is None


@pytest.mark.parametrize(("factor", "expect"), [(0.25, 0.25), (float("nan"), 1.0), (float("inf"), 1.0), (0.0, 1.0)])
def test_a_factor_is_a_float_and_never_nonsense(factor: float, expect: float) -> None:
    told = answer("f002020000" + (b"\x05\x01" + struct.pack("<f", factor)).hex())
    assert control.settings([told]) == {Setting.FACTOR: (expect,)}


@pytest.mark.parametrize("parameters", ["0001", "000134", "00023400", "07010000", "00"])
def test_settings_that_are_cut_or_unknown_are_malformed(parameters: str) -> None:
    with pytest.raises(MalformedFrame, match="Polar Measurement Control Point"):
        control.settings([answer("f001020000" + parameters)])


@pytest.mark.parametrize(
    ("status", "word", "ok"), [(0, "success", True), (6, "already_in_state", True), (13, "device_in_charger", False)]
)
def test_statuses(status: int, word: str, ok: bool) -> None:
    payload = bytes((0xF0, 2, 0, status))
    assert answer(payload.hex()).ok is ok
    assert decode_json(control.UUID, payload)["status"] == word
    assert decode_json(control.UUID, bytes((0xF0, 99, 62, 200)))["status"] == "reserved"


def test_a_sensor_that_stops_by_itself() -> None:
    assert control.decode(b"\x01\x00\x42") == Stopped((0, 2))
    assert decode_json(control.UUID, b"\x01\x00\x3f")["stopped"] == ["ecg", "reserved"]


@pytest.mark.parametrize("payload", ["", "f0", "f001", "f00102", "ee"])
def test_an_answer_cut_short_is_malformed(payload: str) -> None:
    with pytest.raises(MalformedFrame):
        control.decode(bytes.fromhex(payload))


def test_the_service() -> None:
    assert SERVICE.uuid16 == "FB005C80-02E7-F387-1CAD-8ACD2D8DF0C8"
    assert [one.how for one in SERVICE.characteristics] == ["control", "notify"]
