"""Plain records become rows in columns: every distinct text is understood once, numbers and dates all at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from vitals.clock import US_PER_S

_YEARS: Final = (1900, 2200)
_MAX_OFFSET_H: Final = 18
_WEIGHTS: Final = np.zeros((25, 8), np.int32)
for _column, _places in enumerate(((0, 1, 2, 3), (5, 6), (8, 9), (11, 12), (14, 15), (17, 18), (21, 22), (23, 24))):
    for _power, _at in enumerate(reversed(_places)):
        _WEIGHTS[_at, _column] = 10**_power
_MONTH_DAYS: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_DIGITS: Final = np.flatnonzero(_WEIGHTS.any(axis=1))
_SIGN: Final = 20
_BETWEEN: Final = np.array([4, 7, 10, 13, 16, 19])
_SEPARATORS: Final = np.frombuffer(b"-- :: ", np.uint8)

T = TypeVar("T", bound=Hashable)


def dates(texts: Iterable[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return (microseconds UTC, offset in minutes, whether it is a date) of texts `yyyy-MM-dd HH:mm:ss Z`.

    Every text has 25 bytes; the same ones are dates as for `dates.DateReader`.
    """
    raw = np.frombuffer(b"".join(texts), np.uint8).reshape(-1, 25)
    digits = raw[:, _DIGITS] - np.uint8(ord("0"))
    signs = raw[:, _SIGN]
    formed = (digits <= 9).all(axis=1) & (raw[:, _BETWEEN] == _SEPARATORS).all(axis=1) & ((signs == 43) | (signs == 45))
    numbers = digits.astype(np.float32) @ _WEIGHTS[_DIGITS].astype(np.float32)
    year, month, day, hour, minute, second, zone_h, zone_min = numbers.astype(np.int64).T
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    length = _MONTH_DAYS[np.clip(month, 0, 12)] + (leap & (month == 2))
    valid = formed & (
        (year >= _YEARS[0]) & (year < _YEARS[1]) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)
        & (hour < 24) & (minute < 60) & (second < 60) & (zone_h <= _MAX_OFFSET_H) & (zone_min < 60)
    )  # fmt: skip
    offset_min = (zone_h * 60 + zone_min) * np.where(signs == ord("-"), -1, 1)
    seconds = ((_days(year, month, day) * 24 + hour) * 60 + minute - offset_min) * 60 + second
    return seconds * US_PER_S, offset_min, valid


def _days(year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return days since 1970 of Gregorian dates, counting years from March (Hinnant, days_from_civil)."""
    shifted = year - (month <= 2)
    era_year = shifted % 400
    day_of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    day_of_era = era_year * 365 + era_year // 4 - era_year // 100 + day_of_year
    return shifted // 400 * 146_097 + day_of_era - 719_468


def distinct(items: Sequence[T], learn: Callable[[T], Any]) -> tuple[list[Any], NDArray[np.intp]]:
    """Return what `learn` makes of each distinct item, and for every item where in that it stands."""
    index = {item: at for at, item in enumerate(dict.fromkeys(items))}
    return [learn(item) for item in index], np.fromiter(map(index.__getitem__, items), np.intp, len(items))


def numbers(texts: Sequence[bytes]) -> NDArray[np.float64]:
    """Return texts as numbers, NaN for what is none."""
    try:
        return np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return np.fromiter(map(_number, texts), np.float64, len(texts))


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
