"""Gathers events into batches bounded in number, bytes and waiting time; waits while the sink is busy.

Faust's `noack_take` counts records only, and five hundred records of a mebibyte each are too many to hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Event = TypeVar("Event")


class Batcher(Generic[Event]):
    """Hands batches to `sink`, one at a time and in order.

    A batch goes when it has `max_records` or `max_bytes`, or `within_s` after its first event. While the sink works,
    `add` goes on gathering, and waits once the next batch is full: so at most one batch is with the sink and one here.
    `broken` is told what the sink raised, as nobody may be waiting for it.
    """

    def __init__(
        self,
        sink: Callable[[list[Event]], Awaitable[None]],
        broken: Callable[[BaseException], Awaitable[None]],
        *,
        max_records: int,
        max_bytes: int,
        within_s: float,
    ) -> None:
        self._sink = sink
        self._broken = broken
        self._max_records, self._max_bytes, self._within_s = max_records, max_bytes, within_s
        self._held: list[Event] = []
        self._records = self._bytes = 0
        self._turn = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None

    async def add(self, event: Event, records: int, size: int) -> None:
        """Gather one event. Raises what the sink raised, if this call had to wait for it."""
        self._held.append(event)
        self._records += records
        self._bytes += size
        if self._records >= self._max_records or self._bytes >= self._max_bytes:
            await self.flush()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._flush_later())

    async def flush(self) -> None:
        """Hand over what is held, after whatever is with the sink."""
        self._disarm()
        async with self._turn:
            batch, self._held, self._records, self._bytes = self._held, [], 0, 0
            if batch:
                await self._sink(batch)

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer is not asyncio.current_task():
            timer.cancel()

    async def _flush_later(self) -> None:
        await asyncio.sleep(self._within_s)
        try:
            await self.flush()
        except Exception as error:  # noqa: BLE001 - a task of our own: somebody must be told
            await self._broken(error)
