"""Polar Measurement Data: what a sensor streams.

A frame is a type (0 ECG, 1 PPG, 2 acceleration, 3 beat intervals), uint64 nanoseconds since 2000-01-01 of the LAST
sample, a frame type (0x80: compressed) and samples. Facts from Polar's published SDK, its test vectors and captures.

| type | frame type | samples |
|---|---|---|
| ECG | 0 | int24, microvolts |
| acceleration | 0, 1, 2 | three of int8, int16, int24, milli-g; compressed 1: int16 milli-g, 0: int16 g times factor |
| PPG | 0 | four of int24: three photodiodes and ambient light; compressed likewise |
| beat intervals | 0 | heart rate, uint16 ms, uint16 ms of error, flags: 0 blocker, 1 contact, 2 contact is supported |

A frame of another type is no error: it says what it is, and gives no samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.gatt.characteristic import Characteristic
from devices.gatt.clock import AHEAD_US, JUMP_US, LIVE_US, UNKNOWN_CLOCK, DeviceClock
from devices.gatt.frame import Frame
from devices.gatt.report import DOUBTFUL, USELESS, Row, report, rows_to_samples
from devices.polar.control import MEASUREMENTS, SERVICE_UUID
from devices.polar.delta import delta_samples, raw_samples
from vitals.batch import SampleColumns
from vitals.clock import US_PER_S, to_datetime
from vitals.quality import Context
from vitals.waveform import MAIN_CHANNEL, WaveformChunk

UUID: Final = "FB005C82-02E7-F387-1CAD-8ACD2D8DF0C8"
NAME: Final = "Polar Measurement Data"
EPOCH_US: Final = 946_684_800 * US_PER_S
"""2000-01-01, from which Polar counts."""
MAX_ERROR: Final = 0.1
"""A beat interval that may be off by more than this share of itself is doubtful."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the samples of one type and frame type lie: `unit` is what one step is in the metric's unit."""

    metric: str
    channels: int
    octets: int
    unit: float
    names: tuple[str, ...] = (MAIN_CHANNEL,)
    """One a channel, or one for all of them as axes."""


_PPG: Final = ("photodiode-0", "photodiode-1", "photodiode-2", "ambient")
LAYOUTS: Final[Mapping[tuple[int, int], Layout]] = MappingProxyType(
    {
        (0, 0x00): Layout("ecg", 1, 3, 1e-3),
        (1, 0x00): Layout("ppg", 4, 3, 1.0, _PPG),
        (1, 0x80): Layout("ppg", 4, 3, 1.0, _PPG),
        (2, 0x00): Layout("acceleration", 3, 1, 1e-3),
        (2, 0x01): Layout("acceleration", 3, 2, 1e-3),
        (2, 0x02): Layout("acceleration", 3, 3, 1e-3),
        (2, 0x80): Layout("acceleration", 3, 2, 1.0),
        (2, 0x81): Layout("acceleration", 3, 2, 1e-3),
    }
)
"""By type and octet of the frame type."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One interval between beats; `contact` means something only where `contact_supported`."""

    heart_rate_bpm: int
    interval_ms: int
    error_ms: int
    blocker: bool
    contact: bool
    contact_supported: bool

    @property
    def quality(self) -> float:
        """Nothing is worth what was measured in movement or without contact; a large error is doubtful."""
        if self.blocker or not self.contact:
            return USELESS
        return DOUBTFUL if self.error_ms > MAX_ERROR * self.interval_ms else 1.0


@dataclass(frozen=True, eq=False, slots=True)
class PolarFrame:
    """One notification. `values`: shape (channels, n), int32, where `layout` is known; `beats` of a type 3."""

    kind: int
    timestamp_ns: int
    frame_type: int
    """As it was sent, with 0x80 for compressed."""
    layout: Layout | None = None
    values: NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 0), np.int32))
    beats: tuple[Beat, ...] = ()

    @property
    def samples(self) -> int:
        """How many samples each channel has."""
        return int(self.values.shape[1])

    @property
    def device_us(self) -> int | None:
        """When the last sample was taken on the sensor's clock, microseconds since 1970; None where it has none."""
        return EPOCH_US + self.timestamp_ns // 1_000 if self.timestamp_ns else None


def decode(payload: bytes) -> PolarFrame:
    """Decode one notification. Raises `MalformedFrame`."""
    frame = Frame(f"{NAME} (FB005C82)", payload)
    kind = frame.uint(1, "a measurement type") & 0x3F
    timestamp_ns, frame_type = frame.uint(8, "the time stamp"), frame.uint(1, "the frame type")
    if (kind, frame_type) == (3, 0):
        return PolarFrame(kind, timestamp_ns, frame_type, beats=_beats(frame))
    layout = LAYOUTS.get((kind, frame_type))
    if layout is None:
        return PolarFrame(kind, timestamp_ns, frame_type)
    read = delta_samples if frame_type & 0x80 else raw_samples
    return PolarFrame(kind, timestamp_ns, frame_type, layout, read(frame, layout.channels, layout.octets))


