"""How fast glucose changes: the line of least squares through the readings of a quarter of an hour, and sudden falls.

A difference of two readings 5 minutes apart is mostly the sensor's noise (3 mg/dL each make 0.85 mg/dL a minute);
four readings leave a quarter of it. Sums are of whole numbers: where the samples were cut makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from stream.detectors.sustain import NEVER

SECOND_US: Final = 1_000_000
_WINDOW_US: Final = 16 * 60 * SECOND_US
_KEPT_US: Final = 32 * 60 * SECOND_US
_LEAST_SPAN_S: Final = 540
_LEAST_READINGS: Final = 3
_SUDDEN_MG_DL_PER_MIN: Final = 4.0
"""Faster than glucose falls: consecutive readings this steep, in sleep, are as likely pressure on the sensor."""
_SUDDEN_GAP_US: Final = 11 * 60 * SECOND_US


@dataclass(frozen=True, slots=True)
class Tail:
    """Readings in order, at most one a minute: `start_us`, `value` in tenths of mg/dL, `asleep`."""

    start_us: NDArray[np.int64]
    value: NDArray[np.int64]
    asleep: NDArray[np.bool_]

    @classmethod
    def none(cls) -> Self:
        """Return no readings."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))

    @property
    def last_us(self) -> int:
        """When the newest reading was taken; `NEVER` without any."""
        return int(self.start_us[-1]) if len(self.start_us) else NEVER

    def add(self, start_us: NDArray[np.int64], mg_dl: NDArray[np.float64], asleep: NDArray[np.bool_]) -> Self:
        """Return these and later readings."""
        tenths = np.rint(mg_dl * 10).astype(np.int64)
        return type(self)(
            np.concatenate((self.start_us, start_us)),
            np.concatenate((self.value, tenths)),
            np.concatenate((self.asleep, asleep)),
        )

    def kept(self) -> Self:
        """Return what later readings may need: the last 32 minutes."""
        first = int(np.searchsorted(self.start_us, self.last_us - _KEPT_US)) if len(self.start_us) else 0
        return type(self)(self.start_us[first:], self.value[first:], self.asleep[first:])

    def rates(self) -> NDArray[np.float64]:
        """Return the slope in mg/dL a minute up to each reading; NaN where too few readings tell it."""
        time_s = self.start_us // SECOND_US
        first = np.searchsorted(self.start_us, self.start_us - _WINDOW_US, side="right")
        n = np.arange(1, len(first) + 1) - first
        # Whole numbers that wrap around subtract to the right differences all the same.
        sums = [np.concatenate(([0], np.cumsum(x))) for x in (time_s, self.value, time_s * time_s, time_s * self.value)]
        t, v, tt, tv = (one[1:] - one[first] for one in sums)
        known = (n >= _LEAST_READINGS) & (time_s - time_s[first] >= _LEAST_SPAN_S)
        spread = np.where(known, n * tt - t * t, 1)
        slope: NDArray[np.float64] = np.where(known, (n * tv - t * v) / spread * 6.0, np.nan)
        return slope

    def up_to(self, time_us: int) -> Self:
        """Return the readings of the last half hour up to this time."""
        first, last = np.searchsorted(self.start_us, (time_us - _KEPT_US, time_us + 1))
        return type(self)(self.start_us[first:last], self.value[first:last], self.asleep[first:last])

    def rate(self) -> float | None:
        """Return the slope up to the newest reading in mg/dL a minute, to a tenth; None where it is unknown."""
        slope = self.rates()[-1:]
        return None if not len(slope) or np.isnan(slope[0]) else round(float(slope[0]), 1)


def sudden_fall(tail: Tail) -> float | None:
    """Return by how many mg/dL glucose fell between two readings in sleep of the last 20 minutes, if suddenly."""
    gap_us, fall = np.diff(tail.start_us), -np.diff(tail.value) / 10
    near = tail.start_us[1:] > tail.last_us - 20 * 60 * SECOND_US
    steep = fall * (60 * SECOND_US) >= _SUDDEN_MG_DL_PER_MIN * gap_us
    which = near & steep & tail.asleep[1:] & (gap_us <= _SUDDEN_GAP_US)
    return round(float(fall[which].max()), 1) if which.any() else None
