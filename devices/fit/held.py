"""The rows of one FIT file, held until its end: only there it says which zone it was, and which sport."""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.local_time import Zone
from devices.rows import Origin, Rows
from vitals.batch import sample_columns
from vitals.catalogue import BY_CODE

MAX_ROWS: Final = 1_000_000
"""55 hours of a watch that tells five numbers a second."""
_FIELDS: Final = 6
_CADENCE: Final = BY_CODE["cadence"].number

Stretch = tuple[int, int]
"""From and to, in microseconds."""


class Held:
    """Rows of the source applications of one device, `_FIELDS` float64 numbers each."""

    def __init__(self) -> None:
        self._rows = array("d")
        self._apps: list[str] = []
        self.metrics: set[int] = set()

    def __len__(self) -> int:
        return len(self._rows) // _FIELDS

    def add(self, app: str, start_us: int, metric: int, value: float, duration_ms: int = 0, context: int = 0) -> None:
        """Keep one row."""
        if app not in self._apps:
            self._apps.append(app)
        self._rows.extend((start_us, duration_ms, metric, value, context, self._apps.index(app)))
        self.metrics.add(metric)

    def flush(
        self, rows: Rows, device_id: str, offset_min: int | None, zone: Zone, received_us: int, on_foot: list[Stretch]
    ) -> None:
        """Hand all rows on: with the file's own offset, if it told one, and cadence in steps where it was on foot."""
        table = np.array(self._rows, np.float64).reshape(-1, _FIELDS)
        self._rows = array("d")
        for number, app in enumerate(self._apps):
            mine = table[table[:, 5] == number]
            start_us, metric = mine[:, 0].astype(np.int64), mine[:, 2].astype(np.int16)
            columns = sample_columns(
                start_us,
                metric,
                np.where((metric == _CADENCE) & _within(start_us, on_foot), mine[:, 3] * 2, mine[:, 3]),
                received_us=received_us,
                duration_ms=mine[:, 1].astype(np.int64),
                zone_offset_min=_offsets(start_us, offset_min, zone),
                context=mine[:, 4].astype(np.int16),
            )
            if len(columns):
                rows.extend(Origin(device_id, app), columns)


def _within(start_us: NDArray[np.int64], stretches: list[Stretch]) -> NDArray[np.bool_]:
    found = np.zeros(len(start_us), np.bool_)
    for first, last in stretches:
        found |= (start_us >= first) & (start_us <= last)
    return found


def _offsets(start_us: NDArray[np.int64], offset_min: int | None, zone: Zone) -> NDArray[np.int16]:
    if offset_min is not None:
        return np.full(len(start_us), offset_min, np.int16)
    quarters, where = np.unique(start_us // 900_000_000, return_inverse=True)
    return np.array([zone.offset_min(int(one) * 900_000_000) for one in quarters], np.int16)[where]
