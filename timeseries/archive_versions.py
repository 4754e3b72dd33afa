"""Versions of a sample in several parts of the archive: which stands, and which the archive has already. Pure."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from timeseries.rows import IDENTITY, ROW, Rows
from vitals.quality import Flag

_CONTENT: Final = ("value", "quality", "context", "zone_offset_min")
_TOMBSTONE: Final = int(Flag.TOMBSTONE)


def _content(rows: Rows) -> list[NDArray[Any]]:
    """Return tombstone and content as columns; every tombstone has the same content, and 0.0 is -0.0."""
    gone = rows["flags"] & _TOMBSTONE
    return [gone, *(np.where(gone != 0, 0, rows[name]) + 0 for name in _CONTENT)]


def standing(versions: Rows) -> Rows:
    """Return the version of each identity that stands, sorted by identity: the greatest (written, content), and of
    equal ones the first. It is what `timeseries.versions` comes to, whatever the order of arrival."""
    first = -np.arange(len(versions))
    order = np.lexsort(
        (first, *reversed(_content(versions)), versions["written_at"], *(versions[name] for name in reversed(IDENTITY)))
    )
    rows: Rows = versions[order]
    if not len(rows):
        return rows
    differs = np.logical_or.reduce([rows[name][1:] != rows[name][:-1] for name in IDENTITY])
    found: Rows = rows[np.append(differs, True)]
    return found


def not_in(rows: Rows, archived: Rows) -> NDArray[np.bool_]:
    """Tell which rows are a version that `archived` lacks. When it was received, and doubts, make no version."""
    return ~np.isin(_versions(rows), _versions(archived))


def _versions(rows: Rows) -> NDArray[np.void]:
    names = (*IDENTITY, "written_at")
    keys = np.zeros(
        len(rows), [*((name, ROW[name]) for name in names), ("gone", "i2"), *((n, ROW[n]) for n in _CONTENT)]
    )
    for name in names:
        keys[name] = rows[name]
    for name, values in zip(("gone", *_CONTENT), _content(rows), strict=True):
        keys[name] = values
    packed: NDArray[np.void] = keys.view(np.dtype((np.void, keys.dtype.itemsize)))
    return packed
