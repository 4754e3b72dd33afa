"""Polar's own service (PMD): ECG, acceleration, PPG and beat intervals of H9, H10, OH1, Verity Sense and their kin.

`control` asks a sensor what it can do and starts and stops streams; `data` reads what it streams. The registry of
`devices.gatt` finds both by their UUIDs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from devices.gatt.characteristic import Characteristic, Service
from devices.polar import control, data

CHARACTERISTICS: Final[Mapping[str, Characteristic]] = MappingProxyType(
    {one.uuid16: one for one in (control.CHARACTERISTIC, data.CHARACTERISTIC)}
)
"""By whole UUID, capital."""
SERVICE: Final = Service(control.SERVICE_UUID, "Polar Measurement Data", tuple(CHARACTERISTICS.values()))
