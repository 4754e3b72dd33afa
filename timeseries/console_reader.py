"""Edge: what the console reads, and the one thing that it writes (who acknowledged an alert).

A small pool; every read is a read-only transaction of one snapshot under a statement timeout, so that a page never
mixes two moments and a slow question never holds the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from timeseries.console_model import (
    WIDTHS_S,
    Acknowledgement,
    Bucket,
    LatestValue,
    Level,
    Overview,
    PatientRecord,
    ReaderUnavailable,
    Series,
    StoredAlert,
    Totals,
    level_of,
)
from timeseries.queries import load
from vitals.synthetic import PATIENT as SYNTHETIC

_SQL: Final = load("console")
_SERIES: Final = itemgetter("patient_id", "metric", "device_id", "source_app")
_VIEWS: Final = {Level.MINUTES: "vitals_1m_all", Level.QUARTERS: "vitals_15m_all", Level.HOURS: "vitals_1h_all"}
_SERIES_SQL: Final = {Level.SAMPLES: _SQL["fine_series"]} | {
    level: _SQL["rollup_series"].replace("{view}", view) for level, view in _VIEWS.items()
}
_DIRTY_HOURS: Final = 24
"""A long chart takes so many of a patient's newest dirty hours from the samples: in seconds, not minutes."""

Row = dict[str, Any]
_Connection = psycopg.AsyncConnection[Row]


class ConsoleReader:
    """Reads for the console; times are aware datetimes. Every method raises `ReaderUnavailable`."""

    def __init__(
        self, url: str, *, statement_timeout_s: float = 5.0, size: int = 4, prepare_threshold: int | None = 5
    ) -> None:
        options = f"-c statement_timeout={int(statement_timeout_s * 1_000)} -c timezone=UTC"
        self._timeout_s = statement_timeout_s
        self._pool: AsyncConnectionPool[_Connection] = AsyncConnectionPool(
            url, min_size=0, max_size=size, open=False, timeout=statement_timeout_s, name="console",
            kwargs={"options": options, "row_factory": dict_row, "connect_timeout": 5, "autocommit": True,
                    "prepare_threshold": prepare_threshold},
        )  # fmt: skip

    async def open(self) -> None:
        """Make ready to connect; does not wait for the database, so the console starts without one and says so."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections; wait for none longer than a statement may take."""
        await self._pool.close(timeout=self._timeout_s)

    async def ready(self) -> None:
        """Return if the database answers and holds the schema."""
        async with self._reading() as connection:
            await _rows(connection, "ready")

    async def version(self) -> str:
        """Return a word that changes with whatever the pages show."""
        async with self._reading() as connection:
            rows = await _rows(connection, "version")
        return str(next(iter(rows[0].values())))

    async def overview(self, *, silent_since: datetime, limit: int, offset: int, alert_limit: int) -> Overview:
        """Return one page of patients and, up to `alert_limit`, everybody's open alerts."""
        async with self._reading() as connection:
            totals = await _totals(connection, silent_since)
            alerts = await _rows(connection, "open_alerts", limit=alert_limit)
            page = await _rows(connection, "patient_page", limit=limit, offset=offset)
            patients = tuple(row["patient_id"] for row in page)
            latest = await _rows(connection, "latest", patients=list(patients))
        return Overview(totals, _alerts(alerts), patients, _latest(latest))

    async def patient(self, patient_id: str, *, alert_limit: int) -> PatientRecord | None:
        """Return what is known of a patient; None where nobody has that id."""
        async with self._reading() as connection:
            if not await _rows(connection, "patient", patient=patient_id):
                return None
            latest = await _rows(connection, "latest", patients=[patient_id])
            alerts = await _rows(connection, "patient_alerts", patient=patient_id, limit=alert_limit)
        return PatientRecord(patient_id, _latest(latest), _alerts(alerts))

    async def series(
        self, patients: Sequence[str], metrics: Sequence[str], start: datetime, end: datetime, step_s: int
    ) -> tuple[Series, ...]:
        """Return trustworthy values of [start, end) in steps of `step_s` seconds.

        They come from the level that fits the step (`level_of`), in whole buckets of it. What the rollups have not seen
        yet comes from the samples; in steps of 15 minutes or more only the newest 24 such hours do.
        """
        patients = [one for one in patients if one != SYNTHETIC]
        values: dict[str, Any] = {
            "patients": list(patients), "metrics": list(metrics), "from": start, "to": end, "step": step_s
        }  # fmt: skip
        level = level_of(step_s)
        async with self._reading() as connection:
            if level is not Level.SAMPLES:
                values["width"] = timedelta(seconds=WIDTHS_S[level])
                values["dirty"] = None if level is Level.MINUTES else _DIRTY_HOURS * len(patients)
                values |= stretches(await _rows(connection, "dirty_stretches", **values), start)
            rows = await (await connection.execute(_SERIES_SQL[level], values)).fetchall()
        return tuple(
            Series(patient, metric, device, app, tuple(_bucket(row) for row in group))
            for (patient, metric, device, app), group in groupby(rows, key=_SERIES)
        )

    async def acknowledge(self, alert_id: str, actor: str, at: datetime, priority: str) -> Acknowledgement:
        """Write down that `actor` saw this alert while its priority was `priority`; who came first stays."""
        values = {"alert": alert_id, "actor": actor, "at": at, "priority": priority}
        async with self._translated(), self._pool.connection() as connection, connection.transaction():
            if await _rows(connection, "acknowledge", **values):
                return Acknowledgement.DONE
            found = await _rows(connection, "acknowledged", alert=alert_id)
        if not found:
            return Acknowledgement.UNKNOWN
        return Acknowledgement.CHANGED if found[0]["acknowledged_by"] is None else Acknowledgement.ALREADY

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[_Connection]:
        async with self._translated(), self._pool.connection() as connection, connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except (psycopg.Error, PoolTimeout, OSError) as error:
            state = getattr(error, "sqlstate", None) or "none"
            raise ReaderUnavailable(f"the database does not answer (SQLSTATE {state})") from error


def stretches(dirty: Sequence[Row], start: datetime) -> dict[str, Any]:
    """Return dirty stretches as the query of a series wants them; without any, bounds between which nothing lies."""
    return {
        "dirty_patients": [row["patient_key"] for row in dirty],
        "dirty_froms": [row["from_time"] for row in dirty],
        "dirty_tos": [row["to_time"] for row in dirty],
        "dirty_from": min((row["from_time"] for row in dirty), default=start),
        "dirty_to": max((row["to_time"] for row in dirty), default=start),
    }


async def _rows(connection: _Connection, name: str, **values: object) -> list[Row]:
    return await (await connection.execute(_SQL[name], values)).fetchall()


async def _totals(connection: _Connection, silent_since: datetime) -> Totals:
    people = (await _rows(connection, "patient_totals", since=silent_since))[0]
    alerts = await _rows(connection, "alert_totals")
    return Totals(
        people["patients"],
        people["silent"],
        {row["priority"]: row["open"] for row in alerts},
        {row["priority"]: row["waiting"] for row in alerts},
    )


def _bucket(row: Row) -> Bucket:
    return Bucket(row["bucket"], row["mean"], row["low"], row["high"], row["n"])


def _alerts(rows: Sequence[Row]) -> tuple[StoredAlert, ...]:
    return tuple(StoredAlert(**row) for row in rows)


def _latest(rows: Sequence[Row]) -> tuple[LatestValue, ...]:
    return tuple(LatestValue(**row) for row in rows)