def _beats(frame: Frame) -> tuple[Beat, ...]:
    if frame.left == 0 or frame.left % 6:
        raise frame.malformed(f"intervals of 6 octets each from offset {frame.offset}, got {frame.left} octets")
    rows = np.frombuffer(frame.rest(), np.dtype([("hr", "u1"), ("ms", "<u2"), ("error", "<u2"), ("flags", "u1")]))
    return tuple(
        Beat(hr, ms, error, bool(flags & 1), bool(flags & 2), bool(flags & 4)) for hr, ms, error, flags in rows.tolist()
    )


def to_json(frame: PolarFrame) -> dict[str, object]:
    """Return the frame for people to read: microvolts, milli-g, counts, or beats."""
    head: dict[str, object] = {
        "measurement": MEASUREMENTS.get(frame.kind, "reserved"),
        "timestamp_ns": frame.timestamp_ns,
        "device_time": None if frame.device_us is None else to_datetime(frame.device_us).isoformat(),
        "frame_type": frame.frame_type & 0x7F,
        "compressed": bool(frame.frame_type & 0x80),
    }
    if frame.kind == 3:
        return report(UUID, NAME, **head, beats=[_beat_json(beat) for beat in frame.beats])
    if frame.layout is None:
        return report(UUID, NAME, **head, decoded=False)
    return report(UUID, NAME, **head, samples=frame.samples, **_values_json(frame.layout, frame.values))


def _values_json(layout: Layout, values: NDArray[np.int32]) -> dict[str, object]:
    if layout.metric == "ecg":
        return {"ecg_microvolt": values[0].tolist()}
    if layout.metric == "ppg":
        return {"ppg": values[:3].T.tolist(), "ambient": values[3].tolist()}
    return {"acceleration_milli_g" if layout.unit < 1 else "acceleration_steps": values.T.tolist()}


def _beat_json(beat: Beat) -> dict[str, object]:
    return {
        "heart_rate_bpm": beat.heart_rate_bpm, "ppi_ms": beat.interval_ms, "error_ms": beat.error_ms,
        "blocker": beat.blocker, "contact": beat.contact, "contact_supported": beat.contact_supported,
        "quality": beat.quality,
    }  # fmt: skip


def ended_us(frame: PolarFrame, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK, *, ahead_us: int = 0) -> int:
    """Return when the last sample was taken, UTC: by the sensor's clock where its offset is known, else on arrival.

    At most `ahead_us` after arrival.
    """
    if clock.offset_us is None or frame.device_us is None:
        return received_us
    taken_us = frame.device_us - clock.offset_us
    if not -AHEAD_US <= received_us - taken_us <= LIVE_US:
        return received_us
    return min(taken_us, received_us + ahead_us)


def to_samples(frame: PolarFrame, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK) -> SampleColumns:
    """Return beat intervals (oldest first) with the heart rate after each, and wear where the sensor tells it.

    The last interval ends with the frame, an interval's `start` is the beat it begins with. Waveforms are not samples:
    `to_waveforms` has them.
    """
    if not frame.beats:
        return rows_to_samples([], received_us)
    end_us = ended_us(frame, received_us, clock)
    spans_us = [beat.interval_ms * 1_000 for beat in frame.beats]
    ends_us = [end_us - sum(spans_us[index + 1 :]) for index in range(len(spans_us))]
    rows = [
        Row("rr_interval", float(beat.interval_ms), at - span, beat.quality)
        for beat, at, span in zip(frame.beats, ends_us, spans_us, strict=True)
    ]
    rows += [
        Row("heart_rate", float(beat.heart_rate_bpm), at, beat.quality)
        for beat, at in zip(frame.beats, ends_us, strict=True)
        if beat.heart_rate_bpm
    ]
    last = frame.beats[-1]
    off_body = last.contact_supported and not last.contact
    if last.contact_supported:
        rows.append(Row("wear_state", float(last.contact), end_us))
    return rows_to_samples(rows, received_us, context=int(Context.NO_CONTACT) if off_body else 0)


def to_waveforms(
    frame: PolarFrame, received_us: int, clock: DeviceClock = UNKNOWN_CLOCK, *, rate_hz: float, factor: float = 1.0
) -> tuple[WaveformChunk, ...]:
    """Return the frame's signals; `rate_hz` and `factor` are what the stream was started with (`control.settings`).

    While the estimate of a clock settles, a frame may end a little after it arrived: cutting it there would tear the
    signal.
    """
    if frame.layout is None or not frame.samples:
        return ()
    layout, end_us = frame.layout, ended_us(frame, received_us, clock, ahead_us=JUMP_US)
    start_us = end_us - round((frame.samples - 1) / rate_hz * US_PER_S)
    signals = [frame.values] if len(layout.names) == 1 else [row[None] for row in frame.values]
    return tuple(
        WaveformChunk(
            layout.metric, start_us, rate_hz, np.ascontiguousarray(values), layout.unit * factor,
            received_us, received_us, channel=name,
        )
        for name, values in zip(layout.names, signals, strict=True)
    )  # fmt: skip


CHARACTERISTIC: Final = Characteristic(
    UUID, NAME, decode, to_json, to_samples,
    service_uuid16=SERVICE_UUID, how="notify", has_clock=True, to_waveforms=to_waveforms,
)  # fmt: skip
