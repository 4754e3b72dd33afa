"""What the recorder makes of the verdict on samples: what the gate refuses, and the doubts about the rest. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitals.batch import BatchHeader, SampleColumns
from vitals.gate import Gate
from vitals.quality import TRUSTWORTHY, Context, Flag, Reason
from vitals.validity import REASONS

_AHEAD_US: Final = 5_000_000
NO_CONSENT: Final = REASONS.index(Reason.NO_CONSENT)
"""The code of a sample that no consent covers: counted, and found nowhere."""


def refused(
    gate: Gate,
    headers: Sequence[BatchHeader | None],
    counts: NDArray[np.int64],
    columns: SampleColumns,
    codes: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Return `codes` with what the gate refuses; `counts` is how many samples each record has.

    What no consent covers has that code whatever else is wrong with it. Deletions pass: neither a retired
    device nor a withdrawn consent shall keep what is stored from going; who may delete is asked at the door.
    """
    if gate.is_open:
        return codes
    codes = codes.copy()
    ends = np.cumsum(counts)
    for header, first, end in zip(headers, (ends - counts).tolist(), ends.tolist(), strict=True):
        if header is not None:
            here = slice(first, end)
            for reason, named in gate.judge(header, columns.start_us[here], columns.metric[here]):
                which, code = named & ~columns.deleted[here], REASONS.index(reason)
                codes[here][which if code == NO_CONSENT else which & (codes[here] == 0)] = code
    return codes


def without_consent(
    gate: Gate,
    headers: Sequence[BatchHeader | None],
    counts: NDArray[np.int64],
    columns: SampleColumns,
    codes: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Return `codes` with what no consent covers: of samples that were made here, whose device was judged before."""
    only = Gate(people=gate.people, require_consent=gate.require_consent)
    return refused(only, headers, counts, columns, codes)


def flags(columns: SampleColumns) -> NDArray[np.int16]:
    """Return the doubts about accepted samples, as bits of `Flag`; a deletion has `TOMBSTONE` and nothing else."""
    marks = np.zeros(len(columns), np.int16)
    marks |= np.where(columns.quality < TRUSTWORTHY, Flag.LOW_QUALITY, 0).astype(np.int16)
    marks |= np.where(columns.context & Context.NO_CONTACT != 0, Flag.NO_CONTACT, 0).astype(np.int16)
    marks |= np.where(columns.start_us > columns.received_us + _AHEAD_US, Flag.CLOCK_AHEAD, 0).astype(np.int16)
    return np.where(columns.deleted, np.int16(Flag.TOMBSTONE), marks)
