"""Frozen dataclasses of policies, as a file states them: their fields, their plain values, and back. Pure.

Generic over the dataclass, so that what a detector's policy adds is in the file at once.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import time
from enum import IntFlag, StrEnum
from functools import cache
from typing import Annotated, Any, Final, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Strict, create_model

Plain = Any
"""What TOML holds: bool, int, float, str, times, lists and tables of them."""

_CONFIG: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)
_LONGEST_LIST: Final = 64
_NUMBERS: Final[dict[Any, Any]] = {
    int: Annotated[int, pydantic.Field(ge=-(2**31), le=2**31 - 1)],
    float: Annotated[float, pydantic.Field(ge=-1e12, le=1e12)],
}
"""What no policy means lies beyond: numbers that numpy would overflow by."""


def hints(cls: type[Any]) -> dict[str, Any]:
    """Return the resolved type of each field."""
    return _hints(typing.cast("Hashable", cls))


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def stated(cls: type, without: Iterable[str] = ()) -> list[Field[Any]]:
    """Return the fields that a file may state: those that the constructor takes."""
    left_out = set(without)
    return [one for one in fields(cls) if one.init and one.name not in left_out]


def default_of(one: Field[Any]) -> Any:
    """Return a field's default, MISSING without one."""
    if one.default_factory is not MISSING:
        return one.default_factory()
    return one.default


def model_of(
    cls: type[Any], without: frozenset[str] = frozenset(), also: tuple[tuple[str, type], ...] = ()
) -> type[BaseModel]:
    """Return a model of the stated fields, each of which may be left out; `also` are further keys."""
    return _model_of(typing.cast("Hashable", cls), without, also)


@cache
def _model_of(cls: Any, without: frozenset[str], also: tuple[tuple[str, type], ...]) -> type[BaseModel]:
    known = hints(cls)
    told: dict[str, Any] = {one.name: (shape_of(known[one.name]), _told(one)) for one in stated(cls, without)}
    told |= {name: (kind, pydantic.Field(None)) for name, kind in also}
    doc = (cls.__doc__ or "").partition("\n")[0]
    return create_model(cls.__name__, __config__=_CONFIG, __doc__=doc, **told)


def _told(one: Field[Any]) -> Any:
    default = default_of(one)
    extra: dict[str, Any] = {} if default is MISSING or default is None else {"default": _json(plain(default))}
    return pydantic.Field(None, json_schema_extra=lambda schema: (schema.pop("default", None), schema.update(extra))[1])


def _json(value: Plain) -> Any:
    return value.isoformat() if isinstance(value, time) else value


def shape_of(hint: Any) -> Any:
    """Return the type of a field's plain value."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return shape_of(next(one for one in args if one is not type(None)))
    if origin is tuple and args[1:] != (...,):
        shapes: Any = tuple(shape_of(one) for one in args)
        return Annotated[tuple[shapes], Strict(strict=False)]
    if origin in (tuple, frozenset):
        return Annotated[list[shape_of(args[0])], pydantic.Field(max_length=_LONGEST_LIST)]  # type: ignore[misc]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[str, shape_of(args[1])]  # type: ignore[misc]
    if is_dataclass(hint):
        return model_of(typing.cast("type", hint))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return Literal[tuple(one.value for one in hint)]
    if isinstance(hint, type) and issubclass(hint, IntFlag):
        return list[Literal[tuple(words(hint))]]  # type: ignore[misc]
    return _NUMBERS.get(hint, hint) if isinstance(hint, type) else hint


def words(flags: type[IntFlag]) -> list[str]:
    """Return the flags' names as a file writes them."""
    return [str(one.name).lower() for one in flags]


def plain(value: Any) -> Plain:
    """Return a policy's value as a file states it; None is left out of tables."""
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, IntFlag):
        return [word for word, one in zip(words(type(value)), type(value), strict=True) if one in value]
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, frozenset):
        return sorted(plain(one) for one in value)
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items() if one is not None}
    if is_dataclass(value):
        held = {one.name: getattr(value, one.name) for one in stated(type(value))}
        return {name: plain(one) for name, one in held.items() if one is not None}
    return value


def made(hint: Any, value: Plain) -> Any:
    """Return what a plain value states; where it is a dataclass, its own checks raise ValueError or TypeError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return made(next(one for one in args if one is not type(None)), value)
    if origin is tuple:
        kinds = [args[0]] * len(value) if args[1:] == (...,) else args
        return tuple(made(one, part) for one, part in zip(kinds, value, strict=True))
    if origin is frozenset:
        return frozenset(made(args[0], one) for one in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return types.MappingProxyType({args[0](key): made(args[1], one) for key, one in value.items()})
    if is_dataclass(hint):
        known = hints(typing.cast("type", hint))
        return typing.cast("type", hint)(**{name: made(known[name], one) for name, one in value.items()})
    return _scalar(hint, value)


def _scalar(hint: Any, value: Plain) -> Any:
    if isinstance(hint, type) and issubclass(hint, IntFlag):
        flags = hint(0)
        for word in value:
            flags |= hint[word.upper()]
        return flags
    if isinstance(hint, type) and (issubclass(hint, StrEnum) or hint is float):
        return hint(value)
    return value


def flat(table: Mapping[str, Plain], under: tuple[str, ...] = ()) -> dict[tuple[str, ...], Plain]:
    """Return the leaves of nested tables by path; a list is a leaf."""
    found: dict[tuple[str, ...], Plain] = {}
    for key, value in table.items():
        path = (*under, key)
        found |= flat(value, path) if isinstance(value, Mapping) else {path: value}
    return found


def nested(leaves: Mapping[tuple[str, ...], Plain]) -> dict[str, Any]:
    """Return the tables that `flat` made flat."""
    root: dict[str, Any] = {}
    for path, value in leaves.items():
        table = root
        for key in path[:-1]:
            table = table.setdefault(key, {})
        table[path[-1]] = value
    return root
