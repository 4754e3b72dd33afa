"""A sensor that says anything a specification allows: whole frames of every characteristic, with random fields."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TypeVar

from tests.devices.gatt import encoders as gatt
from tests.devices.polar import encoders as polar

T = TypeVar("T")
SPECIAL_16 = (0x07FF, 0x0800, 0x0801, 0x07FE, 0x0802)
SPECIAL_32 = (0x007FFFFF, 0x00800000, 0x00800001, 0x007FFFFE, 0x00800002)


class Sensor:
    """Random fields, from one seeded generator."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def short(self) -> gatt.Number:
        """An SFLOAT: often a number that means something, sometimes none."""
        if self.rng.random() < 0.15:
            return self.rng.choice(SPECIAL_16)
        return gatt.Decimal(self.rng.randint(-2_045, 2_045), self.rng.choice((0, 0, -1, -2, -5, 3, -8, 7)))

    def long(self) -> gatt.Number:
        """A FLOAT."""
        if self.rng.random() < 0.15:
            return self.rng.choice(SPECIAL_32)
        return gatt.Decimal(self.rng.randint(-8_000_000, 8_000_000), self.rng.choice((-1, -2, 0, -128, 127)))

    def pair(self) -> gatt.Pair:
        """SpO2 and pulse rate."""
        return self.short(), self.short()

    def date(self) -> gatt.Date:
        """A date and time, or what is none."""
        r = self.rng.randint
        if self.rng.random() < 0.2:
            return r(0, 65_535), r(0, 255), r(0, 255), r(0, 255), r(0, 255), r(0, 255)
        return r(2024, 2026), r(0, 12), r(0, 31), r(0, 24), r(0, 60), r(0, 60)

    def u(self, bits: int) -> int:
        """An unsigned integer."""
        return self.rng.getrandbits(bits)

    def may(self, make: Callable[[], T]) -> T | None:
        """A field, or None."""
        return make() if self.yes() else None

    def yes(self) -> bool:
        """Either."""
        return self.rng.random() < 0.5

    def many(self, make: Callable[[], T], low: int, high: int) -> list[T]:
        """A list."""
        return [make() for _ in range(self.rng.randint(low, high))]


def _heart_rate(s: Sensor) -> bytes:
    wide, energy, beats = s.yes(), s.may(lambda: s.u(16)), s.many(lambda: s.u(16), 0, 9)
    flags = wide | s.u(2) << 1 | (energy is not None) << 3 | bool(beats) << 4 | s.u(3) << 5
    return bytes((flags,)) + gatt.u(1 + wide, s.u(8 * (1 + wide))) + gatt.u(2, energy) + b"".join(
        gatt.u(2, one) for one in beats
    )  # fmt: skip


def _temperature(s: Sensor) -> bytes:
    return gatt.temperature(s.long(), s.yes(), s.may(s.date), s.may(lambda: s.u(4)), s.u(5))


def _blood_pressure(s: Sensor) -> bytes:
    pressures = [s.short() for _ in range(3)]
    return gatt.blood_pressure(
        pressures, s.yes(), s.may(s.date), s.may(s.short), s.may(lambda: s.u(8)), s.may(lambda: s.u(16)), s.u(3)
    )


def _spot_check(s: Sensor) -> bytes:
    status, device = s.may(lambda: s.u(16)), s.may(lambda: s.u(24))
    return gatt.spot_check(s.pair(), s.may(s.date), status, device, s.may(s.short), s.yes(), s.u(3))


def _continuous(s: Sensor) -> bytes:
    status, device = s.may(lambda: s.u(16)), s.may(lambda: s.u(24))
    return gatt.continuous(s.pair(), s.may(s.pair), s.may(s.pair), status, device, s.may(s.short), s.u(3))


def _glucose(s: Sensor) -> bytes:
    concentration = s.may(lambda: (s.short(), s.u(4), s.u(4)))
    offset = s.may(lambda: s.u(16) - 32_768)
    return gatt.glucose(
        s.u(4), s.date(), offset, concentration, s.yes(), s.may(lambda: s.u(16)), s.yes(), s.u(3)
    )  # fmt: skip


