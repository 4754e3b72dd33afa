"""Edge: background work in slices, so that a fetch waits for none of it.

What a fetch brings takes several turns of the loop (Faust's two threads hand it over), and must wait in none of them
for more than a slice; a breath lets those turns happen.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

_SLICE_S: Final = 0.001
_BREATH_S: Final = 0.001


class Slices:
    """Begins with the work; `breathe` is called between two steps of it."""

    def __init__(self) -> None:
        self._since_s = time.perf_counter()

    async def breathe(self) -> bool:
        """Give the loop back where the slice is over; tell whether it did, and others may have changed things."""
        if time.perf_counter() - self._since_s <= _SLICE_S:
            return False
        await asyncio.sleep(_BREATH_S)
        self._since_s = time.perf_counter()
        return True
