"""GATT characteristics: one module a service or characteristic, and the registry that finds them by UUID.

A new characteristic is a module with a `CHARACTERISTICS` tuple (`decode`, `to_json` and, where it measures something,
`to_samples`) and its name in `_MODULES` below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from devices.errors import UnknownCharacteristic
from devices.gatt import (
    battery,
    blood_pressure,
    body_composition,
    cgm,
    cgm_session,
    current_time,
    cycling,
    device_information,
    glucose,
    glucose_context,
    heart_rate,
    pulse_oximeter,
    record_access,
    running,
    thermometer,
    weight,
)
from devices.gatt.characteristic import Characteristic, How, Service
from devices.gatt.clock import UNKNOWN_CLOCK, DeviceClock
from vitals.batch import SampleColumns

__all__ = [
    "CHARACTERISTICS", "SERVICES", "Characteristic", "DeviceClock", "How", "Service",
    "characteristic", "decode", "decode_json", "decode_samples",
]  # fmt: skip

_MODULES: Final = (
    current_time, device_information, battery, heart_rate, pulse_oximeter, thermometer, blood_pressure, glucose,
    glucose_context, cgm_session, cgm, record_access, weight, body_composition, running, cycling,
)  # fmt: skip
_SERVICE_NAMES: Final = {
    "180D": "Heart Rate",
    "1822": "Pulse Oximeter",
    "1809": "Health Thermometer",
    "1810": "Blood Pressure",
    "1808": "Glucose",
    "181F": "Continuous Glucose Monitoring",
    "181D": "Weight Scale",
    "181B": "Body Composition",
    "1814": "Running Speed and Cadence",
    "1816": "Cycling Speed and Cadence",
    "180F": "Battery",
    "180A": "Device Information",
    "1805": "Current Time",
}

CHARACTERISTICS: Final[Mapping[str, Characteristic]] = MappingProxyType(
    {one.uuid16: one for module in _MODULES for one in module.CHARACTERISTICS}
)
"""By UUID of four hexadecimal digits, capital."""
SERVICES: Final[Mapping[str, Service]] = MappingProxyType(
    {
        uuid: Service(uuid, name, members)
        for uuid, name in _SERVICE_NAMES.items()
        if (members := tuple(one for one in CHARACTERISTICS.values() if uuid in (one.service_uuid16, *one.also_in)))
    }
)
"""By UUID of four hexadecimal digits, capital: the services of which something is decoded."""

# The Bluetooth base UUID (Core 5.4, Vol 3, Part B, §2.5.1) around a 16-bit one.
_SHORT_OR_FULL: Final = re.compile(r"(?:0x|0000)?([0-9a-f]{4})(?:-0000-1000-8000-00805f9b34fb)?", re.IGNORECASE)


def characteristic(uuid: str) -> Characteristic:
    """Find a characteristic by `2a37`, `2A37`, `0x2A37` or its full 128-bit UUID. Raises `UnknownCharacteristic`."""
    from devices.polar import CHARACTERISTICS as MAKERS_OWN  # its decoders are built on this package's

    match = _SHORT_OR_FULL.fullmatch(uuid.strip())
    found = CHARACTERISTICS.get(match[1].upper()) if match else MAKERS_OWN.get(uuid.strip().upper())
    if found is None:
        known = ", ".join(f"{one.uuid16} ({one.name})" for one in (*CHARACTERISTICS.values(), *MAKERS_OWN.values()))
        raise UnknownCharacteristic(f"no decoder for this characteristic; known are {known}")
    return found


def decode(uuid: str, payload: bytes) -> Any:
    """Return the measurement in one notification. Raises `UnknownCharacteristic` or `MalformedFrame`."""
    return characteristic(uuid).decode(payload)


def decode_json(uuid: str, payload: bytes) -> dict[str, object]:
    """Return one notification as `vigil decode` prints it. Raises `UnknownCharacteristic` or `MalformedFrame`."""
    found = characteristic(uuid)
    return found.to_json(found.decode(payload))


def decode_samples(uuid: str, payload: bytes, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
    """Return one notification as samples. Raises `UnknownCharacteristic` or `MalformedFrame`."""
    found = characteristic(uuid)
    return found.samples(found.decode(payload), received_us, clock)
