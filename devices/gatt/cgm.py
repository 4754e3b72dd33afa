"""Continuous Glucose Monitoring Service 1.0.1: CGM Measurement 0x2AA7 (§3.1), several records in one notification.

A record is: its size, itself included; flags; glucose in mg/dL, SFLOAT; minutes since the session began, uint16; up to
three annunciation octets; trend in mg/dL a minute and quality in percent, SFLOATs; a CRC where the sensor supports one,
which only the size tells. Flags: bit 0 trend, 1 quality, 5 warning, 6 calibration/temperature, 7 status octet.

The order of the annunciation octets is told in two ways. The flags' names and Nordic's sensors put the octet of bit 5
first: warning, calibration/temperature, status (`WARNING_FIRST`, the default). The SIG's list of the field's bits
numbers status first (`STATUS_FIRST`), and some sensors follow it; then bit 5 stands for the status octet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from devices.errors import MalformedFrame
from devices.gatt.characteristic import Characteristic
from devices.gatt.checksum import crc16
from devices.gatt.clock import AHEAD_US, STORED_US, UNKNOWN_CLOCK, US_PER_MIN, DeviceClock
from devices.gatt.frame import Frame
from devices.gatt.ieee11073 import MedicalFloat, number
from devices.gatt.report import Row, StatusBits, readable, report, rows_to_samples
from vitals.batch import SampleColumns

NAME: Final = "CGM Measurement"
MIN_SIZE: Final = 6
WARNING_FIRST: Final = ("warning", "calibration_temperature", "status")
STATUS_FIRST: Final = ("status", "calibration_temperature", "warning")
_ANNUNCIATION_BITS: Final = (0x20, 0x40, 0x80)

STATUS: Final = StatusBits(
    (
        "session_stopped", "device_battery_low", "sensor_type_incorrect", "sensor_malfunction",
        "device_specific_alert", "general_device_fault",
    ),
    useless=frozenset({"session_stopped", "sensor_type_incorrect", "sensor_malfunction", "general_device_fault"}),
    doubtful=frozenset({"device_specific_alert"}),
)  # fmt: skip
CALIBRATION: Final = StatusBits(
    (
        "time_synchronization_required", "calibration_not_allowed", "calibration_recommended",
        "calibration_required", "sensor_temperature_too_high", "sensor_temperature_too_low",
    ),
    useless=frozenset({"sensor_temperature_too_high", "sensor_temperature_too_low"}),
    doubtful=frozenset({"calibration_required"}),
)  # fmt: skip
WARNING: Final = StatusBits(
    (
        "below_patient_low", "above_patient_high", "below_hypo", "above_hyper", "rate_of_decrease_exceeded",
        "rate_of_increase_exceeded", "below_device_range", "above_device_range",
    ),
    useless=frozenset({"below_device_range", "above_device_range"}),
)  # fmt: skip


class Annunciation(NamedTuple):
    """The three octets by what they are about; None where the record does not carry one."""

    warning: int | None = None
    calibration_temperature: int | None = None
    status: int | None = None


NO_ANNUNCIATION: Final = Annunciation()


@dataclass(frozen=True, slots=True)
class CgmRecord:
    """One record of the sensor; None where it does not carry the field."""

    mg_dl: MedicalFloat
    offset_min: int
    """Minutes since the session began."""
    annunciation: Annunciation = NO_ANNUNCIATION
    annunciation_octets: bytes = b""
    """As they stand in the record."""
    trend_mg_dl_min: MedicalFloat | None = None
    quality_percent: MedicalFloat | None = None
    crc_ok: bool | None = None

    @property
    def quality(self) -> float:
        """How far the sensor trusts the value, 0 to 1."""
        told = number(self.quality_percent)
        return min(
            STATUS.quality(self.annunciation.status),
            CALIBRATION.quality(self.annunciation.calibration_temperature),
            WARNING.quality(self.annunciation.warning),
            1.0 if told is None else min(max(told / 100, 0.0), 1.0),
        )


def decode(payload: bytes, order: tuple[str, str, str] = WARNING_FIRST) -> tuple[CgmRecord, ...]:
    """Decode one notification: at least one record, with annunciation octets in `order`. Raises `MalformedFrame`."""
    frame = Frame(f"{NAME} (2AA7)", payload)
    records: list[CgmRecord] = []
    while frame.left or not records:
        at = frame.offset
        size = frame.uint(1, "a record's size")
        if not MIN_SIZE <= size <= frame.left + 1:
            raise frame.malformed(
                f"a record as long as it says, at least {MIN_SIZE} octets, at offset {at}, got {frame.left + 1} octets"
            )
        octets = bytes((size,)) + frame.take(size - 1, "a record")
        try:
            records.append(_record(Frame(frame.label, octets, 1), order))
        except MalformedFrame as error:
            missing = str(error).removeprefix(f"{frame.label}: ")
            raise MalformedFrame(frame.label, f"{missing}, in the record at offset {at}", payload) from error
    return tuple(records)


def _record(frame: Frame, order: tuple[str, str, str]) -> CgmRecord:
    flags = frame.flags()
    mg_dl, offset_min = frame.sfloat("the glucose"), frame.uint(2, "the time offset")
    present = [word for word, bit in zip(order, _ANNUNCIATION_BITS, strict=True) if flags & bit]
    octets = frame.take(len(present), "the annunciation octets")
    return CgmRecord(
        mg_dl,
        offset_min,
        Annunciation(**dict(zip(present, octets, strict=True))),
        octets,
        frame.sfloat("the trend") if flags & 0x01 else None,
        frame.sfloat("the quality") if flags & 0x02 else None,
        checked(frame),
    )


def checked(frame: Frame) -> bool | None:
    """Return whether the last two octets are the checksum of those before; None where the frame has no room for one.

    A checksum is the last field: octets before it that no flag claims are a later specification's.
    """
    if frame.left < 2:
        return None
    return crc16(frame.payload[:-2]) == int.from_bytes(frame.payload[-2:], "little")


def to_json(records: tuple[CgmRecord, ...]) -> dict[str, object]:
    """Return the records for people to read; the newest one's glucose stands at the top as well."""
    newest = records[-1]
    return report(
        "2AA7",
        NAME,
        glucose_mg_dl=newest.mg_dl,
        time_offset_min=newest.offset_min,
        records=[record_json(one) for one in records],
    )


