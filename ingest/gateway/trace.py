"""A request's names: its id and its place in a trace. Pure but for randomness.

What a sender gives is kept only where it has the exact form (an opaque id; W3C Trace Context, version 00), so that
nothing can be smuggled into headers, logs or Kafka through it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Final

from vitals.ids import is_opaque

# https://www.w3.org/TR/trace-context/#traceparent-header: a later version may append fields, ff is forbidden.
_TRACE: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")


def request_id(given: Sequence[str]) -> str:
    """Return the sender's X-Request-Id where it sent exactly one opaque id, else a new one of 32 hex digits."""
    return given[0] if len(given) == 1 and is_opaque(given[0]) else secrets.token_hex(16)


def traceparent(given: Sequence[str]) -> str:
    """Return this service's own step in the sender's trace, or in a new trace that is not sampled."""
    found = _TRACE.fullmatch(given[0]) if len(given) == 1 else None
    trace, sampled = _kept(found) if found else (None, False)
    return f"00-{trace or _new(16)}-{_new(8)}-0{int(sampled)}"


def _kept(found: re.Match[str]) -> tuple[str | None, bool]:
    version, trace, parent, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(parent, 16):
        return None, False
    return trace, bool(int(flags, 16) & 1)


def _new(size: int) -> str:
    made = secrets.token_hex(size)
    return made if int(made, 16) else _new(size)  # all zeros is no id
