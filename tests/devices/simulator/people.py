"""What the simulator's tests share: times, and ways to look at what is told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from devices.simulator import Stretch, Wearer, physiology, simulate, tell
from vitals.batch import SampleColumns
from vitals.catalogue import BY_CODE

S = 1_000_000
MIN = 60 * S
HOUR = 3_600 * S
DAY = 24 * HOUR
NOON = 1_717_243_200_000_000  # 2024-06-01 12:00 UTC, a Saturday


def of(columns: SampleColumns, code: str) -> SampleColumns:
    return columns.take(columns.metric == BY_CODE[code].number)


def rr_ms(who: Wearer, start_us: int, end_us: int) -> NDArray[np.float64]:
    return of(simulate(who, start_us, end_us), "rr_interval").value


def true(who: Wearer, code: str, start_us: int, end_us: int, step_us: int = 5 * S) -> NDArray[np.float64]:
    values: NDArray[np.float64] = getattr(physiology(who, np.arange(start_us, end_us, step_us)), code)
    return values


def rmssd(rr: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.diff(rr) ** 2)))


def told(who: Wearer, start_us: int, end_us: int) -> SampleColumns:
    """Everything that arrives, of all devices."""
    stretches: tuple[Stretch, ...] = tell(who, start_us, end_us).stretches
    return SampleColumns.concat([one.samples for one in stretches] or [simulate(who, start_us, start_us)])
