"""Edge: runs a Faust app inside our own process, until it is told to stop or breaks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

from vitals.errors import VigilError


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
        await app.stop()
        for close in app.closing:
            await close()
    if app.crash_reason is not None:
        raise WorkerCrashed("the worker broke") from app.crash_reason
