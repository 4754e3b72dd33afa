"""Edge: retention. What is due is a view, doing it a procedure of the database; this only asks and calls."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import psycopg

from timeseries.queries import load

_SQL = load("lifecycle")


@dataclass(frozen=True, slots=True)
class Due:
    """One policy: after how long its class leaves its tier (None: never), and how many rows that concerns now."""

    retention_class: str
    tier: str
    drop_after: timedelta | None
    rows: int


def due(url: str, *, prepare_threshold: int | None = 5) -> list[Due]:
    """Return every policy and what it would delete now. Raises psycopg's errors."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=prepare_threshold) as connection:
        return [Due(*row) for row in connection.execute(_SQL["retention_due"])]


def apply(url: str, *, prepare_threshold: int | None = 5) -> None:
    """Delete what is due, in slices that commit one by one: safe to interrupt and to repeat."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=prepare_threshold) as connection:
        connection.execute(_SQL["apply_retention"])
