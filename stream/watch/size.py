"""How many bytes of memory something takes, Python objects and all: for the bound on a patient's state.

What all patients share (plans, people, enums, classes) is not counted, nor is anything counted twice.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final

import numpy as np

from stream.detectors.protocol import Person
from stream.watch.plan import Plan

MAX_BYTES: Final = 64 * 1024
"""What the arrays of a patient with two devices stay below, samples that wait included; of one device half of it."""
_SHARED: Final = (Plan, Person, Enum, type, type(None), bool)


def bytes_of(value: Any) -> int:
    """Return the bytes that `value` and all that it holds take in memory."""
    return _bytes(value, set())


def array_bytes(value: Any) -> int:
    """Return the bytes of the arrays (and of samples that wait) in `value` alone: what a state is when packed."""
    return sum(memoryview(array).nbytes for array in _arrays(value, set()))


def _bytes(value: Any, seen: set[int]) -> int:
    if isinstance(value, _SHARED) or id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return sys.getsizeof(value) if value.base is None else sys.getsizeof(value) + _bytes(value.base, seen)
    return sys.getsizeof(value) + sum(_bytes(one, seen) for one in _parts(value))


def _arrays(value: Any, seen: set[int]) -> list[Any]:
    if isinstance(value, _SHARED) or id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, np.ndarray | bytes):
        return [value]
    return [array for one in _parts(value) for array in _arrays(one, seen)]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if is_dataclass(value):
        return [getattr(value, one.name) for one in fields(value)]
    return []
