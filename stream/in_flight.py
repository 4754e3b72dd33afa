"""Which offsets are under way: records finish in any order, and what has an unfinished one before it does not count."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


class InFlight(Generic[P]):
    """Bookkeeping of begun and finished offsets by partition. No offset is passed over."""

    def __init__(self) -> None:
        self._open: dict[P, set[int]] = {}
        self._next: dict[P, int] = {}
        self._told: dict[P, int] = {}

    def __len__(self) -> int:
        """The number of records that are under way."""
        return sum(map(len, self._open.values()))

    def begin(self, partition: P, offset: int) -> None:
        """Note that the record at `offset` is being worked on."""
        self._open.setdefault(partition, set()).add(offset)
        self._next[partition] = max(offset + 1, self._next.get(partition, 0))

    def finish(self, partition: P, offset: int) -> None:
        """Note that it is done. Of a partition that was forgotten meanwhile this says nothing."""
        self._open.get(partition, set()).discard(offset)

    def committable(self) -> dict[P, int]:
        """Return, for each partition that moved since it was last asked, the offset from which work remains."""
        position = {partition: min(self._open[partition], default=self._next[partition]) for partition in self._next}
        moved = {partition: at for partition, at in position.items() if at != self._told.get(partition)}
        self._told.update(moved)
        return moved

    def forget(self, partitions: Iterable[P]) -> None:
        """Drop partitions that belong to another now."""
        for partition in partitions:
            for held in (self._open, self._next, self._told):
                held.pop(partition, None)
