"""Edge: what an operator wants to know of the database at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from timeseries.queries import load

_SQL: Final = load("overview")
_SMALL_BYTES: Final = 1_000_000
"""Tables whose rows take less than this are counted: that costs milliseconds."""

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A table, a hypertable with all its chunks, or a rollup. `rows` is None where nobody has looked yet.

    `exact`: rows were counted, not estimated. `size`: bytes on disk, indexes included. `packed` of the `chunks` are
    in the columnstore, where `packed_from` bytes became `packed_to`.
    """

    name: str
    rows: int | None
    exact: bool
    size: int
    chunks: int | None = None
    packed: int = 0
    packed_from: int = 0
    packed_to: int = 0


@dataclass(frozen=True, slots=True)
class Overview:
    """`extension`: the version of TimescaleDB, None without. `tables`: the largest first.

    `watermarks`: (topic, partitions, records stored, age in seconds). `duplicates`: (adapter, reason, samples in seven
    days, samples ever), the most first.
    """

    extension: str | None
    tables: list[Held]
    watermarks: list[tuple[str, int, int, float]]
    duplicates: list[tuple[str, str, int, int]]


def extension(url: str) -> str | None:
    """Return the version of TimescaleDB that is installed in the database, if any. Raises psycopg's errors."""
    with psycopg.connect(url, autocommit=True) as connection:
        return _extension(connection)


def _extension(connection: Connection) -> str | None:
    row = connection.execute(_SQL["extension"]).fetchone()
    return row[0] if row else None


def overview(url: str, *, prepare_threshold: int | None = 5) -> Overview:
    """Return sizes and progress. Raises psycopg's errors."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=prepare_threshold) as connection:
        installed = _extension(connection)
        chunked = _chunked(connection) if installed else []
        tables = [*chunked, *_plain(connection, {one.name for one in chunked})]
        marks = connection.execute(_SQL["watermarks"]).fetchall()
        again = connection.execute(_SQL["duplicates"]).fetchall()
    return Overview(
        installed,
        sorted(tables, key=lambda one: -one.size),
        [(m[0], m[1], m[2], m[3]) for m in marks],
        [(d[0], d[1], d[2], d[3]) for d in again],
    )


def _chunked(connection: Connection) -> list[Held]:
    found = connection.execute(_SQL["hypertables"]).fetchall()
    return [Held(name, rows, rows == 0, size, *packed) for name, rows, size, *packed in found]


def _plain(connection: Connection, chunked: set[str]) -> list[Held]:
    found = connection.execute(_SQL["tables"]).fetchall()
    return [_counted(connection, *one) for one in found if one[0] not in chunked]


def _counted(connection: Connection, name: str, rows: int | None, size: int, row_bytes: int | None) -> Held:
    if row_bytes is None or row_bytes > _SMALL_BYTES:
        return Held(name, rows, False, size)
    row = connection.execute(sql.SQL(_SQL["count_rows"]).format(table=sql.Identifier(name))).fetchone()
    return Held(name, row[0] if row else None, True, size)
