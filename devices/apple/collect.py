"""Rows wait by origin in flat float64 arrays and leave as sample columns, in bounded batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.apple.origin import Origin, Origins
from devices.apple.summary import ExportSummary
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_NUMBER
from vitals.ids import DeviceId

FIELDS: Final = 7
"""Numbers a row: start_us, duration_ms, zone_offset_min, metric, value, context, written_us; all exact in float64."""
_HELD_BATCHES: Final = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one origin, in the file's order, at most `batch_size` of them."""

    device_id: DeviceId
    source_app: str
    samples: SampleColumns


class Collector:
    """Hands out an origin's rows when a batch is full, and everybody's when too many are held in all."""

    def __init__(self, origins: Origins, summary: ExportSummary, *, batch_size: int, received_us: int) -> None:
        self._origins, self._summary = origins, summary
        self._batch_size, self._received_us = batch_size, received_us

    def ready(self) -> Iterator[Batch]:
        """Yield full batches; all rows once more than `_HELD_BATCHES` batches' worth wait in all."""
        for origin in self._origins:
            if len(origin.rows) >= self._batch_size * FIELDS:
                yield from self._take(origin, keep_rest=True)
        if sum(len(origin.rows) for origin in self._origins) > _HELD_BATCHES * self._batch_size * FIELDS:
            yield from self.rest()

    def rest(self) -> Iterator[Batch]:
        """Yield everything that still waits."""
        for origin in self._origins:
            yield from self._take(origin, keep_rest=False)
        self._origins.forget_empty()

    def _take(self, origin: Origin, *, keep_rest: bool) -> Iterator[Batch]:
        rows = np.array(origin.rows, np.float64).reshape(-1, FIELDS)
        stop = len(rows) - len(rows) % self._batch_size if keep_rest else len(rows)
        del origin.rows[: stop * FIELDS]
        for first in range(0, stop, self._batch_size):
            samples = _columns(rows[first : min(first + self._batch_size, stop)], self._received_us)
            self._count(samples)
            yield Batch(origin.device_id, origin.source_app, samples)

    def _count(self, samples: SampleColumns) -> None:
        numbers, counts = np.unique(samples.metric, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._summary.by_metric[BY_NUMBER[number].code] += count


def _columns(rows: np.ndarray[tuple[int, int], np.dtype[np.float64]], received_us: int) -> SampleColumns:
    return sample_columns(
        rows[:, 0].astype(np.int64),
        rows[:, 3].astype(np.int16),
        rows[:, 4],
        received_us=received_us,
        written_us=rows[:, 6].astype(np.int64),
        duration_ms=rows[:, 1].astype(np.int64),
        zone_offset_min=rows[:, 2].astype(np.int16),
        context=rows[:, 5].astype(np.int16),
    )
