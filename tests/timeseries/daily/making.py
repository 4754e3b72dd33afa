"""Short ways to tell what a wearer's devices said."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from timeseries.daily.groups import PatientDays
from timeseries.daily.pieces import Told, told
from timeseries.daily.series import Stretches
from timeseries.daily.zones import MINUTE_US, UNKNOWN_MIN
from vitals.catalogue import number_of
from vitals.clock import from_datetime

Sample = tuple[str, int, datetime, datetime, float]
"""(metric, origin, from, to, value)."""


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def local(day: int, hour: float, zone: str = "UTC", month: int = 6) -> datetime:
    """A moment of 2026 on the clock of a zone; hours beyond 24 or below 0 are those of the days around."""
    naive = datetime(2026, month, day) + timedelta(hours=hour)  # noqa: DTZ001
    return naive.replace(tzinfo=ZoneInfo(zone))


def day_number(day: int, month: int = 6) -> int:
    return (datetime(2026, month, day) - datetime(1970, 1, 1)).days  # noqa: DTZ001


def wanted(*days: int, patient: int = 0) -> PatientDays:
    return PatientDays(np.full(len(days), patient), np.array(days, np.int64))


def samples(
    given: Iterable[Sample], *, tells: bool = True, zones: Sequence[str | None] = (None,), patient: int = 0
) -> Told:
    """Samples of one patient; with `tells` each tells the offset that its start has in its own zone."""
    rows = list(given)
    offsets = [
        int(start.utcoffset().total_seconds()) // 60 if tells else UNKNOWN_MIN  # type: ignore[union-attr]
        for _, _, start, _, _ in rows
    ]
    start = np.array([from_datetime(row[2]) for row in rows], np.int64)
    end = np.array([from_datetime(row[3]) for row in rows], np.int64)
    return told(
        zones,
        np.full(len(rows), patient),
        np.array([number_of(row[0]) for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        start,
        (end - start) // 1_000,
        np.array([row[4] for row in rows], np.float64),
        np.array(offsets, np.int64),
    )


def stretches(
    bucket: Any, *, metric: str = "heart_rate", origin: Any = 1, width_min: int = 15, zone: Any = 0, patient: Any = 0,
    minutes: Any = None, mean: Any = 60.0, n: Any = None,
) -> Stretches:  # fmt: skip
    """Rollup rows with `minutes` minutes (all of them if not said), a sample each unless `n` says so."""
    count = len(bucket)
    full: dict[str, Any] = {"minutes": width_min if minutes is None else minutes, "mean": mean}
    columns = {name: np.broadcast_to(np.asarray(value), count) for name, value in full.items()}
    number = columns["minutes"] if n is None else np.broadcast_to(np.asarray(n), count)
    value = columns["mean"].astype(np.float64)
    given = {"width_us": width_min * MINUTE_US, "patient": patient, "metric": number_of(metric), "origin": origin,
             "zone_offset_min": zone, "n": number, "minutes": columns["minutes"]}  # fmt: skip
    whole = {name: np.broadcast_to(np.asarray(one, np.int64), count).copy() for name, one in given.items()}
    return Stretches(
        bucket=np.asarray(bucket, np.int64), sum=value * number, min=value.copy(), max=value.copy(), first=value.copy(),
        last=value.copy(), sum_sq=value * value * number, minute_mean_sum=value * columns["minutes"], **whole,
    )  # fmt: skip
