"""A detector's state as plain JSON values and back: numbers, strings, tuples, numpy arrays, frozen dataclasses.

Generic over the type, so that no detector writes its own; pydantic would copy arrays element by element.
"""

from __future__ import annotations

import base64
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from vitals.errors import VigilError

T = TypeVar("T")


class Unpackable(VigilError):
    """A packed state is damaged, or of another version of its detector: begin afresh."""


def pack(value: Any) -> Any:
    """Return `value` as JSON values. Raises TypeError for what no state may hold."""
    kind: Any = type(value)
    if kind is int or kind is str or kind is bool or value is None:
        return value
    if kind is float:
        return _number(value)
    names = _names(kind)
    if names is not None:
        return {name: pack(getattr(value, name)) for name in names}
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value)
        return [_described(data.dtype), list(data.shape), _text(data.tobytes())]
    if isinstance(value, tuple):
        return [pack(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): pack(one) for key, one in value.items()}
    if isinstance(value, np.generic):
        return _number(value.item())
    if isinstance(value, str | int | float):
        return _number(value)
    raise TypeError(f"a state holds no {kind.__name__}")


def unpack(cls: type[T], held: Any) -> T:
    """Return what `pack` made of a `cls`. Raises `Unpackable`."""
    try:
        return typing.cast("T", _read(cls, held))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise Unpackable(f"no state of {cls.__name__}") from error


@lru_cache(maxsize=256)
def _names(cls: type) -> tuple[str, ...] | None:
    """Return the fields of a dataclass, None of anything else."""
    return tuple(one.name for one in fields(cls)) if is_dataclass(cls) else None


@lru_cache(maxsize=64)
def _described(dtype: np.dtype[Any]) -> Any:
    return dtype.descr if dtype.names else dtype.str


def _number(value: Any) -> Any:
    # JSON has no NaN and no infinity.
    return repr(value) if isinstance(value, float) and not np.isfinite(value) else value


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@lru_cache(maxsize=256)
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _read(kind: Any, held: Any) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if held is None else _read(next(one for one in args if one is not type(None)), held)
    if kind is np.ndarray or origin is np.ndarray:
        return _array(*held)
    if origin is tuple:
        kinds = [args[0]] * len(held) if args[1:] == (...,) else args
        return tuple(_read(one, part) for one, part in zip(kinds, held, strict=True))
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return {args[0](key): _read(args[1], part) for key, part in held.items()}
    if is_dataclass(kind):
        hints = _hints(typing.cast("type", kind))
        if set(held) != {one.name for one in fields(kind)}:
            raise ValueError("other fields")
        return typing.cast("type", kind)(**{name: _read(hints[name], part) for name, part in held.items()})
    return kind(held) if kind is not type(None) else None


def _array(kind: Any, shape: list[int], data: str) -> Any:
    dtype = np.dtype([tuple(one) for one in kind] if isinstance(kind, list) else kind)
    if dtype.hasobject:
        raise ValueError("no objects")
    array = np.frombuffer(base64.b64decode(data, validate=True), dtype).reshape(shape)
    return array.copy()
