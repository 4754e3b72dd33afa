"""Which version of a sample stands: pure decisions about rows that meet their own identity again.

The greatest (written, received, content) wins, whatever the order of arrival. The same content again is a duplicate,
another content with a newer written time a correction (the older version becomes a revision), with an older written
time a revision at once, and with the same written time a conflict: the loser, if it is the newcomer, is quarantined.
A deletion is a version like any other; it is stored as a tombstone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from timeseries.rows import IDENTITY, ROW, Rows
from vitals.quality import Flag

Index = NDArray[np.intp]

_TOMBSTONE: Final = int(Flag.TOMBSTONE)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What to do with the newcomers of one batch; the first three are rows, the last two positions among the newcomers.

    `insert`: identities that were not stored. `replace`: identities whose stored row changes. `revisions`: versions
    that do not stand (newcomers or formerly stored), to be kept aside. `duplicates`: content that is there already.
    `conflicts`: to be quarantined.
    """

    insert: Rows
    replace: Rows
    revisions: Rows
    duplicates: Index
    conflicts: Index


def identity_groups(rows: Rows) -> tuple[Index, Index]:
    """Return (one position for each distinct identity, the number of the identity of every row)."""
    keys = np.empty(len(rows), [(name, ROW[name]) for name in IDENTITY])
    for name in IDENTITY:
        keys[name] = rows[name]
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    return first, group


def same_content(a: Rows, b: Rows) -> NDArray[np.bool_]:
    """Tell which rows say the same thing: both tombstones, or equal value, quality, context and zone offset.

    Validation's flags are not content: they depend on what arrived before.
    """
    gone_a, gone_b = a["flags"] & _TOMBSTONE != 0, b["flags"] & _TOMBSTONE != 0
    alike = np.logical_and.reduce([a[name] == b[name] for name in ("value", "quality", "context", "zone_offset_min")])
    equal: NDArray[np.bool_] = (gone_a & gone_b) | (~gone_a & ~gone_b & alike)
    return equal


def _beats(a: Rows, b: Rows) -> NDArray[np.bool_]:
    """Tell where version `a` stands above version `b` by (written, received, content)."""
    order = [("written_at", a["written_at"], b["written_at"]), ("received_at", a["received_at"], b["received_at"])]
    order += [("flags", a["flags"] & _TOMBSTONE, b["flags"] & _TOMBSTONE)]
    order += [(name, a[name], b[name]) for name in ("value", "quality", "context", "zone_offset_min")]
    wins = np.zeros(len(a), np.bool_)
    undecided = np.ones(len(a), np.bool_)
    for _, left, right in order:
        wins |= undecided & (left > right)
        undecided &= left == right
    return wins


def resolve(newcomers: Rows, stored: Rows, stored_revisions: Rows) -> Resolution:
    """Decide about `newcomers`, given what the table holds for their identities today (at most one row each).

    Newcomers of one identity are taken in the order of the batch, one round for each further occurrence, so a round is
    vectorised over identities; an exact copy within the batch never costs a round.
    """
    everything = np.concatenate([newcomers, stored, stored_revisions])
    first, group = identity_groups(everything)
    state = everything[first].copy()
    known = np.zeros(len(first), np.bool_)
    n, held = len(newcomers), len(newcomers) + len(stored)
    state[group[n:held]] = stored
    known[group[n:held]] = True
    before, was_stored = state.copy(), known.copy()

    duplicates, arrivals = _exact_copies(newcomers, group[:n])
    seen = _version_keys(everything[n:], group[n:])
    repeated = [duplicates]
    conflicts: list[Index] = []
    revisions: list[Rows] = []
    for turn in _rounds(group[:n], arrivals):
        ids, rows = group[turn], newcomers[turn]
        current, fresh = state[ids], ~known[ids]
        alike = ~fresh & same_content(rows, current)
        newer = alike & (rows["written_at"] > current["written_at"])
        stands = ~fresh & ~alike & _beats(rows, current)
        loses = ~fresh & ~alike & ~stands
        clash = loses & (rows["written_at"] == current["written_at"])
        again = loses & ~clash & np.isin(_version_keys(rows, ids), seen)
        repeated.append(turn[alike | again])
        conflicts.append(turn[clash])
        revisions += [current[stands], rows[loses & ~clash & ~again]]
        taken = fresh | stands | newer
        state[ids[taken]] = rows[taken]
        known[ids[taken]] = True
    changed = was_stored & (state != before)
    return Resolution(
        insert=state[known & ~was_stored],
        replace=state[changed],
        revisions=np.concatenate(revisions) if revisions else np.empty(0, ROW),
        duplicates=np.concatenate(repeated),
        conflicts=np.concatenate(conflicts) if conflicts else np.empty(0, np.intp),
    )


def _exact_copies(rows: Rows, group: Index) -> tuple[Index, Index]:
    """Return (positions that repeat an earlier row's identity, written time and content, the other positions)."""
    keys = _version_keys(rows, group)
    _, first = np.unique(keys, return_index=True)
    keep = np.zeros(len(rows), np.bool_)
    keep[first] = True
    return np.flatnonzero(~keep), np.flatnonzero(keep)


def _version_keys(rows: Rows, group: Index) -> NDArray[np.void]:
    """Return one opaque key a row: identity, written time and content, comparable with `np.isin`."""
    gone = rows["flags"] & _TOMBSTONE
    names = ("value", "quality", "context", "zone_offset_min")
    keys = np.zeros(len(rows), [("group", "i8"), ("written", "i8"), ("gone", "i2"), *((n, ROW[n]) for n in names)])
    keys["group"], keys["written"], keys["gone"] = group, rows["written_at"], gone
    for name in names:
        keys[name] = np.where(gone != 0, 0, rows[name]) + 0  # + 0 turns -0.0 into 0.0, which compares equal
    packed: NDArray[np.void] = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.dtype.itemsize)))
    return packed


def _rounds(group: Index, arrivals: Index) -> list[Index]:
    """Split positions so that each part holds an identity once, keeping the batch's order within an identity."""
    if not len(arrivals):
        return []
    order = arrivals[np.argsort(group[arrivals], kind="stable")]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    by_rank = order[np.argsort(rank, kind="stable")]
    return np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])
