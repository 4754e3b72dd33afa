"""Edge: which credentials stand, for the gateway: a snapshot that a task of its own keeps.

It looks every second, and at once when the database notifies (not through a pooler that shares sessions: there the
look each second is what counts).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import psycopg

from timeseries.access_tokens import SQL, Made, Rotated, Token, TokenRefused, Tokens, Wanted
from timeseries.answers import patiently
from timeseries.model import StoreRefused, StoreUnavailable
from timeseries.one_connection import OneConnection
from vitals.access import Access, Credential, Kind, Principal
from vitals.clock import from_datetime
from vitals.ids import DeviceId, PatientId

__all__ = ["AccessReader", "Made", "Rotated", "Token", "TokenRefused", "Tokens", "Wanted", "access_of"]

_OPTIONS: Final = "-c statement_timeout=10000 -c lock_timeout=10000 -c timezone=UTC"
_KINDS: Final = frozenset(Kind)


class AccessReader(OneConnection):
    """Which credentials stand, at most a second old. Use as an async context manager, or `close` it.

    One task owns the connection: no request waits for the database, and `current` may be called by many at once.
    """

    def __init__(
        self, url: str, *, every_s: float = 1.0, fresh_s: float = 3.0, wait_s: float = 2.0,
        within_s: float = 5.0, prepare_threshold: int | None = 5,
    ) -> None:  # fmt: skip
        """Look every `every_s`, for `within_s` at most; an answer counts for `fresh_s`, one is waited for `wait_s`."""
        super().__init__(
            url, options=_OPTIONS, prepare_threshold=prepare_threshold, application_name="vigil gateway: access"
        )
        self._every_s, self._fresh_s, self._wait_s, self._within_s = every_s, fresh_s, wait_s, within_s
        self._access = Access()
        self._version = 0
        self._looked = float("-inf")
        self._failed: str | None = None
        self._outcome = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop looking; the next call of `current` begins again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await super().close()

    async def current(self) -> Access:
        """Return the credentials as they stood at most `fresh_s` ago. Raises `StoreUnavailable`."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._keep_looking())
        if not self._is_fresh() and self._failed is None:
            self._outcome.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s):
                    await self._outcome.wait()
        if not self._is_fresh():
            raise StoreUnavailable(self._failed or "the database does not answer")
        return self._access

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._looked < self._fresh_s

    async def _keep_looking(self) -> None:
        while True:
            try:
                with patiently():
                    async with asyncio.timeout(self._within_s):
                        connection = await self._look()
                    self._outcome.set()
                    await self._until_told(connection)
            except (StoreUnavailable, StoreRefused) as error:
                self._failed = str(error)
                self._outcome.set()
                await self._give_up()
                await asyncio.sleep(self._every_s)

    async def _look(self) -> psycopg.AsyncConnection[Any]:
        is_new = self._connection is None or self._connection.closed
        connection = await self._open()
        if is_new:
            await connection.execute(SQL["listen"])
        began = time.monotonic()
        row = await (await connection.execute(SQL["version"])).fetchone()
        version = 0 if row is None else int(row[0])
        anew = is_new or version < self._version  # another connection may be another database, from a backup say
        if anew or version != self._version:
            known = 0 if anew else self._version
            rows = await (await connection.execute(SQL["access"], {"known": known})).fetchall()
            # What changes between the two statements is read again by the next look: the version was read first. Until
            # all is here the last answer stands: an empty one would turn everybody away.
            self._access, self._version = access_of(rows, Access() if anew else self._access), version
        self._looked, self._failed = began, None
        return connection

    async def _until_told(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Return after `every_s`, or when the database says that something changed."""
        async for _ in connection.notifies(timeout=self._every_s, stop_after=1):
            pass

    async def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()


def access_of(rows: Sequence[tuple[Any, ...]], before: Access) -> Access:
    """Return what stood before, changed as the rows of the query `access` tell. A kind yet unknown opens nothing."""
    tokens, subjects = dict(before.tokens), dict(before.subjects)
    for stands, *row in rows:
        token_id, kind, issuer, subject = row[0], row[2], row[-2], row[-1]
        tokens.pop(token_id, None)
        known = subjects.get((issuer, subject))
        if known is not None and known.principal.token_id == token_id:
            del subjects[issuer, subject]
        if stands and kind in _KINDS:
            one = _credential(*row)
            if one.subject is None:
                tokens[token_id] = one
            else:
                subjects[one.subject] = one
    return Access(tokens, subjects)


def _credential(
    token_id: str, lineage: str, kind: str, patient: str | None, devices: list[str] | None, any_device: bool,
    secret_sha256: bytes | None, expires_at: datetime, revoked_at: datetime | None, certificate_sha256: str | None,
    issuer: str | None, subject: str | None,
) -> Credential:  # fmt: skip
    principal = Principal(
        token_id,
        Kind(kind),
        None if patient is None else PatientId(patient),
        None if any_device else frozenset(DeviceId(one) for one in devices or ()),
        lineage,
    )
    return Credential(
        principal,
        None if secret_sha256 is None else bytes(secret_sha256),
        from_datetime(expires_at),
        None if revoked_at is None else from_datetime(revoked_at),
        certificate_sha256,
        None if issuer is None or subject is None else (issuer, subject),
    )
