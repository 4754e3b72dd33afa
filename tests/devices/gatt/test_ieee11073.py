"""SFLOAT and FLOAT against published vectors, an encoder of their own, and every special value."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from devices.gatt.ieee11073 import MedicalFloat, Special, float32, number, scaled, sfloat16
from tests.devices.gatt import encoders
from tests.devices.gatt.encoders import Decimal
from tests.devices.gatt.strategies import floats, sfloats

SPECIAL = {
    "NaN": (0x07FF, 0x007FFFFF),
    "NRes": (0x0800, 0x00800000),
    "reserved": (0x0801, 0x00800001),
    "+INF": (0x07FE, 0x007FFFFE),
    "-INF": (0x0802, 0x00800002),
}


@pytest.mark.parametrize(("word", "raw"), SPECIAL.items())
def test_special_values_are_no_numbers(word: str, raw: tuple[int, int]) -> None:
    for value in (sfloat16(raw[0]), float32(raw[1])):
        assert isinstance(value, Special)
        assert value.value == word
        assert number(value) is None
        assert scaled(value, 3.0, 1.0) is value


def test_a_short_float_is_special_only_with_exponent_0() -> None:
    assert sfloat16(0xA7FF) == 2047e-6  # kg/L: 204.7 mg/dL of glucose
    assert sfloat16(0xF800) == -204.8


def test_a_long_float_is_special_with_any_exponent() -> None:
    assert float32(0xFE7FFFFF) is Special.NAN
    assert float32(0xFF800000) is Special.NRES


def test_every_short_float_is_its_decimal_notation() -> None:
    """All 65,536 of them, against Python's own reading of the decimal text."""
    special = {short for short, _ in SPECIAL.values()}
    for raw in range(1 << 16):
        mantissa = (raw & 0xFFF) - (0x1000 if raw & 0x800 else 0)
        exponent = (raw >> 12) - (16 if raw & 0x8000 else 0)
        if raw not in special:
            assert sfloat16(raw) == float(f"{mantissa}e{exponent}")


@given(sfloats)
def test_short_round_trip(value: Decimal) -> None:
    assert sfloat16(int.from_bytes(encoders.sfloat(value), "little")) == value.exact


@given(floats)
def test_long_round_trip(value: Decimal) -> None:
    decoded = float32(int.from_bytes(encoders.float32(value), "little"))
    assert isinstance(decoded, float)
    assert math.isclose(decoded, value.exact, rel_tol=1e-15, abs_tol=0)


def _published(realdata: Path, kind: str) -> list[dict[str, Any]]:
    found = json.loads((realdata / "ble-vectors" / "gatt_vectors.json").read_text())
    return [dict(one) for one in found[kind]]


def _read(vector: dict[str, Any], bits: int) -> MedicalFloat:
    raw = int.from_bytes(bytes.fromhex(vector["hex"]), "little")
    return sfloat16(raw) if bits == 16 else float32(raw)


@pytest.mark.realdata
def test_published_vectors(realdata: Path) -> None:
    vectors = [one for one in _published(realdata, "vectors") if one["char"] in {"SFLOAT", "FLOAT"}]
    assert len(vectors) == 9
    for vector in vectors:
        value = _read(vector, 16 if vector["char"] == "SFLOAT" else 32)
        expect = {"RFU": "reserved"}.get(str(vector["expect"]), vector["expect"])
        assert (value.value if isinstance(value, Special) else value) == expect


KNOWN_BAD = {
    "97ed": (-6.17, "the published 34.79 leaves the mantissa 0xD97 unsigned; it is -617, the exponent -2"),
    "6280": (9.8e-07, "the published 98.0 takes the exponent with a bias of 8; 0x8 is -8 in two's complement"),
    "0a70": (1e8, "the published 1.0 takes the exponent with a bias of 8; 0x7 is +7"),
    "7201007f": (370e127, "the published 37.0 takes the exponent with a bias of 128; 0x7F is +127"),
}


@pytest.mark.realdata
def test_vectors_that_are_known_to_be_wrong_decode_to_ours(realdata: Path) -> None:
    vectors = _published(realdata, "known_bad_vectors")
    assert {one["hex"] for one in vectors} == set(KNOWN_BAD)
    for vector in vectors:
        ours, why = KNOWN_BAD[vector["hex"]]
        value = _read(vector, 4 * len(vector["hex"]))
        assert value == ours, why
        assert value != vector["claimed"]
        if vector["hex"] != "7201007f":  # that collection writes 370e126 for it, a slip: 0x7F is 127
            assert value == float(vector["correct"])
