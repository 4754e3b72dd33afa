"""Where samples stand in time: a signal's positions since its last reset, held against what its chunks say.

A device's true rate is never quite the one it states, so each chunk's own start counts: from there on positions are
counted at the stated rate, until a later chunk says otherwise. Error never adds up over chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_US_PER_S: Final = 1_000_000
_KEPT_S: Final = 10.0
"""Beats are told at most some seconds late (four, where a rhythm was lost): older anchors are never asked for."""
_SLACK_US: Final = 1_000
"""A chunk that lies this near to where the last anchor puts it needs none of its own."""


@dataclass(frozen=True, eq=False, slots=True)
class Timeline:
    """Anchors: `at`, shape (n,), positions in samples; `us`, shape (n,), their times in microseconds UTC."""

    rate_hz: float
    at: NDArray[np.int64]
    us: NDArray[np.int64]
    seen: int = 0

    @classmethod
    def begin(cls, rate_hz: float, start_us: int) -> Timeline:
        """Return the timeline of a signal that starts now."""
        return cls(rate_hz, np.zeros(1, np.int64), np.array([start_us], np.int64))

    @property
    def end_us(self) -> int:
        """When the next sample is due."""
        return int(self.times(np.array([self.seen]))[0])

    def times(self, positions: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when these (fractional) positions were, in microseconds UTC."""
        anchor = np.maximum(np.searchsorted(self.at, positions, side="right") - 1, 0)
        since = (positions - self.at[anchor]) / self.rate_hz * _US_PER_S
        return self.us[anchor] + np.round(since).astype(np.int64)

    def extend(self, start_us: int, samples: int) -> Timeline:
        """Return the timeline with a further chunk that starts at `start_us`."""
        at, us = self.at, self.us
        if abs(self.end_us - start_us) > _SLACK_US:
            at, us = np.append(at, self.seen), np.append(us, start_us)
        seen = self.seen + samples
        needed = max(int(np.searchsorted(at, seen - _KEPT_S * self.rate_hz, side="right")) - 1, 0)
        return Timeline(self.rate_hz, at[needed:], us[needed:], seen)
