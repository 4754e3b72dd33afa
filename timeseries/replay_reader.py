"""Edge: a patient's stored samples in columns, and the alerts that were raised then: what a replay needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from timeseries.days_read import read_columns
from timeseries.queries import load
from vitals.batch import SampleColumns, sample_columns
from vitals.errors import VigilError

_SQL: Final = load("replay")
_PIECE: Final = timedelta(days=1)
_VALUES: Final = frozenset((8, 9))
MAX_SAMPLES: Final = 50_000_000


class NothingToReplay(VigilError):
    """There is no such patient, nothing was measured in that stretch of time, or far too much."""


@dataclass(frozen=True, slots=True)
class StoredBurden:
    """What a rule raised: `priority` 1 low to 3 high, `open_min` None where nothing has cleared."""

    rule: str
    kind: str
    raised: int
    paging: int
    retrospective: int
    cleared: float
    open_min: float | None
    priority: int


def read_samples(
    connection: psycopg.Connection[Any],
    patient: str,
    start: datetime,
    end: datetime,
    step: Callable[[float], None] = lambda _: None,
) -> dict[tuple[str, str], SampleColumns]:
    """Return what stands in [start, end), by (device id, source app); `step` is told the share that is read.

    Raises `NothingToReplay`, psycopg's errors.
    """
    row = connection.execute(_SQL["replay_patient"], {"patient": patient}).fetchone()
    if row is None:
        raise NothingToReplay("nobody of this id was ever measured")
    pieces, at, rows = [], start, 0
    while at < end:
        until = min(at + _PIECE, end)
        piece = read_columns(connection, _SQL["replay_samples"], {"key": row[0], "start": at, "end": until}, _VALUES)
        rows += len(piece[0])
        if rows > MAX_SAMPLES:
            raise NothingToReplay(f"more than {MAX_SAMPLES:,} samples: choose a shorter time")
        pieces.append(piece)
        at = until
        step((at - start) / (end - start))
    if not rows:
        raise NothingToReplay("nothing was measured in that time")
    return _by_origin(connection, [np.concatenate(column) for column in zip(*pieces, strict=True)])


def read_burden(
    connection: psycopg.Connection[Any], patient: str, start: datetime, end: datetime
) -> list[StoredBurden]:
    """Return what was raised in [start, end), by rule."""
    rows = connection.execute(_SQL["replay_alerts"], {"patient": patient, "start": start, "end": end}).fetchall()
    return [StoredBurden(*row) for row in rows]


def _by_origin(
    connection: psycopg.Connection[Any], columns: list[NDArray[Any]]
) -> dict[tuple[str, str], SampleColumns]:
    origin = columns[0]
    known = connection.execute(_SQL["replay_origins"], {"origins": np.unique(origin).tolist()}).fetchall()
    return {(device, app): _samples([column[origin == key] for column in columns[1:]]) for key, device, app in known}


def _samples(columns: list[NDArray[Any]]) -> SampleColumns:
    metric, start, written, received, duration, context, zone, value, quality = columns
    return sample_columns(
        start, metric, value, received_us=received, written_us=written, duration_ms=duration,
        zone_offset_min=zone, quality=quality, context=context,
    )  # fmt: skip
