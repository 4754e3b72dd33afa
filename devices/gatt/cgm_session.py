"""CGM Session Start Time 0x2AAA (Continuous Glucose Monitoring Service 1.0.1, §3.4): what records count from.

A Date Time of seven octets, the time zone in quarters of an hour (-128 unknown), the DST offset in quarters of an hour
(0, 2, 4 or 8; 255 unknown), and a CRC where the sensor supports one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.gatt.cgm import checked
from devices.gatt.characteristic import Characteristic
from devices.gatt.clock import STORED_US, US_PER_MIN, DeviceClock, DeviceTime, placed_by_clock
from devices.gatt.frame import Frame
from devices.gatt.report import date_time, report
from vitals.clock import to_datetime

NAME: Final = "CGM Session Start Time"


@dataclass(frozen=True, slots=True)
class SessionStart:
    """When the session began on the sensor's wall clock; offsets are None where the sensor does not know them."""

    device_time: DeviceTime
    time_zone_min: int | None
    dst_offset_min: int | None
    crc_ok: bool | None

    @property
    def utc_us(self) -> int | None:
        """The start in UTC; None where time or zone is not known. An unknown DST offset counts as none."""
        wall_us = self.device_time.wall_us
        if wall_us is None or self.time_zone_min is None:
            return None
        return wall_us - (self.time_zone_min + (self.dst_offset_min or 0)) * US_PER_MIN


def decode(payload: bytes) -> SessionStart:
    """Decode one value. Raises `MalformedFrame`."""
    frame = Frame(f"{NAME} (2AAA)", payload)
    device_time = date_time(frame)
    zone, dst = frame.sint(1, "the time zone"), frame.uint(1, "the DST offset")
    return SessionStart(device_time, time_zone_min(zone), dst_offset_min(dst), checked(frame))


def time_zone_min(quarters: int) -> int | None:
    """Return a Time Zone (0x2A0E) in minutes; None where it is unknown or reserved."""
    return quarters * 15 if -48 <= quarters <= 56 else None


def dst_offset_min(code: int) -> int | None:
    """Return a DST Offset (0x2A0D) in minutes; None where it is unknown or reserved."""
    return code * 15 if code in {0, 2, 4, 8} else None


def to_json(start: SessionStart) -> dict[str, object]:
    """Return the start for people to read."""
    return report(
        "2AAA",
        NAME,
        timestamp=start.device_time,
        time_zone_min=start.time_zone_min,
        dst_offset_min=start.dst_offset_min,
        utc=None if start.utc_us is None else to_datetime(start.utc_us).isoformat(),
        crc_ok=start.crc_ok,
    )


def session_start_us(start: SessionStart, received_us: int, clock: DeviceClock) -> int | None:
    """Return when the session began, UTC; None where that cannot be told or cannot be."""
    if start.crc_ok is False:
        return None
    candidates = (start.utc_us, placed_by_clock(start.device_time.wall_us, clock))
    believed = [one for one in candidates if one is not None and 0 <= received_us - one <= STORED_US]
    return believed[0] if believed else None


CHARACTERISTICS: Final = (Characteristic("2AAA", NAME, decode, to_json, service_uuid16="181F", how="read"),)
