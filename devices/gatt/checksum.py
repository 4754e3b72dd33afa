"""CRC-16/MCRF4XX, which the CGM service calls E2E-CRC: polynomial 0x1021 reflected (0x8408), begun with 0xFFFF."""

from __future__ import annotations

from typing import Final


def _entry(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (0x8408 if octet & 1 else 0)
    return octet


_TABLE: Final = tuple(_entry(octet) for octet in range(256))


def crc16(octets: bytes) -> int:
    """Return the checksum, which stands little-endian behind the octets that it covers."""
    crc = 0xFFFF
    for octet in octets:
        crc = crc >> 8 ^ _TABLE[(crc ^ octet) & 0xFF]
    return crc
