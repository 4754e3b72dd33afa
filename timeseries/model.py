"""What the store takes and gives: frozen values between the recorder's pure stages and the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from timeseries.rows import Rows
from vitals.errors import VigilError


class DuplicateReason(StrEnum):
    """Why a sample was there already."""

    REDELIVERED = "redelivered"  # Kafka gave the same record twice
    RESENT = "resent"  # the device or an overlapping export told it again


class StoreUnavailable(VigilError):
    """The database does not answer or broke off: nothing of the batch is stored, so it can be tried again."""


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
    """One raw Kafka record as it came; `patient_id`, `device_id` and `adapter` only where they are opaque ids."""

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


@dataclass(frozen=True, slots=True)
class Rejected:
    """A sample that is not stored: its record's position in the batch, its index there (-1: the whole record), why."""

    record: int
    index: int
    reason: str
    metric: str | None = None


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """Everything of one transaction.

    `rows` are accepted samples. For each of them `record` gives the position of the Kafka record that it came from
    and `index` its place in that record. `describe` returns a record by position, and is asked only for records
    whose samples are quarantined. `duplicates` counts (adapter, reason) of what never became a row.
    """

    rows: Rows
    record: NDArray[np.int32]
    index: NDArray[np.int32]
    adapters: Sequence[str]
    advances: Sequence[Advance]
    describe: Callable[[int], SourceRecord]
    rejected: Sequence[Rejected] = ()
    duplicates: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """What became of a batch's accepted rows, in samples."""

    inserted: int
    replaced: int = 0
    revisions: int = 0
    duplicates: int = 0
    conflicts: int = 0
