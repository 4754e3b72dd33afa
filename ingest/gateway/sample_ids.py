"""Sample ids as senders write them: UUIDs in their usual form, as 16 bytes. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_SIZE: Final = 36
_DASHES: Final = (8, 13, 18, 23)
_DIGITS: Final = np.array([at for at in range(_SIZE) if at not in _DASHES])
_NIBBLE: Final = np.full(256, 255, np.uint8)
_NIBBLE[np.frombuffer(b"0123456789", np.uint8)] = np.arange(10)
_NIBBLE[np.frombuffer(b"abcdef", np.uint8)] = np.arange(10, 16)
_NIBBLE[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)


def is_sample_id(text: str) -> bool:
    """Tell whether it is a UUID of 8-4-4-4-12 hexadecimal digits, not all zero: that means none in our columns."""
    return _UUID.fullmatch(text) is not None and text.strip("0-") != ""


def sample_ids_of(texts: Sequence[str]) -> NDArray[np.uint8] | None:
    """Return the ids of many texts, (n, 16), None if any is none (`is_sample_id`)."""
    if not texts:
        return np.empty((0, 16), np.uint8)
    if set(map(len, texts)) != {_SIZE}:
        return None
    raw = np.frombuffer(pa.array(texts, pa.string()).buffers()[2], np.uint8)
    raw = raw[: len(texts) * _SIZE].reshape(-1, _SIZE)  # the first letter beyond ASCII stands in the row of its text
    nibbles = _NIBBLE[raw[:, _DIGITS]]
    if not (raw[:, _DASHES] == ord("-")).all() or (nibbles > 15).any():
        return None
    ids = nibbles[:, 0::2] * np.uint8(16) + nibbles[:, 1::2]
    return ids if ids.any(axis=1).all() else None
