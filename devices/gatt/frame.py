"""A characteristic's octets, read from left to right and never past their end.

Everything in GATT is little-endian. Octets that no flag claims belong to a later specification and are ignored, as the
specifications ask of a client (Core 5.4, Vol 3, Part G, and each service's "reserved for future use").
"""

from __future__ import annotations

from typing import Final

from devices.errors import MalformedFrame
from devices.gatt.ieee11073 import MedicalFloat, float32, sfloat16

MAX_LENGTH: Final = 512
"""The longest attribute value that ATT allows (Core 5.4, Vol 3, Part F, §3.2.9)."""


_FLAGS: Final = {1: "a flags octet", 2: "two flags octets"}


class Frame:
    """A cursor over one value. Every method raises `MalformedFrame` where the value ends too early."""

    __slots__ = ("label", "offset", "payload")

    def __init__(self, label: str, payload: bytes, offset: int = 0) -> None:
        self.label, self.payload, self.offset = label, payload, offset
        if len(payload) > MAX_LENGTH:
            raise self.malformed(f"at most {MAX_LENGTH} octets, got {len(payload)}")

    @property
    def left(self) -> int:
        """How many octets are not read yet."""
        return len(self.payload) - self.offset

    def take(self, size: int, what: str) -> bytes:
        """Return the next `size` octets."""
        end = self.offset + size
        if end > len(self.payload):
            raise self.malformed(f"{what}, {size} octet(s) at offset {self.offset}, got {len(self.payload)} octets")
        taken = self.payload[self.offset : end]
        self.offset = end
        return taken

    def flags(self, size: int = 1) -> int:
        """Return the flags that stand first."""
        if self.left < size:
            raise self.malformed(f"{_FLAGS[size]} at offset {self.offset}, got {len(self.payload)} octets")
        return self.uint(size, "flags")

    def rest(self) -> bytes:
        """Return what is left, which may be nothing."""
        return self.take(self.left, "the rest")

    def uint(self, size: int, what: str) -> int:
        """Return an unsigned integer of `size` octets."""
        return int.from_bytes(self.take(size, what), "little")

    def sint(self, size: int, what: str) -> int:
        """Return a two's-complement integer of `size` octets."""
        return int.from_bytes(self.take(size, what), "little", signed=True)

    def sfloat(self, what: str) -> MedicalFloat:
        """Return an IEEE 11073 SFLOAT (16 bit)."""
        return sfloat16(self.uint(2, what))

    def float(self, what: str) -> MedicalFloat:
        """Return an IEEE 11073 FLOAT (32 bit)."""
        return float32(self.uint(4, what))

    def malformed(self, expected: str) -> MalformedFrame:
        """Return the error that names the characteristic and what was expected where; it repeats no value."""
        return MalformedFrame(self.label, f"expected {expected}", self.payload)
