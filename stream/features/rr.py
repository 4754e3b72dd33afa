"""Beats and the intervals between them, whatever signal they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

MIN_RR_MS: Final = 200.0
MAX_RR_MS: Final = 4_000.0


@dataclass(frozen=True, eq=False, slots=True)
class Beats:
    """Beats in order. `at`: shape (n,), fractional samples since the last reset (possibly before the chunk's first).

    `rr_ms`: shape (n,), the interval that each beat ends; NaN after a reset and where it is none (`within_range`).
    """

    at: Signal
    rr_ms: Signal


def intervals(found: Signal, last_beat: float, rate_hz: float) -> Signal:
    """Return the interval before each beat in ms; `last_beat` is NaN where none is known."""
    before = np.append(last_beat, found[:-1])[: len(found)]
    return within_range((found - before) / rate_hz * 1_000)


def within_range(rr_ms: NDArray[Any]) -> Signal:
    """Return the intervals with NaN where no heart beats so: nothing else may be removed, or AF would be (FACTS)."""
    return np.where((rr_ms >= MIN_RR_MS) & (rr_ms <= MAX_RR_MS), rr_ms, np.nan)


def vertex(wave: Signal, at: int) -> float:
    """Return by how much of a sample the vertex of the parabola around `wave[at]` lies after it (-0.5 to 0.5)."""
    if not 0 < at < len(wave) - 1:
        return 0.0
    before, here, after = (float(one) for one in wave[at - 1 : at + 2])
    bend = before - 2 * here + after
    return max(-0.5, min(0.5, 0.5 * (before - after) / bend)) if bend else 0.0
