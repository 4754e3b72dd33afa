"""Time is integer microseconds UTC since 1970, and a parameter: only edges ask what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

Clock = Callable[[], int]
"""Returns now in microseconds UTC; tests pass one that they advance by hand."""

US_PER_S: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def system_clock() -> int:
    """Now, in microseconds UTC."""
    return time.time_ns() // 1_000


def to_datetime(time_us: int) -> datetime:
    """Return the aware UTC datetime of `time_us`. Raises OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=time_us)


def from_datetime(moment: datetime) -> int:
    """Return microseconds UTC of an aware datetime, exactly (no float on the way). Raises ValueError if it is naive."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone has no place in UTC")
    return (moment - _EPOCH) // timedelta(microseconds=1)
