"""Which samples are accepted: pure, vectorised, a function of each sample alone. The gateway and the recorder ask it.

Nothing here looks at another sample or at the clock of this machine: a replay after a crash must come to the same
verdict. Only what a channel cannot mean is rejected; whatever is merely doubtful is flagged (CLINICAL, Values).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitals.batch import SampleColumns
from vitals.catalogue import HIGH, IS_CATEGORY, LOW, MAX_DURATION_MS, MEMBERS, NEEDS_DURATION, UNKNOWN_METRIC
from vitals.quality import Reason

EARLIEST_US: Final = 946_684_800_000_000
"""2000-01-01: before it no wearable measured; a clock that was never set says 1970."""
LATEST_US: Final = 4_102_444_800_000_000
"""2100-01-01: the latest time that `received` and `written` may name."""
FUTURE_TOLERANCE_US: Final = 300_000_000
"""A device's clock may be five minutes ahead of ours; beyond that a sample's time means nothing."""

REASONS: Final[tuple[Reason | None, ...]] = (
    None,
    Reason.UNKNOWN_METRIC,
    Reason.NOT_FINITE,
    Reason.QUALITY,
    Reason.OUT_OF_RANGE,
    Reason.TOO_OLD,
    Reason.FUTURE,
    Reason.DURATION,
    Reason.UNKNOWN_DEVICE,
    Reason.DEVICE_SUSPENDED,
    Reason.DEVICE_RETIRED,
    Reason.NOT_PERMITTED,
    Reason.OTHER_WEARER,
    Reason.NO_CONSENT,
)
"""What the codes of `reasons` stand for; 0 is accepted. Of several faults the first counts."""


def reasons(columns: SampleColumns) -> NDArray[np.uint8]:
    """Return, for each sample, the index into `REASONS` of why it is rejected, 0 where it is accepted."""
    metric, value, start = columns.metric, columns.value, columns.start_us
    low, high = LOW[metric], HIGH[metric]
    told = ~columns.deleted  # a deletion names a sample, its value says nothing
    faults = (
        metric == UNKNOWN_METRIC,
        told & ~np.isfinite(value),
        told & ~((columns.quality >= 0) & (columns.quality <= 1)),
        told & ~((value >= low) & (value <= high) & _means_something(columns)),
        (start < EARLIEST_US) | (columns.written_us < EARLIEST_US) | (columns.received_us < EARLIEST_US),
        _in_the_future(columns),
        _bad_duration(columns),
    )
    codes = np.zeros(len(columns), np.uint8)
    for code in range(len(faults), 0, -1):
        codes[faults[code - 1]] = code
    return codes


def _means_something(columns: SampleColumns) -> NDArray[np.bool_]:
    """Tell which values are no number where the metric knows only categories: sleep stage 2.5 is none."""
    known = np.ones(len(columns), np.bool_)
    at = np.flatnonzero((IS_CATEGORY[columns.metric] > 0) & (columns.value >= 0) & (columns.value < MEMBERS.shape[1]))
    value = columns.value[at]
    known[at] = MEMBERS[columns.metric[at], value.astype(np.int64)] & (value == np.floor(value))
    return known


def _in_the_future(columns: SampleColumns) -> NDArray[np.bool_]:
    received = columns.received_us
    beyond: NDArray[np.bool_] = (
        (received > LATEST_US) | (columns.written_us > LATEST_US) | (columns.start_us > LATEST_US)
    )
    ahead: NDArray[np.bool_] = columns.start_us - FUTURE_TOLERANCE_US > np.minimum(received, LATEST_US)
    return np.logical_or(beyond, ahead)


def _bad_duration(columns: SampleColumns) -> NDArray[np.bool_]:
    duration, metric = columns.duration_ms, columns.metric
    missing = (NEEDS_DURATION[metric] > 0) & (duration == 0)
    bad: NDArray[np.bool_] = (duration < 0) | (duration > MAX_DURATION_MS[metric]) | missing
    return bad
