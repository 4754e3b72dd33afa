"""Edge: Python's garbage collector, kept from walking everybody's memory in the middle of an alert.

What watch and dispatch remember is frozen values and arrays: it dies by its reference counts. Of 2,000 patients it is
300,000 objects, which a full collection walks for 200 ms, several times a minute and a tenth of all work, to find
nothing. So what has lived for a few seconds is left out (`gc.freeze`), and once an hour all is looked at after all.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

FREEZE_EVERY_S: Final = 10.0
COLLECT_EVERY_S: Final = 3_600.0
_THRESHOLDS: Final = (5_000, 20, 20)  # a fetch makes hundreds of objects: 700 would be looked at many times a second


@asynccontextmanager
async def tended(
    freeze_every_s: float = FREEZE_EVERY_S, collect_every_s: float = COLLECT_EVERY_S
) -> AsyncIterator[None]:
    """Tend the collector for as long as this is entered; it is as it was afterwards."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    task = asyncio.create_task(_tend(freeze_every_s, collect_every_s))
    try:
        yield
    finally:
        task.cancel()
        gc.set_threshold(*before)
        gc.unfreeze()


async def _tend(freeze_every_s: float, collect_every_s: float) -> None:
    collected_s = time.monotonic()
    while True:
        await asyncio.sleep(freeze_every_s)
        if time.monotonic() - collected_s >= collect_every_s:
            gc.unfreeze()
            gc.collect()
            collected_s = time.monotonic()
        gc.freeze()
