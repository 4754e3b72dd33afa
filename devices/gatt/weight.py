"""Weight Scale Service 1.0: Weight Measurement 0x2A9D (§3.2).

Flags: bit 0 imperial (weight in 0.01 lb and height in 0.1 in; else 0.005 kg and 0.001 m); bit 1 a time stamp; bit 2
user; bit 3 body mass index (0.1) and height. A weight of 0xFFFF says that weighing did not succeed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.gatt.characteristic import Characteristic
from devices.gatt.clock import UNKNOWN_CLOCK, DeviceClock, DeviceTime
from devices.gatt.frame import Frame
from devices.gatt.report import Taken, date_time, report
from devices.gatt.units import CM_PER_INCH, KG_PER_LB
from vitals.batch import SampleColumns

NAME: Final = "Weight Measurement"
UNSUCCESSFUL: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Weight:
    """One value in the steps of its units; None where the frame does not carry the field."""

    weight_steps: int
    imperial: bool
    device_time: DeviceTime | None
    user_id: int | None
    bmi_tenths: int | None
    height_steps: int | None


def mass_kg(steps: int | None, *, imperial: bool) -> float | None:
    """Return a mass in kg; None where there is none or weighing did not succeed."""
    if steps is None or steps == UNSUCCESSFUL:
        return None
    return steps / 100 * KG_PER_LB if imperial else steps * 5 / 1_000


def raw_mass(steps: int | None, *, imperial: bool) -> float | None:
    """Return a mass in the unit it was sent in: lb or kg."""
    if steps is None or steps == UNSUCCESSFUL:
        return None
    return steps / 100 if imperial else steps * 5 / 1_000


def height_cm(steps: int | None, *, imperial: bool) -> float | None:
    """Return a height in cm; 0 and 0xFFFF are none."""
    if not steps or steps == UNSUCCESSFUL:
        return None
    return steps * CM_PER_INCH / 10 if imperial else steps / 10


def decode(payload: bytes) -> Weight:
    """Decode one indication. Raises `MalformedFrame`."""
    frame = Frame(f"{NAME} (2A9D)", payload)
    flags = frame.flags()
    return Weight(
        frame.uint(2, "the weight"),
        bool(flags & 0x01),
        date_time(frame) if flags & 0x02 else None,
        frame.uint(1, "the user id") if flags & 0x04 else None,
        frame.uint(2, "the body mass index") if flags & 0x08 else None,
        frame.uint(2, "the height") if flags & 0x08 else None,
    )


def to_json(weight: Weight) -> dict[str, object]:
    """Return the value for people to read, in kg and cm, and the weight as it was sent."""
    return report(
        "2A9D",
        NAME,
        weight_kg=mass_kg(weight.weight_steps, imperial=weight.imperial),
        raw_weight=raw_mass(weight.weight_steps, imperial=weight.imperial),
        raw_unit="lb" if weight.imperial else "kg",
        unsuccessful=weight.weight_steps == UNSUCCESSFUL,
        timestamp=weight.device_time,
        user_id=weight.user_id,
        body_mass_index=_bmi(weight),
        height_cm=height_cm(weight.height_steps, imperial=weight.imperial),
        raw_height=_raw_height(weight),
        raw_height_unit="in" if weight.imperial else "m",
    )


def _bmi(weight: Weight) -> float | None:
    return None if not weight.bmi_tenths else weight.bmi_tenths / 10


def _raw_height(weight: Weight) -> float | None:
    if weight.height_steps is None:
        return None
    return weight.height_steps / (10 if weight.imperial else 1_000)


def to_samples(weight: Weight, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
    """Return weight, body mass index and height. Who a user number is, the caller must know."""
    values = [
        ("weight", mass_kg(weight.weight_steps, imperial=weight.imperial)),
        ("body_mass_index", _bmi(weight)),
        ("body_height", height_cm(weight.height_steps, imperial=weight.imperial)),
    ]
    return Taken(weight.device_time, received_us, clock).samples(values)


CHARACTERISTICS: Final = (
    Characteristic("2A9D", NAME, decode, to_json, to_samples, service_uuid16="181D", how="indicate", has_clock=True),
)
