"""Battery Service 1.0: Battery Level 0x2A19 (§3.1), one octet of percent; 101 to 255 are reserved."""

from __future__ import annotations

from typing import Final

from devices.gatt.characteristic import Characteristic
from devices.gatt.frame import Frame
from devices.gatt.report import Row, report, rows_to_samples
from vitals.batch import SampleColumns

NAME: Final = "Battery Level"


def decode(payload: bytes) -> int | None:
    """Return the battery's percent; None for a reserved number. Raises `MalformedFrame` for no octet."""
    percent = Frame(f"{NAME} (2A19)", payload).uint(1, "the battery level")
    return percent if percent <= 100 else None


def to_json(percent: int | None) -> dict[str, object]:
    """Return the level for people to read."""
    return report("2A19", NAME, battery_percent=percent)


def to_samples(percent: int | None, received_us: int) -> SampleColumns:
    """Return the level as one sample; nothing for a reserved number."""
    return rows_to_samples([Row("battery", percent, received_us)], received_us)


CHARACTERISTICS: Final = (
    Characteristic("2A19", NAME, decode, to_json, to_samples, service_uuid16="180F", how="notify"),
)
