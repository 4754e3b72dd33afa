"""From a measurement to what people read (JSON) and to what the stream carries (samples)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from devices.gatt.clock import DeviceClock, DeviceTime, clock_offset_s, place
from devices.gatt.frame import Frame
from devices.gatt.ieee11073 import MedicalFloat, Special
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE

DOUBTFUL: Final = 0.25
"""Quality of what the sensor itself doubts: kept, but below `vitals.quality.TRUSTWORTHY`."""
USELESS: Final = 0.0
"""Quality of what the sensor itself calls no measurement."""


@dataclass(frozen=True, slots=True)
class StatusBits:
    """What the bits of a status field are called (None: reserved), and which of them spoil or cast doubt on a value."""

    names: Sequence[str | None]
    useless: frozenset[str] = frozenset()
    doubtful: frozenset[str] = frozenset()

    def set_in(self, raw: int | None) -> list[str]:
        """Return the names of the bits that are set; reserved ones are left out."""
        return [name for bit, name in enumerate(self.names) if name and raw is not None and raw >> bit & 1]

    def quality(self, raw: int | None) -> float:
        """Return the quality of a value with this status."""
        names = set(self.set_in(raw))
        if names & self.useless:
            return USELESS
        return DOUBTFUL if names & self.doubtful else 1.0


class Row(NamedTuple):
    """One sample to be: no sample where the value is None or no number."""

    metric: str
    value: MedicalFloat | None
    start_us: int
    quality: float = 1.0
    duration_ms: int = 0


def date_time(frame: Frame) -> DeviceTime:
    """Read a Date Time (0x2A08) of seven octets."""
    raw = frame.take(7, "the date and time")
    return DeviceTime(int.from_bytes(raw[:2], "little"), *raw[2:])


def rows_to_samples(rows: Iterable[Row], received_us: int, *, context: int = 0) -> SampleColumns:
    """Return those rows that hold a number as samples."""
    kept = [row for row in rows if row.value is not None and not isinstance(row.value, Special)]
    return sample_columns(
        np.array([row.start_us for row in kept], np.int64),
        np.array([BY_CODE[row.metric].number for row in kept], np.int16),
        np.array([row.value for row in kept], np.float64),
        received_us=received_us,
        duration_ms=np.array([row.duration_ms for row in kept], np.int64),
        quality=np.array([row.quality for row in kept], np.float32),
        context=context,
    )


@dataclass(frozen=True, slots=True)
class Taken:
    """When a measurement was taken: its device's own time, when it arrived, what is known of the clock."""

    device_time: DeviceTime | None
    received_us: int
    clock: DeviceClock
    stored: bool = False

    def samples(
        self, values: Iterable[tuple[str, MedicalFloat | None]], *, quality: float = 1.0, context: int = 0
    ) -> SampleColumns:
        """Return the values as samples of that moment, and how far off a live device's clock is.

        None where a stored value's time cannot be told (`devices.gatt.clock.place`).
        """
        wall_us = None if self.device_time is None else self.device_time.wall_us
        stored = self.stored or self.clock.stored
        # A live value without a time is sent as it is taken.
        timeless = self.device_time is None and not stored
        start_us = self.received_us if timeless else place(wall_us, self.received_us, self.clock, stored=stored)
        rows = [] if start_us is None else [Row(metric, value, start_us, quality) for metric, value in values]
        if wall_us is not None and not stored:
            rows.append(Row("clock_offset", clock_offset_s(wall_us, self.received_us, self.clock), self.received_us))
        return rows_to_samples(rows, self.received_us, context=context)


def report(uuid16: str, name: str, **fields: object) -> dict[str, object]:
    """Return JSON: numbers as short as they are exact; a field that is no number is null and named in `special`."""
    special = {key: str(value) for key, value in fields.items() if isinstance(value, Special)}
    plain = {key: readable(value) for key, value in fields.items()}
    return {"characteristic": uuid16, "name": name, **plain, **({"special": special} if special else {})}


def readable(value: object) -> object:
    """Return `value` as JSON holds it: floats to nine digits, device times as ISO 8601, what is no number as null."""
    if isinstance(value, Special):
        return None
    if isinstance(value, float):
        return float(f"{value:.9g}")
    return str(value) if isinstance(value, DeviceTime) else value
