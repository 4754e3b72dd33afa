"""Heart Rate Service 1.0: Heart Rate Measurement 0x2A37 (§3.1) and Body Sensor Location 0x2A38 (§3.2).

Flags octet: bit 0 the heart rate is uint16 (else uint8); bits 1-2 sensor contact (00 and 01 not supported, 10
supported but not detected, 11 detected); bit 3 energy expended follows, uint16 kJ; bit 4 every remaining octet belongs
to RR intervals, uint16 of 1/1024 s, oldest first; bits 5-7 are reserved and ignored, as the specification asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.gatt.characteristic import Characteristic
from devices.gatt.frame import Frame
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.quality import Context

UUID16: Final = "2A37"
NAME: Final = "Heart Rate Measurement"
LOCATIONS: Final = ("other", "chest", "wrist", "finger", "hand", "ear_lobe", "foot")
"""Where the sensor sits, by the number that 0x2A38 holds; further numbers are reserved."""

_HEART_RATE: Final = BY_CODE["heart_rate"].number
_RR_INTERVAL: Final = BY_CODE["rr_interval"].number
_WEAR_STATE: Final = BY_CODE["wear_state"].number


@dataclass(frozen=True, slots=True)
class HeartRateMeasurement:
    """One notification as it stands in the specification; None where the frame does not carry the field."""

    heart_rate_bpm: int
    contact: bool | None
    energy_expended_kj: int | None
    rr_ticks: tuple[int, ...]
    """Beat-to-beat intervals in 1/1024 s, oldest first."""

    @property
    def rr_intervals_ms(self) -> tuple[float, ...]:
        """The beat-to-beat intervals in milliseconds, unrounded, oldest first."""
        return tuple(ticks * 1_000 / 1_024 for ticks in self.rr_ticks)


def decode(payload: bytes) -> HeartRateMeasurement:
    """Decode one notification. Raises `MalformedFrame` where it is too short for its flags, too long or uneven."""
    frame = Frame(f"{NAME} ({UUID16})", payload)
    flags = frame.flags()
    heart_rate = frame.uint(2 if flags & 0x01 else 1, "the heart rate")
    energy = frame.uint(2, "the energy expended") if flags & 0x08 else None
    contact = bool(flags & 0x02) if flags & 0x04 else None
    return HeartRateMeasurement(heart_rate, contact, energy, _rr_ticks(frame) if flags & 0x10 else ())


def _rr_ticks(frame: Frame) -> tuple[int, ...]:
    """Read the RR intervals: all that is left, and at least one."""
    rest = frame.left
    if rest == 0 or rest % 2:
        raise frame.malformed(f"RR intervals of 2 octets each from offset {frame.offset}, got {rest} octets")
    return tuple(np.frombuffer(frame.rest(), "<u2").tolist())


def to_json(measurement: HeartRateMeasurement) -> dict[str, object]:
    """Return the measurement for people to read: RR rounded to 0.1 ms, fields that are absent are None or empty."""
    return {
        "characteristic": UUID16,
        "name": NAME,
        "heart_rate_bpm": measurement.heart_rate_bpm,
        "contact": measurement.contact,
        "energy_expended_kj": measurement.energy_expended_kj,
        "rr_intervals_ms": [round(ms, 1) for ms in measurement.rr_intervals_ms],
    }


def to_samples(measurement: HeartRateMeasurement, received_us: int) -> SampleColumns:
    """Return the measurement as samples: the RR intervals (oldest first), the heart rate, and wear where it is told.

    A strap has no clock, so time is counted backwards from arrival: the last RR interval ends at `received_us`, and an
    interval's `start` is the beat it begins with. Without contact the samples are kept, at quality 0 (CLINICAL.md).
    """
    rr_ms = np.array(measurement.rr_intervals_ms, np.float64)
    off_body = measurement.contact is False
    until_end_us = np.cumsum(rr_ms[::-1])[::-1] * 1_000
    starts = [*(received_us - np.round(until_end_us).astype(np.int64)).tolist(), received_us]
    metrics, values, qualities = [_RR_INTERVAL] * len(rr_ms) + [_HEART_RATE], [*rr_ms], [0.0 if off_body else 1.0]
    values.append(float(measurement.heart_rate_bpm))
    qualities *= len(values)
    if measurement.contact is not None:
        # Being off the body is itself well measured: the wear sample keeps its quality.
        starts.append(received_us)
        metrics.append(_WEAR_STATE)
        values.append(float(measurement.contact))
        qualities.append(1.0)
    return sample_columns(
        np.array(starts, np.int64),
        np.array(metrics, np.int16),
        np.array(values, np.float64),
        received_us=received_us,
        quality=np.array(qualities, np.float32),
        context=int(Context.NO_CONTACT) if off_body else 0,
    )


def decode_location(payload: bytes) -> str:
    """Return where the sensor sits: one of `LOCATIONS`, or `reserved`. Raises `MalformedFrame` for no octet."""
    number = Frame("Body Sensor Location (2A38)", payload).uint(1, "a location octet")
    return LOCATIONS[number] if number < len(LOCATIONS) else "reserved"


def location_json(location: str) -> dict[str, object]:
    """Return the location for people to read."""
    return {"characteristic": "2A38", "name": "Body Sensor Location", "location": location}


CHARACTERISTICS: Final = (
    Characteristic(UUID16, NAME, decode, to_json, to_samples, service_uuid16="180D", how="notify"),
    Characteristic(
        "2A38", "Body Sensor Location", decode_location, location_json, service_uuid16="180D", how="read"
    ),
)  # fmt: skip
