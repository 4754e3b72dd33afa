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
MAX_SAMPLES: Final = 20_000_000
MAX_WARM_UP: Final = 10_000_000
"""Some 150 bytes each while they are replayed."""


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


@dataclass(frozen=True, slots=True)
class StoredSamples:
    """Samples by (device id, source app), and from when on they were read: before the wanted time by the warm-up."""

    by_origin: dict[tuple[str, str], SampleColumns]
    since: datetime


def read_samples(
    connection: psycopg.Connection[Any],
    patient: str,
    start: datetime,
    end: datetime,
    *,
    warm_up: timedelta = timedelta(0),
    step: Callable[[float], None] = lambda _: None,
) -> StoredSamples:
    """Return what stands in [start, end), and what lies up to `warm_up` before it.

    `step` is told the share that is read. The warm-up is shorter where it would be more than `MAX_WARM_UP` samples. Of
    classes without a consent that stands nothing is returned. Raises `NothingToReplay`, psycopg's errors.
    """
    row = connection.execute(_SQL["replay_patient"], {"patient": patient}).fetchone()
    if row is None:
        raise NothingToReplay("nobody of this id was ever measured")
    window = _Window(connection, row[0], _classes(connection, row[0]))
    wanted = (end - start) + warm_up
    pieces, at = [], start
    while at < end:
        until = min(at + _PIECE, end)
        pieces.append(window.piece(at, until))
        if window.rows > MAX_SAMPLES:
            raise NothingToReplay(f"more than {MAX_SAMPLES:,} samples: choose a shorter time")
        at = until
        step((at - start) / wanted)
    most, at = window.rows + MAX_WARM_UP, start
    while at > start - warm_up and window.rows < most:
        since = max(at - _PIECE, start - warm_up)
        pieces.append(window.piece(since, at))
        at = since
        step((end - at) / wanted)
    if not window.rows:
        raise NothingToReplay("nothing was measured then and before, or no consent to look at it stands")
    joined = [np.concatenate(column) for column in zip(*pieces, strict=True)]
    return StoredSamples(_by_origin(connection, joined), at)


@dataclass(slots=True)
class _Window:
    """Reads one patient's samples, of `classes` alone (None: of all), and counts them."""

    connection: psycopg.Connection[Any]
    key: int
    classes: list[str] | None
    rows: int = 0

    def piece(self, start: datetime, end: datetime) -> list[NDArray[Any]]:
        values = {"key": self.key, "start": start, "end": end, "classes": self.classes}
        found = read_columns(self.connection, _SQL["replay_samples"], values, _VALUES)
        self.rows += len(found[0])
        return found


def _classes(connection: psycopg.Connection[Any], key: int) -> list[str] | None:
    """Return to which classes a consent stands, None where none was ever noted: then none is asked for."""
    row = connection.execute(_SQL["replay_consent"], {"key": key}).fetchone()
    was_noted, classes = row if row is not None else (False, [])
    if was_noted and not classes:
        raise NothingToReplay("no consent of this patient stands: nothing of theirs is looked at again")
    return classes if was_noted else None


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
