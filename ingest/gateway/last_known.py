"""Edge: what another room last said, while it cannot say it again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, Generic, TypeVar

from ingest.gateway.ports import Unavailable

T = TypeVar("T")
_FRESH_S: Final = 0.2
"""So often at most the source is asked: it answers from memory, but for every request that would be a lot of asking."""
_PATIENCE_S: Final = 1.0
"""So long a request waits for a source that hangs, before what is known serves."""


class LastKnown(Generic[T]):
    """Asks a source, and keeps its answer for when it is `Unavailable`: for `stale_s`, then that is the answer."""

    def __init__(
        self, source: Callable[[], Awaitable[T]], stale_s: float, now_s: Callable[[], float] = monotonic
    ) -> None:
        self._source = source
        self._stale_s = stale_s
        self._now_s = now_s
        self._known: T | None = None
        self._known_s = float("-inf")
        self._asked_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._failed: Exception | None = None

    @property
    def age_s(self) -> float | None:
        """How old the answer is, None where there has been none."""
        return None if self._known is None else self._now_s() - self._known_s

    async def current(self, *, anew: bool = False) -> T:
        """Return the newest answer there is. Raises `Unavailable` where it is none or too old.

        `anew`: what the source said a moment ago is not new enough.
        """
        if anew or self._now_s() - self._asked_s > _FRESH_S:
            await self._ask()
        age_s = self.age_s
        if self._known is None or age_s is None or age_s > self._stale_s:
            raise Unavailable("what is needed for this answer has not been seen lately") from self._failed
        return self._known

    async def _ask(self) -> None:
        """Ask, all who wait together. Who asks anew after a failure does so a moment later at the earliest."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._learn())
        await asyncio.wait({self._asking}, timeout=_PATIENCE_S)

    async def _learn(self) -> None:
        asked_s = self._now_s()
        try:
            self._known = await self._source()
            self._known_s = asked_s
            self._failed = None
        except Unavailable as error:
            self._failed = error
        except Exception as error:  # noqa: BLE001  whatever it is, the source has no answer
            self._failed = error
        finally:
            self._asked_s = self._now_s()
            self._asking = None
