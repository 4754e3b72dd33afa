"""Heart Rate Measurement, 0x2A37 (Bluetooth Heart Rate Service 1.0, §3.1.1), little-endian throughout.

Flags octet: bit 0 the heart rate is uint16 (else uint8); bits 1-2 sensor contact (00 and 01 not supported, 10
supported but not detected, 11 detected); bit 3 energy expended follows, uint16 kJ; bit 4 every remaining octet belongs
to RR intervals, uint16 of 1/1024 s, oldest first; bits 5-7 are reserved and ignored, as the specification asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.errors import MalformedFrame
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE
from vitals.quality import Context

UUID16: Final = "2A37"
NAME: Final = "Heart Rate Measurement"
MAX_LENGTH: Final = 512
"""The longest attribute value that ATT allows (Core 5.4, Vol 3, Part F, §3.2.9)."""

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
    if not payload:
        raise _malformed("expected a flags octet at offset 0, got 0 octets", payload)
    if len(payload) > MAX_LENGTH:
        raise _malformed(f"expected at most {MAX_LENGTH} octets, got {len(payload)}", payload)
    flags = payload[0]
    heart_rate, offset = _number(payload, 1, 2 if flags & 0x01 else 1, "the heart rate")
    energy = None
    if flags & 0x08:
        energy, offset = _number(payload, offset, 2, "the energy expended")
    return HeartRateMeasurement(heart_rate, _contact(flags), energy, _rr_ticks(payload, offset, present=flags & 0x10))


def _contact(flags: int) -> bool | None:
    return bool(flags & 0x02) if flags & 0x04 else None


def _number(payload: bytes, offset: int, size: int, what: str) -> tuple[int, int]:
    end = offset + size
    if len(payload) < end:
        raise _malformed(f"expected {what}, {size} octet(s) at offset {offset}, got {len(payload)} octets", payload)
    return int.from_bytes(payload[offset:end], "little"), end


def _rr_ticks(payload: bytes, offset: int, *, present: int) -> tuple[int, ...]:
    """Read the RR intervals. Octets that bit 4 does not claim are a later specification's, and ignored."""
    if not present:
        return ()
    rest = len(payload) - offset
    if rest == 0 or rest % 2:
        raise _malformed(f"expected RR intervals of 2 octets each from offset {offset}, got {rest} octets", payload)
    return tuple(int.from_bytes(payload[at : at + 2], "little") for at in range(offset, len(payload), 2))


def _malformed(expected: str, payload: bytes) -> MalformedFrame:
    return MalformedFrame(f"{NAME} ({UUID16})", expected, payload)


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
