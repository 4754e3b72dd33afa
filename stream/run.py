"""Edge: runs a Faust app inside our own process, until it is told to stop or breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any, Final

import structlog

from vitals.errors import VigilError

log = structlog.get_logger(__name__)
_STOP_S: Final = 8.0


class WorkerCrashed(VigilError):
    """The worker broke; its process ends so that the supervisor starts a fresh one."""


async def run_app(app: Any) -> None:
    """Run `app` until SIGINT, SIGTERM or cancellation. Raises `WorkerCrashed` if it broke."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us cancels instead
            loop.add_signal_handler(number, stop.set)
    app.finalize()
    await app.start()
    try:
        crashed = asyncio.ensure_future(app.wait_until_stopped())
        asked = asyncio.ensure_future(stop.wait())
        await asyncio.wait({crashed, asked}, return_when=asyncio.FIRST_COMPLETED)
        for one in (crashed, asked):
            one.cancel()
    finally:
        await _stop(app)
    if app.crash_reason is not None:
        raise WorkerCrashed("the worker broke") from app.crash_reason


async def _stop(app: Any) -> None:
    """Stop in good order; a worker that cannot (broker and database are away, say) loses nothing by ending at once."""
    try:
        async with asyncio.timeout(_STOP_S):
            await app.stop()
            for close in app.closing:
                await close()
    except TimeoutError:
        log.warning("ended_without_stopping", after_s=_STOP_S)
        os._exit(0 if app.crash_reason is None else 1)
