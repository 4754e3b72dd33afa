"""Polar Measurement Control Point: what a sensor can stream, and how streams are started and stopped.

Reading it tells the features: 0x0F and a bit a measurement. A request is an op code, a measurement type and settings; a
setting is its type, how many values, and the values, little-endian. An answer is 0xF0, the op code, the measurement
type, a status, whether more comes, and parameters. A sensor that stops a stream by itself says 0x01 and the types.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from devices.errors import MalformedFrame
from devices.gatt.characteristic import Characteristic
from devices.gatt.frame import Frame
from devices.gatt.report import readable, report
from vitals.errors import VigilError

UUID: Final = "FB005C81-02E7-F387-1CAD-8ACD2D8DF0C8"
SERVICE_UUID: Final = "FB005C80-02E7-F387-1CAD-8ACD2D8DF0C8"
NAME: Final = "Polar Measurement Control Point"
MEASUREMENTS: Final[Mapping[int, str]] = {
    0: "ecg", 1: "ppg", 2: "acceleration", 3: "beat_intervals", 5: "gyroscope", 6: "magnetometer",
    7: "skin_temperature", 9: "sdk_mode", 10: "location", 11: "pressure", 12: "temperature",
    13: "offline_recording", 14: "offline_heart_rate",
}  # fmt: skip
STATUSES: Final = (
    "success", "invalid_op_code", "invalid_measurement_type", "not_supported", "invalid_length", "invalid_parameter",
    "already_in_state", "invalid_resolution", "invalid_sample_rate", "invalid_range", "invalid_mtu",
    "invalid_number_of_channels", "invalid_state", "device_in_charger", "disk_full",
)  # fmt: skip


class Measurement(IntEnum):
    """The streams that are decoded."""

    ECG = 0
    PPG = 1
    ACCELERATION = 2
    BEAT_INTERVALS = 3


class OpCode(IntEnum):
    """What is asked."""

    GET_SETTINGS = 1
    START = 2
    STOP = 3


class Setting(IntEnum):
    """What a stream can be set to."""

    SAMPLE_RATE_HZ = 0
    RESOLUTION_BITS = 1
    RANGE = 2
    RANGE_MILLI = 3
    CHANNELS = 4
    FACTOR = 5
    SECURITY = 6


_SIZES: Final = (2, 2, 2, 4, 1, 4, 16)
Settings = Mapping[Setting, tuple[float, ...]]
"""What may be chosen of each setting; `FACTOR` is a float, the others are whole numbers."""


@dataclass(frozen=True, slots=True)
class Features:
    """What a sensor can stream, by `MEASUREMENTS`' numbers."""

    measurements: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request went. `parameters` go on in the next answer where `more` is set (`settings` joins them)."""

    op_code: int
    measurement: int
    status: int
    more: bool
    parameters: bytes

    @property
    def ok(self) -> bool:
        """Whether it was done. A stream that runs already is what was asked for."""
        return self.status in {0, 6}


@dataclass(frozen=True, slots=True)
class Stopped:
    """The sensor stopped these measurements by itself."""

    measurements: tuple[int, ...]


def get_settings(measurement: Measurement) -> bytes:
    """Return the request for what a stream can be set to."""
    return bytes((OpCode.GET_SETTINGS, measurement))


def start(measurement: Measurement, chosen: Mapping[Setting, int] | None = None) -> bytes:
    """Return the request that starts a stream; `FACTOR` is the sensor's to tell. Raises `VigilError`."""
    request = bytes((OpCode.START, measurement))
    for setting, value in (chosen or {}).items():
        if setting is Setting.FACTOR:
            continue
        size = _SIZES[setting]
        if not 0 <= value < 1 << 8 * size:
            raise VigilError(f"the setting {setting.name.lower()} does not fit its {size} octet(s)")
        request += bytes((setting, 1)) + value.to_bytes(size, "little")
    return request


def stop(measurement: Measurement) -> bytes:
    """Return the request that stops a stream."""
    return bytes((OpCode.STOP, measurement))


def decode(payload: bytes) -> Features | Answer | Stopped:
    """Decode what the control point says: features where it was read, else an answer. Raises `MalformedFrame`."""
    frame = _frame(payload)
    kind = frame.uint(1, "a response code")
    if kind == 0x0F:
        bits = int.from_bytes(frame.rest(), "little")
        return Features(tuple(number for number in MEASUREMENTS if bits >> number & 1))
    if kind == 0x01:
        return Stopped(tuple(octet & 0x3F for octet in frame.rest()))
    if kind != 0xF0:
        raise frame.malformed("a response code 0F, 01 or F0 at offset 0")
    op_code, measurement = frame.uint(1, "the op code"), frame.uint(1, "the measurement type")
    status = frame.uint(1, "the status")
    more = bool(frame.uint(1, "whether more comes")) if frame.left else False
    return Answer(op_code, measurement & 0x3F, status, more, frame.rest())


def settings(answers: Iterable[Answer]) -> Settings:
    """Return what the parameters of one request's answers say. Raises `MalformedFrame`."""
    frame = _frame(b"".join(answer.parameters for answer in answers))
    found: dict[Setting, tuple[float, ...]] = {}
    while frame.left:
        number, count = frame.uint(1, "a setting"), frame.uint(1, "a setting's number of values")
        if number >= len(_SIZES):
            raise frame.malformed(f"a setting that is known at offset {frame.offset - 2}")
        raw = [frame.take(_SIZES[number], "a setting's value") for _ in range(count)]
        read = _factor if number == Setting.FACTOR else _whole
        found[Setting(number)] = tuple(read(one) for one in raw)
    return found


def _whole(raw: bytes) -> float:
    return int.from_bytes(raw, "little")


def _factor(raw: bytes) -> float:
    factor = float(np.frombuffer(raw, "<f4")[0])
    return factor if math.isfinite(factor) and factor > 0 else 1.0


def _frame(payload: bytes) -> Frame:
    return Frame(f"{NAME} (FB005C81)", payload)


def to_json(said: Features | Answer | Stopped) -> dict[str, object]:
    """Return what the control point said for people to read; settings only where one answer holds them all."""
    if isinstance(said, Features):
        return report(UUID, NAME, features=[MEASUREMENTS[number] for number in said.measurements])
    if isinstance(said, Stopped):
        return report(UUID, NAME, stopped=[MEASUREMENTS.get(number, "reserved") for number in said.measurements])
    return report(
        UUID,
        NAME,
        request=OpCode(said.op_code).name.lower() if said.op_code in set(OpCode) else "other",
        measurement=MEASUREMENTS.get(said.measurement, "reserved"),
        status=STATUSES[said.status] if said.status < len(STATUSES) else "reserved",
        more=said.more,
        settings=_settings_json(said),
    )


def _settings_json(answer: Answer) -> dict[str, object] | None:
    if answer.more or answer.op_code not in {OpCode.GET_SETTINGS, OpCode.START}:
        return None
    try:
        told = settings([answer])
    except MalformedFrame:
        return None  # the end of a longer answer, which says nothing by itself
    return {setting.name.lower(): [readable(value) for value in values] for setting, values in told.items()}


CHARACTERISTIC: Final = Characteristic(UUID, NAME, decode, to_json, service_uuid16=SERVICE_UUID, how="control")
