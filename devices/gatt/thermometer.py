"""Health Thermometer Service 1.0: Temperature Measurement 0x2A1C (§3.1) and Intermediate Temperature 0x2A1E (§3.3).

Both have one layout. Flags: bit 0 degrees Fahrenheit (else Celsius); bit 1 a time stamp; bit 2 where it is measured.
The value is a FLOAT. Bits 3-7 are reserved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from devices.gatt.characteristic import Characteristic
from devices.gatt.clock import UNKNOWN_CLOCK, DeviceClock, DeviceTime
from devices.gatt.frame import Frame
from devices.gatt.ieee11073 import MedicalFloat, scaled
from devices.gatt.report import DOUBTFUL, Taken, date_time, report
from devices.gatt.units import CELSIUS_PER_FAHRENHEIT
from vitals.batch import SampleColumns

NAMES: Final = {"2A1C": "Temperature Measurement", "2A1E": "Intermediate Temperature"}
SITES: Final = (
    "reserved", "armpit", "body", "ear", "finger", "gastro_intestinal_tract", "mouth", "rectum", "toe", "tympanum"
)  # fmt: skip
"""Where it is measured (Temperature Type 0x2A1D), by number; further numbers are reserved."""


@dataclass(frozen=True, slots=True)
class Temperature:
    """One value; None where the frame does not carry the field."""

    uuid16: str
    value: MedicalFloat
    fahrenheit: bool
    device_time: DeviceTime | None
    site: str | None

    @property
    def celsius(self) -> MedicalFloat:
        """The value in degrees Celsius."""
        return scaled(self.value, *CELSIUS_PER_FAHRENHEIT) if self.fahrenheit else self.value


def decode(payload: bytes, uuid16: str = "2A1C") -> Temperature:
    """Decode one indication of 0x2A1C or notification of 0x2A1E. Raises `MalformedFrame`."""
    frame = Frame(f"{NAMES[uuid16]} ({uuid16})", payload)
    flags = frame.flags()
    value = frame.float("the temperature")
    device_time = date_time(frame) if flags & 0x02 else None
    site = frame.uint(1, "the temperature type") if flags & 0x04 else None
    return Temperature(uuid16, value, bool(flags & 0x01), device_time, None if site is None else _site(site))


def _site(number: int) -> str:
    return SITES[number] if number < len(SITES) else "reserved"


def to_json(temperature: Temperature) -> dict[str, object]:
    """Return the value for people to read, in degrees Celsius and as it was sent."""
    return report(
        temperature.uuid16,
        NAMES[temperature.uuid16],
        temperature_celsius=temperature.celsius,
        raw_value=temperature.value,
        raw_unit="degF" if temperature.fahrenheit else "Cel",
        timestamp=temperature.device_time,
        site=temperature.site,
    )


def to_samples(temperature: Temperature, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
    """Return a body temperature; an intermediate one is still rising, so it is doubtful."""
    quality = 1.0 if temperature.uuid16 == "2A1C" else DOUBTFUL
    values = [("body_temperature", temperature.celsius)]
    return Taken(temperature.device_time, received_us, clock).samples(values, quality=quality)


def decode_type(payload: bytes) -> str:
    """Return where the thermometer measures (0x2A1D), one of `SITES`. Raises `MalformedFrame` for no octet."""
    return _site(Frame("Temperature Type (2A1D)", payload).uint(1, "the temperature type"))


def type_json(site: str) -> dict[str, object]:
    """Return the site for people to read."""
    return report("2A1D", "Temperature Type", site=site)


CHARACTERISTICS: Final = (
    Characteristic(
        "2A1C", NAMES["2A1C"], decode, to_json, to_samples,
        service_uuid16="1809", how="indicate", has_clock=True,
    ),
    Characteristic(
        "2A1E", NAMES["2A1E"], partial(decode, uuid16="2A1E"), to_json, to_samples,
        service_uuid16="1809", how="notify", has_clock=True,
    ),
    Characteristic("2A1D", "Temperature Type", decode_type, type_json, service_uuid16="1809", how="read"),
)  # fmt: skip