def record_json(record: CgmRecord) -> dict[str, object]:
    """Return one record for people to read."""
    full = report(
        "2AA7",
        NAME,
        glucose_mg_dl=record.mg_dl,
        time_offset_min=record.offset_min,
        trend_mg_dl_per_min=record.trend_mg_dl_min,
        quality_percent=record.quality_percent,
        crc_ok=record.crc_ok,
        annunciation_octets=record.annunciation_octets.hex(),
        **{name: readable(value) for name, value in record.annunciation._asdict().items()},
        status_flags=STATUS.set_in(record.annunciation.status),
        calibration_temperature_flags=CALIBRATION.set_in(record.annunciation.calibration_temperature),
        warning_flags=WARNING.set_in(record.annunciation.warning),
    )
    return {key: value for key, value in full.items() if key not in {"characteristic", "name"}}


def to_samples(records: tuple[CgmRecord, ...], received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
    """Return the glucose of each record; nothing where a checksum is wrong.

    Time is the session's start plus the offset. Where the start is not known, or says what cannot be, the newest live
    record is placed at its arrival and the others before it; stored ones are refused.
    """
    start_us = clock.session_start_us
    newest_us = None if start_us is None else start_us + records[-1].offset_min * US_PER_MIN
    if newest_us is None or not -AHEAD_US <= received_us - newest_us <= STORED_US:
        start_us = None if clock.stored else received_us - records[-1].offset_min * US_PER_MIN
    if start_us is None:
        return rows_to_samples([], received_us)
    rows = [
        Row("glucose", one.mg_dl, min(start_us + one.offset_min * US_PER_MIN, received_us), one.quality)
        for one in records
        if one.crc_ok is not False
    ]
    return rows_to_samples(rows, received_us)


CHARACTERISTICS: Final = (
    Characteristic("2AA7", NAME, decode, to_json, to_samples, service_uuid16="181F", how="notify", has_clock=True),
)
