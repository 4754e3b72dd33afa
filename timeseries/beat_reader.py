"""Edge: what the heartbeat sees of the database: when the newest stored beat was made."""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg

from timeseries.model import StoreUnavailable
from timeseries.one_connection import OneConnection
from timeseries.queries import load
from vitals.clock import from_datetime

_SQL: Final = load("heartbeat")
_OPTIONS: Final = "-c statement_timeout=5000 -c timezone=UTC -c default_transaction_read_only=on"


class BeatReader(OneConnection):
    """One connection, opened when it is needed."""

    def __init__(self, url: str, *, within_s: float = 10.0) -> None:
        super().__init__(url, options=_OPTIONS)
        self._within_s = within_s

    async def newest_us(self) -> int | None:
        """Return when the newest stored beat was made (us UTC), None before the first. Raises `StoreUnavailable`."""
        try:
            async with asyncio.timeout(self._within_s):
                row = await (await (await self._open()).execute(_SQL["newest"])).fetchone()
        except (psycopg.Error, OSError) as error:  # a TimeoutError is an OSError
            await self.close()
            state = getattr(error, "sqlstate", None) or "none"
            raise StoreUnavailable(f"the database does not answer (SQLSTATE {state})") from error
        return None if row is None or row[0] is None else from_datetime(row[0])
