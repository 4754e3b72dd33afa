"""A frame too short for its flags is malformed, wherever it is cut, and the message says what and where, no value."""

from __future__ import annotations

import re

import pytest

from devices.errors import MalformedFrame, UnknownCharacteristic
from devices.gatt import CHARACTERISTICS, SERVICES, characteristic, decode, decode_json
from tests.devices.gatt import encoders
from tests.devices.gatt.encoders import Decimal

D, WHEN = Decimal(987, -1), (2024, 5, 6, 7, 8, 9)
FULL = {
    "2A37": bytes.fromhex("1f 4800 0500 0004"),
    "2A38": b"\x01",
    "2A1C": encoders.temperature(Decimal(987, -1), True, WHEN, 3),
    "2A1E": encoders.temperature(Decimal(987, -1), True, WHEN, 3),
    "2A1D": b"\x03",
    "2A35": encoders.blood_pressure((D, D, D), True, WHEN, D, 1, 39),
    "2A36": encoders.blood_pressure((D, 0x07FF, 0x07FF), True, WHEN, D, 1, 39),
    "2A5E": encoders.spot_check((D, D), WHEN, 32, 32, D, False),
    "2A5F": encoders.continuous((D, D), (D, D), (D, D), 32, 32, D),
    "2A18": encoders.glucose(7, WHEN, -5, (D, 2, 1), False, 1, True),
    "2A34": encoders.glucose_context(7, 0, (1, D), 1, (1, 5), (600, 50), (1, D), False, D),
    "2AA7": encoders.cgm_record(D, 5, (1, 2, 4), D, D, secured=True),
    "2AAA": encoders.date(WHEN) + b"\x08\x04",
    "2A52": b"\x06\x00\x01\x01",
    "2A9D": encoders.weight(14_000, False, WHEN, 1, (244, 1_700)),
    "2A9C": encoders.body_composition(250, False, WHEN, 1, [7_000, 400, 1, 2, 3, 4, 5, 14_000, 1_700], False),
    "2A53": encoders.running(512, 160, 120, 5_000, True),
    "2A5B": encoders.cycling((1, 2), (3, 4)),
    "2A19": b"\x40",
    "2A2B": encoders.date(WHEN) + b"\x01\x80\x00",
    "2A08": encoders.date(WHEN),
    "2A0F": b"\x04\x04",
}
STRINGS = {"2A29", "2A24", "2A25", "2A26", "2A27", "2A28"}


def test_every_characteristic_of_the_registry_is_here() -> None:
    assert set(FULL) | STRINGS == set(CHARACTERISTICS)


@pytest.mark.parametrize("uuid", FULL)
def test_a_whole_frame_decodes_and_no_cut_one_does(uuid: str) -> None:
    whole = FULL[uuid]
    decode_json(uuid, whole)
    name = re.escape(f"{CHARACTERISTICS[uuid].name} ({uuid}): expected ")
    for length in range(len(whole)):
        with pytest.raises(MalformedFrame, match=f"^{name}") as caught:
            decode(uuid, whole[:length])
        assert caught.value.payload == whole[:length]
        assert re.search(r"(at|from) offset \d+, got \d+ octets", str(caught.value))


def test_a_record_too_short_for_its_flags_is_told_with_its_place() -> None:
    first = encoders.cgm_record(D, 5, (None, None, None), None, None, secured=False)
    payload = first + bytes((6, 0x03)) + encoders.sfloat(D) + b"\x05\x00"
    with pytest.raises(MalformedFrame) as caught:
        decode("2AA7", payload)
    assert str(caught.value) == (
        "CGM Measurement (2AA7): expected the trend, 2 octet(s) at offset 6, got 6 octets, in the record at offset 6"
    )
    assert caught.value.payload == payload


@pytest.mark.parametrize("uuid", sorted(set(CHARACTERISTICS)))
def test_a_value_longer_than_an_attribute_is_malformed(uuid: str) -> None:
    with pytest.raises(MalformedFrame, match="at most 512 octets, got 513"):
        decode(uuid, b"\0" * 513)


