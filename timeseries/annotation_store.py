"""Edge: annotations into the database, each one row however often it is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypedDict

import psycopg
from psycopg.types.json import Jsonb

from timeseries.answers import patiently
from timeseries.queries import load

_SQL: Final = load("annotations")
_OPTIONS: Final = "-c statement_timeout=30000 -c lock_timeout=10000 -c timezone=UTC"


class AnnotationRow(TypedDict):
    """One annotation; times are aware."""

    annotation_key: str
    patient_id: str
    metric_key: int | None
    from_time: datetime
    to_time: datetime
    kind: str
    source: str
    rule: str | None
    rule_version: int | None
    label: str
    detail: dict[str, Any]
    retracted: bool


class AnnotationStore:
    """One connection, opened when needed; calls do not overlap. Use as an async context manager."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection[Any] | None = None

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

    async def save(self, rows: Sequence[AnnotationRow]) -> None:
        """Store all or nothing. Raises `StoreUnavailable` where trying again can help, otherwise `StoreRefused`."""
        try:
            with patiently():
                await self._put(sorted(rows, key=lambda row: row["annotation_key"]))
        except BaseException:
            await self.close()
            raise

    async def _put(self, rows: Sequence[AnnotationRow]) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=5, options=_OPTIONS
            )
        async with self._connection.transaction(), self._connection.cursor() as cursor:
            patients = [{"patient_id": patient} for patient in sorted({row["patient_id"] for row in rows})]
            await cursor.executemany(_SQL["add_patient"], patients)
            await cursor.executemany(_SQL["put_annotation"], [{**row, "detail": Jsonb(row["detail"])} for row in rows])
