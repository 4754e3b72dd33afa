"""A FIT encoder for the tests, written from the protocol's description and independent of the decoder under test."""

import struct
from collections.abc import Sequence

EPOCH_S = 631_065_600
# base type -> (number, struct letter, invalid)
BASE: dict[str, tuple[int, str, int]] = {
    "enum": (0x00, "B", 0xFF), "sint8": (0x01, "b", 0x7F), "uint8": (0x02, "B", 0xFF), "sint16": (0x83, "h", 0x7FFF),
    "uint16": (0x84, "H", 0xFFFF), "sint32": (0x85, "i", 0x7FFFFFFF), "uint32": (0x86, "I", 0xFFFFFFFF),
    "uint32z": (0x8C, "I", 0), "byte": (0x0D, "B", 0xFF),
}  # fmt: skip

Value = int | str | None | Sequence[int | None]
Field = tuple[int, str, Value]


def crc(data: bytes) -> int:
    """CRC-16/ARC bit by bit, as the protocol describes it."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


class Fit:
    """Collects messages; `data` is the file."""

    def __init__(self, *, big: bool = False, header: int = 14) -> None:
        self._body, self._big, self._header = b"", big, header
        self._known: dict[int, tuple[object, ...]] = {}

    def message(
        self,
        number: int,
        *fields: Field,
        local: int = 0,
        offset: int | None = None,
        dev: Sequence[tuple[int, int, bytes]] = (),
    ) -> "Fit":
        """Add a data message and, where it changes, its definition. `dev`: (field, developer index, bytes)."""
        order, shape, raw = ">" if self._big else "<", b"", b""
        for index, base, value in fields:
            encoded = self._value(base, value)
            kind = 0x07 if base == "string" else BASE[base][0]
            shape += bytes((index, len(encoded), kind))
            raw += encoded
        described = (number, shape, tuple((f, i, len(b)) for f, i, b in dev))
        if self._known.get(local) != described:
            self._known[local] = described
            self._body += bytes((0x40 | (0x20 if dev else 0) | local, 0, int(self._big)))
            self._body += struct.pack(order + "HB", number, len(fields)) + shape
            if dev:
                self._body += bytes((len(dev),)) + b"".join(bytes((f, len(b), i)) for f, i, b in dev)
        head = local if offset is None else 0x80 | local << 5 | offset
        self._body += bytes((head,)) + raw + b"".join(b for _, _, b in dev)
        return self

    def _value(self, base: str, value: Value) -> bytes:
        if base == "string":
            return str(value).encode() + b"\0"
        _, letter, invalid = BASE[base]
        values = [value] if value is None or isinstance(value, int | str) else list(value)
        numbers = [invalid if one is None else int(one) for one in values]
        return struct.pack((">" if self._big else "<") + letter * len(numbers), *numbers)

    @property
    def data(self) -> bytes:
        head = struct.pack("<BBHI4s", self._header, 0x20, 21_000, len(self._body), b".FIT")
        head += struct.pack("<H", crc(head)) if self._header == 14 else b""
        return head + self._body + struct.pack("<H", crc(head + self._body))


def at(time_us: int) -> int:
    """Seconds as FIT counts them."""
    return time_us // 1_000_000 - EPOCH_S


def file_id(fit: Fit, time_us: int, kind: int = 4, serial: int = 12_345) -> Fit:
    return fit.message(
        0, (0, "enum", kind), (1, "uint16", 1), (2, "uint16", 3_113), (3, "uint32z", serial), (4, "uint32", at(time_us))
    )
