"""Whether a line brings a person's beats in the order in which the heart made them, or lets some overtake others.

What is held up for longer than the watch waits never reaches a detector: its place stays a hole. That a line holds up
single samples shows in those that came in time: they were received after beats that began later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors.by_metric import by_metric
from stream.detectors.observation import Observations
from stream.detectors.rhythm_beats import RR_INTERVAL
from stream.detectors.sustain import NEVER

_NONE: Final[NDArray[np.int64]] = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Order:
    """When the beats so far were received at the latest, and the start of the newest that overtook another (us)."""

    received_us: int = NEVER
    overtook_us: int = NEVER


def in_order(order: Order, seen: Observations, least_us: int) -> tuple[Order, NDArray[np.int64]]:
    """Return the order with a stretch's RR intervals, and the starts (us) of those that overtook one before them.

    That is, that were received `least_us` or more before it. All intervals count, trustworthy or not: it is the line
    that is judged.
    """
    stretch = by_metric(seen)
    told = stretch.of(RR_INTERVAL)
    if told is None:
        return order, _NONE
    received_us = stretch.received[0][told.place]
    falls = np.count_nonzero(received_us[1:] < received_us[:-1])
    if not falls and received_us[0] >= order.received_us:  # nearly always
        return Order(int(received_us[-1]), order.overtook_us), _NONE
    latest_us = np.maximum(np.maximum.accumulate(received_us), order.received_us)
    overtook_us = told.start_us[latest_us - received_us >= least_us]
    newest_us = int(np.maximum.reduce(overtook_us, initial=order.overtook_us))
    return Order(int(latest_us[-1]), newest_us), overtook_us
