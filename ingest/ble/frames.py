"""From notifications to samples, a batch at a time: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.errors import MalformedFrame
from devices.gatt.session import DeviceSession
from ingest.ble.plan import BATTERY
from vitals.batch import SampleColumns
from vitals.clock import US_PER_S
from vitals.waveform import WaveformChunk

PAST_US: Final = 15 * 60 * US_PER_S
"""Older than this at arrival, a sample is history, which no rule tells as happening now: it takes the backfill lane."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One value as it came: of which characteristic, its octets, when, and whether it was asked from a memory."""

    uuid: str
    payload: bytes
    received_us: int
    stored: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """What a run of notifications means: samples of now and of the past (None: there are none), waveforms, faults."""

    live: SampleColumns | None = None
    past: SampleColumns | None = None
    waveforms: tuple[WaveformChunk, ...] = ()
    malformed: Counter[str] = field(default_factory=Counter)


def to_batch(session: DeviceSession, notifications: Sequence[Notification]) -> Batch:
    """Decode notifications in their order; a malformed one costs itself and is counted by its characteristic.

    `session` remembers what it read, so a notification is decoded once.
    """
    parts: list[SampleColumns] = []
    waveforms: list[WaveformChunk] = []
    malformed: Counter[str] = Counter()
    for one in notifications:
        try:
            told = session.read(one.uuid, one.payload, one.received_us, stored=one.stored)
        except MalformedFrame:
            malformed[one.uuid] += 1
        else:
            waveforms += told.waveforms
            if len(told.samples):
                parts.append(told.samples)
    if not parts:
        return Batch(waveforms=tuple(waveforms), malformed=malformed)
    samples = SampleColumns.concat(parts)
    past = samples.received_us - samples.start_us > PAST_US
    return Batch(_where(samples, ~past), _where(samples, past), tuple(waveforms), malformed)


def _where(samples: SampleColumns, mask: NDArray[np.bool_]) -> SampleColumns | None:
    return samples.take(mask) if mask.any() else None


def next_stamp_us(now_us: int, last_us: int) -> int:
    """Return a time of arrival that no earlier notification of this device has: it is what tells two samples apart."""
    return max(now_us, last_us + 1)


def told_already(uuid: str, payload: bytes, last_battery: bytes | None) -> bool:
    """Tell whether this is the battery level that came last: BlueZ tells a value that is read as a notification too."""
    return uuid == BATTERY and payload == last_battery
