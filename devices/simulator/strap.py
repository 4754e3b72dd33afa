"""The wearer as a chest strap shows them: Heart Rate Measurement (2A37) notifications, one a second."""

from __future__ import annotations

from typing import Final

import numpy as np

from devices.simulator.beats import rr_intervals
from devices.simulator.physiology import physiology
from devices.simulator.wearer import Wearer
from vitals.clock import US_PER_S

_CONTACT_SUPPORTED: Final = 0x04
_CONTACT: Final = 0x02
_HAS_RR: Final = 0x10
_MOST_RR: Final = 9
"""What fits into the 20 octets of an unextended notification beside flags and heart rate."""


def heart_rate_frames(who: Wearer, start_us: int, end_us: int, *, contact: bool = True) -> list[tuple[int, bytes]]:
    """Return (when it is sent in us, the notification) for each full second within [start_us, end_us).

    A frame holds the heart rate at that moment and the RR intervals that ended in the second before it; without
    contact it says so, and holds a heart rate of 0 and no intervals, as a strap on a table does.
    """
    seconds = np.arange(-(-start_us // US_PER_S), -(-end_us // US_PER_S), dtype=np.int64) * US_PER_S
    if len(seconds) == 0:
        return []
    if not contact:
        return [(at_us, bytes([_CONTACT_SUPPORTED, 0])) for at_us in seconds.tolist()]
    rates = np.round(physiology(who, seconds).heart_rate).astype(int).tolist()
    beats, ticks = rr_intervals(who, int(seconds[0]) - US_PER_S, int(seconds[-1]))
    first = np.searchsorted(beats, seconds - US_PER_S).tolist()
    last = np.searchsorted(beats, seconds).tolist()
    return [
        (at_us, _frame(rate, ticks[a:b].tolist()[-_MOST_RR:]))
        for at_us, rate, a, b in zip(seconds.tolist(), rates, first, last, strict=True)
    ]


def _frame(rate: int, ticks: list[int]) -> bytes:
    flags = _CONTACT_SUPPORTED | _CONTACT | (_HAS_RR if ticks else 0)
    return bytes([flags, min(rate, 255)]) + b"".join(tick.to_bytes(2, "little") for tick in ticks)
