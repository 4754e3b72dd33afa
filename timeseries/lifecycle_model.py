"""What the lifecycle speaks of: what is due, what an archive must do for it, what a run came to. No driver, no SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol

from timeseries.rows import Rows
from vitals.errors import VigilError

DAY = timedelta(days=1)


class AnotherRun(VigilError):
    """Somebody works on the life of data already: wait until that is done."""


class Archive(Protocol):
    """Where samples go before they are dropped. Each call may be repeated. Raises VigilError and OSError."""

    def archive_day(self, connection: Any, retention_class: str, utc_day: date) -> None:
        """Write what `samples` hold of that class and day and no verified file has, and verify it."""

    def read_rows(self, connection: Any, retention_class: str, utc_day: date, patients: Sequence[int]) -> Rows:
        """Return the standing versions (tombstones too) of these patient keys' rows of that class and day."""


class KeepingArchive(Archive, Protocol):
    """An archive that has a policy of its own."""

    def expire(self, connection: Any, retention_class: str, before: date) -> int:
        """Let go of what is archived of a class from before a UTC day, but for patients on hold; return the rows."""


@dataclass(frozen=True, slots=True)
class Due:
    """What one policy asks for now: `action` archive or drop, after which age (None: never), rows, why some wait."""

    retention_class: str
    tier: str
    action: str
    after: str | None
    rows: int = 0
    days: int = 0
    waits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawClass:
    """A class of samples: before which times its days are archived and go, and how far that came (None: nowhere)."""

    retention_class: str
    archive_before: datetime | None
    drop_before: datetime | None
    horizon: datetime | None
    archived_until: datetime | None


@dataclass(slots=True)
class Report:
    """What a run did: days that were archived, late days, rows dropped by (class, tier); and what it left, and why.

    `waits` is as it should be, or will be by itself; of `failed` somebody has to take care.
    """

    archived: list[tuple[str, date]] = field(default_factory=list)
    late: list[tuple[str, date]] = field(default_factory=list)
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)
    waits: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def drop(self, retention_class: str, tier: str, rows: int) -> None:
        """Count rows that went."""
        if rows:
            key = (retention_class, tier)
            self.dropped[key] = self.dropped.get(key, 0) + rows


@dataclass(frozen=True, slots=True)
class Work:
    """One run: its connection (autocommit, UTC), the archive if there is one, the time by which ages are judged.

    `done` is told of each step and its rows; `reached` the name of each point at which a run may be broken off, which
    is how tests break it off there.
    """

    connection: Any
    archive: KeepingArchive | None
    moment: datetime
    report: Report
    done: Callable[[str, int], None] = lambda _step, _rows: None
    reached: Callable[[str], None] = lambda _point: None


def midnight(day: date) -> datetime:
    """Return the beginning of a UTC day."""
    return datetime.combine(day, time(), UTC)


def weeks(days: Sequence[date]) -> Iterator[Sequence[date]]:
    """Yield sorted days in groups that span a week at most."""
    start = 0
    for at in range(1, len(days) + 1):
        if at == len(days) or days[at] - days[start] >= 7 * DAY:
            yield days[start:at]
            start = at
