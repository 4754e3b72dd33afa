"""GATT characteristics: one module each, and the registry that finds it by UUID.

A new characteristic is a module with `UUID16`, `NAME`, `decode`, `to_json` and `to_samples`, and one line below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from devices.errors import UnknownCharacteristic
from devices.gatt import heart_rate
from vitals.batch import SampleColumns


@dataclass(frozen=True, slots=True)
class Characteristic:
    """How one characteristic's bytes are read: bytes -> measurement -> JSON for people, or samples for the stream."""

    uuid16: str
    name: str
    decode: Callable[[bytes], Any]
    to_json: Callable[[Any], dict[str, object]]
    to_samples: Callable[[Any, int], SampleColumns]


_ALL: Final = (
    Characteristic(
        heart_rate.UUID16, heart_rate.NAME, heart_rate.decode, heart_rate.to_json, heart_rate.to_samples
    ),
)  # fmt: skip
CHARACTERISTICS: Final[Mapping[str, Characteristic]] = MappingProxyType({one.uuid16: one for one in _ALL})

# The Bluetooth base UUID (Core 5.4, Vol 3, Part B, §2.5.1) around a 16-bit one.
_SHORT_OR_FULL: Final = re.compile(r"(?:0x|0000)?([0-9a-f]{4})(?:-0000-1000-8000-00805f9b34fb)?", re.IGNORECASE)


def characteristic(uuid: str) -> Characteristic:
    """Find a characteristic by `2a37`, `2A37`, `0x2A37` or its full 128-bit UUID. Raises `UnknownCharacteristic`."""
    match = _SHORT_OR_FULL.fullmatch(uuid.strip())
    found = CHARACTERISTICS.get(match[1].upper()) if match else None
    if found is None:
        known = ", ".join(f"{one.uuid16} ({one.name})" for one in _ALL)
        raise UnknownCharacteristic(f"no decoder for this characteristic; known are {known}")
    return found


def decode(uuid: str, payload: bytes) -> Any:
    """Return the measurement in one notification. Raises `UnknownCharacteristic` or `MalformedFrame`."""
    return characteristic(uuid).decode(payload)


def decode_json(uuid: str, payload: bytes) -> dict[str, object]:
    """Return one notification as `vigil decode` prints it. Raises `UnknownCharacteristic` or `MalformedFrame`."""
    found = characteristic(uuid)
    return found.to_json(found.decode(payload))


def decode_samples(uuid: str, payload: bytes, received_us: int) -> SampleColumns:
    """Return one notification as samples. Raises `UnknownCharacteristic` or `MalformedFrame`."""
    found = characteristic(uuid)
    return found.to_samples(found.decode(payload), received_us)
