"""The samples of a JSON request as columns. Pure.

`columns_of` takes a list of samples field by field and knows only that something is wrong with it, not where.
`ingest.gateway.json_faults.fault_of` looks at one sample and is asked only then; a sample has a fault exactly if
`columns_of` refuses it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ingest.gateway.iso_time import Times, times_of
from ingest.gateway.sample_ids import sample_ids_of
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE, UNKNOWN_METRIC
from vitals.errors import VigilError
from vitals.quality import Context

FIELDS: Final = (
    "metric", "start", "value", "end", "duration_ms", "unit", "quality", "context", "written", "id", "deleted",
)  # fmt: skip
CONTEXTS: Final = {word.name.lower(): int(word) for word in Context if word.name}
LONGEST_MS: Final = 1 << 53
"""Durations are cut here: far beyond what any metric may have, and still a whole number in JSON."""

_KNOWN: Final = frozenset(FIELDS)
_TEXT: Final = frozenset({str})
_NUMBER: Final = frozenset({int, float})
_MAYBE: Final = frozenset({NoneType})


class Faulty(VigilError):
    """Some sample among these cannot be read."""


class _Numbers(dict[str, int]):
    def __missing__(self, code: str) -> int:
        return UNKNOWN_METRIC


_NUMBERS: Final = _Numbers({code: metric.number for code, metric in BY_CODE.items()})

Values = list[Any]
"""What the samples have under one name; None where they have nothing."""


def columns_of(samples: Sequence[object], *, written_us: int, received_us: int) -> SampleColumns:
    """Return the samples; a field that is null counts as not given. Raises `Faulty` if any has a fault."""
    given = _by_name(samples)
    start_us, zone_offset_min = _times(given["start"])
    _check_units(given)
    deleted = _optional(given, "deleted", frozenset({bool}), False)
    return sample_columns(
        start_us,
        _metrics(given["metric"]),
        _values(given.get("value"), deleted),
        received_us=received_us,
        written_us=_written(given.get("written"), written_us),
        duration_ms=_durations(given, start_us),
        zone_offset_min=zone_offset_min,
        quality=_qualities(given),
        context=_contexts(given.get("context")),
        sample_id=_ids(given.get("id"), len(samples)),
        deleted=np.array(deleted, np.bool_),
    )


def _by_name(samples: Sequence[object]) -> dict[str, Values]:
    _check_types(samples, frozenset({dict}))
    dicts: Sequence[dict[str, Any]] = samples  # type: ignore[assignment]
    layouts = set(map(tuple, dicts))
    names, always = frozenset().union(*layouts), frozenset.intersection(*map(frozenset, layouts))
    if not names <= _KNOWN or not always >= {"metric", "start"}:
        raise Faulty("a field is missing or unknown")
    return {name: _everywhere(dicts, name) if name in always else _anywhere(dicts, name) for name in names}


def _everywhere(samples: Sequence[dict[str, Any]], name: str) -> Values:
    return [sample[name] for sample in samples]


def _anywhere(samples: Sequence[dict[str, Any]], name: str) -> Values:
    return [sample.get(name) for sample in samples]


def _check_types(values: Sequence[object], allowed: frozenset[type]) -> frozenset[type]:
    """Return the types among the values; exact ones, so that a boolean is no number."""
    found = frozenset(map(type, values))
    if not found <= allowed:
        raise Faulty("a value has the wrong type")
    return found


def _optional(given: dict[str, Values], name: str, allowed: frozenset[type], default: object) -> Values:
    """Return the values of a field, the default where a sample has none; `count` of them where no sample has any."""
    values = given.get(name)
    if values is None:
        return [default] * len(given["start"])
    found = _check_types(values, allowed | _MAYBE)
    return [default if value is None else value for value in values] if NoneType in found else values


def _times(texts: Values) -> Times:
    _check_types(texts, _TEXT)
    times = times_of(texts)
    if times is None:
        raise Faulty("a time cannot be read")
    return times


def _metrics(codes: Values) -> NDArray[np.int16]:
    _check_types(codes, _TEXT)
    return np.array(list(map(_NUMBERS.__getitem__, codes)), np.int16)


def _values(values: Values | None, deleted: Values) -> NDArray[np.float64]:
    """Return the values; one of a deletion may be left out and is 0."""
    if values is None:
        values = [None] * len(deleted)
    if NoneType in _check_types(values, _NUMBER | _MAYBE):
        if any(value is None and not gone for value, gone in zip(values, deleted, strict=True)):
            raise Faulty("a value is missing")
        values = [0.0 if value is None else value for value in values]
    return np.array(values, np.float64)


def _written(texts: Values | None, written_us: int) -> NDArray[np.int64] | int:
    return written_us if texts is None else _some(texts, lambda told: _times(told)[0], written_us)


def _some(
    values: Values, read: Callable[[Values], NDArray[np.int64]], default: NDArray[np.int64] | int
) -> NDArray[np.int64]:
    """Return what `read` makes of the values that there are, the default elsewhere."""
    there = np.array([value is not None for value in values], np.bool_)
    column = np.array(np.broadcast_to(default, len(values)), np.int64)
    if there.any():
        column[there] = read([value for value in values if value is not None])
    return column


def _durations(given: dict[str, Values], start_us: NDArray[np.int64]) -> NDArray[np.int64] | int:
    ends, lengths = given.get("end"), given.get("duration_ms")
    if ends is None:
        return 0 if lengths is None else _some(lengths, _whole, 0)
    if lengths is not None and any(a is not None and b is not None for a, b in zip(ends, lengths, strict=True)):
        raise Faulty("a sample has two lengths")
    end_us = _some(ends, lambda told: _times(told)[0], start_us)
    lasted_ms: NDArray[np.int64] = (end_us - start_us) // 1_000
    return lasted_ms if lengths is None else lasted_ms + _some(lengths, _whole, 0)


def _whole(numbers: Values) -> NDArray[np.int64]:
    """Return whole numbers, cut at `LONGEST_MS`; JSON knows no difference between 1 and 1.0."""
    if float in _check_types(numbers, _NUMBER) and not all(map(is_whole, numbers)):
        raise Faulty("a duration is no whole number")
    return np.array([max(-LONGEST_MS, min(int(one), LONGEST_MS)) for one in numbers], np.int64)


def is_whole(number: float) -> bool:
    """Tell whether a number of JSON is whole."""
    return type(number) is int or number.is_integer()


def _check_units(given: dict[str, Values]) -> None:
    """The unit is the catalogue's or not given; of a metric that the catalogue lacks any will do."""
    units = given.get("unit")
    if units is None:
        return
    _check_types(units, _TEXT | _MAYBE)
    _check_types(given["metric"], _TEXT)
    for code, unit in set(zip(given["metric"], units, strict=True)):
        if not fits(code, unit):
            raise Faulty("a unit is not the catalogue's")


