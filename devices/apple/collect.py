"""Rows wait by origin in flat float64 arrays and leave as sample columns, in bounded pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.adapter import Piece, Session
from devices.apple.nights import close_night
from devices.apple.origin import Origin, Origins
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_NUMBER

FIELDS: Final = 7
"""Numbers a row: start_us, duration_ms, zone_offset_min, metric, value, context, written_us; all exact in float64."""
_HELD_BATCHES: Final = 8
_SESSIONS: Final = 1_000
"""Sessions wait until they are so many: a piece that has any costs whoever sends it a trip of its own."""


class Collector:
    """Hands out an origin's rows when a batch is full, and everybody's when too many are held in all.

    `by_metric` counts the samples that were handed out.
    """

    def __init__(self, origins: Origins, by_metric: Counter[str], *, batch_size: int, received_us: int) -> None:
        self._origins, self._by_metric = origins, by_metric
        self._batch_size, self._received_us = batch_size, received_us

    def ready(self) -> Iterator[Piece]:
        """Yield full batches; all rows once more than `_HELD_BATCHES` batches' worth wait in all."""
        for origin in self._origins:
            if len(origin.rows) >= self._batch_size * FIELDS:
                yield from self._take(origin, keep_rest=True)
        if self._origins.too_many or sum(len(one.rows) for one in self._origins) > (
            _HELD_BATCHES * self._batch_size * FIELDS
        ):
            yield from self.rest(last=self._origins.too_many)

    def rest(self, *, last: bool = True) -> Iterator[Piece]:
        """Yield everything that still waits; with `last` also the nights that were still being told."""
        for origin in self._origins:
            if last:
                close_night(self._origins, origin)
            yield from self._take(origin, keep_rest=False)
        self._origins.forget_empty()

    def _take(self, origin: Origin, *, keep_rest: bool) -> Iterator[Piece]:
        rows = np.array(origin.rows, np.float64).reshape(-1, FIELDS)
        sessions = () if keep_rest and len(origin.sessions) < _SESSIONS else self._sessions(origin)
        stop = len(rows) - len(rows) % self._batch_size if keep_rest else len(rows)
        del origin.rows[: stop * FIELDS]
        if sessions and not stop:
            yield Piece(origin.device_id, origin.source_app, sessions=sessions)
        for first in range(0, stop, self._batch_size):
            samples = _columns(rows[first : min(first + self._batch_size, stop)], self._received_us)
            self._count(samples)
            yield Piece(origin.device_id, origin.source_app, samples, sessions=_only_first(sessions, first))

    @staticmethod
    def _sessions(origin: Origin) -> tuple[Session, ...]:
        sessions, origin.sessions = tuple(origin.sessions), []
        return sessions

    def _count(self, samples: SampleColumns) -> None:
        numbers, counts = np.unique(samples.metric, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._by_metric[BY_NUMBER[number].code] += count


def _only_first(sessions: tuple[Session, ...], first: int) -> tuple[Session, ...]:
    return () if first else sessions


def _columns(rows: NDArray[np.float64], received_us: int) -> SampleColumns:
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
