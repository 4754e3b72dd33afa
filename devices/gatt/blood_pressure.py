"""Blood Pressure Service 1.1: Blood Pressure Measurement 0x2A35 (§3.1) and Intermediate Cuff Pressure 0x2A36 (§3.2).

Both have one layout. Flags: bit 0 kilopascal (else millimetre of mercury); bit 1 a time stamp; bit 2 pulse rate; bit 3
user; bit 4 measurement status, uint16. Three SFLOATs follow the flags: systolic, diastolic and mean arterial pressure;
0x2A36 sends the cuff's pressure of the moment as the first and NaN as the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from devices.gatt.characteristic import Characteristic
from devices.gatt.clock import UNKNOWN_CLOCK, DeviceClock, DeviceTime
from devices.gatt.frame import Frame
from devices.gatt.ieee11073 import MedicalFloat, scaled
from devices.gatt.report import StatusBits, Taken, date_time, report
from devices.gatt.units import MMHG_PER_KPA
from vitals.batch import SampleColumns

NAMES: Final = {"2A35": "Blood Pressure Measurement", "2A36": "Intermediate Cuff Pressure"}
STATUS: Final = StatusBits(
    ("body_movement", "cuff_too_loose", "irregular_pulse", None, None, "improper_position"),
    doubtful=frozenset({"body_movement", "cuff_too_loose", "improper_position"}),
)
"""Bits 3 and 4 are one number, the pulse rate's range. An irregular pulse is a finding, not a fault of the reading."""
PULSE_RANGES: Final = ("within", "above_upper_limit", "below_lower_limit", "reserved")
UNKNOWN_USER: Final = 255


@dataclass(frozen=True, slots=True)
class BloodPressure:
    """One value as it was sent; None where the frame does not carry the field."""

    uuid16: str
    pressures: tuple[MedicalFloat, MedicalFloat, MedicalFloat]
    """Systolic (or the cuff's), diastolic and mean arterial, in kPa or mm[Hg]."""
    kilopascal: bool
    device_time: DeviceTime | None
    pulse_rate_bpm: MedicalFloat | None
    user_id: int | None
    status: int | None

    @property
    def pressures_mmhg(self) -> tuple[MedicalFloat, ...]:
        """The three pressures in mm[Hg]."""
        factor = MMHG_PER_KPA if self.kilopascal else 1.0
        return tuple(scaled(one, factor) for one in self.pressures)


def decode(payload: bytes, uuid16: str = "2A35") -> BloodPressure:
    """Decode one indication of 0x2A35 or notification of 0x2A36. Raises `MalformedFrame`."""
    frame = Frame(f"{NAMES[uuid16]} ({uuid16})", payload)
    flags = frame.flags()
    first = "the systolic pressure" if uuid16 == "2A35" else "the cuff pressure"
    pressures = (frame.sfloat(first), frame.sfloat("the diastolic pressure"), frame.sfloat("the mean pressure"))
    return BloodPressure(
        uuid16,
        pressures,
        bool(flags & 0x01),
        date_time(frame) if flags & 0x02 else None,
        frame.sfloat("the pulse rate") if flags & 0x04 else None,
        frame.uint(1, "the user id") if flags & 0x08 else None,
        frame.uint(2, "the measurement status") if flags & 0x10 else None,
    )


def to_json(pressure: BloodPressure) -> dict[str, object]:
    """Return the value for people to read, in mm[Hg] and as it was sent."""
    of_cuff = pressure.uuid16 == "2A36"
    mmhg = dict(zip(_KEYS, pressure.pressures_mmhg, strict=True))
    values = {"cuff_pressure_mmhg": mmhg["systolic_mmhg"]} if of_cuff else mmhg
    raw = dict(zip(("raw_cuff_pressure",) if of_cuff else _RAW_KEYS, pressure.pressures, strict=not of_cuff))
    return report(
        pressure.uuid16,
        NAMES[pressure.uuid16],
        **values,
        **raw,
        raw_unit="kPa" if pressure.kilopascal else "mm[Hg]",
        timestamp=pressure.device_time,
        pulse_rate_bpm=pressure.pulse_rate_bpm,
        user_id=pressure.user_id,
        status=pressure.status,
        status_flags=STATUS.set_in(pressure.status),
        pulse_rate_range=None if pressure.status is None else PULSE_RANGES[pressure.status >> 3 & 3],
    )


_KEYS: Final = ("systolic_mmhg", "diastolic_mmhg", "mean_arterial_pressure_mmhg")
_RAW_KEYS: Final = ("raw_systolic", "raw_diastolic", "raw_mean_arterial_pressure")
_METRICS: Final = ("bp_systolic", "bp_diastolic", "bp_mean")


def to_samples(pressure: BloodPressure, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
    """Return the pressures and the pulse rate. A cuff on its way down has no blood pressure yet: no samples."""
    if pressure.uuid16 == "2A36":
        return Taken(None, received_us, UNKNOWN_CLOCK).samples([])
    values = [*zip(_METRICS, pressure.pressures_mmhg, strict=True), ("pulse_rate", pressure.pulse_rate_bpm)]
    quality = STATUS.quality(pressure.status)
    return Taken(pressure.device_time, received_us, clock).samples(values, quality=quality)


CHARACTERISTICS: Final = (
    Characteristic(
        "2A35", NAMES["2A35"], decode, to_json, to_samples,
        service_uuid16="1810", how="indicate", has_clock=True,
    ),
    Characteristic(
        "2A36", NAMES["2A36"], partial(decode, uuid16="2A36"), to_json, to_samples,
        service_uuid16="1810", how="notify", has_clock=True,
    ),
)  # fmt: skip
