"""Counts what Kafka delivered again, until a transaction of the same partition takes the count along. Pure.

A record below the watermark is stored already, or the log began anew beneath us. So its count waits at the offset that
comes next: only once that one is taken is the log known to be the same, and the transaction that stores it tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ingest.record import decode, hint
from ingest.record_arrow import MalformedRecord
from stream.assemble import RawRecord
from timeseries.model import Advance, DuplicateReason

Partition = tuple[str, int]


class Redelivered:
    """Samples by adapter, for each partition and the offset that was expected when they came again."""

    def __init__(self) -> None:
        self._waiting: dict[Partition, dict[int, Counter[str]]] = {}

    def note(self, record: RawRecord, expected: int) -> None:
        """Count the samples of a record that came again; `expected` is the offset that comes next."""
        _, _, adapter = hint(record.key, record.headers)
        at = self._waiting.setdefault((record.topic, record.partition), {}).setdefault(expected, Counter())
        at[adapter or "unknown"] += samples_in(record)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop what waits for these partitions: they are read by another, or are another log now."""
        for partition in partitions:
            self._waiting.pop(partition, None)

    def told_with(self, advances: Sequence[Advance]) -> dict[tuple[str, str], int]:
        """Return (adapter, reason) counts that belong to the transaction which makes these advances."""
        found: Counter[tuple[str, str]] = Counter()
        for advance, counts in self._of(advances):
            for at, adapters in counts.items():
                if advance.from_offset <= at <= advance.last_offset:
                    for adapter, samples in adapters.items():
                        found[adapter, DuplicateReason.REDELIVERED.value] += samples
        return dict(found)

    def told(self, advances: Sequence[Advance]) -> None:
        """Drop what the transaction that made these advances has told."""
        for advance, counts in self._of(advances):
            for at in [at for at in counts if at <= advance.last_offset]:
                del counts[at]

    def _of(self, advances: Sequence[Advance]) -> Iterator[tuple[Advance, dict[int, Counter[str]]]]:
        if not self._waiting:
            return
        for advance in advances:
            counts = self._waiting.get((advance.topic, advance.partition))
            if counts:
                yield advance, counts


def samples_in(record: RawRecord) -> int:
    """Return how many samples a record tells; one that tells none we can read (a waveform's, garbage) counts as one."""
    try:
        return len(decode(record.key, record.value, record.headers)[1])
    except MalformedRecord:
        return 1
