"""Pulse Oximeter Service 1.0: PLX Spot-Check 0x2A5E (§3.1) and PLX Continuous Measurement 0x2A5F (§3.2).

Spot-check flags: bit 0 time stamp, 1 measurement status, 2 device and sensor status, 3 pulse amplitude index, 4 the
device's clock is not set. Continuous flags: bit 0 a fast and bit 1 a slow pair of SpO2 and pulse rate, 2 measurement
status, 3 device and sensor status, 4 pulse amplitude index. Numbers are SFLOATs. §3.1.1.5 and §3.1.1.6 name the bits of
both status fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.gatt.characteristic import NO_SAMPLES, Characteristic
from devices.gatt.clock import UNKNOWN_CLOCK, DeviceClock, DeviceTime
from devices.gatt.frame import Frame
from devices.gatt.ieee11073 import MedicalFloat, number
from devices.gatt.report import StatusBits, Taken, date_time, readable, report
from vitals.batch import SampleColumns
from vitals.quality import Context

NAMES: Final = {"2A5E": "PLX Spot-Check Measurement", "2A5F": "PLX Continuous Measurement"}
MEASUREMENT_STATUS: Final = StatusBits(
    (
        None, None, None, None, None, "measurement_ongoing", "early_estimate", "validated", "fully_qualified",
        "from_storage", "demonstration", "testing", "calibration_ongoing", "measurement_unavailable",
        "questionable_measurement", "invalid_measurement",
    ),
    useless=frozenset({"measurement_unavailable", "invalid_measurement"}),
    doubtful=frozenset({"early_estimate", "calibration_ongoing", "questionable_measurement"}),
)  # fmt: skip
DEVICE_STATUS: Final = StatusBits(
    (
        "extended_display_update", "equipment_malfunction", "signal_processing_irregularity", "inadequate_signal",
        "poor_signal", "low_perfusion", "erratic_signal", "nonpulsatile_signal", "questionable_pulse",
        "signal_analysis_ongoing", "sensor_interference", "sensor_unconnected_to_user", "unknown_sensor",
        "sensor_displaced", "sensor_malfunction", "sensor_disconnected",
    ),
    useless=frozenset(
        {
            "equipment_malfunction", "sensor_unconnected_to_user", "sensor_displaced", "sensor_malfunction",
            "sensor_disconnected",
        }
    ),
    doubtful=frozenset(
        {
            "signal_processing_irregularity", "inadequate_signal", "poor_signal", "erratic_signal",
            "nonpulsatile_signal", "questionable_pulse", "sensor_interference", "unknown_sensor",
        }
    ),
)  # fmt: skip
OFF_BODY: Final = frozenset({"sensor_unconnected_to_user", "sensor_displaced", "sensor_disconnected"})

Pair = tuple[MedicalFloat, MedicalFloat]
"""SpO2 in percent and pulse rate in beats a minute."""


@dataclass(frozen=True, slots=True)
class Oximetry:
    """One value; None where the frame does not carry the field."""

    uuid16: str
    normal: Pair
    fast: Pair | None = None
    slow: Pair | None = None
    device_time: DeviceTime | None = None
    clock_not_set: bool = False
    measurement_status: int | None = None
    device_status: int | None = None
    perfusion_index_percent: MedicalFloat | None = None
    """The pulse amplitude index."""


def decode_spot_check(payload: bytes) -> Oximetry:
    """Decode one indication of 0x2A5E. Raises `MalformedFrame`."""
    frame = Frame(f"{NAMES['2A5E']} (2A5E)", payload)
    flags = frame.flags()
    return Oximetry(
        "2A5E",
        _pair(frame, "the"),
        device_time=date_time(frame) if flags & 0x01 else None,
        measurement_status=frame.uint(2, "the measurement status") if flags & 0x02 else None,
        device_status=frame.uint(3, "the device and sensor status") if flags & 0x04 else None,
        perfusion_index_percent=frame.sfloat("the pulse amplitude index") if flags & 0x08 else None,
        clock_not_set=bool(flags & 0x10),
    )


def decode_continuous(payload: bytes) -> Oximetry:
    """Decode one notification of 0x2A5F. Raises `MalformedFrame`."""
    frame = Frame(f"{NAMES['2A5F']} (2A5F)", payload)
    flags = frame.flags()
    return Oximetry(
        "2A5F",
        _pair(frame, "the"),
        fast=_pair(frame, "the fast") if flags & 0x01 else None,
        slow=_pair(frame, "the slow") if flags & 0x02 else None,
        measurement_status=frame.uint(2, "the measurement status") if flags & 0x04 else None,
        device_status=frame.uint(3, "the device and sensor status") if flags & 0x08 else None,
        perfusion_index_percent=frame.sfloat("the pulse amplitude index") if flags & 0x10 else None,
    )


def _pair(frame: Frame, which: str) -> Pair:
    return frame.sfloat(f"{which} SpO2"), frame.sfloat(f"{which} pulse rate")


def to_json(oximetry: Oximetry) -> dict[str, object]:
    """Return the value for people to read; the fast and slow pairs as objects of their own."""
    timed = {"timestamp": oximetry.device_time, "clock_not_set": oximetry.clock_not_set}
    pairs = {"fast": _pair_json(oximetry.fast), "slow": _pair_json(oximetry.slow)}
    return report(
        oximetry.uuid16,
        NAMES[oximetry.uuid16],
        spo2_percent=oximetry.normal[0],
        pulse_rate_bpm=oximetry.normal[1],
        **(timed if oximetry.uuid16 == "2A5E" else pairs),
        measurement_status=oximetry.measurement_status,
        measurement_status_flags=MEASUREMENT_STATUS.set_in(oximetry.measurement_status),
        device_status=oximetry.device_status,
        device_status_flags=DEVICE_STATUS.set_in(oximetry.device_status),
        pulse_amplitude_index_percent=oximetry.perfusion_index_percent,
        quality=_quality(oximetry),
    )


def _pair_json(pair: Pair | None) -> dict[str, object] | None:
    return pair and {"spo2_percent": readable(pair[0]), "pulse_rate_bpm": readable(pair[1])}


def _quality(oximetry: Oximetry) -> float:
    of_measurement = MEASUREMENT_STATUS.quality(oximetry.measurement_status)
    return min(of_measurement, DEVICE_STATUS.quality(oximetry.device_status))


def to_samples(oximetry: Oximetry, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
    """Return SpO2, pulse rate and perfusion index, and wear where the sensor tells of it.

    The normal pair is taken: fast and slow ones are the same signal, averaged otherwise. What is marked as a
    demonstration or a test is nobody's: no samples.
    """
    marks = set(MEASUREMENT_STATUS.set_in(oximetry.measurement_status))
    if marks & {"demonstration", "testing"}:
        return NO_SAMPLES
    states = set(DEVICE_STATUS.set_in(oximetry.device_status))
    context = Context.LOW_PERFUSION * ("low_perfusion" in states) | Context.NO_CONTACT * bool(states & OFF_BODY)
    device_time = oximetry.device_time
    if oximetry.clock_not_set and device_time is not None:
        device_time = DeviceTime(0, 0, 0, 0, 0, 0)
    taken = Taken(device_time, received_us, clock, stored="from_storage" in marks)
    spo2, pulse = oximetry.normal
    values = [("spo2", spo2), ("pulse_rate", pulse), ("perfusion_index", oximetry.perfusion_index_percent)]
    samples = taken.samples(values, quality=_quality(oximetry), context=int(context))
    wear = _wear(oximetry, states)
    if wear is None or taken.stored or clock.stored:
        return samples
    # Being off the body is itself well measured: the wear sample keeps its quality.
    worn = Taken(None, received_us, clock).samples([("wear_state", wear)], context=int(context))
    return SampleColumns.concat([samples, worn])


def _wear(oximetry: Oximetry, states: set[str]) -> float | None:
    """Tell wear: off where the sensor says so, on where it has a status, no complaint and a number."""
    if oximetry.device_status is None:
        return None
    if states & OFF_BODY:
        return 0.0
    return None if number(oximetry.normal[0]) is None else 1.0


CHARACTERISTICS: Final = (
    Characteristic(
        "2A5F", NAMES["2A5F"], decode_continuous, to_json, to_samples,
        service_uuid16="1822", how="notify", has_clock=True,
    ),
    Characteristic(
        "2A5E", NAMES["2A5E"], decode_spot_check, to_json, to_samples,
        service_uuid16="1822", how="indicate", has_clock=True,
    ),
)  # fmt: skip
