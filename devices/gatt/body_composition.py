"""Body Composition Service 1.0: Body Composition Measurement 0x2A9C (§3.2).

Flags, uint16: bit 0 imperial (as in `devices.gatt.weight`); then present or not, in this order behind the body fat:
1 time stamp, 2 user, 3 basal metabolism (kJ), 4 muscle percentage, 5 muscle mass, 6 fat free mass, 7 soft lean mass,
8 body water mass, 9 impedance (0.1 ohm), 10 weight, 11 height. Bit 12: the measurement continues in another packet.
Body fat of 0xFFFF says that measuring did not succeed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from devices.gatt.characteristic import Characteristic
from devices.gatt.clock import UNKNOWN_CLOCK, DeviceClock, DeviceTime
from devices.gatt.frame import Frame
from devices.gatt.report import Taken, date_time, report
from devices.gatt.weight import UNSUCCESSFUL, height_cm, mass_kg, raw_mass
from vitals.batch import SampleColumns

NAME: Final = "Body Composition Measurement"
MASSES: Final = ("muscle_mass", "fat_free_mass", "soft_lean_mass", "body_water_mass", "weight")
_FIELDS: Final = (
    (3, "basal_metabolism"), (4, "muscle_percentage"), (5, "muscle_mass"), (6, "fat_free_mass"), (7, "soft_lean_mass"),
    (8, "body_water_mass"), (9, "impedance"), (10, "weight"), (11, "height"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BodyComposition:
    """One value in the steps of its units. `fields` holds those that the frame carries, by name."""

    body_fat_tenths: int
    imperial: bool
    device_time: DeviceTime | None
    user_id: int | None
    fields: Mapping[str, int]
    several_packets: bool

    @property
    def body_fat_percent(self) -> float | None:
        """Body fat; None where measuring did not succeed."""
        return None if self.body_fat_tenths == UNSUCCESSFUL else self.body_fat_tenths / 10

    def mass_kg(self, name: str) -> float | None:
        """Return one of `MASSES` in kg."""
        return mass_kg(self.fields.get(name), imperial=self.imperial)


def decode(payload: bytes) -> BodyComposition:
    """Decode one indication. Raises `MalformedFrame`."""
    frame = Frame(f"{NAME} (2A9C)", payload)
    flags = frame.flags(2)
    body_fat = frame.uint(2, "the body fat percentage")
    device_time = date_time(frame) if flags & 0x02 else None
    user_id = frame.uint(1, "the user id") if flags & 0x04 else None
    fields = {name: frame.uint(2, f"the {name.replace('_', ' ')}") for bit, name in _FIELDS if flags >> bit & 1}
    return BodyComposition(body_fat, bool(flags & 0x01), device_time, user_id, fields, bool(flags & 0x1000))


def to_json(body: BodyComposition) -> dict[str, object]:
    """Return the value for people to read, masses in kg and as they were sent."""
    return report(
        "2A9C",
        NAME,
        body_fat_percent=body.body_fat_percent,
        unsuccessful=body.body_fat_tenths == UNSUCCESSFUL,
        timestamp=body.device_time,
        user_id=body.user_id,
        basal_metabolism_kj=body.fields.get("basal_metabolism"),
        muscle_percent=_tenths(body, "muscle_percentage"),
        **{f"{name}_kg": body.mass_kg(name) for name in MASSES},
        **{f"raw_{name}": raw_mass(body.fields.get(name), imperial=body.imperial) for name in MASSES},
        raw_unit="lb" if body.imperial else "kg",
        impedance_ohm=_tenths(body, "impedance"),
        height_cm=height_cm(body.fields.get("height"), imperial=body.imperial),
        several_packets=body.several_packets,
    )


def _tenths(body: BodyComposition, name: str) -> float | None:
    steps = body.fields.get(name)
    return None if steps is None else steps / 10


def to_samples(body: BodyComposition, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
    """Return body fat, lean (fat free) mass, weight and height. Who a user number is, the caller must know."""
    values = [
        ("body_fat", body.body_fat_percent),
        ("lean_body_mass", body.mass_kg("fat_free_mass")),
        ("weight", body.mass_kg("weight")),
        ("body_height", height_cm(body.fields.get("height"), imperial=body.imperial)),
    ]
    return Taken(body.device_time, received_us, clock).samples(values)


CHARACTERISTICS: Final = (
    Characteristic("2A9C", NAME, decode, to_json, to_samples, service_uuid16="181B", how="indicate", has_clock=True),
)
