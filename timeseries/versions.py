"""Which version of a sample stands: pure decisions about rows that meet their own identity again.

The greatest (written, content) wins, whatever the order of arrival. When a version was received does not decide: the
same version told again has another such time, and a winner that depends on how often it was told depends on the order
of arrival. Content that is there already is a duplicate. Other content is, with a newer written time, a correction (the
older version becomes a revision), with an older one a revision at once, and with the written time of a version that is
there a conflict: the loser, if it is the newcomer, is quarantined. A deletion is a version like any other; it is stored
as a tombstone.
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
_CONTENT: Final = ("value", "quality", "context", "zone_offset_min")


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
    alike = np.logical_and.reduce([a[name] == b[name] for name in _CONTENT])
    equal: NDArray[np.bool_] = (gone_a & gone_b) | (~gone_a & ~gone_b & alike)
    return equal


def _beats(a: Rows, b: Rows) -> NDArray[np.bool_]:
    """Tell where version `a` stands above version `b` by (written, content)."""
    order = [(a["written_at"], b["written_at"]), (a["flags"] & _TOMBSTONE, b["flags"] & _TOMBSTONE)]
    order += [(a[name], b[name]) for name in _CONTENT]
    wins = np.zeros(len(a), np.bool_)
    undecided = np.ones(len(a), np.bool_)
    for left, right in order:
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
    contents, times = _content_keys(everything[n:], group[n:]), _written_keys(everything[n:], group[n:])
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
        again = loses & np.isin(_content_keys(rows, ids), contents)
        same_time = (rows["written_at"] == current["written_at"]) | np.isin(_written_keys(rows, ids), times)
        clash = loses & ~again & same_time
        repeated.append(turn[alike | again])
        conflicts.append(turn[clash])
        revisions += [current[stands], rows[loses & ~again & ~clash]]
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
    _, content = np.unique(_content_keys(rows, group), return_inverse=True)
    _, first = np.unique(_written_keys(rows, content), return_index=True)
    keep = np.zeros(len(rows), np.bool_)
    keep[first] = True
    return np.flatnonzero(~keep), np.flatnonzero(keep)


def _content_keys(rows: Rows, group: Index) -> NDArray[np.void]:
    """Return one opaque key a row: identity and content, comparable with `np.isin`."""
    gone = rows["flags"] & _TOMBSTONE
    keys = np.zeros(len(rows), [("group", "i8"), ("gone", "i2"), *((name, ROW[name]) for name in _CONTENT)])
    keys["group"], keys["gone"] = group, gone
    for name in _CONTENT:
        keys[name] = np.where(gone != 0, 0, rows[name]) + 0  # + 0 turns -0.0 into 0.0, which compares equal
    return _opaque(keys)


def _written_keys(rows: Rows, group: Index) -> NDArray[np.void]:
    """Return one opaque key a row: group and written time."""
    keys = np.empty(len(rows), [("group", "i8"), ("written", "i8")])
    keys["group"], keys["written"] = group, rows["written_at"]
    return _opaque(keys)


def _opaque(keys: NDArray[np.void]) -> NDArray[np.void]:
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
