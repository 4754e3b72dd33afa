"""Edge: what the ledger keeps in PostgreSQL: alerts, notifications, attempts. Writing twice changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypedDict

import psycopg
from psycopg.rows import DictRow, dict_row

from timeseries.model import StoreRefused, StoreUnavailable
from timeseries.queries import load

_SQL: Final = load("alerts")
# SQLSTATE classes in which the very same rows may be taken later: see timeseries/store.py; 42P01: not migrated yet.
_TRANSIENT: Final = ("08", "53", "55", "57", "58", "40", "25006", "42P01", "XX")

Connection = psycopg.AsyncConnection[DictRow]


class AlertRow(TypedDict):
    """One alert event; times are aware, `evidence` is JSON text."""

    alert_id: str
    patient_id: str
    kind: str
    priority: str
    rule: str
    rule_version: int
    metric: str
    device_id: str
    source_app: str
    state: str
    opened_at: datetime
    raised_at: datetime
    changed_at: datetime
    cleared_at: datetime | None
    measured_at: datetime
    retrospective: bool
    individualised: bool
    evidence: str
    sentence: str


class NotificationRow(TypedDict):
    """One message to a recipient over a channel; `state` and `priority` are the alert's that it tells of."""

    notification_id: str
    alert_id: str
    patient_id: str
    state: str
    priority: str
    recipient: str
    channel: str
    created_at: datetime
    delayed: bool


class AttemptRow(TypedDict):
    """One attempt to deliver a notification."""

    notification_id: str
    at: datetime
    attempt: int
    outcome: str
    detail: str


class PostgresAlertStore:
    """One connection, opened when needed; calls do not overlap. Use as an async context manager, or `close` it."""

    def __init__(self, url: str, *, statement_timeout_s: float = 30.0, prepare_threshold: int | None = 5) -> None:
        self._url = url
        self._options = f"-c statement_timeout={int(statement_timeout_s * 1_000)} -c lock_timeout=10000 -c timezone=UTC"
        self._prepare_threshold = prepare_threshold
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def save(
        self,
        alerts: Sequence[AlertRow],
        notifications: Sequence[NotificationRow],
        attempts: Sequence[AttemptRow],
    ) -> None:
        """Store all of it in one transaction, or nothing.

        Raises `StoreUnavailable` where trying again can help, `StoreRefused` where one of the rows cannot be stored.
        """
        # Sorted, so that two ledgers that overlap during a rebalance lock rows in one order.
        work = (
            (_SQL["put_alert"], sorted(alerts, key=lambda row: row["alert_id"])),
            (_SQL["put_notification"], sorted(notifications, key=lambda row: row["notification_id"])),
            (_SQL["put_attempt"], attempts),
        )
        try:
            connection = await self._open()
            async with connection.transaction(), connection.cursor() as cursor:
                for query, rows in work:
                    for row in rows:
                        await cursor.execute(query, row)
        except BaseException as error:
            await self._fail(error)
            raise

    async def open_alerts(self, limit: int = 200) -> list[dict[str, Any]]:
        """Return open alerts, newest first, as columns by name. Raises `StoreUnavailable`."""
        return await self._rows(_SQL["open_alerts"], {"limit": limit})

    async def acknowledge(self, alert_id: str, actor: str, at: datetime) -> bool:
        """Note that the person `actor` (opaque id) has seen the alert; False where it is unknown or was seen before.

        Raises `StoreUnavailable`.
        """
        return bool(await self._rows(_SQL["acknowledge_alert"], {"alert_id": alert_id, "actor": actor, "at": at}))

    async def _rows(self, query: str, values: dict[str, object]) -> list[dict[str, Any]]:
        try:
            cursor = await (await self._open()).execute(query, values)
            return await cursor.fetchall()
        except BaseException as error:
            await self._fail(error)
            raise

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url,
                autocommit=True,
                options=self._options,
                connect_timeout=5,
                row_factory=dict_row,
                prepare_threshold=self._prepare_threshold,
            )
        return self._connection

    async def _fail(self, error: BaseException) -> None:
        """Raise the store's own error for one of psycopg's; drop a connection that may be unusable."""
        if isinstance(error, (psycopg.Error, OSError)):
            state = getattr(error, "sqlstate", None)
            refused = isinstance(error, psycopg.DataError) or not (state or _TRANSIENT[0]).startswith(_TRANSIENT)
            if refused:
                raise StoreRefused(f"the database refuses a row (SQLSTATE {state or 'none'})") from error
            await self.close()
            raise StoreUnavailable(f"the database does not answer (SQLSTATE {state or 'none'})") from error
        await self.close()
