"""Edge: whether this process ran all the time. One that was paused may have lost its partitions, and not know it yet.

The broker takes a worker for dead whose heartbeats stay away for a session; the next one goes on from what stands on
the topics. Waking up, the first would write states over those of the second, and the patients' weeks of baselines would
be doubted by whoever reads them. It hears from the broker within a heartbeat or two, so it waits for as long as that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

SESSION_S: Final = 6.0
"""The session that workers ask the broker for."""
_BEAT_S: Final = 0.25


class Pulse:
    """Beaten every second at least; between two beats further apart than half a session the process was paused."""

    def __init__(self, session_s: float, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._session_s, self._now_s = session_s, now_s
        self._beat_s = self._sure_s = now_s()

    def beat(self) -> bool:
        """Note that the process runs, and tell whether it has since a session ago."""
        now_s = self._now_s()
        if now_s - self._beat_s > self._session_s / 2:
            self._sure_s = now_s + self._session_s
        self._beat_s = now_s
        return now_s >= self._sure_s

    async def sure(self, is_ours: Callable[[], bool] = lambda: True) -> None:
        """Return once this worker would know if it had lost its partitions, or does know that `is_ours` no more."""
        while not self.beat() and is_ours():  # noqa: ASYNC110 - it is time that passes
            await asyncio.sleep(_BEAT_S)
