"""Edge: what changes seldom, read again only when a counter in the database has moved."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Generic, TypeVar

from timeseries.answers import patiently
from timeseries.one_connection import OneConnection

T = TypeVar("T")

_OPTIONS: Final = "-c statement_timeout=20000 -c timezone=UTC"


class VersionReader(OneConnection, Generic[T]):
    """One connection that looks every `every_s` whether something changed. Use as an async context manager."""

    def __init__(self, url: str, known: T, version: int, *, every_s: float, prepare_threshold: int | None) -> None:
        """Begin with `known`, which counts for `version`."""
        super().__init__(url, options=_OPTIONS, prepare_threshold=prepare_threshold)
        self._every_s = every_s
        self._known = known
        self._version = version
        self._looked = -1e9
        self._turn = asyncio.Lock()

    async def current(self) -> T:
        """Return what stood at most `every_s` ago, the same object until it changes. Raises `StoreUnavailable`."""
        if self._is_due():
            async with self._turn:  # several may ask at once: one looks, and all have its answer
                if self._is_due():
                    await self._look_patiently()
        return self._known

    async def _counted(self) -> int:
        """Return the counter."""
        raise NotImplementedError

    async def _read(self, known: T) -> T:
        """Return what stands, in the place of `known`."""
        raise NotImplementedError

    def _is_due(self) -> bool:
        return time.monotonic() - self._looked >= self._every_s

    async def _look_patiently(self) -> None:
        try:
            with patiently():
                await self._look()
        except BaseException:
            await self.close()
            raise

    async def _look(self) -> None:
        began = time.monotonic()
        version = await self._counted()
        if version != self._version:
            # What changes while it is read is seen by the next look: the counter was read first.
            self._known, self._version = await self._read(self._known), version
        self._looked = began