def fits(code: str, unit: str | None) -> bool:
    """Tell whether it is the metric's unit, or none, or the metric is unknown."""
    metric = BY_CODE.get(code)
    return unit is None or metric is None or metric.unit == unit


def _qualities(given: dict[str, Values]) -> NDArray[np.float32] | float:
    if "quality" not in given:
        return 1.0
    told = np.array(_optional(given, "quality", _NUMBER, 1.0), np.float64)
    return told.clip(-1, 2).astype(np.float32)  # beyond 0 to 1 it is refused, how far does not matter


def _contexts(words: Values | None) -> NDArray[np.int16] | int:
    if words is None:
        return 0
    _check_types(words, frozenset({list, NoneType}))
    return np.array([0 if not some else _bits(some) for some in words], np.int16)


def _bits(words: list[object]) -> int:
    _check_types(words, _TEXT)
    bits = 0
    for word in words:
        if word not in CONTEXTS:
            raise Faulty("a word is not known")
        bits |= CONTEXTS[word]
    return bits


def _ids(texts: Values | None, count: int) -> NDArray[np.uint8] | None:
    if texts is None:
        return None
    _check_types(texts, _TEXT | _MAYBE)
    ids = sample_ids_of([text for text in texts if text is not None])
    if ids is None:
        raise Faulty("an id is no UUID")
    column = np.zeros((count, 16), np.uint8)
    column[[text is not None for text in texts]] = ids
    return column
