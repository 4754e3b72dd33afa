"""Edge: takes records in the order of their offsets and stores them; the database's watermark is the only truth.

The recorder never raises for what a record holds: a record that cannot be opened or a sample that cannot be true goes
into quarantine, a batch that the database refuses, or breaks off at again and again, is cut in halves until the one
record that it is about is found and quarantined. While the database does not answer it waits and tries again.
"""

from __future__ import annotations

import asyncio
import random
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

import numpy as np
import structlog

from stream import metrics
from stream.assemble import Placed, RawRecord, Validated, place, rejected, validate
from stream.attempts import TRIES, Attempts, tries_for
from stream.progress import PartitionProgress, Verdict
from stream.redelivered import Redelivered
from stream.reduce import DEFAULT_REDUCTION, ReductionPolicy
from stream.sequence import Memory
from timeseries.model import (
    Advance,
    Fenced,
    Rejected,
    StoreRefused,
    StoreStrained,
    StoreUnavailable,
    Watermark,
    WriteBatch,
    WriteOutcome,
)
from timeseries.rows import ROW
from vitals.clock import Clock, system_clock
from vitals.errors import VigilError
from vitals.gate import OPEN, Gate
from vitals.quality import Reason

log = structlog.get_logger(__name__)

Partition = tuple[str, int]
_T = TypeVar("_T")


class Keys(Protocol):
    """The keys that `resolve_keys` learned."""

    @property
    def patients(self) -> Mapping[str, int]:
        """By patient id."""

    @property
    def origins(self) -> Mapping[tuple[str, str], int]:
        """By (device id, source app)."""


class Store(Protocol):
    """What the recorder needs of `timeseries.store.SampleStore`; the errors are those of `timeseries.model`."""

    @property
    def keys(self) -> Keys:
        """The keys known so far."""

    async def watermarks(self, topics: Sequence[str]) -> dict[Partition, Watermark]:
        """Return how far each partition is stored."""

    async def begin_epoch(self, mark: Watermark, next_offset: int) -> Watermark:
        """Start a partition again at `next_offset`, in a new epoch."""

    async def resolve_keys(self, patients: Sequence[str], origins: Sequence[tuple[str, str]]) -> None:
        """Make `keys` know these."""

    async def write(self, batch: WriteBatch) -> WriteOutcome:
        """Store one batch and move its watermarks, all or nothing."""


class Log(Protocol):
    """What the recorder asks of the broker beside the stream of records."""

    async def seek(self, partition: Partition, offset: int) -> None:
        """Deliver from `offset` on."""

    async def holds(self, partition: Partition, offset: int, crc: int | None) -> bool:
        """Tell whether the log still has the record at `offset` with this CRC-32."""

    async def earliest(self, partition: Partition) -> int:
        """Return the first offset that the log has."""

    async def next_after(self, partition: Partition, offset: int) -> int | None:
        """Return the first offset from `offset` on that the log has a record at, None where it ends before."""


GateSource = Callable[[], Awaitable[Gate]]
"""Tells what registry and consents say now: the same object until they change. May raise `StoreUnavailable`."""


