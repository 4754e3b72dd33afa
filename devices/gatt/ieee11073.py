"""The decimal floats of ISO/IEEE 11073-20601 (annex F.6, F.8): an exponent of ten and a mantissa, two's complement.

SFLOAT has 4 and 12 bits, FLOAT 8 and 24. Five codes are no numbers. An SFLOAT is one of them only with exponent 0, as
the standard writes it: with another exponent its mantissa is within what is measured (2047e-6 kg/L of glucose is
204.7 mg/dL). A FLOAT's 24-bit mantissa never is, so it counts whatever exponent a sensor puts beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Special(StrEnum):
    """What a mantissa that is no number says."""

    NAN = "NaN"  # not a number: there is no measurement
    NRES = "NRes"  # not at this resolution
    RESERVED = "reserved"
    PLUS_INFINITY = "+INF"  # above what the sensor can tell
    MINUS_INFINITY = "-INF"


MedicalFloat = float | Special
"""A number, or why there is none."""

_SFLOAT_SPECIAL: Final[Mapping[int, Special]] = MappingProxyType(
    {
        0x7FF: Special.NAN, 0x800: Special.NRES, 0x801: Special.RESERVED,
        0x7FE: Special.PLUS_INFINITY, 0x802: Special.MINUS_INFINITY,
    }
)  # fmt: skip
_FLOAT_SPECIAL: Final[Mapping[int, Special]] = MappingProxyType(
    {
        0x7FFFFF: Special.NAN, 0x800000: Special.NRES, 0x800001: Special.RESERVED,
        0x7FFFFE: Special.PLUS_INFINITY, 0x800002: Special.MINUS_INFINITY,
    }
)  # fmt: skip


def sfloat16(raw: int) -> MedicalFloat:
    """Return the number in an SFLOAT's 16 bits."""
    return _SFLOAT_SPECIAL.get(raw) or _scaled(_signed(raw & 0xFFF, 12), _signed(raw >> 12, 4))


def float32(raw: int) -> MedicalFloat:
    """Return the number in a FLOAT's 32 bits."""
    mantissa = raw & 0xFFFFFF
    return _FLOAT_SPECIAL.get(mantissa) or _scaled(_signed(mantissa, 24), _signed(raw >> 24, 8))


def number(value: MedicalFloat | None) -> float | None:
    """Return the number, or None where there is none."""
    return None if value is None or isinstance(value, Special) else value


def scaled(value: MedicalFloat, factor: float, offset: float = 0.0) -> MedicalFloat:
    """Return value x factor + offset; what is no number stays what it is."""
    return value if isinstance(value, Special) else value * factor + offset


def _signed(raw: int, bits: int) -> int:
    return raw - (1 << bits) if raw >> (bits - 1) else raw


def _scaled(mantissa: int, exponent: int) -> float:
    # Dividing integers rounds once: 364e-1 is 36.4, where 364 * 0.1 is 36.400000000000006.
    return float(mantissa * 10**exponent) if exponent >= 0 else mantissa / 10**-exponent
