"""JSON text with bounds: how deep it goes and how much it holds is counted before anything is made of it. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
import orjson

from ingest.gateway.parsed import BodyRefused
from ingest.gateway.verdicts import Refusal

MAX_DEPTH: Final = 20
MAX_CONTAINERS: Final = 25_000
"""Objects and lists: a small one takes 3 bytes of text and 64 of memory."""
MAX_COMMAS: Final = 300_000
MAX_MARKS: Final = 2_000_000
"""Brackets, commas and quotes, those within strings too: so many are looked at."""

_OTHERS: Final = bytes(sorted(set(range(256)) - set(b'[]{},"')))
_STEP: Final = np.zeros(256, np.int32)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


def load_json(body: bytes) -> object:
    """Return what the text says. Raises `BodyRefused`: 400 for what is no JSON in UTF-8 or too deep, 413 for too much.

    NaN and Infinity, numbers beyond a double, lone surrogates, a byte order mark and other encodings are no JSON here.
    """
    check_bounds(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BodyRefused(400, Refusal.BAD_JSON, "the body must be JSON in UTF-8") from None


def check_bounds(body: bytes) -> None:
    """Raise `BodyRefused` where brackets outside of strings go too deep, or these and commas are too many."""
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in body else body
    marks = np.frombuffer(plain.translate(None, _OTHERS), np.uint8)
    if len(marks) > MAX_MARKS:
        raise _too_many()
    in_string = np.bitwise_xor.accumulate(marks == ord('"'))
    step = _STEP[marks]
    step[in_string] = 0
    if len(marks) and int(step.cumsum(dtype=np.int32).max()) > MAX_DEPTH:
        raise BodyRefused(400, Refusal.TOO_DEEP, f"objects and lists may be nested {MAX_DEPTH} deep")
    commas = np.count_nonzero((marks == ord(",")) & ~in_string) if len(marks) > MAX_COMMAS else 0
    if np.count_nonzero(step > 0) > MAX_CONTAINERS or commas > MAX_COMMAS:
        raise _too_many()


def _too_many() -> BodyRefused:
    return BodyRefused(413, Refusal.TOO_MANY, "the body holds more values than a request may")
