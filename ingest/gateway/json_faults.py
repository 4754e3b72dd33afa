"""What is wrong with one sample of a JSON request: asked where `columns_of` found that something is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from ingest.gateway.iso_time import time_of
from ingest.gateway.json_samples import CONTEXTS, FIELDS, fits, is_whole
from ingest.gateway.parsed import Fault
from ingest.gateway.sample_ids import is_sample_id

_KNOWN: Final = frozenset(FIELDS)


def fault_of(sample: object) -> tuple[Fault, str] | None:
    """Return the first fault of a sample and the field that has it ("" for the sample itself), None for a good one.

    The name of an unknown field is not told: it comes from the sender and may say anything.
    """
    if type(sample) is not dict:
        return Fault.NOT_AN_OBJECT, ""
    if not sample.keys() <= _KNOWN:
        return Fault.UNKNOWN_FIELD, ""
    given = {name: sample[name] for name in FIELDS if sample.get(name) is not None}
    for name in _missing(given):
        return Fault.MISSING_FIELD, name
    for name, value in given.items():
        fault = _CHECKS[name](value)
        if fault is not None:
            return fault, name
    return _together(given)


def _missing(given: Mapping[str, Any]) -> list[str]:
    needed = ("metric", "start") if given.get("deleted") is True else ("metric", "start", "value")
    return [name for name in needed if name not in given]


def _together(given: Mapping[str, Any]) -> tuple[Fault, str] | None:
    if not fits(given["metric"], given.get("unit")):
        return Fault.WRONG_UNIT, "unit"
    if "end" in given and "duration_ms" in given:
        return Fault.TWO_LENGTHS, "duration_ms"
    return None


def _typed(*types: type) -> Callable[[Any], Fault | None]:
    return lambda value: None if type(value) in types else Fault.WRONG_TYPE


def _time(value: Any) -> Fault | None:
    if type(value) is not str:
        return Fault.WRONG_TYPE
    return Fault.BAD_TIME if time_of(value) is None else None


def _id(value: Any) -> Fault | None:
    if type(value) is not str:
        return Fault.WRONG_TYPE
    return None if is_sample_id(value) else Fault.BAD_ID


def _whole(value: Any) -> Fault | None:
    return None if type(value) in {int, float} and is_whole(value) else Fault.WRONG_TYPE


def _words(value: Any) -> Fault | None:
    if type(value) is not list or any(type(word) is not str for word in value):
        return Fault.WRONG_TYPE
    return None if all(word in CONTEXTS for word in value) else Fault.UNKNOWN_WORD


_CHECKS: Final[Mapping[str, Callable[[Any], Fault | None]]] = MappingProxyType(
    {
        "metric": _typed(str),
        "start": _time,
        "value": _typed(int, float),
        "end": _time,
        "duration_ms": _whole,
        "unit": _typed(str),
        "quality": _typed(int, float),
        "context": _words,
        "written": _time,
        "id": _id,
        "deleted": _typed(bool),
    }
)
