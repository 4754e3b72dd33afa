"""What the recorder makes of the verdict on samples: what the registry refuses, and the doubts about the rest. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitals.batch import BatchHeader, SampleColumns
from vitals.gate import Gate
from vitals.quality import TRUSTWORTHY, Context, Flag
from vitals.validity import REASONS

_AHEAD_US: Final = 5_000_000


def refused(
    gate: Gate,
    headers: Sequence[BatchHeader | None],
    counts: NDArray[np.int64],
    columns: SampleColumns,
    codes: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Return `codes` with those that the registry refuses; `counts` is how many samples each record has."""
    if gate.is_open:
        return codes
    codes = codes.copy()
    ends = np.cumsum(counts)
    for header, first, end in zip(headers, (ends - counts).tolist(), ends.tolist(), strict=True):
        if header is not None:
            here = slice(first, end)
            for reason, which in gate.judge(header, columns.start_us[here], columns.metric[here]):
                codes[here][which & (codes[here] == 0)] = REASONS.index(reason)
    return codes


def flags(columns: SampleColumns) -> NDArray[np.int16]:
    """Return the doubts about accepted samples, as bits of `Flag`; a deletion has `TOMBSTONE` and nothing else."""
    marks = np.zeros(len(columns), np.int16)
    marks |= np.where(columns.quality < TRUSTWORTHY, Flag.LOW_QUALITY, 0).astype(np.int16)
    marks |= np.where(columns.context & Context.NO_CONTACT != 0, Flag.NO_CONTACT, 0).astype(np.int16)
    marks |= np.where(columns.start_us > columns.received_us + _AHEAD_US, Flag.CLOCK_AHEAD, 0).astype(np.int16)
    return np.where(columns.deleted, np.int16(Flag.TOMBSTONE), marks)
