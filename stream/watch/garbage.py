"""Edge: Python's garbage collector, kept from walking the memory of thousands of patients in the middle of a fetch.

What the watch remembers is frozen values and arrays: it dies by its reference counts. Of 2,000 patients it is 300,000
objects, which a full collection walks for 200 ms, several times a minute and a tenth of all work, to find nothing. So
what has lived for a few seconds is left out (`gc.freeze`), and once an hour everything is looked at after all.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Final

FREEZE_EVERY_S: Final = 10.0
COLLECT_EVERY_S: Final = 3_600.0
_THRESHOLDS: Final = (5_000, 20, 20)  # a fetch makes hundreds of objects: 700 would be looked at many times a second


async def tended(freeze_every_s: float = FREEZE_EVERY_S, collect_every_s: float = COLLECT_EVERY_S) -> None:
    """For ever, from now on; the collector is as it was when this ends."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    collected_s = time.monotonic()
    try:
        while True:
            await asyncio.sleep(freeze_every_s)
            if time.monotonic() - collected_s >= collect_every_s:
                gc.unfreeze()
                gc.collect()
                collected_s = time.monotonic()
            gc.freeze()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
