"""One partition under watch: its engine, how far it is seen, and what of the log is in its snapshots already. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alerts.event import AlertEvent
from ingest.record import decode_many
from stream.assemble import RawRecord
from stream.recorder import Partition, crc_of
from stream.watch.ports import Watching
from stream.watch.state_record import Kept, Place


@dataclass(frozen=True, slots=True)
class Seen:
    """What one fetch came to."""

    events: list[AlertEvent]
    records: int = 0
    samples: int = 0
    unreadable: int = 0
    skipped: int = 0  # in the snapshots already, or seen before


@dataclass(slots=True)
class PartitionWatch:
    """`position` is the next offset to see. `below` says of a patient (by key) up to where the snapshot goes.

    While `position` is below `floor`, where the last marker stood, no state is written down: what stands after a
    marker and goes less far than it is the work of a worker that had lost the partition (`stream.watch.restore`).
    """

    partition: Partition
    engine: Watching
    epoch: str
    position: int
    floor: int = 0
    below: dict[bytes, int] = field(default_factory=dict)
    guard: tuple[int, int] | None = None  # timestamp_ms and CRC of the record before `position`
    kept: set[str] = field(default_factory=set)  # who has a snapshot on the topic
    withheld: set[str] = field(default_factory=set)  # what stays on the topic as it is for now: patients, the marker
    _last: RawRecord | None = None
    _highest: int = 0

    def __post_init__(self) -> None:
        self._highest = max(self.below.values(), default=0)

    def begins_after(self, records: Sequence[RawRecord]) -> bool:
        """Tell whether records are missing between what was seen and these."""
        return records[0].offset > self.position

    def see(self, records: Sequence[RawRecord], now_us: int) -> Seen:
        """Take one fetch in: its records are of this partition, ordered by offset."""
        fresh = [record for record in records if self._is_fresh(record)]
        if records[-1].offset >= self.position:
            self._last, self.position = records[-1], records[-1].offset + 1
        if self.below and self.position >= self._highest:
            self.below.clear()
        if not fresh:
            return Seen([], skipped=len(records))
        decoded = decode_many((record.key, record.value, record.headers) for record in fresh)
        events = self.engine.see(decoded.headers, decoded.counts, decoded.columns, now_us)
        bad = len(decoded.failures)
        return Seen(events, len(fresh) - bad, len(decoded.columns), bad, len(records) - len(fresh))

    def _is_fresh(self, record: RawRecord) -> bool:
        return record.offset >= max(self.position, self.below.get(record.key or b"", 0))

    @property
    def is_seen_anew(self) -> bool:
        """Whether the log is still being read to where the last marker stood."""
        return self.position < self.floor

    def place(self) -> Place:
        """Return how far the partition is seen."""
        if self._last is not None:
            last, self._last = self._last, None
            self.guard = last.timestamp_ms, crc_of(last.key, last.value, last.timestamp_ms)
        at, crc = self.guard or (None, None)
        return Place(self.epoch, self.position, at, crc)

    def snapshot(self, patient: str, taken_ms: int) -> Kept | None:
        """Return what is to be kept of a patient, None where nothing is any more."""
        body = self.engine.snapshot(patient)
        if not body:
            return None
        place = self.place()
        return Kept(place, max(place.offset, self.below.get(patient.encode(), 0)), taken_ms, body)


def newest_by_epoch(kept: Mapping[str, Kept]) -> dict[str, Place]:
    """Return, for each epoch that snapshots are of, the place that is farthest: the log is asked for that one."""
    newest: dict[str, Place] = {}
    for one in kept.values():
        held = newest.get(one.place.epoch)
        if held is None or (one.place.is_recognisable, one.place.offset) > (held.is_recognisable, held.offset):
            newest[one.place.epoch] = one.place
    return newest
