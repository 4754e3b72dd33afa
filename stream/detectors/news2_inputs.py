"""What NEWS2 needs of a patient's samples: medians over 15 seconds of each vital sign at rest, and what people entered.

A set of observations, not a stream: of each input the newest three medians are kept, so that one odd sample never
scores where there are others, and with them when they were measured. Samples wait until their 15 seconds are over;
those of another, slower device may come later still and then count from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.detectors.observation import Observations
from stream.detectors.sustain import NEVER
from vitals.catalogue import BY_NUMBER, number_of
from vitals.clock import US_PER_S
from vitals.quality import TRUSTWORTHY, Context

SOURCES: Final = (
    "respiratory_rate", "spo2", "bp_systolic", "heart_rate", "pulse_rate", "body_temperature", "consciousness",
    "supplemental_oxygen",
)  # fmt: skip
"""The metrics, by slot. The last two only count where a person entered them; wrist temperature is none of them."""
METRICS: Final = frozenset(number_of(code) for code in SOURCES)
VITALS: Final = 6
"""So many slots are measured, the others entered."""
MOTION: Final = len(SOURCES)
"""The slot that says when somebody moved, and the one that says when they slept."""
ASLEEP: Final = MOTION + 1
KEPT: Final = 3
BUCKET_US: Final = 15 * US_PER_S
MOST: Final = 40
"""The most samples of a slot that 15 seconds are judged by: the newest."""
_ROW: Final = np.dtype([("at_us", np.int64), ("slot", np.int8), ("value", np.float64)])
_EXERCISE: Final = int(Context.MOTION_ACTIVE | Context.WORKOUT)
_ASLEEP: Final = int(Context.ASLEEP)
_LOST: Final = int(Context.NO_CONTACT)
_EXERTABLE: Final = 5
"""Slots below this one say nothing of a resting patient during exercise."""
_SLOTS: Final = 16  # more than there are, so that bucket and slot make one number

Rows = NDArray[np.void]
Known = tuple[tuple[int, float], ...]
"""The newest values of a slot with when each was measured (us), oldest first."""


def _slots() -> NDArray[np.int8]:
    table = np.full(max(BY_NUMBER) + 1, -1, np.int8)
    for slot, code in enumerate(SOURCES):
        table[number_of(code)] = slot
    return table


_SLOT: Final = _slots()


def _nothing() -> Rows:
    return np.empty(0, _ROW)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is known of each slot.

    `waiting` are samples of a time that is not over; `done_us` is up to when it is, `moved_us` and `asleep_us` when the
    patient was last seen to move and to sleep by then.
    """

    waiting: NDArray[np.void] = field(default_factory=_nothing)
    known: tuple[Known, ...] = ((),) * MOTION
    done_us: int = NEVER
    moved_us: int = NEVER
    asleep_us: int = NEVER


class Group(NamedTuple):
    """One slot in one 15 seconds: its median (the newest, of what was entered) and newest time (us)."""

    bucket: int
    slot: int
    at_us: int
    value: float


def rows_of(seen: Observations) -> Rows:
    """Return the samples that count, at the end of their measurement, and those that tell of motion and sleep."""
    slot, ends = _SLOT[seen["metric"]], seen["start_us"]
    if seen["duration_ms"].any():
        ends = ends + seen["duration_ms"].astype(np.int64) * 1_000
    told = _counting(seen, slot)
    context = seen["context"]
    any_of = int(np.bitwise_or.reduce(context))
    marks = [
        (mark, _last_of_each((context & bits) != 0, ends))
        for mark, bits in ((MOTION, _EXERCISE), (ASLEEP, _ASLEEP))
        if any_of & bits
    ]
    index = np.concatenate((told, *(where for _, where in marks)))
    rows: Any = np.empty(len(index), _ROW)
    rows["at_us"], rows["value"], rows["slot"] = ends[index], seen["value"][index], slot[index]
    first = len(told)
    for mark, where in marks:
        rows["slot"][first : first + len(where)] = mark
        first += len(where)
    return rows  # type: ignore[no-any-return]


def _counting(seen: Observations, slot: NDArray[np.int8]) -> NDArray[np.intp]:
    """Return which samples count; where nothing is wrong that costs little."""
    context, any_of = seen["context"], int(np.bitwise_or.reduce(seen["context"]))
    counts = seen["quality"] >= TRUSTWORTHY
    if any_of & _LOST:
        counts &= (context & _LOST) == 0
    if any_of & _EXERCISE:
        counts &= ((context & _EXERCISE) == 0) | (slot >= _EXERTABLE)
    if slot.max() >= VITALS:
        counts &= (slot < VITALS) | ((context & int(Context.USER_ENTERED)) != 0)
    return np.flatnonzero(counts)


