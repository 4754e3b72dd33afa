"""Edge: ends a process that is stuck, so that its supervisor starts a fresh one.

Faust and its consumer can stall after a rebalance or a broker's outage without an error (FACTS, Faust). A thread of its
own looks, because a stuck event loop could not.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

log = structlog.get_logger(__name__)

STUCK: Final = 75  # EX_TEMPFAIL: try again
_LOOK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: how long the event loop may be silent, and how long work may wait while nothing of it gets done.

    `work_s` must be longer than the store's longest call (`timeseries.store`: 120 s, and 10 s to break it off), or a
    slow database would be taken for a stuck process.
    """

    loop_s: float = 60.0
    work_s: float = 180.0


class Watchdog:
    """Knows two signs of life: `beat` (the event loop runs) and `progress` (something was done, or rightly waited for).

    `waiting` tells whether there is anything to do. Deciding is pure (`verdict`); the thread only asks and acts.
    """

    def __init__(
        self,
        patience: Patience,
        waiting: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], None] = os._exit,
    ) -> None:
        self._patience, self._waiting, self._clock, self._end = patience, waiting, clock, end
        self._beat = self._progress = clock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def beat(self) -> None:
        """The event loop runs."""
        self._beat = self._clock()

    def progress(self) -> None:
        """Something was stored, or tried and found to be somebody else's fault (the database is away)."""
        self._progress = self._clock()

    def verdict(self) -> str | None:
        """Return what is stuck, None where nothing is."""
        now = self._clock()
        if now - self._beat > self._patience.loop_s:
            return "event loop"
        if not self._waiting():
            self._progress = now
        return "work" if now - self._progress > self._patience.work_s else None

    def _run(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            stuck = self.verdict()
            if stuck is not None:
                log.error("stuck", what=stuck)
                self._end(STUCK)
