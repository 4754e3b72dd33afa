"""Edge: numbered migrations, run once each under an advisory lock, with checksums.

A file `NNNN_name.sql` runs everywhere, `NNNN_name.timescale.sql` and `NNNN_name.stock.sql` where TimescaleDB is, or is
not, in the database. What ran is never edited: a changed file is refused by its checksum. Each runs in a transaction of
its own together with its line in the ledger, so none is ever half applied.

For a deployment without downtime a file says in its head `-- phase: pre` (the release before still works with it: run
it first) or `-- phase: post` (only once every process is of this release), and `-- locks:` what it holds up, how long.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from itertools import takewhile
from typing import Any, Final

import psycopg

from vitals.catalogue import METRICS
from vitals.errors import VigilError

_FILE: Final = re.compile(r"(?P<number>\d{4})_(?P<name>\w+)(?:\.(?P<mode>timescale|stock))?\.sql")
_NOTE: Final = re.compile(r"^-- (phase|locks): (.+)$", re.MULTILINE)
_LOCK: Final = 0x7669_6769_6C  # "vigil"
_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY, name text NOT NULL, mode text NOT NULL, checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now())
"""


class MigrationChanged(VigilError):
    """A migration that ran has another text now: put the file back and write a new one."""


class WrongMode(VigilError):
    """The database was set up with (or without) TimescaleDB and is now the other way round."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One .sql file. `mode` is None where it runs everywhere."""

    number: int
    name: str
    mode: str | None
    sql: str

    @property
    def label(self) -> str:
        """Number and name."""
        return f"{self.number:04d}_{self.name}"

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def notes(self) -> dict[str, str]:
        """What the head of the file says of `phase` and `locks`; the oldest files say nothing and are `pre`."""
        return {"phase": "pre", "locks": "see the file"} | dict(_NOTE.findall(self.sql))


@dataclass(frozen=True, slots=True)
class Status:
    """What `vigil db status` tells: mode (`timescale` or `stock`), applied and pending migrations."""

    mode: str
    applied: list[str]
    pending: list[str]


def migrations(mode: str) -> list[Migration]:
    """Return the migrations of a mode in order. Raises ValueError for a file whose name says no number."""
    found = []
    for entry in resources.files("timeseries").joinpath("sql", "migrations").iterdir():
        match = _FILE.fullmatch(entry.name)
        if match is None:
            raise ValueError(f"{entry.name} is no migration: NNNN_name[.timescale|.stock].sql")
        if match["mode"] in {None, mode}:
            found.append(Migration(int(match["number"]), match["name"], match["mode"], entry.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.number)


def detect_mode(connection: psycopg.Connection[Any]) -> str:
    """Return `timescale` where the extension is installed or can be, otherwise `stock`."""
    available = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone()
    return "stock" if available is None else "timescale"


def migrate(
    url: str, *, dry_run: bool = False, before_deploy: bool = False, prepare_threshold: int | None = 5
) -> list[str]:
    """Bring the schema up to date and return the names of what ran (or, in a dry run, would run).

    `before_deploy` stops before the first migration of phase `post`. Each migration commits by itself. Raises
    `MigrationChanged`, `WrongMode`, and psycopg's errors where SQL fails.
    """
    with psycopg.connect(url, autocommit=True, prepare_threshold=prepare_threshold) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        try:
            mode, pending = _pending(connection)
            if before_deploy:
                pending = list(takewhile(lambda one: one.notes["phase"] == "pre", pending))
            if not dry_run:
                _prepare(connection, mode)
                for migration in pending:
                    _apply(connection, migration, mode)
                _mirror_catalogue(connection)
                _grant(connection)
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
    return [migration.label for migration in pending]


def plan(url: str) -> list[Migration]:
    """Return what `migrate` would run, with its notes; changes nothing."""
    with psycopg.connect(url, autocommit=True) as connection:
        return _pending(connection)[1]


def status(url: str) -> Status:
    """Return what ran and what is pending; changes nothing."""
    with psycopg.connect(url, autocommit=True) as connection:
        mode, pending = _pending(connection)
        todo = {migration.number for migration in pending}
        applied = [one.label for one in migrations(mode) if one.number not in todo]
        return Status(mode, applied, [migration.label for migration in pending])


def _prepare(connection: psycopg.Connection[Any], mode: str) -> None:
    if mode == "timescale":
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    connection.execute(_LEDGER)


def _ran(connection: psycopg.Connection[Any]) -> dict[int, tuple[str, str]]:
    known = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    if known is None or not known[0]:
        return {}
    rows = connection.execute("SELECT number, checksum, mode FROM schema_migrations")
    return {number: (checksum, mode) for number, checksum, mode in rows}


def _pending(connection: psycopg.Connection[Any]) -> tuple[str, list[Migration]]:
    mode = detect_mode(connection)
    ran = _ran(connection)
    if any(ran_mode != mode for _, ran_mode in ran.values()):
        raise WrongMode(f"the schema was built in another mode than {mode}: dump, create a new database, restore")
    every = migrations(mode)
    for migration in every:
        if migration.number in ran and ran[migration.number][0] != migration.checksum:
            raise MigrationChanged(f"{migration.label} was changed after it ran: restore it, and write a new migration")
    return mode, [migration for migration in every if migration.number not in ran]


def _apply(connection: psycopg.Connection[Any], migration: Migration, mode: str) -> None:
    with connection.transaction():
        connection.execute(migration.sql)
        connection.execute(
            "INSERT INTO schema_migrations (number, name, mode, checksum) VALUES (%s, %s, %s, %s)",
            (migration.number, migration.name, mode, migration.checksum),
        )


def _grant(connection: psycopg.Connection[Any]) -> None:
    """Make the roles and grant what is missing. Only once all migrations ran: it speaks of all tables."""
    if not _pending(connection)[1]:
        with connection.transaction():
            connection.execute(resources.files("timeseries").joinpath("sql", "roles.sql").read_text("utf-8"))


def _mirror_catalogue(connection: psycopg.Connection[Any]) -> None:
    rows = [
        (m.number, m.code, m.loinc, m.unit, m.kind.value, m.retention.value, m.low, m.high, m.cadence_s)
        for m in METRICS
    ]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO metrics (metric_key, code, loinc, unit, kind, retention_class, low, high, cadence_s)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
               ON CONFLICT (metric_key) DO UPDATE SET code = excluded.code, loinc = excluded.loinc,
                   unit = excluded.unit, kind = excluded.kind, retention_class = excluded.retention_class,
                   low = excluded.low, high = excluded.high, cadence_s = excluded.cadence_s""",
            rows,
        )
