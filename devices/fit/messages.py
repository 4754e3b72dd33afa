"""FIT messages as plain dicts, decoded by fitdecode; whatever it trips over is one error of ours."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import fitdecode  # type: ignore[import-untyped]

from devices.errors import MalformedExport

# fitdecode asserts, unpacks and looks up on bytes that nobody checked before.
_TRIPS: Final = (
    fitdecode.FitError, ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError,
    struct.error,
)  # fmt: skip

Message = tuple[str, dict[str, Any]]
"""A message's name in the FIT profile (`unknown` for others) and its fields: numbers, words, tuples, None."""


def messages(frame: bytes) -> Iterator[Message]:
    """Yield the data messages of one FIT file.

    Developer fields are left out: what they mean, and what they are called, only their app knows. Raises
    `MalformedExport` where the file goes on in a way that cannot be read.
    """
    # No processor: times stay seconds since 1989-12-31, and no date is made of a damaged number.
    reader = fitdecode.FitReader(
        frame, processor=None, check_crc=fitdecode.CrcCheck.DISABLED, error_handling=fitdecode.ErrorHandling.IGNORE
    )
    steps = iter(reader)
    count = 0
    while True:
        try:
            step = next(steps)
            message = _message(step) if step.frame_type == fitdecode.FIT_FRAME_DATA else None
        except StopIteration:
            return
        except fitdecode.FitEOFError:
            raise MalformedExport("the FIT file is cut short", records=count) from None
        except _TRIPS:
            raise MalformedExport("the FIT file is damaged: a message cannot be read", records=count) from None
        if message is not None:
            count += 1
            yield message


def _message(step: Any) -> Message:
    name = step.mesg_type.name if step.mesg_type is not None else "unknown"
    fields: dict[str, Any] = {}
    for one in step.fields:
        developed = one.field_def is not None and one.field_def.is_dev
        if not developed and one.field is not None and fields.get(one.name) is None:
            fields[one.name] = one.value
    return name, fields
