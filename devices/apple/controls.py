"""Control characters, which XML forbids, become spaces of the same number: offsets stay the file's own."""

from __future__ import annotations

import re
from typing import Final

_SPACED: Final = bytes(32 if b < 32 and b not in b"\t\n\r" else b for b in range(256))
_CHARACTER_REFERENCE: Final = re.compile(rb"&#(?:(\d{1,7})|[xX]([0-9a-fA-F]{1,6}));")


def without_controls(data: bytes) -> bytes:
    """Return bytes without control characters; references to them stay."""
    return data.translate(_SPACED)


def without_references(data: bytes) -> bytes:
    """Return bytes without references to control characters; none may be cut in two."""
    # One byte is looked for faster than two, of which the first is frequent.
    return _CHARACTER_REFERENCE.sub(_spaced, data) if b"#" in data and b"&#" in data else data


def _spaced(match: re.Match[bytes]) -> bytes:
    code = int(match[1]) if match[1] else int(match[2], 16)
    return b" " * len(match[0]) if code < 32 and code not in (9, 10, 13) else match[0]
