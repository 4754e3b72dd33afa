"""Edge: annotations into the database, each one row however often it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypedDict

from psycopg.types.json import Jsonb

from timeseries.answers import patiently
from timeseries.one_connection import OneConnection
from timeseries.queries import load
from timeseries.store import counted

_SQL: Final = load("annotations")
_COUNT: Final = load("store")["count_not_consented"]
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


class AnnotationStore(OneConnection):
    """Where annotations are kept."""

    def __init__(self, url: str) -> None:
        """Store in the database at `url`."""
        super().__init__(url, options=_OPTIONS)

    async def save(self, rows: Sequence[AnnotationRow]) -> None:
        """Store all or nothing. Raises `StoreUnavailable` where trying again can help, otherwise `StoreRefused`."""
        try:
            with patiently():
                await self._put(sorted(rows, key=lambda row: row["annotation_key"]))
        except BaseException:
            await self.close()
            raise

    async def count_not_consented(self, counts: Mapping[tuple[str, int], int]) -> None:
        """Add counts by (adapter, metric number). Raises like `save`."""
        try:
            with patiently():
                await (await self._open()).execute(_COUNT, counted(counts))
        except BaseException:
            await self.close()
            raise

    async def _put(self, rows: Sequence[AnnotationRow]) -> None:
        connection = await self._open()
        async with connection.transaction(), connection.cursor() as cursor:
            patients = [{"patient_id": patient} for patient in sorted({row["patient_id"] for row in rows})]
            await cursor.executemany(_SQL["add_patient"], patients)
            await cursor.executemany(_SQL["put_annotation"], [{**row, "detail": Jsonb(row["detail"])} for row in rows])
