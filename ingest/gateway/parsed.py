"""What a request holds once it is read, and what becomes of each sample in it: between parsing and answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ingest.record import Record
from vitals.batch import SampleColumns
from vitals.errors import VigilError


class BodyRefused(VigilError):
    """A request cannot be read at all. The message says what is expected, never what was given.

    `status`: HTTP status; `code`: a stable word for programs (the last part of the problem's type); `pointer`: JSON
    pointer to where.
    """

    def __init__(self, status: int, code: str, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.pointer = status, code, pointer


class Retry(StrEnum):
    """Whether a rejected sample is worth sending again."""

    NEVER = "never"  # the same sample is refused for good: correct it, or drop it
    LATER = "later"  # somebody may change what stands against it (registry, binding): send it again in an hour


class Status(StrEnum):
    """What became of a sample that was not accepted as new."""

    DUPLICATE = "duplicate"  # the same sample stands earlier in this request
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the sample at `index` of a request. `reason`: `vitals.quality.Reason` or `parsed.Fault`."""

    index: int
    status: Status
    reason: str = ""
    retry: Retry | None = None
    field: str = ""


class Fault(StrEnum):
    """Why a sample of a request cannot be read, beside what `vitals.quality.Reason` knows."""

    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    WRONG_TYPE = "wrong_type"
    BAD_TIME = "bad_time"  # no ISO 8601 time with an offset
    BAD_ID = "bad_id"  # no UUID
    WRONG_UNIT = "wrong_unit"  # not the catalogue's unit of this metric
    UNKNOWN_WORD = "unknown_word"  # a context that `vitals.quality.Context` does not have
    TWO_LENGTHS = "two_lengths"  # `end` and `duration_ms`: one of them says it


def _no_ids() -> NDArray[np.uint8]:
    return np.empty((0, 16), np.uint8)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A request that could be read: `columns` are its readable samples, `index` where each stood in the request.

    `faults` are the others. `device` and `source_app` are as given, None where not. `deletions`: sample ids,
    (n, 16). `written_us` is when the sender wrote the request, as far as it says so, else when it was received.
    """

    count: int
    columns: SampleColumns
    index: NDArray[np.int64]
    faults: tuple[Outcome, ...] = ()
    device: str | None = None
    source_app: str | None = None
    deletions: NDArray[np.uint8] = field(default_factory=_no_ids)
    anchors: Mapping[str, str] = field(default_factory=dict)
    written_us: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record and the topics it goes to: at once, or from the spool later."""

    record: Record
    topic: str
    later: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be delivered, and the verdicts. `accepted` counts samples; `outcomes` holds all others, by index."""

    deliveries: tuple[Delivery, ...]
    accepted: int
    outcomes: tuple[Outcome, ...]
    deletions: int = 0
    not_consented: Mapping[int, int] = field(default_factory=dict)
