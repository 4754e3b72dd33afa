"""Edge: brings the rollups up to date where samples changed, and keeps them where samples go.

The levels vitals_1m, vitals_15m and vitals_1h are each made of the one before. The recorder writes down which stretches
changed (`dirty_ranges`); a refresh brings the levels up to date one after the other and takes a stretch away only after
the last of them, and only if nobody wrote to it meanwhile: a refresh that is killed is done again by the next. On stock
PostgreSQL the touched buckets are counted again; on TimescaleDB the continuous aggregates are refreshed, which no
transaction may surround.

Below its class's raw horizon a rollup is history: `move_to_history` puts it there before the samples go, and
`recompute_history` is for what comes late. The views vitals_1m_all, ... show both. See docs/decisions/0009-rollups.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import numpy as np
import psycopg

from timeseries.arrays import NumpyArrayDumper
from timeseries.derive import dirty_hours
from timeseries.queries import load
from timeseries.rollup_history import HOUR_US, levels_of, touched_hours
from timeseries.rows import Rows, sort_order
from vitals.clock import from_datetime, to_datetime
from vitals.errors import VigilError

_SQL: Final = load("rollup")
_DAY: Final = timedelta(days=1)
LEVELS: Final = {
    "vitals_1m": timedelta(minutes=1), "vitals_15m": timedelta(minutes=15), "vitals_1h": timedelta(hours=1)
}  # fmt: skip
"""The levels and the width of their buckets, finest first."""
_LONGEST_WINDOW: Final = timedelta(days=7)
"""What one refresh of one level covers at most: a chunk of samples, so that no transaction grows without bound."""
_PAUSE_S: Final = 0.2

Connection = psycopg.Connection[Any]
Range = tuple[int, datetime, datetime]
"""(patient key, first time, last time) of a stretch that changed."""
Seen = tuple[int, datetime, datetime, datetime, str]
"""(patient key, hour, first time, last time, version) of a row of dirty_ranges."""
Place = tuple[datetime | str, int]
"""(hour, patient key) in the order of a refresh, newest hours first."""
NEWEST: Final[Place] = ("infinity", 0)


class RollupsBehind(VigilError):
    """The rollups have not seen every sample that is about to go: refresh them first (`vigil db rollup`)."""


def refresh(url: str, *, limit: int = 2_000, prepare_threshold: int | None = 5) -> int:
    """Bring every level up to date where it is dirty, `limit` ranges at a time, and return how many ranges there were.

    Every range is looked at once. Waits for a refresh that is under way elsewhere. Raises psycopg's errors.
    """
    with (
        psycopg.connect(
            url, autocommit=True, prepare_threshold=prepare_threshold, options="-c timezone=UTC"
        ) as connection,
        _one_at_a_time(connection),
    ):
        done, after = 0, NEWEST
        while seen := refresh_some(connection, limit, after):
            done += len(seen)
            after = min((hour, patient) for patient, hour, _, _, _ in seen)
        if is_continuous(connection):
            drop_live(connection)
        return done


def refresh_some(connection: Connection, limit: int, after: Place = NEWEST) -> list[Seen]:
    """Refresh up to `limit` dirty ranges behind a place in their order, and return them; `connection` autocommits."""
    seen = connection.execute(_SQL["see_dirty"], {"limit": limit, "hour": after[0], "patient": after[1]}).fetchall()
    if seen:
        ranges = [(patient, first, last) for patient, _, first, last, _ in seen]
        (refresh_timescale if is_continuous(connection) else refresh_stock)(connection, ranges)
        columns = _columns(("patients", "hours", "froms", "tos", "versions"), seen)
        connection.execute(_SQL["forget_dirty"], columns)
    return seen


def is_continuous(connection: Connection) -> bool:
    """Tell whether the levels are continuous aggregates (TimescaleDB) or tables."""
    row = connection.execute(_SQL["is_continuous"]).fetchone()
    return bool(row and row[0])


def refresh_stock(connection: Connection, ranges: Sequence[Range]) -> None:
    """Count the buckets of all levels that the ranges touch again, in one transaction."""
    touched = connection.execute(_SQL["touched_series"], _columns(("patients", "froms", "tos"), ranges)).fetchall()
    if not touched:
        return
    values = _columns(("patients", "metrics", "origins", "froms", "tos"), touched)
    with connection.transaction():
        connection.execute(_SQL["forget_minutes"], values)
        connection.execute(_SQL["put_minutes"], values)
        for finer, level in pairwise(LEVELS):
            for query in ("forget_coarser", "put_coarser"):
                statement = _SQL[query].format(level=level, finer=finer)
                connection.execute(statement, values | {"width": LEVELS[level]})


def refresh_timescale(connection: Connection, ranges: Sequence[Range]) -> None:
    """Refresh the continuous aggregates over the days of the ranges, level by level, above the lowest horizon."""
    horizon = _value(connection, "lowest_horizon")
    windows = [(max(start, horizon or start), end) for start, end in whole_days(ranges) if not horizon or end > horizon]
    for level in LEVELS:
        for start, end in windows:
            refresh_window(connection, level, start, end)


def refresh_window(connection: Connection, level: str, start: datetime, end: datetime, busy_s: float = 60.0) -> None:
    """Refresh one level, for up to `busy_s` seconds again where the database's own job is at the same window."""
    give_up = time.monotonic() + busy_s
    while True:
        try:
            connection.execute(_SQL["refresh_level"], {"level": level, "from": start, "to": end})
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() > give_up:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def drop_live(connection: Connection) -> None:
    """Let go of the chunks of the continuous aggregates that lie below every class's horizon: history has it all."""
    horizon = _value(connection, "lowest_horizon")
    if horizon is not None:
        for level in LEVELS:
            connection.execute(_SQL["drop_live"], {"level": level, "horizon": horizon})


