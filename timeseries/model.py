"""What the store takes and gives: frozen values between the recorder's pure stages and the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from timeseries.rows import Rows
from vitals.errors import VigilError

REPLAY: Final = "vigil-replay"
"""The header by which a record says where in quarantine it was: it is sent again, whoever sent it first."""


class DuplicateReason(StrEnum):
    """Why a sample was there already."""

    REDELIVERED = "redelivered"  # Kafka gave a record again that was stored; no sender sent its samples twice
    RESENT = "resent"  # a device, a backlog or a replay out of quarantine told it again
    OVERLAPPING_EXPORT = "overlapping_export"  # an export told it: the same file again, or one that overlaps


class StoreUnavailable(VigilError):
    """The database does not answer or broke off: nothing of the batch is stored, so it can be tried again."""


class StoreStrained(StoreUnavailable):
    """The database answers, and broke off at this very batch: it may pass later, or cut smaller, or never."""


class StoreRefused(VigilError):
    """The database refuses the batch itself; trying the same again cannot help. Nothing of it is stored."""


class Fenced(VigilError):
    """Another recorder moved this partition's watermark: this batch is no longer ours to write."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a partition is stored, and by which record that can be recognised in the log."""

    topic: str
    partition: int
    epoch: int = 0
    next_offset: int = 0
    last_timestamp_ms: int | None = None
    last_crc: int | None = None


@dataclass(frozen=True, slots=True)
class Advance:
    """Moves a watermark from `from_offset` (where it must stand) to just after `last_offset`."""

    topic: str
    partition: int
    epoch: int
    from_offset: int
    last_offset: int
    timestamp_ms: int
    crc: int


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One raw Kafka record as it came; `patient_id`, `device_id` and `adapter` only where they are opaque ids.

    `withheld`: its value is not kept, because no consent covers all that it holds.
    """

    topic: str
    partition: int
    epoch: int
    offset: int
    timestamp_ms: int
    patient_id: str | None
    device_id: str | None
    adapter: str | None
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A sample that is not stored: its record's position in the batch, its index there (-1: the whole record), why."""

    record: int
    index: int
    reason: str
    metric: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class SampleIds:
    """The ids that some rows of a batch were told under: `at` (k,) positions among the rows, `raw` (k, 16) uint8."""

    at: NDArray[np.intp]
    raw: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """Everything of one transaction.

    `rows` are accepted samples. For each of them `record` gives the position of the Kafka record that it came from
    and `index` its place in that record. `describe` returns a record by position, and is asked only for records
    whose samples are quarantined, and for those of exports whose samples are there already. `duplicates` counts
    (adapter, reason) of what never became a row, `reduced` counts (adapter, metric key) of accepted samples that did
    not because others of their record stand for them, `not_consented` (adapter, metric key) of samples that no consent
    covers. `ids` is None where no row came with an id of its sender's.
    """

    rows: Rows
    record: NDArray[np.int32]
    index: NDArray[np.int32]
    adapters: Sequence[str]
    advances: Sequence[Advance]
    describe: Callable[[int], SourceRecord]
    rejected: Sequence[Rejected] = ()
    duplicates: Mapping[tuple[str, str], int] = field(default_factory=dict)
    reduced: Mapping[tuple[str, int], int] = field(default_factory=dict)
    not_consented: Mapping[tuple[str, int], int] = field(default_factory=dict)
    ids: SampleIds | None = None


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """What became of a batch's samples; `reduced` and `not_consented` ones were no rows of it."""

    inserted: int
    replaced: int = 0
    revisions: int = 0
    duplicates: int = 0
    conflicts: int = 0
    reduced: int = 0
    not_consented: int = 0
