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
LOOK_AGAIN_US: Final = 5_000_000
"""Old news is told at most this often to be held against the log, which may have begun anew."""


class Verdict(Enum):
    """What to do with an event."""

    TAKE = auto()
    REDELIVERED = auto()  # below the watermark: stored already
    OLD_NEWS = auto()  # likewise, or the log began anew beneath us: time to look
    ANCHOR = auto()  # the last stored record, recognised
    SUSPECT = auto()  # not the anchor, so the log may be another one than the watermark speaks of: look, judge again
    WAIT = auto()  # behind a gap that is being read again
    SEEK = auto()  # the first event behind a gap: read again from `expected`
    CONFIRM = auto()  # read again, it seems, and still a gap: ask the log whether it holds anything in between


@dataclass(slots=True)
class PartitionProgress:
    """One partition of one assignment. `expected` is the offset that comes next."""

    epoch: int
    expected: int
    anchor_crc: int | None = None
    anchored: bool = True
    last_dropped: int = -1
    seek_requested_us: int | None = None
    looked_us: int | None = None
    doubted: bool = False

    @property
    def start_at(self) -> int:
        """The offset to read from: the anchor where there is one to recognise."""
        return self.expected if self.anchored or self.anchor_crc is None else self.expected - 1

    def admit(self, offset: int, crc: int | None, now_us: int) -> Verdict:
        """Judge the event at `offset`. `crc` is needed only at `start_at` while not anchored; `expected` stays."""
        if not self.anchored:
            return self._anchor(offset, crc)
        if offset < self.expected:
            return self._old_news(now_us)
        if self.doubted:
            return Verdict.SUSPECT
        if offset == self.expected:
            self._close_gap()
            return Verdict.TAKE
        return self._behind_gap(offset, now_us)

    def _anchor(self, offset: int, crc: int | None) -> Verdict:
        if offset == self.expected - 1 and crc == self.anchor_crc:
            self.anchored = True
            return Verdict.ANCHOR
        return Verdict.SUSPECT

    def _old_news(self, now_us: int) -> Verdict:
        if self.looked_us is not None and now_us - self.looked_us < LOOK_AGAIN_US:
            self.doubted = True  # it may be of another log all the same: before anything new is taken, look
            return Verdict.REDELIVERED
        self.looked_us = now_us
        return Verdict.OLD_NEWS

    def _behind_gap(self, offset: int, now_us: int) -> Verdict:
        if self.seek_requested_us is not None and offset <= self.last_dropped:
            return Verdict.CONFIRM
        self.last_dropped = offset
        if self.seek_requested_us is not None and now_us - self.seek_requested_us < SEEK_AGAIN_US:
            return Verdict.WAIT
        self.seek_requested_us = now_us
        return Verdict.SEEK

    def _close_gap(self) -> None:
        self.seek_requested_us, self.last_dropped = None, -1

    def seen(self, now_us: int) -> None:
        """Note that the log was looked at and is the one that the watermark speaks of."""
        self.anchored, self.looked_us, self.doubted = True, now_us, False

    def seek_again(self, now_us: int) -> None:
        """Note that the gap is there because events came out of order: a new seek is requested."""
        self.seek_requested_us = now_us

    def taken(self, offset: int) -> None:
        """Note that the event at `offset` is part of a batch: the next one follows it."""
        self._close_gap()
        self.expected = offset + 1
