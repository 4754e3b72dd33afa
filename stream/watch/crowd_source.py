"""Edge: who is watched by what, read again and again from wherever it is kept; the watch never waits for it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from stream.watch import watch_metrics as metrics
from stream.watch.crowd import Crowd
from timeseries.model import StoreUnavailable

log = structlog.get_logger(__name__)

_MOST_BACKOFF_S: Final = 30.0


class CrowdSource(Protocol):
    """Where profiles, policies and consents come from."""

    async def current(self) -> Crowd:
        """Return the crowd as it is known now; the same object as long as nothing changed.

        Raises `StoreUnavailable`.
        """
        ...


class Fixed:
    """A crowd that never changes: where there is no database."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    async def current(self) -> Crowd:
        """Return it."""
        return self._crowd


async def first(source: CrowdSource, default: Crowd, within_s: float) -> Crowd:
    """Return the crowd to begin with: `default` where the source does not answer `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            return await source.current()
    except (StoreUnavailable, TimeoutError) as error:
        metrics.CROWD_FAILURES.inc()
        log.warning("watch_crowd_unknown", error=type(error).__name__)
        return default


async def follow(source: CrowdSource, changed: Callable[[Crowd], Awaitable[None]], every_s: float) -> None:
    """Ask the source for ever, and tell `changed` each crowd that is another one than before."""
    held: Crowd | None = None
    failures, read_at = 0, time.monotonic()
    while True:
        try:
            now = await source.current()
        except StoreUnavailable as error:
            failures += 1
            metrics.CROWD_FAILURES.inc()
            if failures == 1:
                log.warning("watch_crowd_away", error=type(error).__name__)
        else:
            if failures:
                log.info("watch_crowd_back", failures=failures)
            failures, read_at = 0, time.monotonic()
            if now is not held:
                held = now
                await changed(now)
        metrics.CROWD_AGE.set(time.monotonic() - read_at)
        backoff_s = min(_MOST_BACKOFF_S, 2.0 ** min(failures, 6)) if failures else 0.0
        await asyncio.sleep(every_s + backoff_s * random.uniform(0.5, 1))  # noqa: S311  only spreads the workers
