"""What the rollups must say, computed the slow and obvious way; and a database to try it on, in both modes."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import strategies as st

from tests.timeseries.making import T0, Partition, S, query, rows
from timeseries import migrate as migrations
from timeseries.rollup import LEVELS, move_to_history, recompute_history, refresh
from timeseries.rows import COLUMNS, IDENTITY, ROW, Rows
from timeseries.store import SampleStore
from vitals.clock import from_datetime, to_datetime

HEART_RATE, STEPS = 1, 16
CLASS_OF = {HEART_RATE: "vital", STEPS: "activity"}
HOUR = 3_600 * S
_TIMES = {"time", "written_at", "received_at"}
_VALUES = "n, sum, min, max, first, last, sum_sq, minutes, minute_mean_sum, zone_offset_min"

Key = tuple[int, int, int, int]
"""(patient, metric, origin, bucket in microseconds)."""
Level = dict[Key, tuple[float, ...]]


def direct(samples: Iterable[Any], level: str) -> Level:
    """One level straight from rows (dtype ROW): nothing is built on another level."""
    width = LEVELS[level].total_seconds() * S
    groups: dict[Key, list[Any]] = defaultdict(list)
    for row in samples:
        if row["quality"] >= 0.5 and not row["flags"] & 128:
            key = int(row["patient_key"]), int(row["metric_key"]), int(row["origin_key"])
            groups[*key, int(row["time"] // width * width)].append(row)
    return {key: _statistics(group) for key, group in groups.items()}


def _statistics(group: list[Any]) -> tuple[float, ...]:
    group = sorted(group, key=lambda row: (row["time"], row["duration_ms"]))
    values = [float(row["value"]) for row in group]
    minutes = defaultdict(list)
    for row, value in zip(group, values, strict=True):
        minutes[row["time"] // (60 * S)].append(value)
    means = sum(sum(some) / len(some) for some in minutes.values())
    squares = sum(value * value for value in values)
    return (len(group), sum(values), min(values), max(values), values[0], values[-1], squares, len(minutes), means,
            float(group[-1]["zone_offset_min"]))  # fmt: skip


def stored(url: str, relation: str, patients: Sequence[int] | None = None) -> Level:
    """What a level, history or view says of some patients."""
    found = query(
        url,
        f"SELECT patient_key, metric_key, origin_key, bucket, {_VALUES} FROM {relation} "
        "WHERE patient_key = ANY (%s) OR %s",
        (list(patients or ()), patients is None),
    )
    level = {(p, m, o, from_datetime(bucket)): tuple(map(float, values)) for p, m, o, bucket, *values in found}
    assert len(level) == len(found), "a bucket is shown twice"
    return level


def samples_of(url: str, patients: Sequence[int] | None = None) -> Rows:
    """All rows of `samples` of some patients, tombstones too."""
    columns = ", ".join(f"(extract(epoch FROM {n}) * 1000000)::bigint" if n in _TIMES else n for n in COLUMNS)
    where = "WHERE patient_key = ANY (%s) OR %s"
    return np.array(
        query(url, f"SELECT {columns} FROM samples {where}", (list(patients or ()), patients is None)), dtype=ROW
    )


def same(found: Level, expected: Level) -> None:
    """Compare two levels; sums may differ in the last bits, since they add up in another order."""
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=1e-12), key


def assert_levels(url: str, expected: Rows, suffix: str = "", patients: Sequence[int] | None = None) -> None:
    for level in LEVELS:
        same(stored(url, f"{level}{suffix}", patients), direct(expected, level))


def insert(url: str, samples: Rows) -> None:
    """INSERTs and dirty ranges as the recorder would write them: TimescaleDB in WebAssembly cannot COPY."""
    columns = {name: [to_datetime(int(t)) if name in _TIMES else t.item() for t in samples[name]] for name in COLUMNS}
    kinds = {"f8": "float8", "f4": "float4", "i4": "integer", "i2": "smallint"}
    casts = ["timestamptz" if n in _TIMES else kinds[ROW[n].str[1:]] for n in COLUMNS]
    news = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in IDENTITY)
    query(
        url,
        f"INSERT INTO samples AS s ({', '.join(COLUMNS)}) "
        f"SELECT * FROM unnest({', '.join(f'%s::{cast}[]' for cast in casts)}) "
        f"ON CONFLICT ({', '.join(IDENTITY)}) DO UPDATE SET {news} WHERE excluded.written_at > s.written_at",
        tuple(columns.values()),
    )
    query(
        url,
        "INSERT INTO dirty_ranges AS d SELECT patient, date_trunc('hour', t), min(t), max(t) "
        "FROM unnest(%s::integer[], %s::timestamptz[]) AS x (patient, t) GROUP BY 1, 2 "
        "ON CONFLICT (patient_key, hour) DO UPDATE SET from_time = least(d.from_time, excluded.from_time), "
        "to_time = greatest(d.to_time, excluded.to_time)",
        (columns["patient_key"], columns["time"]),
    )


def made(samples: Sequence[tuple[Any, ...]]) -> Rows:
    """Rows of what SAMPLE draws."""
    columns = zip(*samples, strict=True) if samples else [()] * 9
    names = ("patient_key", "metric_key", "origin_key", "time", "duration_ms", "value", "quality", "zone_offset_min")
    one = rows(len(samples), **{name: list(column) for name, column in zip((*names, "flags"), columns, strict=True)})
    one["time"] += T0
    one["flags"] *= 128
    return one


def migrate_below(url: str, number: int) -> None:
    """The schema as an older release had it, with the migrations before `number`."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        mode = migrations.detect_mode(connection)
        migrations._prepare(connection, mode)
        for one in migrations.migrations(mode):
            if one.number < number:
                migrations._apply(connection, one, mode)


