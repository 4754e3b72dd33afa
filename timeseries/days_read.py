"""Edge: reads what wearers' days are made of, many days in a few statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format

from timeseries.arrays import NumpyArrayDumper
from timeseries.daily.columns import columns, from_binary_array
from timeseries.daily.groups import Ints, PatientDays, number, starts_of
from timeseries.daily.pieces import Told, told
from timeseries.daily.series import Stretches, doubtful
from timeseries.daily.summary import Read
from timeseries.daily.wear import SIGNALS
from timeseries.daily.zones import (
    DAY_US,
    EARLIEST_OFFSET_US,
    HOUR_US,
    LATEST_OFFSET_US,
    MINUTE_US,
    QUARTER_US,
    UNKNOWN_MIN,
    offsets_us,
)
from timeseries.days_archive import TOLD_METRICS, with_archived
from timeseries.queries import load
from timeseries.rows import Rows
from vitals.catalogue import BY_NUMBER, METRICS, Kind, RetentionClass
from vitals.clock import to_datetime

_SQL: Final = load("days")
_ARRAY_OIDS: Final = (
    1005,
    1007,
    1016,
    1021,
    1022,
    1185,
)  # smallint, integer, bigint, real, double precision, timestamptz
_INSTANTANEOUS: Final = np.array([m.number for m in METRICS if m.kind is Kind.INSTANTANEOUS], np.int16)
# Wear and the heart are looked at by the quarter of an hour; what only adds up is read by the hour, at a quarter of it.
_BY_QUARTER: Final = np.array(SIGNALS, np.int16)
_BY_HOUR: Final = np.setdiff1d(_INSTANTANEOUS, _BY_QUARTER)
_WIDTH_US: Final = {"vitals_1m": MINUTE_US, "vitals_15m": QUARTER_US, "vitals_1h": HOUR_US}
_LONGEST: Final = [timedelta(seconds=BY_NUMBER[int(metric)].max_duration_s) for metric in TOLD_METRICS]
_IS_SLEEP: Final = [BY_NUMBER[int(metric)].retention is RetentionClass.SLEEP for metric in TOLD_METRICS]
# A day's sleep is that of the two nights before its noon, and an episode reaches a day beyond its night at most.
_SLEEP_EARLIER: Final = timedelta(hours=60)
_SLEEP_LATER: Final = timedelta(hours=24)
_SLEEP_GAP_DAYS: Final = 7
_GAP_DAYS: Final = 3
"""Days further apart than this share no hour, whatever the offsets."""


class NumpyArrayLoader(Loader):
    """Loads binary arrays of numbers and timestamptz as numpy arrays."""

    format = Format.BINARY

    def load(self, data: Buffer) -> NDArray[Any]:
        """Return the array; raises ValueError for one with NULLs."""
        return from_binary_array(bytes(data))


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Let `connection` take numpy arrays as parameters."""
    connection.adapters.register_dumper(np.ndarray, NumpyArrayDumper)


def read_columns(
    connection: psycopg.Connection[Any], query: str, values: dict[str, Any], floats: frozenset[int] = frozenset()
) -> list[NDArray[Any]]:
    """Run a query of one row of array_agg columns and return them as numpy arrays."""
    with connection.cursor(binary=True) as cursor:
        for oid in _ARRAY_OIDS:
            cursor.adapters.register_loader(oid, NumpyArrayLoader)
        row = cursor.execute(query.encode(), values).fetchone()
    return columns(row or (), floats)


def times(time_us: Ints) -> NDArray[np.datetime64]:
    """Return microseconds UTC as the array that becomes timestamptz[]."""
    return time_us.astype("M8[us]")


