"""Glucose Service 1.0: Glucose Measurement 0x2A18 (§3.1).

Flags: bit 0 time offset, sint16 minutes onto the base time; bit 1 concentration (SFLOAT) with type in the low and
location in the high nibble of the octet after it; bit 2 mol/L (else kg/L); bit 3 sensor status annunciation, uint16;
bit 4 a context (0x2A34) of the same sequence number follows. Base time is the meter's wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.gatt.characteristic import NO_SAMPLES, Characteristic
from devices.gatt.clock import UNKNOWN_CLOCK, US_PER_MIN, DeviceClock, DeviceTime, place
from devices.gatt.frame import Frame
from devices.gatt.ieee11073 import MedicalFloat, scaled
from devices.gatt.report import Row, StatusBits, date_time, report, rows_to_samples
from devices.gatt.units import MG_DL_PER_KG_L, MG_DL_PER_MOL_L
from vitals.batch import SampleColumns
from vitals.clock import to_datetime

NAME: Final = "Glucose Measurement"
TYPES: Final = {
    1: "capillary_whole_blood", 2: "capillary_plasma", 3: "venous_whole_blood", 4: "venous_plasma",
    5: "arterial_whole_blood", 6: "arterial_plasma", 7: "undetermined_whole_blood", 8: "undetermined_plasma",
    9: "interstitial_fluid", 10: "control_solution",
}  # fmt: skip
LOCATIONS: Final = {
    1: "finger", 2: "alternate_site", 3: "earlobe", 4: "control_solution", 15: "not_available"
}  # fmt: skip
STATUS: Final = StatusBits(
    (
        "device_battery_low", "sensor_malfunction", "sample_size_insufficient", "strip_insertion_error",
        "strip_type_incorrect", "result_above_range", "result_below_range", "temperature_too_high",
        "temperature_too_low", "read_interrupted", "general_device_fault", "time_fault",
    ),
    useless=frozenset(
        {
            "sensor_malfunction", "sample_size_insufficient", "strip_insertion_error", "strip_type_incorrect",
            "result_above_range", "result_below_range", "temperature_too_high", "temperature_too_low",
            "read_interrupted", "general_device_fault",
        }
    ),
)  # fmt: skip
OFFSETS_OUT_OF_RANGE: Final = (0x7FFF, -0x8000)
"""Time offsets that say that the offset is too large to tell."""


@dataclass(frozen=True, slots=True)
class Glucose:
    """One record; None where the frame does not carry the field."""

    sequence_number: int
    base_time: DeviceTime
    offset_min: int | None
    concentration: MedicalFloat | None
    mol_per_litre: bool
    fluid: int | None
    location: int | None
    status: int | None
    context_follows: bool

    @property
    def mg_dl(self) -> MedicalFloat | None:
        """The concentration in mg/dL."""
        factor = MG_DL_PER_MOL_L if self.mol_per_litre else MG_DL_PER_KG_L
        return None if self.concentration is None else scaled(self.concentration, factor)

    @property
    def wall_us(self) -> int | None:
        """When it was measured on the meter's wall clock, microseconds; None where the meter cannot tell."""
        base_us = self.base_time.wall_us
        if base_us is None or self.offset_min in OFFSETS_OUT_OF_RANGE or "time_fault" in STATUS.set_in(self.status):
            return None
        return base_us + (self.offset_min or 0) * US_PER_MIN

    @property
    def is_control(self) -> bool:
        """Whether it is a check of the meter with a control solution: nobody's glucose."""
        return self.fluid == 10 or self.location == 4


def decode(payload: bytes) -> Glucose:
    """Decode one notification. Raises `MalformedFrame`."""
    frame = Frame(f"{NAME} (2A18)", payload)
    flags = frame.flags()
    sequence_number, base_time = frame.uint(2, "the sequence number"), date_time(frame)
    offset_min = frame.sint(2, "the time offset") if flags & 0x01 else None
    concentration = fluid = location = None
    if flags & 0x02:
        concentration = frame.sfloat("the concentration")
        location, fluid = divmod(frame.uint(1, "the type and sample location"), 16)
    status = frame.uint(2, "the sensor status annunciation") if flags & 0x08 else None
    return Glucose(
        sequence_number, base_time, offset_min, concentration, bool(flags & 0x04), fluid, location, status,
        bool(flags & 0x10),
    )  # fmt: skip


def to_json(glucose: Glucose) -> dict[str, object]:
    """Return the record for people to read, in mg/dL and as it was sent."""
    return report(
        "2A18",
        NAME,
        sequence_number=glucose.sequence_number,
        glucose_mg_dl=glucose.mg_dl,
        raw_concentration=glucose.concentration,
        raw_unit=None if glucose.concentration is None else "mol/L" if glucose.mol_per_litre else "kg/L",
        timestamp=glucose.base_time,
        time_offset_min=glucose.offset_min,
        measured=None if glucose.wall_us is None else to_datetime(glucose.wall_us).replace(tzinfo=None).isoformat(),
        type=None if glucose.fluid is None else TYPES.get(glucose.fluid, "reserved"),
        sample_location=None if glucose.location is None else LOCATIONS.get(glucose.location, "reserved"),
        status=glucose.status,
        status_flags=STATUS.set_in(glucose.status),
        context_follows=glucose.context_follows,
        control_solution=glucose.is_control,
    )


def measured_us(glucose: Glucose, received_us: int, clock: DeviceClock) -> int | None:
    """Return when it was measured, UTC; None where that cannot be told. A meter's records are always stored ones."""
    return place(glucose.wall_us, received_us, clock, stored=True)


def to_samples(glucose: Glucose, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
    """Return the glucose; nothing for a control solution, or where the time of the record cannot be told."""
    start_us = measured_us(glucose, received_us, clock)
    if glucose.is_control or start_us is None:
        return NO_SAMPLES
    return rows_to_samples([Row("glucose", glucose.mg_dl, start_us, STATUS.quality(glucose.status))], received_us)


CHARACTERISTICS: Final = (
    Characteristic("2A18", NAME, decode, to_json, to_samples, service_uuid16="1808", how="notify", has_clock=True),
)
