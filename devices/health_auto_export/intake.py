"""What all parts of a payload need: origins without names, dates, a place for samples and sessions, and the count."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

from devices.adapter import Reading, Session
from devices.apple.origin import normalised
from devices.documents import number
from devices.errors import MalformedExport
from devices.health_auto_export.dates import Dates, Moment
from devices.local_time import BadTime, Zone
from devices.rows import MAX_DURATION_MS, Origin, Row, Rows
from vitals.ids import DeviceId, pseudonym

Record = dict[str, Any]
MAX_RECORDS: Final = 2_000_000
_NO_ID: Final = bytes(16)


class Refused(Exception):
    """A record gives nothing; `reason` is a word for the tally that quotes no value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Ignored(Exception):
    """A record means nothing to Vigil; `kind` is the word it is counted under."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Intake:
    """Takes the records of one file, or of one payload."""

    def __init__(self, reading: Reading) -> None:
        self.rows = Rows(reading)
        self.dates = Dates(Zone(reading.zone))
        self.tally, self.received_us = reading.tally, reading.received_us
        self._key = reading.hash_key
        self._origins: dict[tuple[str, str], Origin] = {}
        self._left = MAX_RECORDS

    def each(self, records: object, take: Callable[[Record], None]) -> Iterator[None]:
        """Let `take` have each record, and count what became of it. Raises `MalformedExport` for too many of them."""
        for record in records if isinstance(records, list) else []:
            self._left -= 1
            if self._left < 0:
                raise MalformedExport(f"more than {MAX_RECORDS} records in one payload")
            self.tally.read += 1
            try:
                take(_record(record))
            except Refused as refused:
                self.tally.rejected[refused.reason] += 1
            except BadTime:
                self.tally.rejected["date"] += 1
            except Ignored as ignored:
                self.tally.ignored[ignored.kind] += 1
            else:
                self.tally.accepted += 1
            yield

    def ignore(self, name: str, records: object) -> None:
        """Count records that Vigil has no metric for under the source's own word for them."""
        count = len(records) if isinstance(records, list) else 0
        self.tally.read += count
        if count:
            self.tally.ignored[name] += count

    def origin(self, source: object, suffix: str = "") -> Origin:
        """Return the origin of a record: names joined by `|`, as in aggregated records, count in any order."""
        name = source if isinstance(source, str) else ""
        known = self._origins.get((name, suffix))
        if known is None:
            if len(self._origins) > 4_096:
                self._origins.clear()
            joined = "|".join(sorted({normalised(part) for part in name.split("|")}))
            device = DeviceId(pseudonym(self._key, joined, "hae"))
            known = self._origins[name, suffix] = Origin(device, pseudonym(self._key, joined, "app") + suffix)
        return known

    def hidden(self, text: str) -> str:
        """Return a word that stands for a text which nobody may read: the same for the same text."""
        return pseudonym(self._key, normalised(text).casefold(), "x")[2:14]

    def add(
        self,
        origin: Origin,
        metric: int,
        value: float,
        at: Moment,
        *,
        duration_ms: int = 0,
        context: int = 0,
        sample_id: bytes = _NO_ID,
    ) -> None:
        """Keep one sample, its value in the catalogue's unit. Raises `Refused` for a duration that cannot be."""
        if not 0 <= duration_ms <= MAX_DURATION_MS:
            raise Refused("duration")
        self.rows.add(origin, Row(at.time_us, metric, value, duration_ms, at.offset_min, context, sample_id=sample_id))

    def session(
        self,
        origin: Origin,
        kind: str,
        span: tuple[int, int],
        metrics: tuple[str, ...],
        *,
        label: str = "",
        confidence: float = 1.0,
    ) -> None:
        """Keep a session of `span` (microseconds). Its id is the same whenever it is told again."""
        identity = "\x1f".join([*origin, kind, str(span[0])])
        session_id = pseudonym(self._key, identity, "ses")
        self.rows.session(origin, Session(session_id, kind, *span, metrics, confidence, label))

    def span(self, record: Record, start: str = "start", end: str = "end") -> tuple[Moment, int]:
        """Return when a record starts, and its duration in ms (0 without an end). Raises `BadTime`, `Refused`."""
        at = self.dates.read(record.get(start))
        until = record.get(end)
        end_us = at.time_us if until is None or until == "" else self.dates.read(until).time_us
        if end_us < at.time_us:
            raise Refused("duration")
        return at, (end_us - at.time_us) // 1_000


def _record(record: object) -> Record:
    if not isinstance(record, dict):
        raise Refused("not_well_formed")
    return record


def value_of(record: Record, *names: str) -> float:
    """Return the number under the first of `names` that is there. Raises `Refused`."""
    for name in names:
        if record.get(name) is not None:
            found = number(record[name])
            if found is None:
                raise Refused("value")
            return found
    raise Refused("missing_value")


def id_of(record: Record) -> bytes:
    """Return the app's own id of a record, where it is a UUID: anything else could hold a name."""
    text = record.get("id")
    try:
        return uuid.UUID(text).bytes if isinstance(text, str) and len(text) <= 45 else _NO_ID
    except ValueError:
        return _NO_ID