@dataclass
class Machine:
    """A database under random orders, beside what it must show. `wasm`: TimescaleDB in WebAssembly."""

    url: str
    wasm: bool
    patients: tuple[int, int] = (1, 2)
    archive: dict[tuple[int, ...], Any] = field(default_factory=dict)
    horizons: dict[str, int] = field(default_factory=dict)
    lane: Partition = field(default_factory=Partition)
    written: int = 0

    def write(self, batch: Sequence[tuple[Any, ...]]) -> None:
        """A batch in which no identity is twice, written after all batches before it."""
        self.written += 1
        samples = made(batch)
        samples["patient_key"] = np.array(self.patients)[samples["patient_key"]]
        samples["written_at"] = T0 + self.written * S
        if self.wasm:
            insert(self.url, samples)
        else:
            asyncio.run(self._store(samples))

    async def _store(self, samples: Rows) -> None:
        async with SampleStore(self.url) as store:
            await store.write(self.lane.batch(samples))
        self.lane.stored()

    def refresh(self, limit: int = 1_000) -> None:
        refresh(self.url, limit=limit, prepare_threshold=None)
        assert query(self.url, "SELECT count(*) FROM dirty_ranges") == [(0,)]

    def move(self, retention_class: str, hour: int) -> None:
        """What lifecycle does: archive, move the horizon, drop; what is late for the old horizon comes first."""
        horizon = T0 + hour * HOUR
        if horizon <= self.horizons.get(retention_class, -(2**62)):
            return
        self.handle_late()
        self.refresh()
        self._archive_below(retention_class, horizon)
        self.horizons[retention_class] = horizon
        with psycopg.connect(self.url, prepare_threshold=None) as connection, connection.transaction():
            move_to_history(connection, retention_class, to_datetime(horizon))
            self._drop(connection, retention_class)

    def handle_late(self) -> None:
        """What lifecycle does with rows below the horizon: archive them, compute their hours again, drop them."""
        for retention_class, horizon in self.horizons.items():
            late = self._archive_below(retention_class, horizon)
            hours = {(r["patient_key"], r["metric_key"], r["origin_key"], r["time"] // HOUR) for r in late}
            whole = [
                row for (patient, metric, origin, time, _), row in self.archive.items()
                if (patient, metric, origin, time // HOUR) in hours
            ]  # fmt: skip
            with psycopg.connect(self.url, prepare_threshold=None) as connection, connection.transaction():
                recompute_history(connection, np.array(whole, ROW))
                self._drop(connection, retention_class)

    def refresh_everything(self) -> None:
        """As if every sample there is were new."""
        query(
            self.url,
            "INSERT INTO dirty_ranges SELECT patient_key, date_trunc('hour', time), min(time), max(time) FROM samples "
            "GROUP BY 1, 2 ON CONFLICT DO NOTHING",
        )
        self.refresh()
        if self.wasm:
            for level in LEVELS:
                query(self.url, "CALL refresh_continuous_aggregate(%s, NULL, NULL)", (level,))

    def check(self) -> None:
        """Every view shows what samples and archive say together."""
        there = list(samples_of(self.url, self.patients))
        assert_levels(self.url, np.array([*there, *self.archive.values()], ROW), "_all", self.patients)

    def _archive_below(self, retention_class: str, horizon: int) -> list[Any]:
        below = [
            row for row in samples_of(self.url, self.patients)
            if CLASS_OF[int(row["metric_key"])] == retention_class and row["time"] < horizon
        ]  # fmt: skip
        self.archive.update({tuple(int(row[name]) for name in IDENTITY): row for row in below})
        return below

    def _drop(self, connection: psycopg.Connection[Any], retention_class: str) -> None:
        horizon = to_datetime(self.horizons[retention_class])
        connection.execute(
            "DELETE FROM samples WHERE time < %s AND metric_key IN "
            "(SELECT metric_key FROM metrics WHERE retention_class = %s)",
            (horizon, retention_class),
        )
        if self.wasm and len(self.horizons) == len(CLASS_OF):
            lowest: datetime = to_datetime(min(self.horizons.values()))
            connection.execute("SELECT drop_chunks('samples', older_than => %s::timestamptz)", (lowest,))


# Few places, so that orders meet: both sides of an hour's, a minute's and a quarter's edge, and days in two chunks.
_EDGES = [minute * 60 * S + off for minute in (0, 1, 15) for off in (-1, 0)]
_DAYS = [0, 0, -9]
SAMPLE = st.tuples(
    st.integers(0, 1),
    st.sampled_from([HEART_RATE, STEPS]),
    st.just(1),
    st.tuples(st.sampled_from(_EDGES), st.sampled_from(_DAYS)).map(lambda at: at[0] + at[1] * 24 * HOUR),
    st.sampled_from([0, 0, 1_000]),
    st.integers(-40, 40).map(lambda v: v / 2),
    st.sampled_from([1, 1, 0.5, 0.4]),
    st.sampled_from([-32_768, 0, 120]),
    st.sampled_from([False, False, True]),
)
"""Patient, metric, origin, time after T0, duration, value, quality, zone, deleted."""
_WRITE = st.tuples(st.just("write"), st.lists(SAMPLE, min_size=4, max_size=20, unique_by=lambda s: s[:5]))
_REFRESH = st.tuples(st.just("refresh"), st.integers(1, 3))
_MOVE = st.tuples(st.just("move"), st.sampled_from(sorted(CLASS_OF.values())), st.sampled_from([-200, 0, 1]))
ORDERS = st.lists(_WRITE | _REFRESH | _WRITE | _MOVE | st.tuples(st.just("handle_late")), min_size=4, max_size=12)
"""Names and arguments of Machine's methods."""
