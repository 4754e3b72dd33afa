"""Edge: hands out quarantined places that the topic has not been told, and forgets those that it has."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import psycopg

from timeseries.answers import in_our_words
from timeseries.queries import load

_SQL: Final = load("quarantine")
# A feed that hangs on its broker must not hold the database's vacuum back for longer than this.
_OPTIONS: Final = (
    "-c statement_timeout=30000 -c lock_timeout=20000 -c idle_in_transaction_session_timeout=60000 -c timezone=UTC"
)


@dataclass(frozen=True, slots=True)
class Unpublished:
    """One quarantined sample, or record (index -1), as the topic tells of it: where, why, never what.

    `patient_id`, `device_id` and `adapter` are opaque ids, None where the record did not tell them in that form.
    """

    seq: int
    topic: str
    partition: int
    epoch: int
    offset: int
    index: int
    reason: str
    metric: str | None
    recorded_at: datetime
    patient_id: str | None
    device_id: str | None
    adapter: str | None


class QuarantineOutbox:
    """One connection and at most one open transaction: `take`, publish, then `done` or `give_back`.

    Several feeds may run at once; each takes what no other holds. All methods raise `StoreUnavailable` or
    `StoreRefused`; after an error nothing is marked, and the rows come again.
    """

    def __init__(self, url: str, *, connect_timeout_s: int = 5) -> None:
        self._url = url
        self._connect_timeout_s = connect_timeout_s
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.give_back()

    async def take(self, limit: int) -> list[Unpublished]:
        """Return the oldest unpublished rows, locked until `done` or `give_back`."""
        with in_our_words():
            cursor = await (await self._open()).execute(_SQL["take_unpublished"], {"limit": limit})
            return [Unpublished(*row) for row in await cursor.fetchall()]

    async def done(self, rows: list[Unpublished]) -> None:
        """Note that the broker has these rows, and end the transaction."""
        with in_our_words():
            connection = await self._open()
            if rows:
                await connection.execute(_SQL["forget_published"], {"seqs": [row.seq for row in rows]})
            await connection.commit()

    async def give_back(self) -> None:
        """Leave what was taken to the next turn, or to another feed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()

    async def _open(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, options=_OPTIONS, connect_timeout=self._connect_timeout_s
            )
        return self._connection
