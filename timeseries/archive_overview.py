"""Edge: what the archive holds and what was brought back from it, for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from timeseries import archive_table as table
from timeseries.queries import load

_SQL: Final = load("archive")


@dataclass(frozen=True, slots=True)
class Held:
    """What the archive holds of a class and year; `verified_at` is that of the file verified longest ago."""

    retention_class: str
    year: int
    days: int
    files: int
    rows: int
    size_bytes: int
    first: date
    last: date
    verified_at: datetime


@dataclass(frozen=True, slots=True)
class Restored:
    """One restore whose rows stand; `patient_id` is None for everybody."""

    restore_id: int
    patient_id: str | None
    start: datetime
    end: datetime
    requested_by: str
    requested_at: datetime
    finished_at: datetime | None
    rows: int


@dataclass(frozen=True, slots=True)
class Overview:
    """What is there, and the newest link of the chain: worth noting where nobody can change it."""

    held: list[Held]
    restores: list[Restored]
    link: int
    chain: bytes


def overview(connection: Any, retention_class: str | None, start: date | None, end: date | None) -> Overview:
    """Return what the archive holds of a class and of UTC days from `start` on and before `end`.

    Raises `UnknownClass`.
    """
    if retention_class is not None:
        table.check_class(connection, retention_class)
    values = {"class": retention_class, "from": start, "to": end}
    held = [Held(*row) for row in connection.execute(_SQL["overview"], values)]
    restores = [Restored(*row) for row in connection.execute(_SQL["restores"])]
    link, chain = connection.execute(_SQL["head"]).fetchone()
    return Overview(held, restores, link, chain)
