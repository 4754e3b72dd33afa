"""Device Information Service 1.1 (§3): UTF-8 strings, read once after connecting."""

from __future__ import annotations

from functools import partial
from typing import Final

from devices.gatt.characteristic import Characteristic
from devices.gatt.frame import Frame
from devices.gatt.report import report

STRINGS: Final = {
    "2A29": ("Manufacturer Name String", "manufacturer"),
    "2A24": ("Model Number String", "model"),
    "2A25": ("Serial Number String", "serial_number"),
    "2A26": ("Firmware Revision String", "firmware"),
    "2A27": ("Hardware Revision String", "hardware"),
    "2A28": ("Software Revision String", "software"),
}


def decode(payload: bytes, uuid16: str) -> str:
    """Return the string without the NULs and blanks that devices pad it with; octets that are no UTF-8 become U+FFFD.

    Raises `MalformedFrame` where it is longer than an attribute can be. A serial number names one device: hash it
    before it leaves the bridge (`vitals.ids.pseudonym`).
    """
    frame = Frame(f"{STRINGS[uuid16][0]} ({uuid16})", payload)
    return frame.rest().decode("utf-8", "replace").replace("\0", "").strip()


def to_json(text: str, uuid16: str) -> dict[str, object]:
    """Return the string for people to read."""
    name, key = STRINGS[uuid16]
    return report(uuid16, name, **{key: text})


CHARACTERISTICS: Final = tuple(
    Characteristic(
        uuid16, name, partial(decode, uuid16=uuid16), partial(to_json, uuid16=uuid16),
        service_uuid16="180A", how="read",
    )
    for uuid16, (name, _) in STRINGS.items()
)  # fmt: skip