def _last_of_each(which: NDArray[np.bool_], ends: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return where `which` holds, the last of each 15 seconds: of a stretch of motion no more is to be known."""
    index = np.flatnonzero(which)
    if len(index) < 2:
        return index
    bucket = ends[index] // BUCKET_US
    last: NDArray[np.intp] = index[np.append(bucket[1:] != bucket[:-1], True)]
    return last


def joined(older: Rows, newer: Rows) -> Rows:
    """Return both; as `numpy.concatenate`, which is slow on rows."""
    both: Any = np.empty(len(older) + len(newer), _ROW)
    both[: len(older)], both[len(older) :] = older, newer
    return both  # type: ignore[no-any-return]


def bounded(rows: Rows) -> Rows:
    """Return the newest `MOST` rows of each slot in each 15 seconds; in order of these where any must go."""
    if len(rows) <= MOST:
        return rows
    key = _key(rows)
    order = np.lexsort((rows["at_us"], key))
    rows, edges = rows[order], np.append(_edges(key[order]), len(rows))
    later = np.repeat(edges[1:], np.diff(edges)) - np.arange(len(rows))
    return rows[later <= MOST]


def _key(rows: Rows) -> NDArray[np.int64]:
    key: NDArray[np.int64] = rows["at_us"] // BUCKET_US * _SLOTS + rows["slot"]
    return key


def _edges(key: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return where equal keys begin, in sorted keys."""
    new = np.ones(len(key), np.bool_)
    np.not_equal(key[1:], key[:-1], out=new[1:])
    return np.flatnonzero(new)


def groups(rows: Rows) -> list[Group]:
    """Return the medians of `rows` by 15 seconds and slot, in that order."""
    rows = bounded(rows)
    key = _key(rows)
    order = np.lexsort((rows["value"], key))
    key, value, at_us = key[order], rows["value"][order], rows["at_us"][order]
    edges = _edges(key)
    ends = np.append(edges[1:], len(key)) - 1
    middle = (value[(edges + ends) // 2] + value[(edges + ends + 1) // 2]) / 2
    bucket, slot = np.divmod(key[edges], _SLOTS)
    columns = (bucket.tolist(), slot.tolist(), np.maximum.reduceat(at_us, edges).tolist(), middle.tolist())
    found = [Group(*one) for one in zip(*columns, strict=True)]
    return [one if one.slot < VITALS or one.slot >= MOTION else _entered(one, rows) for one in found]


def _entered(group: Group, rows: Rows) -> Group:
    """Return the group with the newest value: half way between alert and voice is nothing."""
    same = (rows["slot"] == group.slot) & (rows["at_us"] == group.at_us)
    return group._replace(value=float(rows["value"][same][-1]))


def by_bucket(found: list[Group]) -> list[tuple[int, list[Group]]]:
    """Return the groups of each 15 seconds with their end (us)."""
    cuts = [0, *(at for at in range(1, len(found)) if found[at].bucket != found[at - 1].bucket), len(found)]
    return [((found[first].bucket + 1) * BUCKET_US, found[first:last]) for first, last in pairwise(cuts)]


class Working:
    """`Inputs` while a step goes through time, 15 seconds after another."""

    def __init__(self, inputs: Inputs) -> None:
        self.known = list(inputs.known)
        self.moved_us, self.asleep_us = inputs.moved_us, inputs.asleep_us

    def take(self, group: Group) -> None:
        """Let a group take its place among the newest three of its slot."""
        if group.slot == MOTION:
            self.moved_us = max(self.moved_us, group.at_us)
        elif group.slot == ASLEEP:
            self.asleep_us = max(self.asleep_us, group.at_us)
        else:
            held, new = self.known[group.slot], (group.at_us, group.value)
            if held and held[-1][0] > group.at_us:
                place = sum(at_us <= group.at_us for at_us, _ in held)
                self.known[group.slot] = (*held[:place], new, *held[place:])[-KEPT:]
            else:
                self.known[group.slot] = (*held[1 - KEPT :], new)

    def current(self, slot: int, since_us: int, smooth_us: int) -> tuple[float, int, int] | None:
        """Return (the median of the newest values within `smooth_us` of the newest, when that was measured, of how many
        values), if it was measured at `since_us` or later; else None. What a person entered is not averaged."""
        held = self.known[slot]
        if not held or held[-1][0] < since_us:
            return None
        newest, value = held[-1]
        if slot >= VITALS:
            return value, newest, 1
        near = sorted(value for at_us, value in held if newest - at_us <= smooth_us)
        count = len(near)
        return (near[(count - 1) // 2] + near[count // 2]) / 2, newest, count

    def frozen(self, waiting: Rows, done_us: int) -> Inputs:
        """Return it as a state."""
        return Inputs(waiting, tuple(self.known), done_us, self.moved_us, self.asleep_us)
