"""Fitbit's series: a time and a number, of which an archive has millions; read a file at a time, as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from devices.adapter import Reading
from devices.documents import csv_records, json_records, number
from devices.fitbit.times import UNREAD, utc_us
from devices.local_time import Zone
from devices.rows import Origin, Rows
from vitals.batch import sample_columns
from vitals.catalogue import BY_CODE

MINUTE_MS: Final = 60_000
_CONFIDENCE: Final = (0.0, 0.5, 0.8, 1.0)
"""Quality of a heart rate by Fitbit's confidence of 0 to 3; 0 is what a band off the wrist says."""
_FILLED_IN: Final = 50.0
"""The SpO2 that Fitbit writes for a minute without one."""

Point = tuple[object, float | None, float]
"""Time as text, value (None: cannot be read), quality."""


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of file: its metric, how long a point lasts, and how its points are found."""

    metric: str
    duration_ms: int
    points: Callable[[bytes], Iterable[Point]]
    app: str = "fitbit"

    def read(self, data: bytes, rows: Rows, reading: Reading, zone: Zone, device_id: str) -> None:
        """Turn a file's points into columns. Raises `Unreadable`."""
        points = list(self.points(data))
        tally = reading.tally
        tally.read += len(points)
        time_us = utc_us([one[0] for one in points])
        value = np.array([np.nan if one[1] is None else one[1] for one in points], np.float64)
        quality = np.array([one[2] for one in points], np.float32)
        undated, good = time_us == UNREAD, (time_us != UNREAD) & ~np.isnan(value)
        for reason, count in (("date", undated.sum()), ("value", (~undated & np.isnan(value)).sum())):
            if count:
                tally.rejected[reason] += int(count)
        tally.accepted += int(good.sum())
        if not good.any():
            return
        columns = sample_columns(
            time_us[good],
            np.full(int(good.sum()), BY_CODE[self.metric].number, np.int16),
            value[good],
            received_us=reading.received_us,
            duration_ms=self.duration_ms,
            zone_offset_min=_offsets(time_us[good], zone),
            quality=quality[good],
        )
        rows.extend(Origin(device_id, self.app), columns)


def _offsets(time_us: NDArray[np.int64], zone: Zone) -> NDArray[np.int16]:
    quarters, where = np.unique(time_us // 900_000_000, return_inverse=True)
    return np.array([zone.offset_min(int(one) * 900_000_000) for one in quarters], np.int16)[where]


def _heart_rates(data: bytes) -> Iterable[Point]:
    for one in json_records(data):
        told: Any = (one or {}).get("value")
        value, confidence = (told.get("bpm"), told.get("confidence")) if isinstance(told, dict) else (None, None)
        sure = confidence if isinstance(confidence, int) and 0 <= confidence <= 3 else 3
        yield (one or {}).get("dateTime"), number(value), _CONFIDENCE[sure]


def _numbers(factor: float) -> Callable[[bytes], Iterable[Point]]:
    def points(data: bytes) -> Iterable[Point]:
        for one in json_records(data):
            value = number((one or {}).get("value"))
            yield (one or {}).get("dateTime"), None if value is None else round(value * factor, 6), 1.0

    return points


def _table(column: str) -> Callable[[bytes], Iterable[Point]]:
    def points(data: bytes) -> Iterable[Point]:
        for row in csv_records(data):
            yield row.get("timestamp"), number(row.get(column)), 1.0

    return points


def _minute_spo2(data: bytes) -> Iterable[Point]:
    for time, value, _ in _table("value")(data):
        yield time, value, 0.0 if value == _FILLED_IN else 1.0


HEART_RATE: Final = Series("heart_rate", 0, _heart_rates)
STEPS: Final = Series("steps", MINUTE_MS, _numbers(1.0))
DISTANCE: Final = Series("distance", MINUTE_MS, _numbers(0.01))  # centimetres
SPO2: Final = Series("spo2", 0, _minute_spo2)
# The same measurements, told a second time by Google: a source of its own.
GOOGLE_HEART_RATE: Final = Series("heart_rate", 0, _table("beats per minute"), "fitbit-google")
GOOGLE_STEPS: Final = Series("steps", MINUTE_MS, _table("steps"), "fitbit-google")
