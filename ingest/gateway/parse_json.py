"""A JSON request as samples, faults, deletions and anchors. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ingest.gateway.iso_time import time_of
from ingest.gateway.json_faults import fault_of
from ingest.gateway.json_samples import Faulty, columns_of
from ingest.gateway.json_text import load_json
from ingest.gateway.parsed import BodyRefused, Outcome, Parsed
from ingest.gateway.sample_ids import is_sample_id, sample_ids_of
from ingest.gateway.verdicts import Refusal, rejected
from vitals.batch import SampleColumns, sample_columns
from vitals.ids import is_opaque

MAX_JSON_SAMPLES: Final = 10_000
MAX_DELETIONS: Final = 5_000
MAX_ANCHORS: Final = 100
MAX_ANCHOR_CHARS: Final = 4_096

_FIELDS: Final = frozenset({"device", "source_app", "written", "samples", "deletions", "anchors"})
_VISIBLE: Final = re.compile(r"[\x20-\x7e]+")


def parse_json(body: bytes, *, received_us: int) -> Parsed:
    """Return what a request's body says. Raises `BodyRefused` (400, 413, 422) where it cannot be read at all."""
    return parse_document(load_json(body), received_us=received_us)


def parse_document(document: object, *, received_us: int) -> Parsed:
    """Return what a request says that `load_json` read: for a stream, whose messages have fields of their own.

    Raises `BodyRefused` (413, 422).
    """
    if type(document) is not dict:
        raise _bad("", "a request is an object")
    if not document.keys() <= _FIELDS:
        raise _bad("", f"the fields of a request are {', '.join(sorted(_FIELDS))}; the credential tells the patient")
    samples, deletions = _list(document, "samples", MAX_JSON_SAMPLES), _list(document, "deletions", MAX_DELETIONS)
    anchors = _anchors(document.get("anchors"))
    if not (samples or deletions or anchors):
        raise BodyRefused(422, Refusal.EMPTY, "a request holds samples, deletions or anchors")
    written_us = _written_us(document.get("written"), received_us)
    columns, index, faults = read_samples(samples, written_us=written_us, received_us=received_us)
    return Parsed(
        len(samples), columns, index, faults, _opaque(document, "device"), _opaque(document, "source_app"),
        _deletions(deletions), anchors, written_us,
    )  # fmt: skip


def read_samples(
    samples: Sequence[object], *, written_us: int, received_us: int
) -> tuple[SampleColumns, NDArray[np.int64], tuple[Outcome, ...]]:
    """Return the readable samples, where each stood, and what is wrong with the others."""
    good: Sequence[int] = range(len(samples))
    faults: list[Outcome] = []
    try:
        columns = _columns(samples, written_us, received_us)
    except Faulty:
        found = [fault_of(sample) for sample in samples]
        faults = [rejected(at, *fault) for at, fault in enumerate(found) if fault is not None]
        good = [at for at, fault in enumerate(found) if fault is None]
        columns = _columns([samples[at] for at in good], written_us, received_us)
    return columns, np.array(good, np.int64), tuple(faults)


def _columns(samples: Sequence[object], written_us: int, received_us: int) -> SampleColumns:
    if samples:
        return columns_of(samples, written_us=written_us, received_us=received_us)
    none = np.empty(0, np.int64)
    return sample_columns(none, none.astype(np.int16), none.astype(np.float64), received_us=received_us)


def _bad(pointer: str, message: str) -> BodyRefused:
    return BodyRefused(422, Refusal.BAD_FIELD, message, pointer)


def _list(document: Mapping[str, Any], name: str, most: int) -> list[object]:
    given = document.get(name)
    if given is None:
        return []
    if type(given) is not list:
        raise _bad(f"/{name}", f"{name} is a list")
    if len(given) > most:
        raise BodyRefused(413, Refusal.TOO_MANY, f"a request holds at most {most} {name}", f"/{name}")
    return given


def _opaque(document: Mapping[str, Any], name: str) -> str | None:
    given = document.get(name)
    if given is not None and (type(given) is not str or not is_opaque(given)):
        raise _bad(f"/{name}", f"{name} is an opaque id: 1 to 64 letters, digits, '.', '_', ':' or '-', no name")
    return given


def _written_us(given: object, received_us: int) -> int:
    if given is None:
        return received_us
    told = time_of(given) if type(given) is str else None
    if told is None:
        raise _bad("/written", "written is an ISO 8601 time with an offset")
    return told[0]


def _deletions(given: Sequence[object]) -> NDArray[np.uint8]:
    texts = [one for one in given if type(one) is str]
    ids = sample_ids_of(texts) if len(texts) == len(given) else None
    if ids is None:
        wrong = next(at for at, one in enumerate(given) if type(one) is not str or not is_sample_id(one))
        raise _bad(f"/deletions/{wrong}", "a deletion names a sample id, a UUID that is not zero")
    return ids


def _anchors(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if type(given) is not dict:
        raise _bad("/anchors", "anchors is an object")
    if len(given) > MAX_ANCHORS:
        raise BodyRefused(413, Refusal.TOO_MANY, f"a request holds at most {MAX_ANCHORS} anchors", "/anchors")
    if not all(is_opaque(name) and _is_anchor(anchor) for name, anchor in given.items()):
        raise _bad("/anchors", f"an anchor has an opaque name and 1 to {MAX_ANCHOR_CHARS} visible ASCII characters")
    return given


def _is_anchor(given: object) -> bool:
    return type(given) is str and len(given) <= MAX_ANCHOR_CHARS and _VISIBLE.fullmatch(given) is not None
