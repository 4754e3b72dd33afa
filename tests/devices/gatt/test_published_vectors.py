"""Every published vector of a characteristic decodes to its value (those of 2A37 and of bare floats have their own)."""

import json
from pathlib import Path
from typing import Any

import pytest

from devices.gatt import decode_json
from devices.gatt.record_access import OpCode
from devices.gatt.record_access import decode as decode_access

PMD = "FB005C82-02E7-F387-1CAD-8ACD2D8DF0C8"
ELSEWHERE = {"2A37": 6, "SFLOAT": 5, "FLOAT": 4}


@pytest.fixture
def vectors(realdata: Path) -> list[dict[str, Any]]:
    return list(json.loads((realdata / "ble-vectors" / "gatt_vectors.json").read_text())["vectors"])


def iso(parts: list[int]) -> str:
    year, month, day, hour, minute, second = parts
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"


def flagged(value: str) -> int:
    return int(value, 16)


# What a published field is called in ours, and how it is put.
FIELDS: dict[str, dict[str, tuple[str, Any]]] = {
    "2A1C": {
        "v": ("raw_value", None),
        "unit": ("raw_unit", {"C": "Cel"}.get),
        "ts": ("timestamp", iso),
        "type": ("site", {4: "finger"}.get),
    },
    "2A35": {
        "sys": ("systolic_mmhg", None),
        "dia": ("diastolic_mmhg", None),
        "map": ("mean_arterial_pressure_mmhg", None),
        "unit": ("raw_unit", {"mmHg": "mm[Hg]"}.get),
        "ts": ("timestamp", iso),
        "pr": ("pulse_rate_bpm", None),
        "uid": ("user_id", None),
        "st": ("status", None),
    },
    "2A5E": {
        "spo2": ("spo2_percent", None),
        "pr": ("pulse_rate_bpm", None),
        "clk_unset": ("clock_not_set", None),
        "ts": ("timestamp", iso),
        "ms": ("measurement_status", flagged),
        "ds": ("device_status", flagged),
    },
    "2A5F": {
        "spo2": ("spo2_percent", None),
        "pr": ("pulse_rate_bpm", None),
        "fast": ("fast", lambda two: {"spo2_percent": two[0], "pulse_rate_bpm": two[1]}),
        "slow": ("slow", lambda two: {"spo2_percent": two[0], "pulse_rate_bpm": two[1]}),
        "ms": ("measurement_status", flagged),
        "ds": ("device_status", flagged),
        "pai": ("pulse_amplitude_index_percent", None),
    },
    "2A18": {
        "seq": ("sequence_number", None),
        "base": ("timestamp", iso),
        "off": ("time_offset_min", None),
        "conc": ("raw_concentration", None),
        "unit": ("raw_unit", None),
        "type": ("type", {2: "capillary_plasma"}.get),
        "loc": ("sample_location", {1: "finger"}.get),
        "ann": ("status", flagged),
        "ctx": ("context_follows", None),
    },
    "2A9D": {"w": ("weight_kg", None), "u": ("raw_unit", None), "ts": ("timestamp", iso)},
}


@pytest.mark.realdata
def test_each_field_of_each_vector(vectors: list[dict[str, Any]]) -> None:
    checked = 0
    for vector in vectors:
        if vector["char"] not in FIELDS:
            continue
        told = decode_json(vector["char"], bytes.fromhex(vector["hex"]))
        for theirs, expect in vector["expect"].items():
            ours, put = FIELDS[vector["char"]][theirs]
            assert told[ours] == (put(expect) if put else expect), (vector["char"], theirs)
        checked += 1
    assert checked == 9


@pytest.mark.realdata
def test_continuous_glucose(vectors: list[dict[str, Any]]) -> None:
    names = {"g": "glucose_mg_dl", "t": "time_offset_min", "trend": "trend_mg_dl_per_min", "qual": "quality_percent"}
    ours = [one for one in vectors if one["char"] == "2AA7"]
    assert len(ours) == 2
    for vector in ours:
        records: Any = decode_json("2AA7", bytes.fromhex(vector["hex"]))["records"]
        assert [{key: one[names.get(key, key)] for key in vector["expect"][0]} for one in records] == vector["expect"]


@pytest.mark.realdata
def test_session_start_and_record_access(vectors: list[dict[str, Any]]) -> None:
    (start,) = [one for one in vectors if one["char"] == "2AAA"]
    told = decode_json("2AAA", bytes.fromhex(start["hex"]))
    # The vector's own text: 2018-04-24 13:08:24 at tz 8 x 15 min and dst 4 x 15 min, so three hours ahead of UTC.
    assert (told["timestamp"], told["crc_ok"]) == ("2018-04-24T13:08:24", True)
    assert (told["time_zone_min"], told["dst_offset_min"]) == (120, 60)
    assert told["utc"] == "2018-04-24T10:08:24+00:00"
    answers = {one["hex"]: decode_access(bytes.fromhex(one["hex"])) for one in vectors if one["char"] == "2A52"}
    assert answers["06000101"].answers == (OpCode.REPORT, 1)
    assert answers["05000201"].number_of_records == 258
    assert len(answers) == 2


@pytest.mark.realdata
def test_polar(vectors: list[dict[str, Any]]) -> None:
    by_kind = {one["char"]: one for one in vectors if one["char"].startswith("PMD")}
    told = {kind: decode_json(PMD, bytes.fromhex(one["hex"])) for kind, one in by_kind.items()}
    expect = {kind: one["expect"] for kind, one in by_kind.items()}
    ecg, acc, ppi = "PMD ECG type0", "PMD ACC type1 compressed", "PMD PPI type0"
    assert told[ecg]["ecg_microvolt"] == expect[ecg]["uV"]
    assert told[ecg]["timestamp_ns"] == expect[ecg]["ts_ns_last"]
    assert told[acc]["acceleration_milli_g"] == expect[acc]["mG"]
    assert told[acc]["timestamp_ns"] == expect[acc]["ts_ns_last"]
    beats: Any = told[ppi]["beats"]
    assert [beat["heart_rate_bpm"] for beat in beats] == [one["hr"] for one in expect[ppi]]
    for theirs, ours in {"ppi_ms": "ppi_ms", "err_ms": "error_ms", "blocker": "blocker", "contact": "contact"}.items():
        assert [beat[ours] for beat in beats] == [one[theirs] for one in expect[ppi]]
    assert [beat["quality"] for beat in beats] == [0.0, 0.0]


@pytest.mark.realdata
def test_no_vector_is_left_out(vectors: list[dict[str, Any]]) -> None:
    here = [one for one in vectors if one["char"] in {*FIELDS, "2AA7", "2AAA", "2A52"} or one["char"].startswith("PMD")]
    elsewhere = [one["char"] for one in vectors if one["char"] in ELSEWHERE]
    assert {char: elsewhere.count(char) for char in ELSEWHERE} == ELSEWHERE
    assert len(here) + len(elsewhere) == len(vectors)
