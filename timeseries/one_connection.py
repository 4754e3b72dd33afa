"""Edge: a connection that is opened when it is needed and given up after an error; what several stores share."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import psycopg

Connection = psycopg.AsyncConnection[Any]


class OneConnection:
    """One connection; calls do not overlap. Use as an async context manager, or `close` it."""

    def __init__(self, url: str, **how: Any) -> None:
        """Connect to `url`, with what else psycopg is to be told."""
        self._url = url
        self._how = {"autocommit": True, "connect_timeout": 5, **how}
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

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(self._url, **self._how)
        return self._connection
