"""The words in which the quarantine is looked at: where something stood, what is selected, what is told of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from timeseries.model import SourceRecord


class Place(NamedTuple):
    """Where a raw record stood in the log; with an index, the id of a quarantined sample."""

    topic: str
    partition: int
    epoch: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.epoch}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of the quarantine is meant; what is empty or None leaves nothing out.

    `again`: for a replay, also what was replayed before.
    """

    since: datetime | None = None
    reasons: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    again: bool = False

    def values(self) -> dict[str, Any]:
        """Return the parameters of the queries."""
        names = ("topics", "partitions", "epochs", "offsets")
        columns = zip(*self.places, strict=True) if self.places else [None] * len(names)
        return {
            "since": self.since, "reasons": list(self.reasons) or None, "adapters": list(self.adapters) or None,
            "devices": list(self.devices) or None, "again": self.again,
            **{name: column and list(column) for name, column in zip(names, columns, strict=True)},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Count:
    """How many samples and whole records one word (a reason, a device, ...) stands for; `by` is `all` for the total."""

    by: str
    word: str
    samples: int
    records: int
    replayed: int
    newest: datetime | None


@dataclass(frozen=True, slots=True)
class Example:
    """One quarantined sample, or record (index -1): where, why and of what, never its value."""

    place: Place
    index: int
    reason: str
    metric: str | None
    recorded_at: datetime
    replayed_at: datetime | None
    patient_id: str | None
    device_id: str | None
    adapter: str | None


@dataclass(frozen=True, slots=True)
class Extent:
    """What a replay will look at: raw records, quarantined rows in them, conflicts left out, and up to which time."""

    records: int
    rows: int
    conflicts: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """A raw record, and which of its indices are quarantined and selected (-1: the whole record)."""

    source: SourceRecord
    indices: tuple[int, ...]

    @property
    def place(self) -> Place:
        """Where it stood."""
        return Place(self.source.topic, self.source.partition, self.source.epoch, self.source.offset)