def test_the_message_tells_what_is_missing_and_where() -> None:
    with pytest.raises(MalformedFrame) as caught:
        decode("2A5F", bytes.fromhex("0462004e0020"))
    assert str(caught.value) == (
        "PLX Continuous Measurement (2A5F): expected the measurement status, 2 octet(s) at offset 5, got 6 octets"
    )


@pytest.mark.parametrize("uuid", ["", "2a99", "FB005C83-02E7-F387-1CAD-8ACD2D8DF0C8", "zz"])
def test_an_unknown_characteristic_lists_the_known(uuid: str) -> None:
    with pytest.raises(UnknownCharacteristic, match=r"2A5F \(PLX Continuous Measurement\).*FB005C82"):
        decode(uuid, b"")


# By flag bit: how many octets the field takes that it announces (0: none), behind so many that are always there. One
# SFLOAT is 2 octets, a date 7; 2A9C has 16 bits of flags.
LAYOUTS: dict[str, tuple[int, dict[int, int]]] = {
    "2A37": (2, {0: 1, 3: 2, 4: 2}),
    "2A1C": (5, {1: 7, 2: 1}),
    "2A35": (7, {1: 7, 2: 2, 3: 1, 4: 2}),
    "2A36": (7, {1: 7, 2: 2, 3: 1, 4: 2}),
    "2A5E": (5, {0: 7, 1: 2, 2: 3, 3: 2}),
    "2A5F": (5, {0: 4, 1: 4, 2: 2, 3: 3, 4: 2}),
    "2A18": (10, {0: 2, 1: 3, 3: 2}),
    "2A34": (3, {0: 3, 1: 1, 2: 1, 3: 3, 4: 3, 6: 2, 7: 1}),
    "2A9D": (3, {1: 7, 2: 1, 3: 4}),
    "2A9C": (4, {1: 7, 2: 1, **dict.fromkeys(range(3, 12), 2)}),
    "2A53": (4, {0: 2, 1: 4}),
    "2A5B": (1, {0: 6, 1: 4}),
}


@pytest.mark.parametrize("uuid", LAYOUTS)
def test_every_combination_of_flags_takes_as_many_octets_as_its_fields(uuid: str) -> None:
    always, by_bit = LAYOUTS[uuid]
    wide = 2 if uuid == "2A9C" else 1
    for flags in range(1 << (14 if wide == 2 else 8)):
        length = always + sum(octets for bit, octets in by_bit.items() if flags >> bit & 1)
        frame = flags.to_bytes(wide, "little") + b"\x01" * (length - wide)
        decode_json(uuid, frame)
        with pytest.raises(MalformedFrame):
            decode(uuid, frame[:-1])


def test_services_hold_what_their_specifications_put_there() -> None:
    members = {uuid: [one.uuid16 for one in service.characteristics] for uuid, service in SERVICES.items()}
    assert members["1808"] == ["2A18", "2A34", "2A52"]
    assert members["181F"] == ["2AAA", "2AA7", "2A52"]
    assert set(members["1822"]) == {"2A5E", "2A5F", "2A52"}
    assert set(members["180A"]) == STRINGS
    how = {uuid: one.how for uuid, one in CHARACTERISTICS.items()}
    assert {uuid for uuid, one in how.items() if one == "indicate"} == {"2A1C", "2A35", "2A5E", "2A9D", "2A9C"}
    assert {uuid for uuid, one in how.items() if one == "control"} == {"2A52"}
    assert how["2A37"] == how["2A5F"] == how["2AA7"] == how["2A19"] == "notify"
    assert {how[uuid] for uuid in (*STRINGS, "2A38", "2AAA", "2A2B")} == {"read"}
    for one in CHARACTERISTICS.values():
        assert one.service_uuid16 in SERVICES


@pytest.mark.parametrize("form", ["FB005C82-02E7-F387-1CAD-8ACD2D8DF0C8", "fb005c82-02e7-f387-1cad-8acd2d8df0c8"])
def test_a_makers_own_characteristic_is_found_by_its_whole_uuid(form: str) -> None:
    assert characteristic(form).name == "Polar Measurement Data"
