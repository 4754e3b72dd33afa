"""Edge: what an operator wants to know of the database at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg

from timeseries.queries import load

_SQL: Final = load("overview")


@dataclass(frozen=True, slots=True)
class Overview:
    """`tables`: (name, estimated rows, bytes). `watermarks`: (topic, partitions, records stored, age in seconds).

    `duplicates`: (adapter, reason, samples in seven days, samples ever), the most first.
    """

    tables: list[tuple[str, int, int]]
    watermarks: list[tuple[str, int, int, float]]
    duplicates: list[tuple[str, str, int, int]]


def overview(url: str) -> Overview:
    """Return sizes and progress. Raises psycopg's errors."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(_SQL["tables"]).fetchall()
        marks = connection.execute(_SQL["watermarks"]).fetchall()
        again = connection.execute(_SQL["duplicates"]).fetchall()
    return Overview(
        [(t[0], t[1], t[2]) for t in tables],
        [(m[0], m[1], m[2], m[3]) for m in marks],
        [(d[0], d[1], d[2], d[3]) for d in again],
    )