def read_days(
    connection: psycopg.Connection[Any], keys: Ints, days: PatientDays, *, frozen: bool, archived: Rows | None = None
) -> Read:
    """Read what `days` are made of; `keys` are the patient keys of its dense patient numbers.

    Where some of the days are `frozen`, below a raw horizon in part, rollups come from the views over all of time;
    `archived` are the samples that the archive has of those.
    """
    found = dict(connection.execute(_SQL["patient_zones"], {"patients": keys.astype(np.int32)}).fetchall())
    zones = [found.get(int(key)) for key in keys]
    rows = _stretches(connection, keys, days, zones, "_all" if frozen else "")
    samples = _told(connection, keys, days, zones, archived)
    origins = np.unique(np.append(rows.origin, samples.origin))
    known, device = read_columns(connection, _SQL["origin_devices"], {"origins": origins.astype(np.int32)})
    return Read(zones, rows, samples, *_sorted(known, device))


def _sorted(keys: Ints, values: Ints) -> tuple[Ints, Ints]:
    order = np.argsort(keys)
    return keys[order], values[order]


def _ranges(keys: Ints, days: PatientDays, gap: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Return (dense patient, key, first day, last day) of stretches of days with gaps of at most `gap`."""
    starts = starts_of(days.patient, np.cumsum(np.append(0, np.diff(days.day) > gap)))
    last = np.append(starts[1:], len(days)) - 1
    patient = days.patient[starts]
    return patient, keys[patient].astype(np.int32), days.day[starts], days.day[last]


def _between(key: Ints, from_us: Ints, to_us: Ints) -> dict[str, Any]:
    lowest, highest = to_datetime(int(from_us.min())), to_datetime(int(to_us.max()))
    return {"patients": key, "froms": times(from_us), "tos": times(to_us), "lowest": lowest, "highest": highest}


def _stretches(
    connection: psycopg.Connection[Any], keys: Ints, days: PatientDays, zones: Sequence[str | None], beyond: str
) -> Stretches:
    """Read rollups: hours, quarters where they matter, and finer ones where the local day could change unseen."""
    patient, key, first, last = _ranges(keys, days, _GAP_DAYS)
    from_us, to_us = first * DAY_US - LATEST_OFFSET_US, (last + 1) * DAY_US - EARLIEST_OFFSET_US
    at, origin, lowest, highest = read_columns(connection, _SQL["offsets_seen"], _between(key, from_us, to_us))
    steady = _Steady(patient, at - 1, origin, lowest, highest)
    from_us, to_us = _narrowed(from_us, to_us, at - 1, lowest, highest)
    quarters, hours = (
        _read_stretches(connection, "stretches", rollup, keys, _between(key, from_us, to_us) | {"metrics": metrics})
        for rollup, metrics in ((f"vitals_15m{beyond}", _BY_QUARTER), (f"vitals_1h{beyond}", _BY_HOUR))
    )
    rows = quarters.joined(hours)
    for width_us, finer in ((HOUR_US, f"vitals_15m{beyond}"), (QUARTER_US, f"vitals_1m{beyond}")):
        offset = offsets_us(rows.bucket, rows.zone_offset_min, rows.patient, zones)
        unsure = doubtful(rows, offset, steady.of(rows)) & (rows.width_us == width_us)
        rows = _refined(connection, keys, rows, unsure, finer)
    return rows


class _Steady:
    """Which origins of which patients told one and the same offset all the time."""

    def __init__(self, patient: Ints, at: Ints, origin: Ints, lowest_min: Ints, highest_min: Ints) -> None:
        """Take the patient of each range, and of what was seen: its range, origin, lowest and highest offset."""
        whose = _pair(patient[at], origin)
        self._known = np.setdiff1d(whose, whose[lowest_min != highest_min])

    def of(self, rows: Stretches) -> NDArray[np.bool_]:
        """Tell of each row whether its origin did. Of whom nothing is known nothing is sure."""
        return np.isin(_pair(rows.patient, rows.origin), self._known)


def _pair(patient: Ints, origin: Ints) -> Ints:
    return (patient.astype(np.int64) << 32) + origin


def _narrowed(from_us: Ints, to_us: Ints, at: Ints, lowest_min: Ints, highest_min: Ints) -> tuple[Ints, Ints]:
    """Return ranges that reach only as far as the offsets that were seen in them (at range `at`) ask for."""
    lowest, highest = np.full(len(from_us), UNKNOWN_MIN), np.full(len(from_us), UNKNOWN_MIN)
    ranges, starts = np.unique(at, return_index=True)
    if len(at):  # they come in the order of their ranges
        lowest[ranges] = np.minimum.reduceat(lowest_min, starts)
        highest[ranges] = np.maximum.reduceat(highest_min, starts)
    told = lowest != UNKNOWN_MIN
    from_us = from_us + np.where(told, LATEST_OFFSET_US - highest * MINUTE_US, 0)
    to_us = to_us + np.where(told, EARLIEST_OFFSET_US - lowest * MINUTE_US, 0)
    return from_us // HOUR_US * HOUR_US, -(-to_us // HOUR_US) * HOUR_US


def _read_stretches(
    connection: psycopg.Connection[Any], query: str, rollup: str, keys: Ints, values: dict[str, Any]
) -> Stretches:
    patient, metric, origin, bucket, n, *rest = read_columns(
        connection, _SQL[query].format(rollup=rollup), values, frozenset(range(5, 11)) | {12}
    )
    width_us = np.full(len(bucket), _WIDTH_US[rollup.removesuffix("_all")])
    return Stretches(width_us, np.searchsorted(keys, patient), metric, origin, bucket, n, *rest).joined()


def _refined(
    connection: psycopg.Connection[Any], keys: Ints, rows: Stretches, unsure: NDArray[np.bool_], finer: str
) -> Stretches:
    """Replace the `unsure` rows by those of a finer rollup."""
    if not unsure.any():
        return rows
    coarse = rows.take(np.flatnonzero(unsure))
    values = _between(keys[coarse.patient].astype(np.int32), coarse.bucket, coarse.bucket + coarse.width_us)
    values |= {"metrics": coarse.metric.astype(np.int16), "origins": coarse.origin.astype(np.int32)}
    instead = _read_stretches(connection, "finer_stretches", finer, keys, values)
    # A finer level may be gone by its policy: then the coarse row is the best that there is.
    alone = coarse.take(np.flatnonzero(~_holds_any(coarse, instead)))
    return rows.take(np.flatnonzero(~unsure)).joined(instead, alone)


def _holds_any(coarse: Stretches, finer: Stretches) -> NDArray[np.bool_]:
    """Tell which of the coarse rows, all of one width, have a finer one within."""
    both = [np.append(getattr(coarse, name), getattr(finer, name)) for name in ("patient", "metric", "origin")]
    width_us = coarse.width_us[0]
    series, _ = number(*both, np.append(coarse.bucket, finer.bucket) // width_us)
    return np.isin(series[: len(coarse)], series[len(coarse) :])


def _told(
    connection: psycopg.Connection[Any],
    keys: Ints,
    days: PatientDays,
    zones: Sequence[str | None],
    archived: Rows | None,
) -> Told:
    """Read interval and category samples of the days, and those of sleep of the nights around them."""
    _, key, first, last = _ranges(keys, days, _SLEEP_GAP_DAYS)
    from_us, to_us = first * DAY_US - LATEST_OFFSET_US, (last + 1) * DAY_US - EARLIEST_OFFSET_US
    values = _between(key, from_us, to_us) | {
        "metrics": TOLD_METRICS,
        "earlier": [_SLEEP_EARLIER if sleep else timedelta(0) for sleep in _IS_SLEEP],
        "later": [_SLEEP_LATER if sleep else timedelta(0) for sleep in _IS_SLEEP],
        "longest": _LONGEST,
    }
    values["lowest"] -= max(_LONGEST) + _SLEEP_EARLIER
    values["highest"] += _SLEEP_LATER
    table = read_columns(connection, _SQL["told"], values, frozenset({5}))
    patient, *rest = table if archived is None else with_archived(table, archived)
    return told(zones, np.searchsorted(keys, patient), *rest)
