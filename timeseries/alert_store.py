"""Edge: what the ledger keeps in PostgreSQL: alerts, notifications, attempts. Writing twice changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypedDict

import psycopg
from psycopg.rows import dict_row

from timeseries.model import StoreRefused, StoreUnavailable
from timeseries.one_connection import OneConnection
from timeseries.queries import load

_SQL: Final = load("alerts")
# SQLSTATE classes in which the very same rows may be taken later (timeseries/store.py); 42P01, 42703: not migrated yet.
_TRANSIENT: Final = ("08", "53", "55", "57", "58", "40", "25006", "42P01", "42703", "XX")


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
    policy: str


class NotificationRow(TypedDict):
    """One message to a recipient over a channel; `opened_at`, `state` and `priority` are its alert's."""

    notification_id: str
    alert_id: str
    patient_id: str
    opened_at: datetime
    state: str
    priority: str
    recipient: str
    channel: str
    created_at: datetime
    delayed: bool


class AttemptRow(TypedDict):
    """One attempt to deliver a notification; whose, says the key of its message. It stands in no column."""

    notification_id: str
    patient_id: str
    at: datetime
    attempt: int
    outcome: str
    detail: str


class Erased(NamedTuple):
    """How many rows were not written because their person was erased."""

    alerts: int = 0
    notifications: int = 0
    attempts: int = 0


class PostgresAlertStore(OneConnection):
    """The ledger of alerts, notifications and attempts."""

    def __init__(self, url: str, *, statement_timeout_s: float = 30.0, prepare_threshold: int | None = 5) -> None:
        options = f"-c statement_timeout={int(statement_timeout_s * 1_000)} -c lock_timeout=10000 -c timezone=UTC"
        super().__init__(url, options=options, row_factory=dict_row, prepare_threshold=prepare_threshold)

    async def save(
        self,
        alerts: Sequence[AlertRow],
        notifications: Sequence[NotificationRow],
        attempts: Sequence[AttemptRow],
    ) -> Erased:
        """Store all of it in one transaction, or nothing, but for what is told of somebody who was erased as a whole
        (vigil erase) and has not consented to care since, or began before that: return how many rows were left out.

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
                return Erased(*[await _put(cursor, query, rows) for query, rows in work])
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


async def _put(cursor: psycopg.AsyncCursor[dict[str, Any]], query: str, rows: Sequence[Any]) -> int:
    """Write rows one by one, and return how many were of somebody who was erased."""
    erased = 0
    for row in rows:
        told = await (await cursor.execute(query, row)).fetchone()
        erased += told is not None and told["is_so"]
    return erased
