"""How far a partition is read: pure bookkeeping that never lets an offset be skipped or applied twice.

Faust may redeliver after a rebalance, and may skip (faust#606); the log itself may have been recreated. So each event
is held against the watermark in the database: below it is old news, at it is next, above it is a gap that is first
read again. A reader starts one record *before* its watermark (the anchor) and recognises that record by its CRC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

SEEK_AGAIN_US: Final = 5_000_000
"""If a requested seek shows no effect within this time it is requested again."""


class Verdict(Enum):
    """What to do with an event."""

    TAKE = auto()
    REDELIVERED = auto()  # below the watermark: stored already
    ANCHOR = auto()  # the last stored record, recognised
    SUSPECT = auto()  # the log may be another one than the watermark speaks of: look before taking anything
    WAIT = auto()  # behind a gap that is being read again
    SEEK = auto()  # the first event behind a gap: read again from `expected`
    TAKE_AFTER_GAP = auto()  # read again, and the log really holds nothing in between


@dataclass(slots=True)
class PartitionProgress:
    """One partition of one assignment. `expected` is the offset that comes next."""

    epoch: int
    expected: int
    anchor_crc: int | None = None
    anchored: bool = True
    last_dropped: int = -1
    seek_requested_us: int | None = None

    @property
    def start_at(self) -> int:
        """The offset to read from: the anchor where there is one to recognise."""
        return self.expected if self.anchored else self.expected - 1

    def admit(self, offset: int, crc: int | None, now_us: int) -> Verdict:
        """Judge the event at `offset`. `crc` is needed only at `start_at` while not anchored; `expected` stays."""
        if not self.anchored:
            verdict = self._anchor(offset, crc)
            if verdict is not None:
                return verdict
        if offset < self.expected:
            return Verdict.REDELIVERED
        if offset == self.expected:
            self._close_gap()
            return Verdict.TAKE
        return self._behind_gap(offset, now_us)

    def _anchor(self, offset: int, crc: int | None) -> Verdict | None:
        if offset >= self.expected:  # the anchor itself is beyond the broker's retention
            self.anchored = True
            return None
        if offset == self.expected - 1 and crc == self.anchor_crc:
            self.anchored = True
            return Verdict.ANCHOR
        return Verdict.SUSPECT

    def _behind_gap(self, offset: int, now_us: int) -> Verdict:
        if self.seek_requested_us is not None and offset <= self.last_dropped:
            self._close_gap()
            return Verdict.TAKE_AFTER_GAP
        self.last_dropped = offset
        if self.seek_requested_us is not None and now_us - self.seek_requested_us < SEEK_AGAIN_US:
            return Verdict.WAIT
        self.seek_requested_us = now_us
        return Verdict.SEEK

    def _close_gap(self) -> None:
        self.seek_requested_us, self.last_dropped = None, -1

    def taken(self, offset: int) -> None:
        """Note that the event at `offset` is part of a batch: the next one follows it."""
        self.expected = offset + 1
