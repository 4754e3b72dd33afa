"""What today's rules make of a record that is in quarantine, and the record that is its second chance. Pure.

A sample keeps its start, its written and its received time, its own id and its origin, so that its identity and its
version decide what becomes of it, as if it had come late: replayed twice it is stored once. So does a waveform's chunk;
what its recorder makes of one that comes late is said in `stream.waveform_signal`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.record import Record, decode_many, encode
from ingest.topics import MAX_MESSAGE_BYTES, SAMPLES_BACKFILL, WAVEFORMS
from ingest.waveform_record import encode_chunk
from stream.assemble import RawRecord
from stream.waveform_assemble import open_records
from timeseries.model import REPLAY
from timeseries.quarantine_model import Held
from vitals.batch import BatchHeader, SampleColumns
from vitals.quality import Reason
from vitals.validity import REASONS, reasons

WHOLE: Final = -1
"""The index of a record that is quarantined as a whole."""
DERIVED: Final = "derived"
"""Why a sample that was found in a waveform stays: its chunk is stored, and its neighbours' memory has moved on."""
OURS: Final = frozenset({"vigil-schema", "vigil-device", "vigil-source-app", "vigil-adapter", "traceparent"})
"""The headers that travel again. A stranger's may say anything, a name too: they stay in the quarantine."""

_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context, 3.2


@dataclass(frozen=True, slots=True)
class Chance:
    """What becomes of the quarantined rows of one record under today's rules.

    `record` is to be sent to `topic` for the rows `indices`, and carries `accepted` good samples, or one chunk of a
    waveform (`chunks`); None where every row stays. `rejected` counts the rows that stay, by today's reason.
    `returning` counts samples of a whole record that the recorder will quarantine again, now each by itself.
    """

    record: Record | None = None
    indices: tuple[int, ...] = ()
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    returning: Counter[str] = field(default_factory=Counter)
    topic: str = SAMPLES_BACKFILL
    chunks: int = 0


def chances(page: Sequence[Held]) -> list[Chance]:
    """Judge held records by today's rules, each by itself. Raises nothing for what they hold."""
    there = [held for held in page if not held.source.withheld]
    judged = iter(_of_samples([held for held in there if held.source.topic != WAVEFORMS]))
    return [
        _withheld(held) if held.source.withheld else _waveform(held) if held.source.topic == WAVEFORMS else next(judged)
        for held in page
    ]


def _withheld(held: Held) -> Chance:
    """Say that nothing can be sent: the record's value was not kept, because no consent covers all that it held."""
    return Chance(rejected=Counter({Reason.NO_CONSENT.value: len(held.indices)}))


def _of_samples(page: Sequence[Held]) -> list[Chance]:
    """Judge records of samples: decoded and validated together, in two thirds of the time that one by one takes."""
    decoded = decode_many((held.source.key, held.source.value, held.source.headers) for held in page)
    codes = reasons(decoded.columns)
    ends = np.cumsum(decoded.counts)
    found: list[Chance] = []
    for at, held in enumerate(page):
        header, span = decoded.headers[at], np.arange(ends[at] - decoded.counts[at], ends[at])
        if header is None:
            reason = decoded.failures[at].reason.value
            found.append(Chance(rejected=Counter({reason: len(held.indices)})))
        elif WHOLE in held.indices:
            found.append(_whole(held, codes[span]))
        else:
            found.append(_part(held, header, decoded.columns.take(span), codes[span]))
    return found


def _waveform(held: Held) -> Chance:
    """Send a chunk that is in quarantine; it is written anew, so that only what it is made of travels."""
    derived = Counter({DERIVED: sum(index != WHOLE for index in held.indices)})
    if WHOLE not in held.indices:
        return Chance(rejected=derived)
    source = held.source
    raw = RawRecord(
        source.topic, source.partition, source.offset, source.timestamp_ms, source.key, source.value, source.headers
    )
    opened = open_records([raw])
    told = opened.told[0]
    if told is None:
        return Chance(rejected=derived + Counter({opened.failures[0].reason: 1}))
    header, chunk = told
    if not _TRACEPARENT.fullmatch((header.traceparent or "").encode()):
        header = replace(header, traceparent=None)
    record = encode_chunk(header, chunk)
    sent = Record(record.key, record.value, (*record.headers, (REPLAY, str(held.place).encode())))
    return Chance(sent, (WHOLE,), rejected=+derived, topic=WAVEFORMS, chunks=1)


def _whole(held: Held, codes: NDArray[np.uint8]) -> Chance:
    """Send the record as it was: what is wrong in it now gets a reason and a row of its own, nothing vanishes."""
    wrong = _counted(codes[codes > 0])
    accepted = len(codes) - wrong.total()
    if not accepted:
        return Chance(rejected=Counter({wrong.most_common(1)[0][0]: len(held.indices)}))
    return _sent(held, held.source.value or b"", held.indices, accepted, returning=wrong)


def _part(held: Held, header: BatchHeader, columns: SampleColumns, codes: NDArray[np.uint8]) -> Chance:
    """Send only those of the quarantined samples that pass; their neighbours were stored long ago."""
    indices = np.array(held.indices, np.intp)
    known = indices < len(codes)  # a value that is no longer the one that was judged
    verdicts = codes[indices[known]]
    rejected = _counted(verdicts[verdicts > 0])
    rejected += Counter({Reason.UNDECODABLE.value: int(np.count_nonzero(~known))})
    passing = indices[known][verdicts == 0]
    if not len(passing):
        return Chance(rejected=rejected)
    value = encode(header, columns.take(passing)).value
    return _sent(held, value, tuple(passing.tolist()), len(passing), rejected=rejected)


def _sent(
    held: Held,
    value: bytes,
    indices: tuple[int, ...],
    accepted: int,
    *,
    rejected: Counter[str] | None = None,
    returning: Counter[str] | None = None,
) -> Chance:
    rejected = Counter() if rejected is None else rejected
    record = Record(held.source.key or b"", value, _headers(held))
    if _size(record) > MAX_MESSAGE_BYTES:  # it was at the limit, and the header that says where it was is too much
        return Chance(rejected=rejected + Counter({Reason.OVERSIZED.value: len(indices)}))
    return Chance(record, indices, accepted, rejected, Counter() if returning is None else returning)


def _headers(held: Held) -> tuple[tuple[str, bytes], ...]:
    # Told twice, the last counts: it was judged, and what the others say nobody knows.
    last = dict(held.source.headers)
    kept = tuple((name, raw) for name, raw in last.items() if raw is not None and _travels(name, raw))
    return (*kept, (REPLAY, str(held.place).encode()))


def _travels(name: str, raw: bytes) -> bool:
    return name in OURS and (name != "traceparent" or _TRACEPARENT.fullmatch(raw) is not None)


_OVERHEAD: Final = 128
"""More than what Kafka adds to the fields of one record (KIP-98: at most 21 bytes, and 61 for its batch)."""


def _size(record: Record) -> int:
    headers = sum(len(name) + len(raw) + 10 for name, raw in record.headers)
    return _OVERHEAD + len(record.key) + len(record.value) + headers


def _counted(codes: NDArray[np.uint8]) -> Counter[str]:
    numbers, counts = np.unique(codes, return_counts=True)
    return Counter({str(REASONS[number]): int(count) for number, count in zip(numbers, counts, strict=True)})
