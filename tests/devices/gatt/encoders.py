"""A sensor's side of GATT, written from the specifications' tables and sharing nothing with the decoders.

Every optional field that is None is left out, and its flag with it. `spare` octets are appended, `reserved` flag bits
are set, as a later version of a service might.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Decimal:
    """A mantissa and an exponent of ten, as a sensor holds them."""

    mantissa: int
    exponent: int = 0

    @property
    def exact(self) -> float:
        """The value, from its decimal notation: another way than the decoder's."""
        return float(f"{self.mantissa}e{self.exponent}")


Date = tuple[int, int, int, int, int, int]
Number = Decimal | int
"""A decimal, or the very bits of one that is no number."""


def sfloat(value: Number) -> bytes:
    raw = value if isinstance(value, int) else (value.exponent & 0xF) << 12 | value.mantissa & 0xFFF
    return struct.pack("<H", raw)


def float32(value: Number) -> bytes:
    raw = value if isinstance(value, int) else (value.exponent & 0xFF) << 24 | value.mantissa & 0xFFFFFF
    return struct.pack("<I", raw)


def date(when: Date) -> bytes:
    return struct.pack("<HBBBBB", *when)


def bits(*present: object, at: int = 0) -> int:
    """Flags, from bit `at` upwards: set where the field is there (not None, and not False)."""
    return sum(1 << at + bit for bit, one in enumerate(present) if one is not None and one is not False)


def u(size: int, value: int | None) -> bytes:
    return b"" if value is None else value.to_bytes(size, "little")


def sf(value: Number | None) -> bytes:
    return b"" if value is None else sfloat(value)


def dt(when: Date | None) -> bytes:
    return b"" if when is None else date(when)


def temperature(
    value: Number, fahrenheit: bool, when: Date | None, site: int | None, reserved: int = 0, spare: bytes = b""
) -> bytes:
    flags = bits(fahrenheit, when, site) | reserved << 3
    return u(1, flags) + float32(value) + dt(when) + u(1, site) + spare


def blood_pressure(
    pressures: Sequence[Number], kilopascal: bool, when: Date | None, pulse: Number | None, user: int | None,
    status: int | None, reserved: int = 0, spare: bytes = b"",
) -> bytes:  # fmt: skip
    flags = bits(kilopascal, when, pulse, user, status) | reserved << 5
    return (
        u(1, flags) + b"".join(map(sfloat, pressures)) + dt(when) + sf(pulse) + u(1, user) + u(2, status) + spare
    )  # fmt: skip


Pair = tuple[Number, Number]


def pair(two: Pair | None) -> bytes:
    return b"" if two is None else sfloat(two[0]) + sfloat(two[1])


def spot_check(
    normal: Pair, when: Date | None, measurement: int | None, device: int | None, index: Number | None,
    clock_not_set: bool, reserved: int = 0, spare: bytes = b"",
) -> bytes:  # fmt: skip
    flags = bits(when, measurement, device, index, clock_not_set) | reserved << 5
    return u(1, flags) + pair(normal) + dt(when) + u(2, measurement) + u(3, device) + sf(index) + spare


def continuous(
    normal: Pair, fast: Pair | None, slow: Pair | None, measurement: int | None, device: int | None,
    index: Number | None, reserved: int = 0, spare: bytes = b"",
) -> bytes:  # fmt: skip
    flags = bits(fast, slow, measurement, device, index) | reserved << 5
    return (
        u(1, flags) + pair(normal) + pair(fast) + pair(slow) + u(2, measurement) + u(3, device) + sf(index) + spare
    )  # fmt: skip


def glucose(
    sequence: int, base: Date, offset: int | None, concentration: tuple[Number, int, int] | None, mol: bool,
    status: int | None, context: bool, reserved: int = 0, spare: bytes = b"",
) -> bytes:  # fmt: skip
    """Encode a record; `concentration` is (value, type, location)."""
    flags = bits(offset, concentration, mol, status, context) | reserved << 5
    body = b"" if concentration is None else sfloat(concentration[0]) + u(1, concentration[1] | concentration[2] << 4)
    moved = b"" if offset is None else struct.pack("<h", offset)
    return u(1, flags) + u(2, sequence) + date(base) + moved + body + u(2, status) + spare


