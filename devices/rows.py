"""Rows of an adapter wait by origin in flat float64 arrays and leave as pieces of bounded size."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.adapter import Piece, Reading, Session
from devices.errors import MalformedExport
from vitals.batch import NO_ZONE, SampleColumns, sample_columns
from vitals.catalogue import BY_NUMBER
from vitals.clock import US_PER_S
from vitals.ids import DeviceId
from vitals.waveform import WaveformChunk

EARLIEST_US: Final = -2_208_988_800 * US_PER_S
LATEST_US: Final = 7_258_118_400 * US_PER_S
"""1900 and 2200: outside these years a time is a mistake; inside, microseconds are exact in a float64 column."""
MAX_DURATION_MS: Final = 40 * 86_400_000
_FIELDS: Final = 9
_NO_ID: Final = bytes(16)
_HELD_PIECES: Final = 8
_MAX_HELD_SESSIONS: Final = 10_000


class Origin(NamedTuple):
    """One device and one source application, both opaque."""

    device_id: str
    source_app: str


class Row(NamedTuple):
    """One sample, its value in the catalogue's unit of `metric`; times as in `SampleColumns`."""

    start_us: int
    metric: int
    value: float
    duration_ms: int = 0
    zone_offset_min: int = NO_ZONE
    context: int = 0
    written_us: int | None = None
    quality: float = 1.0
    deleted: bool = False
    sample_id: bytes = _NO_ID

    @property
    def fault(self) -> str | None:
        """The reason for which this can be no row at all (`date`, `duration`), or None."""
        if not EARLIEST_US <= self.start_us < LATEST_US:
            return "date"
        return None if 0 <= self.duration_ms <= MAX_DURATION_MS else "duration"


@dataclass(slots=True)
class _Held:
    rows: array[float] = field(default_factory=lambda: array("d"))
    ids: bytearray = field(default_factory=bytearray)
    columns: list[SampleColumns] = field(default_factory=list)
    count: int = 0
    waveforms: list[WaveformChunk] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)

    def close_rows(self, received_us: int) -> None:
        """Turn the rows that were added one by one into columns."""
        if self.rows:
            self.columns.append(_columns(self.rows, bytes(self.ids), received_us))
            self.rows, self.ids = array("d"), bytearray()


class Rows:
    """Takes rows, columns, waveforms and sessions of any origin; hands out pieces, counting samples in the tally."""

    def __init__(self, reading: Reading) -> None:
        if reading.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        self._reading = reading
        self._held: dict[Origin, _Held] = {}

    def _of(self, origin: Origin) -> _Held:
        return self._held.setdefault(origin, _Held())

    def add(self, origin: Origin, row: Row) -> None:
        """Keep one sample, whose `fault` is None."""
        held = self._of(origin)
        written_us = self._reading.received_us if row.written_us is None else row.written_us
        held.rows.extend(
            (row.start_us, row.duration_ms, row.zone_offset_min, row.metric, row.value,
             row.context, written_us, row.quality, row.deleted)
        )  # fmt: skip
        held.ids += row.sample_id
        held.count += 1

    def extend(self, origin: Origin, columns: SampleColumns) -> None:
        """Keep many samples."""
        held = self._of(origin)
        held.close_rows(self._reading.received_us)
        held.columns.append(columns)
        held.count += len(columns)

    def wave(self, origin: Origin, chunk: WaveformChunk) -> None:
        """Keep one chunk of a waveform."""
        self._of(origin).waveforms.append(chunk)
        self._reading.tally.waveforms += 1

    def session(self, origin: Origin, session: Session) -> None:
        """Keep one session."""
        self._of(origin).sessions.append(session)
        self._reading.tally.sessions += 1

    def ready(self) -> Iterator[Piece]:
        """Yield what fills a piece; all of it once more than some pieces' worth waits."""
        size = self._reading.batch_size
        waiting = sum(held.count for held in self._held.values())
        others = sum(len(held.sessions) + 100 * len(held.waveforms) for held in self._held.values())
        if waiting >= _HELD_PIECES * size or others >= _MAX_HELD_SESSIONS:
            yield from self.rest()
            return
        for origin, held in self._held.items():
            if held.count >= size or held.waveforms:
                yield from self._take(origin, held)

    def rest(self) -> Iterator[Piece]:
        """Yield everything that waits."""
        for origin, held in self._held.items():
            yield from self._take(origin, held)
        self._held.clear()

    def _take(self, origin: Origin, held: _Held) -> Iterator[Piece]:
        held.close_rows(self._reading.received_us)
        device, parts = DeviceId(origin.device_id), _cut(held.columns, self._reading.batch_size)
        for samples in parts:
            self._count(samples)
            yield Piece(device, origin.source_app, samples)
        if held.waveforms or held.sessions:
            yield Piece(device, origin.source_app, None, tuple(held.waveforms), tuple(held.sessions))
        held.columns, held.waveforms, held.sessions, held.count = [], [], [], 0

    def _count(self, samples: SampleColumns) -> None:
        numbers, counts = np.unique(samples.metric, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._reading.tally.by_metric[BY_NUMBER[number].code] += count


def _cut(columns: list[SampleColumns], size: int) -> Iterator[SampleColumns]:
    if not columns:
        return
    whole = SampleColumns.concat(columns) if len(columns) > 1 else columns[0]
    for first in range(0, len(whole), size):
        yield whole.take(np.arange(first, min(first + size, len(whole)), dtype=np.intp))


def _columns(rows: array[float], ids: bytes, received_us: int) -> SampleColumns:
    table = np.array(rows, np.float64).reshape(-1, _FIELDS)
    sample_id: NDArray[np.uint8] = np.frombuffer(ids, np.uint8).reshape(-1, 16)
    return sample_columns(
        table[:, 0].astype(np.int64),
        table[:, 3].astype(np.int16),
        table[:, 4],
        received_us=received_us,
        written_us=table[:, 6].astype(np.int64),
        duration_ms=table[:, 1].astype(np.int64),
        zone_offset_min=table[:, 2].astype(np.int16),
        context=table[:, 5].astype(np.int16),
        quality=table[:, 7].astype(np.float32),
        deleted=table[:, 8] > 0,
        sample_id=sample_id,
    )


def drained(rows: Rows, steps: Iterator[object]) -> Iterator[Piece]:
    """Yield the pieces that are ready after each of `steps`, and the rest in the end, also before `MalformedExport`."""
    try:
        for _ in steps:
            yield from rows.ready()
    except MalformedExport:
        yield from rows.rest()
        raise
    yield from rows.rest()


__all__ = ["EARLIEST_US", "LATEST_US", "Origin", "Row", "Rows", "drained"]
