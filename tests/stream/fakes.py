"""A log and a store in memory that behave as badly as the real ones may."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ingest.record import encode
from stream.assemble import RawRecord
from stream.recorder import Partition, crc_of
from tests.stream.making import T0, S
from timeseries.keys import KeyRing
from timeseries.model import Fenced, StoreRefused, Watermark, WriteBatch, WriteOutcome
from vitals.batch import BatchHeader, sample_columns
from vitals.ids import device_id, patient_id

TOPIC = "vigil.samples"
PARTITION: Partition = (TOPIC, 0)


def raw(
    offset: int, value: bytes | None = None, *, partition: int = 0, patient: str = "p1", base: float = 60.0
) -> RawRecord:
    """A record of two heart rates that no other offset has, or of the given bytes."""
    header = BatchHeader(patient_id(patient), device_id("d1"), "app", "ble")
    start = T0 + np.arange(2 * offset, 2 * offset + 2) * S
    good = encode(header, sample_columns(start, np.ones(2, np.int16), np.array([base, base + 1]), received_us=start))
    return RawRecord(TOPIC, partition, offset, 1_800_000_000_000 + offset, good.key,
                     good.value if value is None else value, good.headers)  # fmt: skip


class FakeLog:
    """One partition's log with a consumer that prefetches: a seek does nothing to what is buffered already."""

    def __init__(self, records: Sequence[RawRecord] = ()) -> None:
        self.records = list(records)
        self.position = 0
        self.buffer: list[RawRecord] = []
        self.seeks: list[int] = []
        self.looks = 0

    def fetch(self, most: int = 1_000) -> None:
        """Move records from the log into the buffer."""
        if self.records and self.position > self.records[-1].offset + 1:
            self.position = 0  # out of range: auto_offset_reset is earliest
        found = [record for record in self.records if record.offset >= self.position][:most]
        if found:
            self.buffer += found
            self.position = found[-1].offset + 1

    def deliver(self, most: int = 1_000) -> list[RawRecord]:
        """Take records out of the buffer, fetching where it is empty."""
        if not self.buffer:
            self.fetch(most)
        given, self.buffer = self.buffer[:most], self.buffer[most:]
        return given

    async def seek(self, partition: Partition, offset: int) -> None:
        self.seeks.append(offset)
        self.position = offset

    async def holds(self, partition: Partition, offset: int, crc: int | None) -> bool:
        self.looks += 1
        if offset < await self.earliest(partition):
            return True
        return any(
            record.offset == offset and crc_of(record.key, record.value, record.timestamp_ms) == crc
            for record in self.records
        )

    async def earliest(self, partition: Partition) -> int:
        return min((record.offset for record in self.records), default=0)

    async def next_after(self, partition: Partition, offset: int) -> int | None:
        return min((record.offset for record in self.records if record.offset >= offset), default=None)


@dataclass
class FakeStore:
    """Rows, quarantine and watermarks as `SampleStore` keeps them; no versions: a known identity is a duplicate."""

    keys: KeyRing = field(default_factory=KeyRing)
    marks: dict[Partition, Watermark] = field(default_factory=dict)
    rows: dict[tuple[int, int], float] = field(default_factory=dict)
    records: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    quarantine: list[tuple[int, int, str]] = field(default_factory=list)
    not_consented: Counter[tuple[str, int]] = field(default_factory=Counter)
    duplicates: int = 0
    redelivered: int = 0
    refused: float | None = None

    async def watermarks(self, topics: Sequence[str]) -> dict[Partition, Watermark]:
        return {partition: mark for partition, mark in self.marks.items() if partition[0] in topics}

    async def begin_epoch(self, mark: Watermark, next_offset: int) -> Watermark:
        now = self.marks.get((mark.topic, mark.partition), Watermark(mark.topic, mark.partition))
        if now.epoch != mark.epoch:
            raise Fenced("another epoch")
        renewed = Watermark(mark.topic, mark.partition, mark.epoch + 1, next_offset)
        self.marks[mark.topic, mark.partition] = renewed
        return renewed

    async def resolve_keys(self, patients: Sequence[str], origins: Sequence[tuple[str, str]]) -> None:
        for patient in patients:
            self.keys.patients.setdefault(patient, len(self.keys.patients) + 1)
        for origin in origins:
            self.keys.origins.setdefault(origin, len(self.keys.origins) + 1)

    async def write(self, batch: WriteBatch) -> WriteOutcome:
        for advance in batch.advances:
            mark = self.marks.get((advance.topic, advance.partition), Watermark(advance.topic, advance.partition))
            if (mark.epoch, mark.next_offset) != (advance.epoch, advance.from_offset):
                raise Fenced("the watermark is elsewhere")
        if self.refused is not None and self.refused in batch.rows["value"]:
            raise StoreRefused("no")
        return self._keep(batch)

    def _keep(self, batch: WriteBatch) -> WriteOutcome:
        fresh = 0
        for row in batch.rows:
            identity = (int(row["patient_key"]), int(row["time"]))
            fresh += identity not in self.rows
            self.rows.setdefault(identity, float(row["value"]))
        self.duplicates += len(batch.rows) - fresh
        self.redelivered += batch.duplicates.get(("ble", "redelivered"), 0)
        for position in range(len(batch.adapters)):
            source = batch.describe(position)
            self.records.append((source.epoch, source.offset, source.value))
        self.not_consented.update(batch.not_consented)
        for one in batch.rejected:
            self.quarantine.append((batch.describe(one.record).offset, one.index, one.reason))
        for advance in batch.advances:
            self.marks[advance.topic, advance.partition] = Watermark(
                advance.topic,
                advance.partition,
                advance.epoch,
                advance.last_offset + 1,
                advance.timestamp_ms,
                advance.crc,
            )
        return WriteOutcome(inserted=fresh, duplicates=len(batch.rows) - fresh)
