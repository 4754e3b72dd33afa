"""What a file tells, as samples: the pieces of a recording, and what of it could not be read. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitals.batch import NO_ZONE, SampleColumns, sample_columns
from vitals.catalogue import UNKNOWN_METRIC, number_of
from vitals.clock import US_PER_S, to_datetime
from vitals.errors import VigilError

RELATIVE_BASE_US: Final = 1_578_268_800 * US_PER_S
"""2020-01-06, a Monday, 00:00 UTC: where a recording begins that only counts seconds from its own start."""
MAX_SAMPLES: Final = 20_000_000
"""A sample takes up to 150 bytes while it is replayed."""


class UnreadableRecording(VigilError):
    """A file is none that can be replayed; the message says what was expected and where it broke off, and quotes none
    of it."""


@dataclass(slots=True)
class Recording:
    """Samples of one wearer and device, and rows left out by reason. `notes` are remarks on how it was read."""

    columns: SampleColumns
    refused: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def hours(self) -> float:
        """How long it is, from the first sample to the last."""
        start = self.columns.start_us
        return float(start.max() - start.min()) / (3_600 * US_PER_S) if len(start) else 0.0


def recording(
    time_us: NDArray[np.int64],
    metric: NDArray[np.int16],
    value: NDArray[np.float64],
    quality: NDArray[np.float32] | float = 1.0,
    context: NDArray[np.int16] | int = 0,
    duration_ms: NDArray[np.int64] | int = 0,
    zone_offset_min: NDArray[np.int16] | int = NO_ZONE,
    end_us: NDArray[np.int64] | None = None,
) -> Recording:
    """Return samples as if each had been written and received when its measurement ended (`end_us`, if not given the
    start and the duration)."""
    duration = np.broadcast_to(np.asarray(duration_ms, np.int64), time_us.shape)
    if end_us is None:
        end_us = time_us + np.maximum(duration, 0) * 1_000
    return Recording(
        sample_columns(
            time_us, metric, value, received_us=end_us, written_us=end_us, duration_ms=duration,
            zone_offset_min=zone_offset_min, quality=quality, context=context,
        )
    )  # fmt: skip


def absolute(time_s: NDArray[np.float64]) -> tuple[NDArray[np.int64], str | None]:
    """Return microseconds UTC of plain numbers, and how they were understood where that is a guess.

    Numbers from 1e17 up are nanoseconds since 1970, from 1e14 microseconds, from 1e11 milliseconds, from 1e8 seconds;
    smaller ones are seconds from the recording's start.
    """
    if not len(time_s):
        return np.empty(0, np.int64), None
    largest = float(np.max(np.abs(time_s)))
    for least, per_us in ((1e17, 1e-3), (1e14, 1.0), (1e11, 1e3), (1e8, 1e6)):
        if largest >= least:
            return np.round(time_s * per_us).astype(np.int64), None
    base = to_datetime(RELATIVE_BASE_US).strftime("%Y-%m-%d %H:%M")
    told = f"times are seconds from the start of the recording; they are put at {base} UTC"
    return RELATIVE_BASE_US + np.round(time_s * US_PER_S).astype(np.int64), told


def numbers_of(codes: list[str]) -> NDArray[np.int16]:
    """Return the catalogue number of each metric code, `UNKNOWN_METRIC` for one that it does not hold."""
    return np.array([number_of(code.strip().lower()) or UNKNOWN_METRIC for code in codes] or [0], np.int16)
