"""JSON and CSV of exports, bounded: what cannot be read says so by one word, never by its content."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import Any, Final

from pydantic_core import from_json

_MAX_COLUMNS: Final = 200
_MAX_NODES: Final = 2_000_000
_MAX_VALUES: Final = 6_000_000
_MAX_ROWS: Final = 2_000_000
"""What a document may hold at most: as objects it takes up to fifty times its bytes. A day of one heart rate a second
has 170,000 nodes, a Bundle of 60 MB a million."""


class Unreadable(Exception):
    """A document is not what it should be; `reason` is a word for the tally."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def json_document(data: bytes) -> Any:
    """Return what UTF-8 JSON says. Raises `Unreadable`, also for nesting deeper than some 200 levels."""
    if data.count(b"{") + data.count(b"[") > _MAX_NODES or data.count(b",") > _MAX_VALUES:
        raise Unreadable("too_large")
    try:
        return from_json(data.removeprefix(b"\xef\xbb\xbf"), cache_strings="keys")
    except ValueError:
        raise Unreadable("not_well_formed") from None


def json_records(data: bytes) -> list[dict[str, Any] | None]:
    """Return the objects of a JSON array, None for what is no object. Raises `Unreadable`."""
    document = json_document(data)
    if not isinstance(document, list):
        raise Unreadable("not_well_formed")
    return [one if isinstance(one, dict) else None for one in document]


def csv_records(data: bytes) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file by the names in its first line. Raises `Unreadable`."""
    if data.count(b"\n") + data.count(b"\r") > 2 * _MAX_ROWS:
        raise Unreadable("too_large")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("encoding") from None
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        names = [name.strip().lower() for name in next(rows, [])]
        if not names or len(names) > _MAX_COLUMNS:
            raise Unreadable("not_well_formed")
        for row in rows:
            if row:
                yield dict(zip(names, row, strict=False))
    except csv.Error:
        raise Unreadable("not_well_formed") from None


def number(value: object) -> float | None:
    """Return a finite number that stands in a document as such or as text, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
