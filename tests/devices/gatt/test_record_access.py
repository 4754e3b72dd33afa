"""Requests to and answers of a record access control point, as the Glucose Service (§3.4) writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import MalformedFrame
from devices.gatt import decode_json
from devices.gatt import record_access as racp
from vitals.errors import VigilError


def test_requests() -> None:
    assert racp.report_all() == b"\x01\x01"
    assert racp.report_last() == b"\x01\x06"
    assert racp.report_from(0x1234) == b"\x01\x03\x01\x34\x12"
    assert racp.report_range(2, 258) == b"\x01\x04\x01\x02\x00\x02\x01"
    assert racp.count_all() == b"\x04\x01"
    assert racp.count_from(7) == b"\x04\x03\x01\x07\x00"
    assert racp.abort() == b"\x03\x00"


@pytest.mark.parametrize("number", [-1, 65_536])
def test_a_sequence_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(VigilError, match="0 to 65535"):
        racp.report_from(number)


@given(st.sampled_from(racp.OpCode), st.sampled_from(racp.Operator), st.binary(max_size=8))
def test_requests_round_trip(op_code: racp.OpCode, operator: racp.Operator, operand: bytes) -> None:
    if op_code in {racp.OpCode.NUMBER_OF_RECORDS, racp.OpCode.RESPONSE}:
        return
    assert racp.decode(racp.encode(op_code, operator, operand)) == racp.RecordAccess(op_code, operator, operand)


@pytest.mark.parametrize(
    ("payload", "count"),
    [
        ("050007", 7),
        ("05000201", 258),
        ("0500020100", 258),
        ("050078563412", 0x12345678),
        ("0500785634129a", 0x12345678),
    ],
)
def test_counts_of_one_two_and_four_octets(payload: str, count: int) -> None:
    assert racp.decode(bytes.fromhex(payload)).number_of_records == count
    assert decode_json("2A52", bytes.fromhex(payload))["number_of_records"] == count


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (1, "success"),
        (2, "op_code_not_supported"),
        (6, "no_records_found"),
        (8, "procedure_not_completed"),
        (77, "reserved"),
    ],
)
def test_answers(code: int, word: str) -> None:
    payload = bytes((6, 0, 1, code, 0xEE))
    assert racp.decode(payload).answers == (racp.OpCode.REPORT, code)
    told = decode_json("2A52", payload)
    assert (told["request"], told["result"], told["success"]) == ("report", word, code == 1)


def test_a_request_in_words() -> None:
    told = decode_json("2A52", racp.report_from(5))
    assert (told["op_code"], told["operator"], told["filter"]) == (
        "report",
        "at_least",
        "sequence_number_or_time_offset",
    )
    assert decode_json("2A52", b"\xee\xee")["op_code"] == "reserved"


@pytest.mark.parametrize("payload", ["", "06", "0600", "060001", "0500", "01"])
def test_an_answer_cut_short_is_malformed(payload: str) -> None:
    with pytest.raises(MalformedFrame):
        racp.decode(bytes.fromhex(payload))
