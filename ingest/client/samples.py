"""Samples as a sender has them, and the two bodies that POST /v1/samples takes: JSON and Arrow. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson
import pyarrow as pa

from vitals.batch import NO_ZONE, SampleColumns, sample_columns, to_arrow
from vitals.catalogue import BY_CODE, BY_NUMBER
from vitals.clock import from_datetime
from vitals.errors import VigilError
from vitals.quality import Context

MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample. Times are aware datetimes; the offset of `start` travels as the wearer's zone, that of `UTC` as none.

    `value` is in the catalogue's unit and None only where `deleted`; `duration_ms` 0 is a moment; `written`: when the
    phone or bridge wrote it down (None: now): a later one corrects an earlier; `id`: the sender's own, by which a
    deletion names it.
    """

    metric: str
    start: datetime
    value: float | None = None
    duration_ms: int = 0
    quality: float = 1.0
    context: tuple[str, ...] = ()
    written: datetime | None = None
    id: UUID | None = None
    deleted: bool = False

    def __post_init__(self) -> None:
        """Raise `VigilError` for a time without a zone."""
        if self.start.tzinfo is None or (self.written is not None and self.written.tzinfo is None):
            raise VigilError("the times of a sample need a zone: datetime.now(UTC), or that of the wearer")


Samples = SampleColumns | Iterable[Sample]


def json_body(
    samples: Samples,
    *,
    device: str | None,
    source_app: str | None,
    deletions: Sequence[UUID] = (),
    anchors: Mapping[str, str] | None = None,
) -> bytes:
    """Return the JSON body of a request."""
    listed = _from_columns(samples) if isinstance(samples, SampleColumns) else [_as_json(one) for one in samples]
    told = {"device": device, "source_app": source_app, "deletions": list(deletions), "anchors": dict(anchors or {})}
    return orjson.dumps({"samples": listed} | {name: value for name, value in told.items() if value})


def arrow_body(columns: SampleColumns) -> bytes:
    """Return the Arrow IPC stream of `vitals.batch.SCHEMA`. Raises KeyError for a metric that the catalogue lacks."""
    batch = to_arrow(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def columns_of(samples: Sequence[Sample], now_us: int) -> SampleColumns:
    """Return samples as columns, written `now_us` where they do not say.

    Raises `VigilError` for a metric, context or value that is none.
    """
    if any(one.metric not in BY_CODE for one in samples):
        raise VigilError("a sample's metric is not in the catalogue (vitals/catalogue.py)")
    if any(one.value is None and not one.deleted for one in samples):
        raise VigilError("a sample needs a value, unless it is deleted")
    start = np.array([from_datetime(one.start) for one in samples], np.int64)
    ids = b"".join(bytes(16) if one.id is None else one.id.bytes for one in samples)
    return sample_columns(
        start,
        np.array([BY_CODE[one.metric].number for one in samples], np.int16),
        np.array([0.0 if one.value is None else one.value for one in samples], np.float64),
        received_us=now_us,  # the gateway stamps its own
        written_us=np.array([from_datetime(one.written) if one.written else now_us for one in samples], np.int64),
        duration_ms=np.array([one.duration_ms for one in samples], np.int64),
        zone_offset_min=np.array([_zone_min(one.start) for one in samples], np.int16),
        quality=np.array([one.quality for one in samples], np.float32),
        context=np.array([_context(one.context) for one in samples], np.int16),
        sample_id=np.frombuffer(ids, np.uint8).reshape(-1, 16),
        deleted=np.array([one.deleted for one in samples], np.bool_),
    )


def _zone_min(moment: datetime) -> int:
    offset = moment.utcoffset()
    return NO_ZONE if moment.tzinfo is UTC or offset is None else offset // MINUTE


def _context(words: Iterable[str]) -> int:
    known = Context.__members__
    if not all(word.upper() in known for word in words):
        raise VigilError(f"a sample's context is one of {', '.join(known).lower()}")
    return int(sum(known[word.upper()] for word in set(words)))


def _as_json(one: Sample) -> dict[str, Any]:
    told: dict[str, Any] = {"metric": one.metric, "start": _iso(one.start)}
    if one.value is not None:
        told["value"] = one.value
    if one.duration_ms:
        told["duration_ms"] = one.duration_ms
    if one.quality != 1:
        told["quality"] = one.quality
    if one.context:
        told["context"] = list(one.context)
    if one.written is not None:
        told["written"] = _iso(one.written)
    if one.id is not None:
        told["id"] = str(one.id)
    if one.deleted:
        told["deleted"] = True
    return told


def _iso(moment: datetime) -> str:
    """UTC itself is written Z: it says when, and nothing of where the wearer was."""
    return f"{moment.replace(tzinfo=None).isoformat()}Z" if moment.tzinfo is UTC else moment.isoformat()


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _from_columns(columns: SampleColumns) -> list[dict[str, Any]]:
    """Each sample by itself: for JSON, which is not for the many."""
    told = [_as_json(_sample(columns, at)) for at in range(len(columns))]
    for at in np.flatnonzero(columns.zone_offset_min == 0):  # Python has no other zone of no offset than UTC itself
        told[at]["start"] = told[at]["start"].replace("Z", "+00:00")
    return told


def _sample(columns: SampleColumns, at: int) -> Sample:
    raw, deleted = columns.sample_id[at].tobytes(), bool(columns.deleted[at])
    return Sample(
        metric=BY_NUMBER[int(columns.metric[at])].code,
        start=_moment(int(columns.start_us[at]), int(columns.zone_offset_min[at])),
        value=None if deleted else float(columns.value[at]),
        duration_ms=int(columns.duration_ms[at]),
        quality=float(columns.quality[at]),
        context=tuple((word.name or "").lower() for word in Context(int(columns.context[at]))),
        written=_moment(int(columns.written_us[at]), NO_ZONE),
        id=UUID(bytes=raw) if any(raw) else None,
        deleted=deleted,
    )


def _moment(time_us: int, zone_offset_min: int) -> datetime:
    moment = _EPOCH + timedelta(microseconds=time_us)
    return moment if zone_offset_min == NO_ZONE else moment.astimezone(timezone(zone_offset_min * MINUTE))