async def open_gate() -> Gate:
    """Return the gate that lets everything in."""
    return OPEN


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts: doubling from `first_s` up to `most_s`, with full jitter."""

    first_s: float = 0.1
    most_s: float = 5.0

    def delay_s(self, attempt: int) -> float:
        """Return how long to wait before the given further attempt (1, 2, ...)."""
        ceiling = min(self.most_s, self.first_s * 2 ** min(attempt - 1, 16))
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - jitter, not a secret


@dataclass(frozen=True, slots=True)
class Prepared:
    """Records and the transaction that stores them; `gate` is what they were judged by, None: nobody was asked."""

    records: Sequence[RawRecord]
    batch: WriteBatch
    gate: Gate | None = None


class GateMoved(VigilError):
    """Registry or consents changed since a batch was judged: it is judged anew before anything of it is stored."""


class Recorder:
    """One worker's recording of the partitions that are assigned to it."""

    def __init__(
        self,
        store: Store,
        log_: Log,
        *,
        reduction: ReductionPolicy = DEFAULT_REDUCTION,
        gate: GateSource = open_gate,
        backoff: Backoff | None = None,
        clock: Clock = system_clock,
        sign_of_life: Callable[[], None] = lambda: None,
    ) -> None:
        self._db = store
        self._memory = Memory()
        self._sign_of_life = sign_of_life
        self._log = log_
        self._reduction = reduction
        self._gate = gate
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._progress: dict[Partition, PartitionProgress] = {}
        self._redelivered = Redelivered()
        self._given_up = 0

    async def assigned(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return where to read each partition from: at the last stored record, which is then recognised by its CRC.

        The log is looked at before: a broker may answer a fetch beyond the end of a log that began anew with nothing.
        """
        topics = sorted({topic for topic, _ in partitions})
        self._redelivered.forget(partitions)
        marks = await self._patiently(lambda: self._db.watermarks(topics))
        for partition in partitions:
            mark = await self._verified(marks.get(partition, Watermark(*partition)))
            self._progress[partition] = _progress_of(mark)
        return {partition: self._progress[partition].start_at for partition in partitions}

    def expected(self, partition: Partition) -> int:
        """Return the offset that comes next, 0 for a partition that is not ours."""
        progress = self._progress.get(partition)
        return 0 if progress is None else progress.expected

    async def take(self, records: Sequence[RawRecord]) -> None:
        """Store what is new among `records`, and return when it is stored."""
        await self.store(await self.prepare(records))

    async def prepare(self, records: Sequence[RawRecord]) -> list[Prepared]:
        """Return what is new among `records`, decoded and validated, ready to be stored in this order.

        May run while the batch before is being stored: should that one be fenced, so will this.
        """
        return [await self._prepared(piece) for piece in pieces_of(await self._admit(records))]

    async def store(self, prepared: Sequence[Prepared]) -> None:
        """Store what `prepare` gave, and return when it is stored, or fenced and given up."""
        for one in prepared:
            await self._store(one)

    async def _admit(self, records: Sequence[RawRecord]) -> list[RawRecord]:
        fresh: list[RawRecord] = []
        for record in records:
            partition = (record.topic, record.partition)
            progress = self._progress.get(partition)
            if progress is None:  # revoked while it was buffered: whoever has the partition now stores it
                continue
            crc = None if progress.anchored else _crc(record)
            if await self._take(record, progress, progress.admit(record.offset, crc, self._clock())):
                fresh.append(replace(record, epoch=progress.epoch, follows=progress.expected))
                progress.taken(record.offset)
        return fresh

    async def _take(self, record: RawRecord, progress: PartitionProgress, verdict: Verdict) -> bool:
        """Do what the verdict asks for; tell whether the record comes next."""
        partition = (record.topic, record.partition)
        if verdict in {Verdict.SUSPECT, Verdict.OLD_NEWS}:
            await self._look(partition, progress)
            if verdict is Verdict.SUSPECT and self._progress.get(partition) is progress:
                return await self._take(record, progress, progress.admit(record.offset, None, self._clock()))
        elif verdict is Verdict.SEEK:
            metrics.GAPS.inc()
            await self._log.seek(partition, progress.expected)
        elif verdict is Verdict.CONFIRM:
            return await self._confirmed(record, partition, progress)
        if verdict in {Verdict.REDELIVERED, Verdict.OLD_NEWS} and self._progress.get(partition) is progress:
            metrics.REDELIVERED.inc()
            self._redelivered.note(record, progress.expected)
        return verdict is Verdict.TAKE

    async def _confirmed(self, record: RawRecord, partition: Partition, progress: PartitionProgress) -> bool:
        following = await self._log.next_after(partition, progress.expected)
        if following is not None and following < record.offset:  # it was an older fetch that came late
            progress.seek_again(self._clock())
            await self._log.seek(partition, progress.expected)
            return False
        log.warning("offsets_missing_in_log", partition=partition, first=progress.expected, found=record.offset)
        return True

    async def _look(self, partition: Partition, progress: PartitionProgress) -> None:
        """Hold the watermark against the log; where that is another one, go to its beginning."""
        marks = await self._patiently(lambda: self._db.watermarks([partition[0]]))
        mark = marks.get(partition, Watermark(*partition))
        verified = await self._verified(mark)
        if verified is mark:
            progress.seen(self._clock())
            return
        self._progress[partition] = _progress_of(verified)
        self._redelivered.forget([partition])
        await self._log.seek(partition, self._progress[partition].start_at)

    async def _verified(self, mark: Watermark) -> Watermark:
        """Return `mark`, or that of a new epoch unless the log is still the one that `mark` speaks of."""
        partition = (mark.topic, mark.partition)
        if mark.next_offset == 0:
            return mark
        earliest = await self._log.earliest(partition)
        if mark.last_crc is None:  # nothing of this epoch is stored, and it began where the log began
            same = earliest >= mark.next_offset
        else:
            same = await self._log.holds(partition, mark.next_offset - 1, mark.last_crc)
        if same:
            return mark
        log.warning("log_recreated", partition=partition, earliest=earliest)
        metrics.EPOCHS.inc()
        try:
            return await self._patiently(lambda: self._db.begin_epoch(mark, earliest))
        except Fenced:
            return (await self._patiently(lambda: self._db.watermarks([mark.topic])))[partition]

    async def _store(self, prepared: Prepared, *, halved: bool = False) -> None:
        for _ in range(_JUDGED_ANEW):  # a batch that waited for the database must not be stored by yesterday's consent
            try:
                await self._store_judged(prepared, halved=halved)
            except GateMoved:
                prepared = await self._prepared(prepared.records)
            else:
                return
        await self._store_judged(replace(prepared, gate=None), halved=halved)

    async def _store_judged(self, prepared: Prepared, *, halved: bool) -> None:
        try:
            while (error := await self._failure(prepared, halved=halved)) is not None:
                if len(prepared.records) > 1:
                    await self._halve(prepared.records, error, halved=halved)
                    return
                if await self._is_given_up(prepared, error):
                    return
            self._given_up = 0
        except Fenced:
            await self._reload({(record.topic, record.partition) for record in prepared.records})

    async def _failure(self, prepared: Prepared, *, halved: bool) -> StoreRefused | StoreStrained | None:
        """Write; return what keeps this very batch from being written, None where it is."""
        try:
            await self._write(prepared, tries_for(len(prepared.records), halved=halved, given_up=self._given_up))
        except (StoreRefused, StoreStrained) as error:
            return error
        return None

    async def _halve(self, records: Sequence[RawRecord], error: StoreRefused | StoreStrained, *, halved: bool) -> None:
        if not halved:
            log.warning("batch_halved", records=len(records), error=str(error))
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            await self._store(await self._prepared(half), halved=True)

    async def _is_given_up(self, prepared: Prepared, error: StoreRefused | StoreStrained) -> bool:
        """Quarantine a single record; tell False where the database breaks off at that too: it is not the record."""
        try:
            await self._write(self._refused(prepared), 1)
        except StoreStrained:
            await asyncio.sleep(self._backoff.delay_s(4 * TRIES))  # about as long as waits get
            return False
        self._given_up += isinstance(error, StoreStrained)
        record = prepared.records[0]  # the error is told without its cause, which may quote the row
        log.error("write_given_up", partition=(record.topic, record.partition), offset=record.offset, error=str(error))
        return True

    def _refused(self, prepared: Prepared) -> Prepared:
        """Return the transaction that quarantines one record which the database refuses."""
        none = np.empty(0, np.int32)
        whole = [Rejected(0, -1, Reason.WRITE_REFUSED.value)]
        batch = replace(prepared.batch, rows=np.empty(0, ROW), record=none, index=none, rejected=whole, reduced={})
        return replace(prepared, batch=replace(batch, ids=None))

    async def _prepared(self, records: Sequence[RawRecord]) -> Prepared:
        gate = await self._patiently(self._gate)
        validated = await asyncio.to_thread(validate, records, self._reduction, gate)
        await self._patiently(lambda: self._db.resolve_keys(validated.patients, validated.origins))
        placed = await asyncio.to_thread(place, validated, self._db.keys.patients, self._db.keys.origins)
        placed.rows["flags"] |= self._memory.flags(placed.rows)
        return Prepared(records, transaction_of(records, validated, placed, rejected(validated)), gate)

    async def _write(self, prepared: Prepared, tries: int | None = None) -> None:
        batch = prepared.batch
        again = self._redelivered.told_with(batch.advances)
        if again:
            batch = replace(batch, duplicates={**batch.duplicates, **again})
        outcome = await self._patiently(lambda: self._write_judged(prepared.gate, batch), tries)
        self._redelivered.told(batch.advances)
        metrics.count(outcome, batch)
        self._sign_of_life()

    async def _write_judged(self, gate: Gate | None, batch: WriteBatch) -> WriteOutcome:
        if gate is not None and await self._gate() is not gate:
            raise GateMoved("the batch is judged anew")
        return await self._db.write(batch)

    async def _reload(self, partitions: set[Partition]) -> None:
        """Another worker wrote where we meant to: forget what we thought, go where the database says."""
        metrics.FENCED.inc()
        for partition, offset in (await self.assigned(sorted(partitions))).items():
            await self._log.seek(partition, offset)

    async def _patiently(self, call: Callable[[], Awaitable[_T]], tries: int | None = None) -> _T:
        """Call until the database answers. Raises `StoreRefused`, and `StoreStrained` after so many in a row."""
        attempts = Attempts(tries)
        while True:
            try:
                return await call()
            except (StoreRefused, StoreUnavailable) as error:
                self._sign_of_life()  # whatever is wrong, it is not that this process is stuck
                if attempts.is_last(error):
                    raise
                metrics.STORE_RETRIES.inc()
                log.warning("store_unavailable", attempt=attempts.failed, error=str(error))
            await asyncio.sleep(self._backoff.delay_s(attempts.waits))


_JUDGED_ANEW: Final = 5
"""A gate that has changed again at every look in a row: what was judged a moment ago is as fresh as can be."""
_MAX_PIECE_BYTES: Final = 8 * 1024 * 1024
"""The most record bytes of one transaction: some 150,000 samples, which bounds what decoding and COPY hold."""


def pieces_of(records: list[RawRecord]) -> list[list[RawRecord]]:
    """Cut records into runs of at most `_MAX_PIECE_BYTES`, or of one record."""
    pieces: list[list[RawRecord]] = []
    held = _MAX_PIECE_BYTES
    for record in records:
        size = len(record.value or b"")
        if held + size > _MAX_PIECE_BYTES:
            pieces.append([])
            held = 0
        pieces[-1].append(record)
        held += size
    return pieces


def crc_of(key: bytes | None, value: bytes | None, timestamp_ms: int) -> int:
    """Return the CRC-32 by which a stored record is recognised in the log: when it was sent, key and value."""
    return zlib.crc32(value or b"", zlib.crc32(key or b"", zlib.crc32(struct.pack("<q", timestamp_ms))))


def _crc(record: RawRecord) -> int:
    return crc_of(record.key, record.value, record.timestamp_ms)


def _progress_of(mark: Watermark) -> PartitionProgress:
    return PartitionProgress(mark.epoch, mark.next_offset, mark.last_crc, anchored=mark.next_offset == 0)


def transaction_of(
    records: Sequence[RawRecord], validated: Validated, placed: Placed, bad: Sequence[Rejected]
) -> WriteBatch:
    """Return the transaction that stores `placed`, quarantines `bad` and moves the watermarks behind `records`."""
    first: dict[Partition, RawRecord] = {}
    last: dict[Partition, RawRecord] = {}
    for record in records:
        first.setdefault((record.topic, record.partition), record)
        last[record.topic, record.partition] = record
    advances = [
        Advance(*partition, end.epoch, first[partition].follows, end.offset, end.timestamp_ms, _crc(end))
        for partition, end in sorted(last.items())
    ]
    return WriteBatch(
        rows=placed.rows,
        record=placed.record,
        index=placed.index,
        adapters=validated.adapters,
        advances=advances,
        describe=lambda position: records[position].source(withheld=position in validated.withheld),
        rejected=bad,
        reduced=validated.reduced_counts,
        not_consented=validated.not_consented,
        ids=placed.ids,
    )
