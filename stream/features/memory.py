"""A stage's state as bytes and back: named numpy arrays behind a JSON list of what they are.

Layout: four bytes little-endian length of the list, the list, then the arrays' bytes one after the other. Nothing in it
can be executed, and a state of another layout is refused rather than guessed at: its stage then begins anew.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitals.errors import VigilError

Fields = Mapping[str, NDArray[Any]]
_PLAIN: Final = {code: np.dtype(code) for code in ("<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "|u1", "|b1")}


class UnreadableState(VigilError):
    """A saved state is damaged or of another version: the stage begins anew, as after a gap."""


def pack(kind: str, **fields: ArrayLike) -> bytes:
    """Return the fields as bytes; `kind` names the stage and the version of its state."""
    arrays = {name: np.ascontiguousarray(value) for name, value in fields.items()}
    told = [kind, [[name, one.dtype.str, np.shape(fields[name])] for name, one in arrays.items()]]
    head = json.dumps(told, separators=(",", ":")).encode()
    return struct.pack("<I", len(head)) + head + b"".join(one.tobytes() for one in arrays.values())


def unpack(kind: str, data: bytes) -> Fields:
    """Return the fields that `pack` wrote. Raises `UnreadableState`."""
    try:
        (length,) = struct.unpack_from("<I", data)
        given, told = json.loads(data[4 : 4 + length])
        if given != kind:
            raise UnreadableState(f"a saved state is not of {kind}")
        fields, at = _fields(told, data, 4 + length)
    except (struct.error, ValueError, TypeError, KeyError) as error:
        raise UnreadableState(f"a saved state of {kind} is damaged") from error
    if at != len(data):
        raise UnreadableState(f"a saved state of {kind} has {len(data) - at} bytes too many")
    return fields


def _fields(told: Any, data: bytes, at: int) -> tuple[dict[str, NDArray[Any]], int]:
    fields: dict[str, NDArray[Any]] = {}
    for name, code, shape in told:
        dtype = _PLAIN[code]  # never np.dtype(code): it parses Python
        if any(not isinstance(n, int) or n < 0 for n in shape):
            raise ValueError("not a plain array")
        count = math.prod(shape)
        fields[name] = np.frombuffer(data, dtype, count, at).reshape(shape).copy()
        at += count * dtype.itemsize
    return fields, at
