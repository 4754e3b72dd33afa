"""The archive's manifest and its chain: what a file is, what its leaves are, and how each link holds the one before.

Pure. chain = SHA-256(previous chain || record), the record being canonical JSON (keys sorted, no blanks, ASCII) of what
can never change: of a file its place and leaf root; of an event which leaves left the archive, by whom, why, when.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from vitals.errors import VigilError

GENESIS: Final = bytes(32)
MANIFEST_VERSION: Final = 1


class ArchiveDamaged(VigilError):
    """A file or manifest of the archive is missing, or is not what was archived; the message names it."""


class ArchiveBusy(VigilError):
    """Another process works on the archive: try again when it is done."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a file holds of one patient. `patient_id`, `salt` are None and `erased_at` is set once it was erased."""

    position: int
    patient_key: int
    patient_id: str | None
    rows: int
    sha256: bytes
    salt: bytes | None
    erased_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One row of `archive_files`: class, UTC day, part; `uri` below the archive's root, None where nothing is left."""

    file_id: int
    retention_class: str
    utc_day: date
    part: int
    uri: str | None
    rows: int
    size_bytes: int
    min_time: datetime | None
    max_time: datetime | None
    sha256: bytes | None
    leaf_root: bytes
    link: int
    previous: bytes
    chain: bytes
    verified_at: datetime
    created_at: datetime
    manifest_written: bool
    replaces: str | None

    def __str__(self) -> str:
        return f"{self.retention_class} {self.utc_day} part {self.part}" + (f" ({self.uri})" if self.uri else "")


@dataclass(frozen=True, slots=True)
class Event:
    """Leaves that left a file: their positions, who did it, why, when."""

    link: int
    kind: str
    file_id: int
    positions: tuple[int, ...]
    who: str
    why: str
    at: datetime
    previous: bytes
    chain: bytes


def leaf_root(leaves: Iterable[tuple[int, bytes]]) -> bytes:
    """Return SHA-256 over (rows as 8 bytes, hash) of every leaf, erased ones too, in the order of their positions."""
    return hashlib.sha256(b"".join(struct.pack(">q", rows) + sha256 for rows, sha256 in leaves)).digest()


def link_hash(previous: bytes, record: Mapping[str, object]) -> bytes:
    """Return the chain's next hash."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(previous + text.encode("ascii")).digest()


def file_record(
    link: int, file_id: int, retention_class: str, utc_day: date, part: int, root: bytes
) -> dict[str, object]:
    """Return what the chain holds of a file; the leaf root holds its rows."""
    return {
        "kind": "file", "link": link, "file_id": file_id, "retention_class": retention_class,
        "utc_day": utc_day.isoformat(), "part": part, "leaf_root": root.hex(),
    }  # fmt: skip


def event_record(
    link: int, kind: str, file_id: int, positions: Sequence[int], who: str, why: str, at: datetime
) -> dict[str, object]:
    """Return what the chain holds of an event."""
    return {
        "kind": kind, "link": link, "file_id": file_id, "positions": list(positions), "who": who, "why": why,
        "at": _time(at),
    }  # fmt: skip


def file_hash(file: ArchivedFile) -> bytes:
    """Return the hash that this file's link must have."""
    record = file_record(file.link, file.file_id, file.retention_class, file.utc_day, file.part, file.leaf_root)
    return link_hash(file.previous, record)


def event_hash(event: Event) -> bytes:
    """Return the hash that this event's link must have."""
    record = event_record(event.link, event.kind, event.file_id, event.positions, event.who, event.why, event.at)
    return link_hash(event.previous, record)


def manifest(file: ArchivedFile, leaves: Sequence[Leaf], events: Sequence[Event]) -> bytes:
    """Return the JSON that lies beside a file: all that its row, its leaves and its events say."""
    told = {
        "version": MANIFEST_VERSION,
        "file_id": file.file_id, "retention_class": file.retention_class, "utc_day": file.utc_day.isoformat(),
        "part": file.part, "uri": file.uri, "rows": file.rows, "size_bytes": file.size_bytes,
        "min_time": _time(file.min_time), "max_time": _time(file.max_time), "sha256": _hex(file.sha256),
        "leaf_root": file.leaf_root.hex(), "link": file.link, "previous": file.previous.hex(),
        "chain": file.chain.hex(), "created_at": _time(file.created_at),
        "leaves": [
            {
                "position": leaf.position, "patient_id": leaf.patient_id, "rows": leaf.rows,
                "sha256": leaf.sha256.hex(), "salt": _hex(leaf.salt), "erased_at": _time(leaf.erased_at),
            }
            for leaf in leaves
        ],
        "events": [
            {
                "link": event.link, "kind": event.kind, "positions": list(event.positions), "who": event.who,
                "why": event.why, "at": _time(event.at), "previous": event.previous.hex(), "chain": event.chain.hex(),
            }
            for event in events
        ],
    }  # fmt: skip
    return (json.dumps(told, indent=1) + "\n").encode("ascii")


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")
