"""Edge: what `vigil doctor` asks the database. It changes nothing, and what it may not see it leaves out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from timeseries.queries import load

_SQL: Final = load("checkup")
_OPTIONS: Final = "-c statement_timeout=10000 -c timezone=UTC -c default_transaction_read_only=on"


@dataclass(frozen=True, slots=True)
class Checkup:
    """Answers of the database; None or empty where it may not be asked.

    `ahead_s`: how far its clock is ahead of ours, within `uncertain_s`. `roles`: (name, is there, may log in).
    `progress`: (topic, seconds since something was stored, age of the newest stored record). `dirty`: (hours that wait
    for rollups, age of the oldest). `rejected`: (reason, samples) of the last day. `devices`: (active, worn by nobody,
    never heard). `consents`: (patients with a standing consent for care, patients heard in a week without one).
    `tokens`: (that stand, that end within two weeks, that were never used). `heartbeat`: (age in seconds of the newest
    stored sample of the synthetic patient, None where there is none).
    """

    server: str
    ahead_s: float
    uncertain_s: float
    connections: tuple[int, int]
    roles: Sequence[tuple[str, bool, bool]] = ()
    progress: Sequence[tuple[str, float, float | None]] = ()
    dirty: tuple[int, float | None] | None = None
    rejected: Sequence[tuple[str, int]] = ()
    undelivered: int | None = None
    devices: tuple[int, int, int] | None = None
    consents: tuple[int, int] | None = None
    tokens: tuple[int, int, int] | None = None
    heartbeat: tuple[float | None] | None = None


def checkup(url: str, roles: Sequence[str], *, prepare_threshold: int | None = 5) -> Checkup:
    """Return what there is to know. Raises psycopg's errors where the database does not answer."""
    with psycopg.connect(
        url, autocommit=True, connect_timeout=5, options=_OPTIONS, prepare_threshold=prepare_threshold
    ) as connection:
        ask = _Asker(connection)
        ahead_s, uncertain_s = _clock(connection)
        return Checkup(
            server=str(connection.info.server_version),
            ahead_s=ahead_s,
            uncertain_s=uncertain_s,
            connections=ask.one("connections") or (0, 0),
            roles=ask.all("roles", {"roles": list(roles)}),
            progress=ask.all("progress"),
            dirty=ask.one("rollups"),
            rejected=ask.all("quarantine"),
            undelivered=(ask.one("undelivered") or (None,))[0],
            devices=ask.one("devices"),
            consents=ask.one("consents"),
            tokens=ask.one("tokens"),
            heartbeat=ask.one("heartbeat"),
        )


def _clock(connection: psycopg.Connection[Any]) -> tuple[float, float]:
    """Return how far the database's clock is ahead of ours, and half of what asking took."""
    before = time.time()
    row = connection.execute(_SQL["clock"]).fetchone()
    after = time.time()
    return (row[0] if row else after) - (before + after) / 2, (after - before) / 2


class _Asker:
    """Asks; a table that is not there, or that we may not read, is no answer."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def all(self, name: str, values: dict[str, Any] | None = None) -> list[Any]:
        """Return all rows."""
        try:
            return self._connection.execute(_SQL[name], values).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InsufficientPrivilege):
            return []

    def one(self, name: str) -> Any | None:
        """Return the first row."""
        rows = self.all(name)
        return rows[0] if rows else None


def stored_offsets(url: str) -> dict[tuple[str, int], int]:
    """Return the first offset of each (topic, partition) that is not stored. Raises psycopg's errors."""
    with psycopg.connect(url, autocommit=True, connect_timeout=5, options=_OPTIONS) as connection:
        return {(topic, number): offset for topic, number, offset in connection.execute(_SQL["offsets"])}
