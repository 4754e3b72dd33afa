"""One device's notifications in their order: what a single one cannot say, because it needs those before it.

Cycling and running counters become distances, a glucose context finds the record it belongs to, a CGM's minutes find
their session's start, stored records are corrected by the clock that was read, and Polar's frames become waveforms.
Pure: nothing here waits, and time comes with each notification. One `DeviceSession` a connection or longer; a device
whose clock was set meanwhile is noticed (`ClockTrack`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from devices.gatt import characteristic
from devices.gatt.cgm_session import SessionStart, session_start_us
from devices.gatt.characteristic import NO_SAMPLES, Characteristic
from devices.gatt.clock import ClockTrack, DeviceClock, since_last_us, slewed, steadied
from devices.gatt.current_time import ClockReading, LocalTime
from devices.gatt.cycling import DEFAULT_CIRCUMFERENCE_M, Cycling, CyclingState
from devices.gatt.cycling import advance as cycle
from devices.gatt.glucose import Glucose, measured_us
from devices.gatt.glucose_context import GlucoseContext
from devices.gatt.glucose_context import to_samples as context_samples
from devices.gatt.running import DistanceState, Running
from devices.gatt.running import advance as run
from devices.polar.data import PolarFrame, to_waveforms
from vitals.batch import SampleColumns
from vitals.waveform import WaveformChunk

_RECORDS: Final = 1_024
"""So many of the last glucose records wait for a context that may follow."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one notification means, given those before it."""

    samples: SampleColumns = NO_SAMPLES
    waveforms: tuple[WaveformChunk, ...] = ()


_Reader = Callable[[Characteristic, Any, int, DeviceClock], Told]


@dataclass(frozen=True, slots=True)
class Stream:
    """How a Polar stream runs: its rate, None while it is not known, and the factor from the start's answer."""

    rate_hz: float | None = None
    factor: float = 1.0
    last_ns: int = 0


class DeviceSession:
    """Reads one device's notifications. Its `clock` and `polar_clock` are what is known of the device's time."""

    def __init__(self, clock: DeviceClock | None = None, *, circumference_m: float = DEFAULT_CIRCUMFERENCE_M) -> None:
        self.clock = clock or DeviceClock()
        self.polar_clock = ClockTrack()
        self.last_sample_us: int | None = None
        self._circumference_m = circumference_m
        self._polar_offset_us: int | None = None
        self._cycling = CyclingState()
        self._running: DistanceState | None = None
        self._records: dict[int, int] = {}
        self._streams: dict[int, Stream] = {}
        self._special: Mapping[type, _Reader] = {
            ClockReading: self._clock_read, LocalTime: self._zone_read, SessionStart: self._session_read,
            Glucose: self._glucose, GlucoseContext: self._context, Cycling: self._cycled, Running: self._ran,
            PolarFrame: self._polar,
        }  # fmt: skip

    def started(self, measurement: int, rate_hz: float, factor: float = 1.0) -> None:
        """Note how a Polar stream was started (`devices.polar.control`). Else its rate is found from its frames."""
        self._streams[measurement] = Stream(rate_hz, factor)

    def read(self, uuid: str, payload: bytes, received_us: int, *, stored: bool = False) -> Told:
        """Return what a notification, an indication or a value that was read means.

        `stored`: the device was asked for its records. Raises `UnknownCharacteristic` or `MalformedFrame`.
        """
        found = characteristic(uuid)
        measurement = found.decode(payload)
        special = self._special.get(type(measurement))
        clock = replace(self.clock, stored=stored or self.clock.stored)
        if special is None:
            told = Told(found.samples(measurement, received_us, clock))
        else:
            told = special(found, measurement, received_us, clock)
        if len(told.samples) or told.waveforms:
            self.last_sample_us = received_us
        return told

    def quiet_us(self, now_us: int) -> int | None:
        """Return how long ago the last sample arrived; None where there was none."""
        return since_last_us(self.last_sample_us, now_us)

    def _clock_read(self, found: Characteristic, reading: ClockReading, received_us: int, clock: DeviceClock) -> Told:
        wall_us = reading.wall_us
        if wall_us is not None:
            self.clock = replace(self.clock, offset_us=steadied(self.clock.offset_us, wall_us - received_us))
        return Told(found.samples(reading, received_us, clock))

    def _zone_read(self, _found: Characteristic, local: LocalTime, _received_us: int, _clock: DeviceClock) -> Told:
        if local.zone_offset_min is not None:
            self.clock = replace(self.clock, zone_offset_min=local.zone_offset_min)
        return Told()

    def _session_read(self, _found: Characteristic, start: SessionStart, received_us: int, clock: DeviceClock) -> Told:
        self.clock = replace(self.clock, session_start_us=session_start_us(start, received_us, clock))
        return Told()

    def _glucose(self, found: Characteristic, record: Glucose, received_us: int, clock: DeviceClock) -> Told:
        at_us = measured_us(record, received_us, clock)
        if at_us is not None and record.context_follows and not record.is_control:
            self._records[record.sequence_number] = at_us
            if len(self._records) > _RECORDS:
                del self._records[next(iter(self._records))]
        return Told(found.samples(record, received_us, clock))

    def _context(self, _found: Characteristic, note: GlucoseContext, received_us: int, _clock: DeviceClock) -> Told:
        at_us = self._records.pop(note.sequence_number, None)
        return Told(context_samples(note, received_us, measured_us=at_us))

    def _cycled(self, _found: Characteristic, cycling: Cycling, received_us: int, _clock: DeviceClock) -> Told:
        self._cycling, samples = cycle(self._cycling, cycling, received_us, circumference_m=self._circumference_m)
        return Told(samples)

    def _ran(self, found: Characteristic, running: Running, received_us: int, _clock: DeviceClock) -> Told:
        self._running, distance = run(self._running, running, received_us)
        return Told(SampleColumns.concat([found.samples(running, received_us), distance]))

    def _polar(self, found: Characteristic, frame: PolarFrame, received_us: int, _clock: DeviceClock) -> Told:
        if frame.device_us is not None:
            self.polar_clock = self.polar_clock.seen(frame.device_us, received_us)
            estimate = self.polar_clock.estimate()
            if estimate is not None:
                self._polar_offset_us = slewed(self._polar_offset_us, estimate.offset_us)
        clock = DeviceClock(offset_us=self._polar_offset_us)
        stream = _with_rate(self._streams.get(frame.kind, Stream()), frame)
        self._streams[frame.kind] = stream
        samples = found.samples(frame, received_us, clock)
        if stream.rate_hz is None:
            return Told(samples)
        chunks = to_waveforms(frame, received_us, clock, rate_hz=stream.rate_hz, factor=stream.factor)
        return Told(samples, chunks)


def _with_rate(stream: Stream, frame: PolarFrame) -> Stream:
    """Return the stream after a frame; a rate that nobody told comes from the first two frames' time stamps."""
    span_ns = frame.timestamp_ns - stream.last_ns
    known = stream.rate_hz is not None or not stream.last_ns or span_ns <= 0 or not frame.samples
    rate_hz = stream.rate_hz if known else float(round(frame.samples * 1e9 / span_ns))
    return replace(stream, rate_hz=rate_hz or None, last_ns=frame.timestamp_ns)
