"""What stands on `vigil.watch.state`: one record a patient, and a marker a partition. Pure; bytes and back.

A record is a line of JSON (version, epoch, offsets, times), then what it carries, compressed with zstd: Kafka's
compression knows only whole batches, and a patient's snapshot must stay below the largest message by itself.

An epoch is one life of a partition's log as the watch knew it. A `Place` is recognised in the log by the record before
it: where that is gone or another, the log began anew, and no offset means anything any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from vitals.errors import VigilError

VERSION: Final = 1
MARKER: Final = b"!marker"
"""The key of a partition's marker: no patient's, whose ids begin with a letter or a digit."""
LOST: Final = b"lost"
"""The value where a patient's state could not be written: read as a damaged one, so that the log is asked instead."""
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""The most that a body may grow to when it is read: our own topic, and still bytes from outside."""


class UnreadableState(VigilError):
    """A record of the watch's state is damaged or of another version: what it is about begins from the log."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a partition was seen: every record below `offset`. `timestamp_ms` and `crc` are of the last of them,
    None where none was seen by whoever says so."""

    epoch: str
    offset: int
    timestamp_ms: int | None = None
    crc: int | None = None

    @property
    def is_recognisable(self) -> bool:
        """Whether the log can be asked for the record before."""
        return self.crc is not None and self.offset > 0


@dataclass(frozen=True, slots=True)
class Kept:
    """One record of the state topic.

    `place` is where the partition stood when it was taken. `below`: all of this patient's records below this offset are
    in it (more than `place` says while a log is read again); of a marker: every change by a record below it is in the
    snapshots that stand before it on the topic. `taken_ms` is the watch's clock. `body` is the engine's snapshot; of a
    marker the open alert about the pipeline, if there is one.
    """

    place: Place
    below: int
    taken_ms: int
    body: bytes


def pack(kept: Kept) -> bytes:
    """Return the record's value."""
    place = kept.place
    head = {
        "v": VERSION, "epoch": place.epoch, "offset": place.offset, "at": place.timestamp_ms, "crc": place.crc,
        "below": kept.below, "taken": kept.taken_ms, "size": len(kept.body),
    }  # fmt: skip
    line = json.dumps(head, separators=(",", ":")).encode()
    return line + b"\n" + (pa.compress(kept.body, codec="zstd", asbytes=True) if kept.body else b"")


def unpack(value: bytes) -> Kept:
    """Return what `pack` was given. Raises `UnreadableState`."""
    line, _, packed = value.partition(b"\n")
    try:
        head = json.loads(line)
        if head["v"] != VERSION:
            raise UnreadableState("a record of the watch's state was written by another version")
        place = Place(str(head["epoch"]), _number(head["offset"]), _or_none(head["at"]), _or_none(head["crc"]))
        return Kept(place, _number(head["below"]), _number(head["taken"]), _body(packed, int(head["size"])))
    except (ValueError, KeyError, TypeError, OSError, OverflowError, RecursionError, pa.ArrowException) as error:
        raise UnreadableState("a record of the watch's state is damaged") from error


def _body(packed: bytes, size: int) -> bytes:
    if not 0 <= size <= MAX_BODY_BYTES:
        raise UnreadableState("a record of the watch's state is too large")
    return pa.decompress(packed, decompressed_size=size, codec="zstd", asbytes=True) if size else b""


def _or_none(held: Any) -> int | None:
    return None if held is None else _number(held, -1)  # a record without a time has -1


def _number(held: Any, least: int = 0) -> int:
    number = int(held)
    if not least <= number < 2**63:
        raise ValueError("neither an offset nor a time")
    return number
