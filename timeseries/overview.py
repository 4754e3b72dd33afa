"""Edge: what an operator wants to know of the database at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg

from timeseries.queries import load

_SQL: Final = load("overview")


@dataclass(frozen=True, slots=True)
class Overview:
    """`tables`: (name, estimated rows, bytes). `watermarks`: (topic, partitions, records stored, age in seconds)."""

    tables: list[tuple[str, int, int]]
    watermarks: list[tuple[str, int, int, float]]


def overview(url: str) -> Overview:
    """Return sizes and progress. Raises psycopg's errors."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(_SQL["tables"]).fetchall()
        marks = connection.execute(_SQL["watermarks"]).fetchall()
    return Overview([(t[0], t[1], t[2]) for t in tables], [(m[0], m[1], m[2], m[3]) for m in marks])