def _context(s: Sensor) -> bytes:
    return gatt.glucose_context(
        s.u(4), s.may(lambda: s.u(8)), s.may(lambda: (s.u(3), s.short())), s.may(lambda: s.u(3)),
        s.may(lambda: (s.u(4), s.u(4))), s.may(lambda: (s.u(16), s.u(8))), s.may(lambda: (s.u(3), s.short())), s.yes(),
        s.may(s.short),
    )  # fmt: skip


def _cgm(s: Sensor) -> bytes:
    def record() -> bytes:
        octets = (s.may(lambda: s.u(8)), s.may(lambda: s.u(8)), s.may(lambda: s.u(8)))
        trend, quality = s.may(s.short), s.may(s.short)
        return gatt.cgm_record(s.short(), s.u(16), octets, trend, quality, secured=s.yes(), reserved=s.u(3))

    return b"".join(s.many(record, 1, 12))


def _session_start(s: Sensor) -> bytes:
    start = gatt.date(s.date()) + s.rng.randbytes(2)
    return start + gatt.crc(start) if s.yes() else start


def _weight(s: Sensor) -> bytes:
    return gatt.weight(
        s.u(16), s.yes(), s.may(s.date), s.may(lambda: s.u(8)), s.may(lambda: (s.u(16), s.u(16))), s.u(4)
    )


def _body_composition(s: Sensor) -> bytes:
    fields = [s.may(lambda: s.u(16)) for _ in range(9)]
    return gatt.body_composition(s.u(16), s.yes(), s.may(s.date), s.may(lambda: s.u(8)), fields, s.yes())


def _running(s: Sensor) -> bytes:
    return gatt.running(s.u(16), s.u(8), s.may(lambda: s.u(16)), s.may(lambda: s.u(32)), s.yes(), s.u(5))


def _cycling(s: Sensor) -> bytes:
    return gatt.cycling(s.may(lambda: (s.u(32), s.u(16))), s.may(lambda: (s.u(16), s.u(16))), s.u(6))


def _polar_data(s: Sensor) -> bytes:
    head = (s.rng.randrange(4), s.u(64) if s.yes() else 825_681_600_000_000_000 + s.u(40))
    channels, octets = {0: (1, 3), 1: (4, 3), 2: (3, 2), 3: (0, 0)}[head[0]]
    if head[0] == 3:
        rows = s.many(lambda: (s.u(8), s.u(11), s.u(6), s.u(3)), 1, 8)
        return polar.header(*head, 0) + polar.beats(rows)
    samples = s.many(lambda: [s.rng.randint(-30_000, 30_000) for _ in range(channels)], 1, 20)
    if head[0] == 0 or s.yes():
        return polar.header(*head, 1 if head[0] == 2 else 0) + polar.raw(samples, octets)
    return polar.header(*head, 0x81 if head[0] == 2 else 0x80) + polar.compressed(samples, octets, s.rng.randint(1, 9))


def _polar_control(s: Sensor) -> bytes:
    settings = b"".join(
        bytes((number, count)) + s.rng.randbytes(size * count)
        for number, size in enumerate((2, 2, 2, 4, 1, 4, 16))
        if (count := s.rng.randrange(3))
    )
    return s.rng.choice((b"\x0f", b"\x01", bytes((0xF0, s.u(2), s.u(4), s.rng.choice((0, 6, 9)), s.u(1))))) + settings


FRAMES: Mapping[str, Callable[[Sensor], bytes]] = {
    "2A37": _heart_rate,
    "2A1C": _temperature,
    "2A1E": _temperature,
    "2A35": _blood_pressure,
    "2A36": _blood_pressure,
    "2A5E": _spot_check,
    "2A5F": _continuous,
    "2A18": _glucose,
    "2A34": _context,
    "2AA7": _cgm,
    "2AAA": _session_start,
    "2A52": lambda s: bytes((s.rng.randrange(8), s.rng.randrange(8))) + s.rng.randbytes(s.rng.randrange(6)),
    "2A9D": _weight,
    "2A9C": _body_composition,
    "2A53": _running,
    "2A5B": _cycling,
    "2A19": lambda s: s.rng.randbytes(1),
    "2A2B": lambda s: gatt.date(s.date()) + s.rng.randbytes(3),
    "2A08": lambda s: gatt.date(s.date()),
    "FB005C82-02E7-F387-1CAD-8ACD2D8DF0C8": _polar_data,
    "FB005C81-02E7-F387-1CAD-8ACD2D8DF0C8": _polar_control,
}
