"""Rows for the storage benchmark, and how they and their rollups get into TimescaleDB in WebAssembly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from devices.simulator import simulate, wearer
from timeseries.arrays import NumpyArrayDumper
from timeseries.rows import COLUMNS, ROW, Rows, sort_order
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S, from_datetime

Connection = psycopg.Connection[Any]
Times = NDArray[np.int64]

VITALS: Final = ("heart_rate", "spo2", "respiratory_rate", "body_temperature")
HEART_RATE: Final = BY_CODE["heart_rate"].number
YEAR: Final = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
DAY: Final = (datetime(2025, 3, 4, tzinfo=UTC), datetime(2025, 3, 5, tzinfo=UTC))
_WEEK_US: Final = 7 * 86_400 * US_PER_S
_ROWS_A_STATEMENT: Final = 50_000
_TIMES: Final = frozenset({"time", "written_at", "received_at"})
_INSERT: Final = f"""
    INSERT INTO samples ({", ".join(COLUMNS)})
    SELECT * FROM unnest(%(time)s::timestamptz[], %(written_at)s::timestamptz[], %(received_at)s::timestamptz[],
        %(value)s::float8[], %(patient_key)s::integer[], %(origin_key)s::integer[], %(duration_ms)s::integer[],
        %(quality)s::float4[], %(metric_key)s::smallint[], %(flags)s::smallint[], %(context)s::smallint[],
        %(zone_offset_min)s::smallint[])"""


def second_by_second(patient: int, hours: int, seconds_a_record: int | None, metrics: Sequence[str]) -> Rows:
    """Return a simulated wearer's `metrics` at 1 Hz: whole beats, percents and breaths, tenths of a degree.

    A record leaves when its `seconds_a_record` are full and is received 0.15 s later in the median (log-normal, sigma
    0.6): that moment is `received_at` of all its samples. None: each sample is received 0.3 s after it was measured.
    """
    start_us = from_datetime(YEAR[0])
    who = wearer(patient, cadences_s=dict.fromkeys(metrics, 1.0), beats=False)
    told = simulate(who, start_us, start_us + hours * 3_600 * US_PER_S)
    received = told.received_us
    if seconds_a_record:
        record = (told.start_us - start_us) // (seconds_a_record * US_PER_S)
        delay = np.random.default_rng(patient).lognormal(np.log(150_000), 0.6, int(record[-1]) + 1).astype(np.int64)
        received = start_us + (record + 1) * seconds_a_record * US_PER_S + delay[record]
    rows = _rows(patient, told.start_us, told.value, received)
    rows["metric_key"], rows["quality"], rows["context"] = told.metric, told.quality, told.context
    return rows


def heart_rates(patients: Sequence[int], first: datetime, last: datetime, every_s: float) -> Rows:
    """Return whole heart rates of all patients in [first, last), each patient's one after the other."""
    times = np.arange(from_datetime(first), from_datetime(last), round(every_s * US_PER_S), dtype=np.int64)
    draw = np.random.default_rng(1)
    slow = 72.0 + 12.0 * np.sin(times / (7_000 * US_PER_S))
    made = [
        _rows(one, times, (slow + draw.normal(draw.normal(0, 6), 3, len(times))).round(), times) for one in patients
    ]
    return np.concatenate(made)


def _rows(patient: int, times: Times, values: NDArray[np.float64], received: Times) -> Rows:
    rows = np.zeros(len(times), ROW)
    rows["time"], rows["written_at"], rows["received_at"], rows["value"] = times, times, received, values
    rows["patient_key"], rows["origin_key"], rows["metric_key"] = patient, patient, HEART_RATE
    rows["quality"], rows["zone_offset_min"] = 1.0, 60
    return rows


def insert(connection: Connection, rows: Rows) -> None:
    """Insert by arrays, week after week as samples come: the WebAssembly server cannot COPY."""
    rows = rows[sort_order(rows)]
    week = rows["time"] // _WEEK_US
    rows = rows[np.argsort(week, kind="stable")]
    with connection.cursor() as cursor:
        cursor.adapters.register_dumper(np.ndarray, NumpyArrayDumper)
        for at in range(0, len(rows), _ROWS_A_STATEMENT):
            part = rows[at : at + _ROWS_A_STATEMENT]
            columns = {name: np.ascontiguousarray(part[name]) for name in COLUMNS}
            times = {name: columns[name].view("M8[us]") for name in _TIMES}
            cursor.execute(_INSERT.encode(), columns | times)


def refresh_levels(connection: Connection, first: datetime, last: datetime, levels: Iterable[str]) -> None:
    """TimescaleDB: bring the levels up to date between two whole days."""
    for level in levels:
        connection.execute(
            "CALL refresh_continuous_aggregate(%s, %s::timestamptz, %s::timestamptz, "
            """options => '{"buckets_per_batch": 1440}')""",
            (level, first, last),
        )
    connection.execute("ANALYZE")
