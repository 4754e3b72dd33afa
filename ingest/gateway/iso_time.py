"""Times as senders write them: ISO 8601 in the form of RFC 3339, with an offset. Pure.

`YYYY-MM-DDThh:mm[:ss[.f]]` and `Z`, `+hh:mm` or `+hhmm`; a fraction has 1 to 9 digits and is cut to microseconds.
Years are 1 to 9999; a leap second (`:60`) has no place in microseconds UTC and is refused. `Z` and `-00:00` (RFC 3339,
4.3) say where in time, not where on earth: the zone is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitals.batch import NO_ZONE
from vitals.clock import from_datetime

MOST_OFFSET_MIN: Final = 18 * 60
_MIN_US: Final = 60_000_000
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
    r"(Z|[+-][0-9]{2}:?[0-5][0-9])"
)
_LIKE_ARROW: Final = re.compile(r"[^T]+T[0-9:]{8}(\.[0-9]{1,6})?(Z|[+-][0-9:]{5})")
_YEAR_1_US: Final = -62_135_596_800_000_000
_UTC_US: Final = pa.timestamp("us", "UTC")
_FEW: Final = 8

Times = tuple[NDArray[np.int64], NDArray[np.int16]]
"""Microseconds UTC and zone offsets in minutes (`NO_ZONE`: unknown), of one length."""


def time_of(text: str) -> tuple[int, int] | None:
    """Return (microseconds UTC, zone offset in minutes or `NO_ZONE`), None for what is no such time."""
    found = _TIME.fullmatch(text)
    zone = None if found is None else _zone(found[1])
    if zone is None:
        return None
    try:
        return from_datetime(datetime.fromisoformat(text)), zone
    except ValueError:
        return None


@lru_cache(maxsize=4_096)
def _zone(offset: str) -> int | None:
    """Return the zone that an offset tells, None beyond 18 hours."""
    if offset in {"Z", "-00:00", "-0000"}:
        return NO_ZONE
    size_min = int(offset[1:3]) * 60 + int(offset[-2:])
    if size_min > MOST_OFFSET_MIN:
        return None
    return -size_min if offset[0] == "-" else size_min


def times_of(texts: Sequence[str]) -> Times | None:
    """Return the times of many texts, None if any is none. Quick for those that are written alike, with one offset."""
    quick = _alike(texts)
    if quick is not None:
        return quick
    time_us, zone = np.empty(len(texts), np.int64), np.empty(len(texts), np.int16)
    for at in _by_form(texts):
        some = [texts[one] for one in at]
        told = (_alike(some) if len(at) >= _FEW else None) or _each(some)
        if told is None:
            return None
        time_us[at], zone[at] = told
    return time_us, zone


def _by_form(texts: Sequence[str]) -> Iterable[list[int]]:
    groups: dict[tuple[int, str], list[int]] = {}
    for at, text in enumerate(texts):
        groups.setdefault((len(text), "Z" if text.endswith("Z") else text[-6:]), []).append(at)
    return groups.values()


def _each(texts: Sequence[str]) -> Times | None:
    found = [time_of(text) for text in texts]
    if None in found:
        return None
    both = np.array(found, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1].astype(np.int16)


def _alike(texts: Sequence[str]) -> Times | None:
    """Return the times of texts that differ from the first in digits before the offset only, None for others."""
    first = time_of(texts[0]) if texts else None
    if first is None or _LIKE_ARROW.fullmatch(texts[0]) is None or len(set(map(len, texts))) != 1:
        return None
    strings = pa.array(texts, pa.string())
    if not _same_form(texts[0], np.frombuffer(strings.buffers()[2], np.uint8), len(texts)):
        return None
    try:
        time_us = strings.cast(_UTC_US).view(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    offset_us = 0 if first[1] == NO_ZONE else first[1] * _MIN_US
    if time_us.min() + offset_us < _YEAR_1_US:
        return None
    return time_us, np.full(len(texts), first[1], np.int16)


def _same_form(first: str, raw: NDArray[np.uint8], count: int) -> bool:
    size = len(first)
    if len(raw) < count * size or not first.isascii():
        return False
    form = np.frombuffer(first.encode(), np.uint8)
    digit = (form >= 48) & (form <= 57)
    digit[size - (1 if first.endswith("Z") else 6) :] = False
    low, span = np.where(digit, 48, form).astype(np.uint8), np.where(digit, 9, 0).astype(np.uint8)
    return bool((raw[: count * size].reshape(count, size) - low <= span).all())
