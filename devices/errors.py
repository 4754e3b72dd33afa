"""What can be wrong with what a device or an export file says. No message repeats what the bytes meant."""

from __future__ import annotations

from typing import Self

from vitals.errors import VigilError


class MalformedFrame(VigilError):
    """A notification's bytes break the rules of its characteristic.

    The message names the characteristic, what was expected and where; `payload` holds the bytes, for quarantine.
    """

    def __init__(self, characteristic: str, expected: str, payload: bytes) -> None:
        super().__init__(f"{characteristic}: {expected}")
        self.payload = payload


class UnknownCharacteristic(VigilError):
    """No decoder is registered for this UUID; the message lists those that are."""


class MalformedExport(VigilError):
    """An export file cannot be read, or not to its end. Neither the file's name nor its content is repeated.

    `offset` (bytes) and `line` tell where reading stopped, in the XML after unpacking; `records` how many Record
    elements were read before; each is None where it does not apply.
    """

    def __init__(
        self, reason: str, *, offset: int | None = None, line: int | None = None, records: int | None = None
    ) -> None:
        where = "" if offset is None else f" at byte {offset}" + ("" if line is None else f", line {line}")
        so_far = "" if records is None else f"; {records} records before it were read"
        super().__init__(f"{reason}{where}{so_far}")
        self.reason, self.offset, self.line, self.records = reason, offset, line, records

    def after(self, records: int) -> Self:
        """Return the same error, saying also how many records were read before."""
        return type(self)(self.reason, offset=self.offset, line=self.line, records=records)
