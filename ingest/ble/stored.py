"""Records a device keeps, asked for through its record access control point (2A52): pure.

`devices.gatt.record_access` writes and reads its octets. A pulse oximeter knows "all records" only; the others resume
by a record's own number: a glucose record's sequence number, a CGM record's minutes since the session began.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from devices.errors import MalformedFrame
from devices.gatt.record_access import NO_RECORDS, SUCCESS, OpCode, decode, report_all, report_from

_UNSUPPORTED: Final = {0x02, 0x03, 0x04, 0x05, 0x09}  # operations, operators and operands that it does not know
_NUMBER_AT: Final = {"2A18": 1, "2AA7": 4}  # where a record's number stands, uint16


class Answer(Enum):
    """How a device ended a request."""

    DONE = "done"
    NO_RECORDS = "no_records"
    UNSUPPORTED = "unsupported"  # this way of asking: ask for all
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Resume:
    """Up to which record number everything is safe, and since when (seconds, monotonic) that is counted."""

    number: int
    since_s: float


def request(resume: Resume | None, now_s: float, again_s: float) -> bytes:
    """Return what to write: all records, or those from the first that is not safe yet.

    A number is trusted for `again_s`: a device that was reset counts from the beginning, and its records would never be
    asked for. Records that come again are stored once.
    """
    if resume is None or now_s - resume.since_s >= again_s or resume.number >= 0xFFFF:
        return report_all()
    return report_from(resume.number + 1)


def answer(payload: bytes) -> Answer | None:
    """Return what a control point's indication says; None where it is no final answer to a report request."""
    try:
        answered = decode(payload).answers
    except MalformedFrame:
        return None
    if answered is None or answered[0] != OpCode.REPORT:
        return None
    if answered[1] in _UNSUPPORTED:
        return Answer.UNSUPPORTED
    return {SUCCESS: Answer.DONE, NO_RECORDS: Answer.NO_RECORDS}.get(answered[1], Answer.FAILED)


def advanced(resume: Resume | None, records: Iterable[tuple[str, bytes, bool]], now_s: float) -> Resume | None:
    """Return the place to resume from once `records` (UUID, octets, whether asked for) are safe.

    Only what was asked for advances it: a record told live says nothing of the gap before it. One told live with a
    lower number means that the device counts anew.
    """
    for uuid, payload, asked in records:
        at = _NUMBER_AT.get(uuid)
        if at is None or len(payload) < at + 2:
            continue
        number = int.from_bytes(payload[at : at + 2], "little")
        if asked:
            resume = Resume(number, now_s if resume is None or number < resume.number else resume.since_s)
        elif resume is not None and number < resume.number:
            resume = None
    return resume
