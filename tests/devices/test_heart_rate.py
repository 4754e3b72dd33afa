"""2A37 against published vectors, against an encoder of its own, and against bytes of no meaning."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devices import gatt
from devices.errors import MalformedFrame, UnknownCharacteristic
from devices.gatt.heart_rate import HeartRateMeasurement, decode, to_samples
from vitals.batch import metric_codes, to_arrow
from vitals.quality import Context

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "ble" / "heart_rate.json"
NOW_US = 1_700_000_000_000_000


def encode(bpm: int, wide: bool, contact: bool | None, energy: int | None, rr: list[int], reserved: int) -> bytes:
    """An encoder written from the specification's table, sharing nothing with the decoder."""
    flags = f"{reserved:03b}{int(bool(rr))}{int(energy is not None)}"
    flags += {None: "00", False: "10", True: "11"}[contact] + str(int(wide))
    frame = [int(flags, 2), *(divmod(bpm, 256)[::-1] if wide else (bpm,))]
    for number in ([] if energy is None else [energy]) + rr:
        frame += divmod(number, 256)[::-1]
    return bytes(frame)


uint16 = st.integers(0, 65_535)


@given(
    wide=st.booleans(),
    bpm=uint16,
    contact=st.none() | st.booleans(),
    energy=st.none() | uint16,
    rr=st.lists(uint16, max_size=200),
    reserved=st.integers(0, 7),
)
def test_round_trip(
    wide: bool, bpm: int, contact: bool | None, energy: int | None, rr: list[int], reserved: int
) -> None:
    bpm = bpm if wide else bpm % 256
    assert decode(encode(bpm, wide, contact, energy, rr, reserved)) == HeartRateMeasurement(
        bpm, contact, energy, tuple(rr)
    )


@settings(deadline=None)  # the first look-up loads the makers' own decoders
@given(st.binary(max_size=600))
@example(b"")
@example(b"\x10" * 513)
def test_any_bytes_decode_or_are_malformed(payload: bytes) -> None:
    try:
        samples = gatt.decode_samples("2a37", payload, NOW_US)
    except MalformedFrame as malformed:
        caught = malformed
    else:
        to_arrow(samples)
        json.dumps(gatt.decode_json("2a37", payload), allow_nan=False)
        return
    assert caught.payload == payload
    assert str(caught).startswith("Heart Rate Measurement (2A37): expected ")


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 8])
def test_a_frame_cut_short_is_malformed(length: int) -> None:
    with pytest.raises(MalformedFrame):
        decode(encode(300, True, True, 7, [800, 900], 0)[:length])


def _fixture(kind: str) -> list[dict[str, Any]]:
    return [one for one in json.loads(FIXTURE.read_text()) if ("expect" in one) == (kind == "good")]


@pytest.mark.parametrize("frame", _fixture("good"), ids=lambda one: one["hex"])
def test_frames_of_our_own(frame: dict[str, Any]) -> None:
    assert gatt.decode_json("2A37", bytes.fromhex(frame["hex"])) | frame["expect"] == gatt.decode_json(
        "2A37", bytes.fromhex(frame["hex"])
    )


@pytest.mark.parametrize("frame", _fixture("bad"), ids=lambda one: one["why"])
def test_malformed_frames_say_what_was_expected_and_where(frame: dict[str, Any]) -> None:
    with pytest.raises(MalformedFrame) as caught:
        decode(bytes.fromhex(frame["hex"]))
    assert frame["says"] in str(caught.value)


@pytest.mark.realdata
def test_published_vectors(realdata: Path) -> None:
    vectors = json.loads((realdata / "ble-vectors" / "gatt_vectors.json").read_text())["vectors"]
    ours = [one for one in vectors if one["char"] == "2A37"]
    assert len(ours) == 6
    for vector in ours:
        payload, expect = bytes.fromhex(vector["hex"]), vector["expect"]
        if isinstance(expect, str):
            with pytest.raises(MalformedFrame):
                decode(payload)
            continue
        measurement = decode(payload)
        assert measurement.heart_rate_bpm == expect["hr"]
        assert measurement.energy_expended_kj == expect.get("ee")
        assert list(measurement.rr_ticks) == expect.get("rr", [])
        if "contact" in expect:
            assert measurement.contact == expect["contact"]


def test_samples_count_time_backwards_from_arrival() -> None:
    samples = to_samples(decode(bytes.fromhex("16 48 0004 0002 0001")), NOW_US)
    assert metric_codes(samples) == ["rr_interval"] * 3 + ["heart_rate", "wear_state"]
    assert samples.value.tolist() == [1000.0, 500.0, 250.0, 72.0, 1.0]
    assert (NOW_US - samples.start_us).tolist() == [1_750_000, 750_000, 250_000, 0, 0]
    assert set(samples.received_us.tolist()) == set(samples.written_us.tolist()) == {NOW_US}
    assert samples.quality.tolist() == [1.0] * 5


@given(st.lists(st.integers(200, 4_000), max_size=20))
def test_each_interval_begins_where_the_one_before_ends_and_the_last_ends_at_arrival(rr: list[int]) -> None:
    samples = to_samples(HeartRateMeasurement(60, None, None, tuple(rr)), NOW_US)
    ends = samples.start_us[: len(rr)] + samples.value[: len(rr)] * 1_000
    np.testing.assert_allclose(ends, [*samples.start_us[1 : len(rr)], NOW_US][: len(rr)], rtol=0, atol=1)


def test_without_contact_everything_is_kept_at_quality_0() -> None:
    samples = to_samples(decode(bytes.fromhex("14 3f 0004")), NOW_US)
    assert metric_codes(samples) == ["rr_interval", "heart_rate", "wear_state"]
    assert samples.quality.tolist() == [0.0, 0.0, 1.0]
    assert samples.value[-1] == 0.0
    assert samples.context.tolist() == [Context.NO_CONTACT] * 3


def test_no_wear_sample_where_the_strap_does_not_tell() -> None:
    assert metric_codes(to_samples(decode(b"\x00\x55"), NOW_US)) == ["heart_rate"]


@pytest.mark.parametrize(
    "uuid", ["2a37", "2A37", "0x2A37", "00002a37", "00002a37-0000-1000-8000-00805f9b34fb", " 2A37 "]
)
def test_a_characteristic_is_found_by_any_form_of_its_uuid(uuid: str) -> None:
    assert gatt.decode(uuid, b"\x00\x55").heart_rate_bpm == 85


@pytest.mark.parametrize("uuid", ["", "2a3e", "heart", "12342a37-0000-1000-8000-00805f9b34fb", "2a37-"])
def test_an_unknown_characteristic_lists_the_known(uuid: str) -> None:
    with pytest.raises(UnknownCharacteristic, match=r"2A37 \(Heart Rate Measurement\)"):
        gatt.decode(uuid, b"\x00\x55")
