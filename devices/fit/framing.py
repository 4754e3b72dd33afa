"""The frame of FIT files: header, size and CRC, of one file or of several in a row (FIT protocol, 'chained files')."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from devices.errors import MalformedExport

_MAGIC: Final = b".FIT"
_HEADER_SIZES: Final = (12, 14)
_CRC_BYTES: Final = 2


def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
        found.append(crc)
    return tuple(found)


_CRC_TABLE: Final = _table()


def crc16(data: bytes) -> int:
    """Return the CRC-16/ARC of `data`, as FIT files end with."""
    crc, table = 0, _CRC_TABLE
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc


@dataclass(frozen=True, slots=True)
class Frame:
    """One FIT file of a chain: its bytes from header to CRC; `whole` is False where it was cut short."""

    data: bytes
    whole: bool


def frames(data: bytes) -> Iterator[Frame]:
    """Yield the FIT files that follow one another in `data`.

    A frame whose CRC does not fit is not yielded: nothing in it can be trusted. One that is cut short is, as a watch
    that ran out of power leaves it. Raises `MalformedExport` where there is no FIT file or the CRC is wrong.
    """
    at = 0
    while at < len(data):
        size = _size(data, at)
        frame = data[at : at + size]
        whole = len(frame) == size
        if whole and crc16(frame[:-_CRC_BYTES]) != int.from_bytes(frame[-_CRC_BYTES:], "little"):
            raise MalformedExport("the FIT file is damaged: its CRC does not fit", offset=at)
        yield Frame(frame, whole)
        at += size
    if not data:
        raise MalformedExport("not a FIT file: it is empty")


def _size(data: bytes, at: int) -> int:
    header = data[at : at + 14]
    if len(header) < _HEADER_SIZES[0] or header[8:12] != _MAGIC or header[0] not in _HEADER_SIZES:
        raise MalformedExport("not a FIT file: no header", offset=at)
    stated = int.from_bytes(header[12:14], "little") if header[0] == _HEADER_SIZES[1] else 0
    if stated and crc16(header[:12]) != stated:
        raise MalformedExport("the FIT file is damaged: its header's CRC does not fit", offset=at)
    return header[0] + int.from_bytes(header[4:8], "little") + _CRC_BYTES
