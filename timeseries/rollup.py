"""Edge: brings `vitals_1m` up to date where samples changed, from the dirty ranges that the recorder wrote.

On stock PostgreSQL the minutes of a range are counted again, in the transaction that takes the range away. On
TimescaleDB the continuous aggregate is refreshed over whole days, which no transaction may surround: the ranges are
taken away afterwards, and only where nobody wrote to them meanwhile. Either way a range outlives a killed refresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from timeseries.queries import load

_SQL: Final = load("rollup")
_DAY: Final = timedelta(days=1)

Range = tuple[int, datetime, datetime]
"""(patient key, first time, last time) of a stretch that changed."""


def refresh(url: str, *, limit: int = 10_000, prepare_threshold: int | None = 5) -> int:
    """Refresh until no range is dirty and return how many there were. Raises psycopg's errors."""
    with psycopg.connect(
        url, autocommit=True, prepare_threshold=prepare_threshold, options="-c timezone=UTC"
    ) as connection:
        one_turn = refresh_timescale if _is_continuous(connection) else refresh_stock
        done = 0
        while turn := one_turn(connection, limit):
            done += turn
            if turn < limit:
                break
        return done


def _is_continuous(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("SELECT relkind = 'v' FROM pg_class WHERE oid = 'vitals_1m'::regclass").fetchone()
    return bool(row and row[0])


def refresh_stock(connection: psycopg.Connection[Any], limit: int) -> int:
    """Count the minutes of up to `limit` dirty ranges again, in one transaction. Return the number of ranges."""
    with connection.transaction():
        ranges = _take(connection, limit)
        if ranges:
            patients, froms, tos = (list(column) for column in zip(*ranges, strict=True))
            values = {"patients": patients, "froms": froms, "tos": tos}
            connection.execute(_SQL["delete_minutes"], values)
            connection.execute(_SQL["insert_minutes"], values)
    return len(ranges)


def refresh_timescale(connection: psycopg.Connection[Any], limit: int) -> int:
    """Refresh the continuous aggregate over the days of up to `limit` dirty ranges. Return the number of ranges.

    `connection` is in autocommit mode.
    """
    seen = connection.execute(_SQL["see_dirty"], {"limit": limit}).fetchall()
    for start, end in whole_days([(patient, first, last) for patient, first, last, _, _ in seen]):
        connection.execute("CALL refresh_continuous_aggregate('vitals_1m', %s, %s)", (start, end))
    if seen:
        patients, _, _, hours, versions = (list(column) for column in zip(*seen, strict=True))
        connection.execute(_SQL["forget_dirty"], {"patients": patients, "hours": hours, "versions": versions})
    return len(seen)


def whole_days(ranges: Sequence[Range]) -> list[tuple[datetime, datetime]]:
    """Return the days that the ranges touch, neighbours joined, as (start, end) with `end` not included."""
    days = sorted({day for _, first, last in ranges for day in _days(first, last)})
    joined: list[tuple[datetime, datetime]] = []
    for day in days:
        if joined and joined[-1][1] == day:
            joined[-1] = (joined[-1][0], day + _DAY)
        else:
            joined.append((day, day + _DAY))
    return joined


def _days(first: datetime, last: datetime) -> list[datetime]:
    start = first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return [start + n * _DAY for n in range((last.astimezone(UTC) - start) // _DAY + 1)]


def _take(connection: psycopg.Connection[Any], limit: int) -> list[Range]:
    return connection.execute(_SQL["take_dirty"], {"limit": limit}).fetchall()
