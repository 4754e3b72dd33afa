"""Times of Fitbit's long series, whole files at once: `mm/dd/yy hh:mm:ss` and `yyyy-mm-ddThh:mm:ssZ`, both UTC."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.local_time import BadTime, parse_time
from vitals.clock import US_PER_S

UNREAD: Final = np.iinfo(np.int64).min
"""Stands where a time could not be read."""
_SHAPES: Final = {17: 8, 19: 10, 20: 10}
"""Length of a time -> length of its date."""


def utc_us(texts: list[object]) -> NDArray[np.int64]:
    """Return microseconds UTC of each time, `UNREAD` where it is none. Files of one shape take the quick way."""
    first = texts[0] if texts else None
    length = len(first) if isinstance(first, str) else 0
    if length in _SHAPES and all(isinstance(one, str) and len(one) == length and one.isascii() for one in texts):
        return _quick("".join(texts).encode(), length, _SHAPES[length])  # type: ignore[arg-type]
    return np.array([_slow(one) for one in texts], np.int64)


def _quick(joined: bytes, length: int, date_length: int) -> NDArray[np.int64]:
    table = np.frombuffer(joined, np.uint8).reshape(-1, length)
    dates = np.ascontiguousarray(table[:, :date_length]).view(f"S{date_length}").ravel()
    known, where = np.unique(dates, return_inverse=True)
    days = np.array([_slow(one.decode()) for one in known.tolist()], np.int64)[where]
    clock = table[:, date_length + 1 : date_length + 9].astype(np.int64) - ord("0")
    hour, minute, second = (clock[:, at] * 10 + clock[:, at + 1] for at in (0, 3, 6))
    shape = (
        _is(table[:, date_length], b" T") & _is(table[:, date_length + 3], b":") & _is(table[:, date_length + 6], b":")
    )
    digits = ((clock >= 0) & (clock <= 9))[:, [0, 1, 3, 4, 6, 7]].all(axis=1)
    good = shape & digits & (hour < 24) & (minute < 60) & (second < 60) & (days != UNREAD)
    if length == 20:
        good &= _is(table[:, 19], b"Z")
    time_us = np.where(good, days, 0) + ((hour * 60 + minute) * 60 + second) * US_PER_S
    return np.where(good, time_us, UNREAD)


def _is(column: NDArray[np.uint8], letters: bytes) -> NDArray[np.bool_]:
    return np.isin(column, np.frombuffer(letters, np.uint8))


def _slow(text: object) -> int:
    try:
        return parse_time(text)[0]
    except BadTime:
        return UNREAD