def glucose_context(
    sequence: int, extended: int | None, carbohydrate: tuple[int, Number] | None, meal: int | None,
    tester_health: tuple[int, int] | None, exercise: tuple[int, int] | None, medication: tuple[int, Number] | None,
    litres: bool, hba1c: Number | None, spare: bytes = b"",
) -> bytes:  # fmt: skip
    flags = bits(carbohydrate, meal, tester_health, exercise, medication, litres, hba1c, extended)
    frame = u(1, flags) + u(2, sequence) + u(1, extended)
    if carbohydrate is not None:
        frame += u(1, carbohydrate[0]) + sfloat(carbohydrate[1])
    frame += u(1, meal)
    if tester_health is not None:
        frame += u(1, tester_health[0] | tester_health[1] << 4)
    if exercise is not None:
        frame += u(2, exercise[0]) + u(1, exercise[1])
    if medication is not None:
        frame += u(1, medication[0]) + sfloat(medication[1])
    return frame + sf(hba1c) + spare


def crc(octets: bytes) -> bytes:
    """CRC-16/MCRF4XX, bit by bit over the reflected polynomial: another way than the decoder's table."""
    register = 0xFFFF
    for octet in octets:
        for bit in range(8):
            feedback = (register ^ octet >> bit) & 1
            register = register >> 1 ^ (0x8408 if feedback else 0)
    return struct.pack("<H", register)


def cgm_record(
    value: Number, minutes: int, annunciation: tuple[int | None, int | None, int | None], trend: Number | None,
    quality: Number | None, *, secured: bool, reserved: int = 0,
) -> bytes:  # fmt: skip
    """Encode a record; `annunciation` are the octets of flag bits 5, 6 and 7 in that order."""
    flags = bits(trend, quality) | bits(*annunciation, at=5) | reserved << 2
    body = u(1, flags) + sfloat(value) + u(2, minutes) + b"".join(u(1, one) for one in annunciation)
    body += sf(trend) + sf(quality)
    body = u(1, 1 + len(body) + 2 * secured) + body
    return body + crc(body) if secured else body


def weight(
    steps: int, imperial: bool, when: Date | None, user: int | None, bmi_height: tuple[int, int] | None,
    reserved: int = 0, spare: bytes = b"",
) -> bytes:  # fmt: skip
    flags = bits(imperial, when, user, bmi_height) | reserved << 4
    last = b"" if bmi_height is None else u(2, bmi_height[0]) + u(2, bmi_height[1])
    return u(1, flags) + u(2, steps) + dt(when) + u(1, user) + last + spare


def body_composition(
    fat: int, imperial: bool, when: Date | None, user: int | None, fields: Sequence[int | None], several: bool,
    spare: bytes = b"",
) -> bytes:  # fmt: skip
    """Encode a value; `fields` are the nine of flag bits 3 to 11, each uint16."""
    flags = bits(imperial, when, user) | bits(*fields, several, at=3)
    return u(2, flags) + u(2, fat) + dt(when) + u(1, user) + b"".join(u(2, one) for one in fields) + spare


def running(
    speed: int, cadence: int, stride: int | None, total: int | None, runs: bool, reserved: int = 0, spare: bytes = b""
) -> bytes:
    flags = bits(stride, total, runs) | reserved << 3
    return u(1, flags) + u(2, speed) + u(1, cadence) + u(2, stride) + u(4, total) + spare


def cycling(
    wheel: tuple[int, int] | None, crank: tuple[int, int] | None, reserved: int = 0, spare: bytes = b""
) -> bytes:
    frame = u(1, bits(wheel, crank) | reserved << 2)
    frame += b"" if wheel is None else u(4, wheel[0]) + u(2, wheel[1])
    return frame + (b"" if crank is None else u(2, crank[0]) + u(2, crank[1])) + spare
