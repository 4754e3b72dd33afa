"""What a device's clock says: Current Time 0x2A2B (Current Time Service 1.1, §3.1), Date Time 0x2A08, and its zone.

Current Time is a Date Time of seven octets, the day of the week, 1/256 s and why it was last adjusted. Local Time
Information 0x2A0F (§3.2) is the zone and the DST offset in quarters of an hour. Read right after connecting, they tell
how far a device's clock is off, which is what its stored records are corrected by (`devices.gatt.clock`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.gatt.cgm_session import dst_offset_min, time_zone_min
from devices.gatt.characteristic import Characteristic
from devices.gatt.clock import UNKNOWN_CLOCK, DeviceClock, DeviceTime, clock_offset_s
from devices.gatt.frame import Frame
from devices.gatt.report import Row, date_time, report, rows_to_samples
from vitals.batch import SampleColumns
from vitals.clock import US_PER_S

NAMES: Final = {"2A2B": "Current Time", "2A08": "Date Time", "2A0F": "Local Time Information"}
DAYS: Final = (None, "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A device's wall clock; parts that the characteristic does not carry are 0."""

    uuid16: str
    device_time: DeviceTime
    weekday: int = 0
    fraction256: int = 0
    adjust_reason: int = 0

    @property
    def wall_us(self) -> int | None:
        """Microseconds since 1970 on the device's wall clock; None where it is unset."""
        whole_us = self.device_time.wall_us
        return None if whole_us is None else whole_us + self.fraction256 * US_PER_S // 256


@dataclass(frozen=True, slots=True)
class LocalTime:
    """Where a device believes to be; None where it does not know."""

    time_zone_min: int | None
    dst_offset_min: int | None

    @property
    def zone_offset_min(self) -> int | None:
        """Minutes that its wall clock is ahead of UTC."""
        return None if self.time_zone_min is None else self.time_zone_min + (self.dst_offset_min or 0)


def decode_current(payload: bytes) -> ClockReading:
    """Decode a Current Time. Raises `MalformedFrame`."""
    frame = Frame(f"{NAMES['2A2B']} (2A2B)", payload)
    when = date_time(frame)
    weekday, fraction = frame.uint(1, "the day of the week"), frame.uint(1, "the fractions of a second")
    return ClockReading("2A2B", when, weekday, fraction, frame.uint(1, "the adjust reason"))


def decode_date_time(payload: bytes) -> ClockReading:
    """Decode a Date Time. Raises `MalformedFrame`."""
    return ClockReading("2A08", date_time(Frame(f"{NAMES['2A08']} (2A08)", payload)))


def decode_local(payload: bytes) -> LocalTime:
    """Decode a Local Time Information. Raises `MalformedFrame`."""
    frame = Frame(f"{NAMES['2A0F']} (2A0F)", payload)
    zone, dst = frame.sint(1, "the time zone"), frame.uint(1, "the DST offset")
    return LocalTime(time_zone_min(zone), dst_offset_min(dst))


def to_json(reading: ClockReading) -> dict[str, object]:
    """Return the reading for people to read."""
    of_day = {
        "day_of_week": DAYS[reading.weekday] if reading.weekday < len(DAYS) else "reserved",
        "fraction_s": reading.fraction256 / 256,
        "adjust_reason": reading.adjust_reason,
    }
    timed = of_day if reading.uuid16 == "2A2B" else {}
    return report(reading.uuid16, NAMES[reading.uuid16], timestamp=reading.device_time, **timed)


def local_json(local: LocalTime) -> dict[str, object]:
    """Return the zone for people to read."""
    return report(
        "2A0F", NAMES["2A0F"], time_zone_min=local.time_zone_min, dst_offset_min=local.dst_offset_min,
        zone_offset_min=local.zone_offset_min,
    )  # fmt: skip


def to_samples(reading: ClockReading, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
    """Return how far the clock is off; nothing where it is unset."""
    wall_us = reading.wall_us
    offset_s = None if wall_us is None else clock_offset_s(wall_us, received_us, clock)
    return rows_to_samples([Row("clock_offset", offset_s, received_us)], received_us)


CHARACTERISTICS: Final = (
    Characteristic(
        "2A2B", NAMES["2A2B"], decode_current, to_json, to_samples,
        service_uuid16="1805", how="read", has_clock=True,
    ),
    Characteristic(
        "2A08", NAMES["2A08"], decode_date_time, to_json, to_samples,
        service_uuid16="1805", how="read", also_in=("1809", "1810", "181D"), has_clock=True,
    ),
    Characteristic("2A0F", NAMES["2A0F"], decode_local, local_json, service_uuid16="1805", how="read"),
)  # fmt: skip
