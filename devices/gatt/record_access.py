"""Record Access Control Point 0x2A52 (Glucose Service 1.0, §3.4; the same in the oximeter's and the CGM's service).

A request is an op code, an operator and, for most operators, an operand: a filter type and its numbers. Answers come by
indication: op code 5 the number of records (of one, two or four octets, as the service has it), op code 6 how a request
went. Records themselves come by notification of the service's measurement before the answer 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from devices.gatt.characteristic import Characteristic
from devices.gatt.frame import Frame
from devices.gatt.report import report
from vitals.errors import VigilError

NAME: Final = "Record Access Control Point"


class OpCode(IntEnum):
    """What is asked, and the two kinds of answers."""

    REPORT = 1
    DELETE = 2
    ABORT = 3
    COUNT = 4
    NUMBER_OF_RECORDS = 5
    RESPONSE = 6


class Operator(IntEnum):
    """Which records are meant."""

    NULL = 0
    ALL = 1
    AT_MOST = 2
    AT_LEAST = 3
    RANGE = 4
    FIRST = 5
    LAST = 6


FILTERS: Final = {1: "sequence_number_or_time_offset", 2: "user_facing_time"}
RESULTS: Final = {
    1: "success", 2: "op_code_not_supported", 3: "invalid_operator", 4: "operator_not_supported",
    5: "invalid_operand", 6: "no_records_found", 7: "abort_unsuccessful", 8: "procedure_not_completed",
    9: "operand_not_supported",
}  # fmt: skip
SUCCESS: Final = 1
NO_RECORDS: Final = 6


@dataclass(frozen=True, slots=True)
class RecordAccess:
    """A request or an answer. `operand` holds what stands behind op code and operator."""

    op_code: int
    operator: int
    operand: bytes = b""

    @property
    def number_of_records(self) -> int | None:
        """How many records there are, in an answer that counts them."""
        return int.from_bytes(self.operand, "little") if self.op_code == OpCode.NUMBER_OF_RECORDS else None

    @property
    def answers(self) -> tuple[int, int] | None:
        """The op code that is answered and the result (`SUCCESS`, `NO_RECORDS`, ...), in an answer 6."""
        return (self.operand[0], self.operand[1]) if self.op_code == OpCode.RESPONSE else None


def encode(op_code: OpCode, operator: Operator, operand: bytes = b"") -> bytes:
    """Return a request as it is written to the control point."""
    return bytes((op_code, operator)) + operand


def report_all() -> bytes:
    """Return the request for all records."""
    return encode(OpCode.REPORT, Operator.ALL)


def report_last() -> bytes:
    """Return the request for the last record."""
    return encode(OpCode.REPORT, Operator.LAST)


def report_from(number: int) -> bytes:
    """Return the request for the records from a sequence number (of a CGM: time offset in minutes) on.

    Raises `VigilError` unless it fits an uint16.
    """
    return encode(OpCode.REPORT, Operator.AT_LEAST, _filter(number))


def report_range(first: int, last: int) -> bytes:
    """Return the request for the records from `first` to `last`. Raises `VigilError` unless both fit an uint16."""
    return encode(OpCode.REPORT, Operator.RANGE, _filter(first, last))


def count_all() -> bytes:
    """Return the request for the number of records."""
    return encode(OpCode.COUNT, Operator.ALL)


def count_from(number: int) -> bytes:
    """Return the request for the number of records from a sequence number on. Raises `VigilError`."""
    return encode(OpCode.COUNT, Operator.AT_LEAST, _filter(number))


def abort() -> bytes:
    """Return the request that ends a download."""
    return encode(OpCode.ABORT, Operator.NULL)


def _filter(*numbers: int) -> bytes:
    if any(not 0 <= number <= 0xFFFF for number in numbers):
        raise VigilError("a record's sequence number is 0 to 65535")
    return b"\x01" + b"".join(number.to_bytes(2, "little") for number in numbers)


def decode(payload: bytes) -> RecordAccess:
    """Decode one indication, or a request. Raises `MalformedFrame`."""
    frame = Frame(f"{NAME} (2A52)", payload)
    op_code, operator = frame.uint(1, "an op code"), frame.uint(1, "an operator")
    if op_code == OpCode.NUMBER_OF_RECORDS:
        if frame.left == 0:
            raise frame.malformed("the number of records at offset 2, got 2 octets")
        return RecordAccess(op_code, operator, frame.take(_count_size(frame.left), "the number of records"))
    if op_code == OpCode.RESPONSE:
        return RecordAccess(op_code, operator, frame.take(2, "the request's op code and the result"))
    return RecordAccess(op_code, operator, frame.rest())


def _count_size(left: int) -> int:
    # One, two or four octets, as the service has it; what is beyond is a later specification's.
    return 4 if left >= 4 else 2 if left >= 2 else 1


def to_json(access: RecordAccess) -> dict[str, object]:
    """Return a request or an answer for people to read."""
    said: dict[str, object] = {"op_code": _word(OpCode, access.op_code)}
    if access.number_of_records is not None:
        said["number_of_records"] = access.number_of_records
    elif access.answers is not None:
        request, result = access.answers
        said |= {"request": _word(OpCode, request), "result": RESULTS.get(result, "reserved"), "result_code": result}
        said["success"] = result == SUCCESS
    else:
        said |= {"operator": _word(Operator, access.operator), "operand": access.operand.hex()}
        said["filter"] = FILTERS.get(access.operand[0], "reserved") if access.operand else None
    return report("2A52", NAME, **said)


def _word(words: type[IntEnum], number: int) -> str:
    return words(number).name.lower() if number in set(words) else "reserved"


CHARACTERISTICS: Final = (
    Characteristic("2A52", NAME, decode, to_json, service_uuid16="1808", how="control", also_in=("181F", "1822")),
)