def whole_days(ranges: Sequence[Range]) -> list[tuple[datetime, datetime]]:
    """Return the days that the ranges touch as (start, end), `end` not included: neighbours joined, up to a week."""
    days = sorted({day for _, first, last in ranges for day in _days(first, last)})
    joined: list[tuple[datetime, datetime]] = []
    for day in days:
        if joined and joined[-1][1] == day and day - joined[-1][0] < _LONGEST_WINDOW:
            joined[-1] = (joined[-1][0], day + _DAY)
        else:
            joined.append((day, day + _DAY))
    return joined


def move_to_history(connection: Connection, retention_class: str, new_horizon: datetime) -> int:
    """Keep the live rollups of a class below `new_horizon` (a whole hour) as history and move its horizon there.

    Runs in the caller's transaction, which keeps writers out of `samples` and deletes them afterwards. Returns the
    number of minutes kept; a horizon that stands there already keeps none. Raises `RollupsBehind` where the rollups
    have not seen every sample yet, ValueError for a horizon below the one that is, and psycopg's errors.
    """
    old = _value(connection, "horizon", {"class": retention_class})
    if old is not None and new_horizon < old:
        raise ValueError(f"the horizon of {retention_class} stands later already: it never moves back")
    values = {"class": retention_class, "from": old or "-infinity", "to": new_horizon, "horizon": new_horizon}
    if _value(connection, "dirty_between", values):
        raise RollupsBehind(f"rollups below {new_horizon:%Y-%m-%d %H:%M} are behind: run `vigil db rollup` first")
    kept = [connection.execute(_SQL["keep_history"].format(level=level), values).rowcount for level in LEVELS]
    if not is_continuous(connection):
        for level in LEVELS:
            connection.execute(_SQL["forget_live"].format(level=level), values)
    connection.execute(_SQL["set_horizon"], values)
    return kept[0]


def recompute_history(connection: Connection, rows: Rows) -> None:
    """Make the history say what `rows` say, in the caller's transaction or one of its own.

    `rows` (dtype `ROW`) are the standing versions, tombstones among them, of all samples of every (patient, metric,
    origin, hour) that one of them is in; hours in which nothing trustworthy is left leave no bucket. The hours become
    dirty again, for what is built on the rollups. Raises ValueError for a row at or above its class's horizon, where
    the live rollups speak.
    """
    if not len(rows):
        return
    _refuse_above_horizon(connection, rows)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.adapters.register_dumper(np.ndarray, NumpyArrayDumper)
        cursor.execute(_SQL["any_number_of_tuples"])
        for level, buckets in levels_of(rows).items():
            forget = _SQL["forget_history"].format(level=level)
            for patient, metric, origin, hours in touched_hours(rows):
                series = {"patient": patient, "metric": metric, "origin": origin, "hours": hours.view("M8[us]")}
                bounds = {"from": to_datetime(int(hours[0])), "to": to_datetime(int(hours[-1]) + HOUR_US)}
                cursor.execute(forget, series | bounds)
            columns = {name: np.ascontiguousarray(buckets[name]) for name in buckets.dtype.names or ()}
            columns["bucket"] = columns["bucket"].view("M8[us]")
            cursor.execute(_SQL["put_history"].format(level=level), columns)
        _mark_dirty(cursor, rows)


def _mark_dirty(cursor: psycopg.Cursor[Any], rows: Rows) -> None:
    patients, hours, froms, tos = dirty_hours(rows[sort_order(rows)])
    times = {"hours": hours.view("M8[us]"), "froms": froms.view("M8[us]"), "tos": tos.view("M8[us]")}
    cursor.execute(load("store")["mark_dirty"], {"patients": patients, **times})


def _refuse_above_horizon(connection: Connection, rows: Rows) -> None:
    horizons = {metric: from_datetime(horizon) for metric, horizon in connection.execute(_SQL["horizons"])}
    metrics, of = np.unique(rows["metric_key"], return_inverse=True)
    lowest = np.array([horizons.get(int(metric), np.iinfo(np.int64).min) for metric in metrics])
    if (rows["time"] >= lowest[of]).any():
        raise ValueError("a row at or above its class's raw horizon is the live rollups' matter, not the history's")


def _columns(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    return dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True))


def _value(connection: Connection, query: str, values: dict[str, Any] | None = None) -> Any:
    row = connection.execute(_SQL[query], values).fetchone()
    return row and row[0]


@contextmanager
def _one_at_a_time(connection: Connection) -> Iterator[None]:
    connection.execute(_SQL["lock_refresh"])
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute(_SQL["unlock_refresh"])


def _days(first: datetime, last: datetime) -> list[datetime]:
    start = first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return [start + n * _DAY for n in range((last.astimezone(UTC) - start) // _DAY + 1)]
