"""Edge: what the gateway refuses for now, kept on disk until somebody has changed what stands against it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import structlog

from ingest.record import Record, decode, encode
from ingest.spool import Spool, Spooled, SpoolError, SpoolPolicy
from ingest.topics import WAVEFORMS
from vitals.clock import Clock, system_clock

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 200

Left = tuple[int, ...]
"""The samples of a record that wait, by index."""
ALL: Final[Left] = ()
"""The whole record."""


class Aside:
    """A spool of its own, bounded, in a folder of its own. What is full takes nothing more, and says so."""

    def __init__(
        self, folder: Path, *, every_s: float = 600.0, max_bytes: int = 64 << 20, clock: Clock = system_clock
    ) -> None:
        self.every_s = every_s
        self._spool = Spool(folder, SpoolPolicy(max_bytes=max_bytes))
        self._clock = clock

    def open(self) -> None:
        """Open it. Raises `SpoolUnusable`."""
        self._spool.open()

    def close(self) -> None:
        """Close it; what waits stays."""
        self._spool.close()

    def put(self, record: Record, topic: str, left: Left) -> bool:
        """Keep what is left of a record and tell whether it is kept. A waveform's chunk is one thing."""
        kept = record if left == ALL or topic == WAVEFORMS else part_of(record, left)
        try:
            self._spool.put([kept], now_us=self._clock(), topic=topic)
        except SpoolError as error:
            log.error("bridge_aside_full", error=str(error))  # noqa: TRY400  the message says it all
            return False
        return True

    def take(self) -> list[Spooled]:
        """Return the oldest of what waits."""
        return self._spool.take(_AT_ONCE)

    def drop(self, one: Spooled) -> None:
        """Forget one: it is safe, or was put aside anew."""
        self._spool.drop([one])


def part_of(record: Record, index: Left) -> Record:
    """Return a record of the samples at `index` alone."""
    header, columns = decode(record.key, record.value, record.headers)
    return encode(header, columns.take(np.array(index, np.intp)))
