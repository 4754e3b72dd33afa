"""An Arrow IPC stream as samples and faults. Pure.

What has exactly `vitals.batch.SCHEMA` (what `ingest.record.encode` writes) is taken over as it is; any other stream
goes through `ingest.gateway.arrow_columns`. Either way every byte is somebody else's until it has been validated.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa

from ingest.gateway.arrow_columns import Found, bad_zones, check_columns, columns_of
from ingest.gateway.parsed import BodyRefused, Outcome, Parsed
from ingest.gateway.verdicts import Refusal, all_rejected
from ingest.record_arrow import MAX_BATCHES, MalformedRecord, join, read_batches, without_nulls
from vitals.batch import SCHEMA, SchemaMismatch
from vitals.ids import is_opaque
from vitals.quality import Reason

MAX_ARROW_SAMPLES: Final = 50_000
MAX_WORDS: Final = 4_096
"""The most words that the dictionary of `metric` may hold."""
MAX_WORDS_TOGETHER: Final = 65_536
"""Batches may have a dictionary each."""

_BOUNDS: Final = f"a stream holds at most {MAX_ARROW_SAMPLES} samples in {MAX_BATCHES} batches"
_REFUSALS: Final = MappingProxyType(
    {
        Reason.UNDECODABLE: (400, Refusal.BAD_ARROW, "the body is no readable Arrow IPC stream"),
        Reason.SCHEMA_MISMATCH: (422, Refusal.BAD_COLUMNS, ""),
        Reason.OVERSIZED: (413, Refusal.TOO_MANY, _BOUNDS),
    }
)


def parse_arrow(body: bytes, *, received_us: int, device: str | None, source_app: str | None) -> Parsed:
    """Return what a stream says; who sent it stands in the request's headers.

    Raises `BodyRefused`: 400 for no readable stream, 413 for too many samples, 422 for other columns, for none, or for
    ids that are not opaque.
    """
    _check_opaque("Vigil-Device", device)
    _check_opaque("Vigil-Source-App", source_app)
    try:
        found = _read(body, received_us)
    except MalformedRecord as error:
        status, code, message = _REFUSALS[error.reason]
        raise BodyRefused(status, code, message or str(error)) from error
    except SchemaMismatch as error:
        raise BodyRefused(422, Refusal.BAD_COLUMNS, str(error)) from error
    count = len(found.columns)
    if not count:
        raise BodyRefused(422, Refusal.EMPTY, "the stream holds no sample")
    bad, outcomes = _faults(found)
    if not outcomes:
        return Parsed(count, found.columns, np.arange(count), (), device, source_app, written_us=received_us)
    good = np.flatnonzero(~bad)
    return Parsed(count, found.columns.take(good), good, outcomes, device, source_app, written_us=received_us)


def _check_opaque(header: str, given: str | None) -> None:
    if given is not None and not is_opaque(given):
        raise BodyRefused(422, Refusal.BAD_FIELD, f"header {header} is an opaque id, no name")


def _read(body: bytes, received_us: int) -> Found:
    batches = read_batches(body, check=check_columns, most_samples=MAX_ARROW_SAMPLES)
    _check_words(batches)
    if batches and not batches[0].schema.equals(SCHEMA):
        return columns_of(batches, received_us)
    columns = join(without_nulls(batches))
    columns = replace(columns, received_us=np.full(len(columns), received_us, np.int64))
    return Found(columns, bad_zones(columns.zone_offset_min))


def _check_words(batches: list[pa.RecordBatch]) -> None:
    if not batches or not pa.types.is_dictionary(batches[0].schema.field("metric").type):
        return
    sizes = [len(batch.column("metric").dictionary) for batch in batches]
    if max(sizes) > MAX_WORDS or sum(sizes) > MAX_WORDS_TOGETHER:
        raise SchemaMismatch(f"the dictionary of metric may have {MAX_WORDS} words")


def _faults(found: Found) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], tuple[Outcome, ...]]:
    """Return which samples have a fault, and of each its first."""
    bad = np.zeros(len(found.columns), np.bool_)
    outcomes: list[Outcome] = []
    for fault, field, which in found.faults:
        outcomes += all_rejected(np.flatnonzero(which & ~bad).tolist(), fault, field)
        bad |= which
    return bad, tuple(sorted(outcomes, key=lambda one: one.index))
