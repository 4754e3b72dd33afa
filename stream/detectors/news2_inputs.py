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

from stream.detectors.by_metric import Series, by_metric
from stream.detectors.observation import Observations
from stream.detectors.sustain import NEVER
from vitals.catalogue import number_of
from vitals.clock import US_PER_S
from vitals.quality import Context

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
_ENTERED: Final = int(Context.USER_ENTERED)
_EXERTABLE: Final = 5
"""Slots below this one say nothing of a resting patient during exercise."""
MEDICAL: Final = 16
"""What a medical device measured has its own slots as well, so many further on: an emergency rests on those alone."""
_TIME_BITS: Final = 24
_SLOTS: Final = 2 * MEDICAL  # more than there are, so that bucket and slot make one number

Rows = NDArray[np.void]
Known = tuple[tuple[int, float], ...]
"""The newest values of a slot with when each was measured (us), oldest first."""


_SLOTS_BY_NUMBER: Final = tuple((number_of(code), slot) for slot, code in enumerate(SOURCES))
_MARKS: Final = ((MOTION, _EXERCISE), (ASLEEP, _ASLEEP))
_NO_SLOTS: Final = np.empty(0, np.int64)


def _nothing() -> Rows:
    return np.empty(0, _ROW)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is known of each slot: `known` by any device, `medical` by those whose intended use allows high priority.

    `waiting` are samples of a time that is not over; `done_us` is up to when it is, `moved_us` and `asleep_us` when the
    patient was last seen to move and to sleep by then.
    """

    waiting: NDArray[np.void] = field(default_factory=_nothing)
    known: tuple[Known, ...] = ((),) * MOTION
    done_us: int = NEVER
    moved_us: int = NEVER
    asleep_us: int = NEVER
    medical: tuple[Known, ...] = ((),) * MOTION


class Columns(NamedTuple):
    """Samples by slot, each in its order: an entry a part, which has one slot, when they ended and their values."""

    slot: list[int]
    end_us: list[NDArray[np.int64]]
    value: list[NDArray[np.float64]]


class Group(NamedTuple):
    """One slot in one 15 seconds: its median (the newest, of what was entered) and newest time (us)."""

    bucket: int
    slot: int
    at_us: int
    value: float


def columns_of(seen: Observations, *, medical: bool = False) -> Columns:
    """Return the samples that count, at the end of their measurement, and those that tell of motion and sleep.

    Those of a `medical` device are there a second time, in the slots of such.
    """
    stretch = by_metric(seen)
    any_of = stretch.any_context
    slots, ends, values = [], [], []
    for number, slot in _SLOTS_BY_NUMBER:
        told = stretch.of(number)
        if told is None:
            continue
        counting = _counting(stretch.trusted(number), slot, any_of)
        if counting is not None:
            for one in (slot, slot + MEDICAL) if medical else (slot,):
                slots.append(one)
                ends.append(counting.end_us)
                values.append(counting.value)
        for mark, bits in _MARKS:
            if any_of & bits:
                where = _last_of_each((told.context & bits) != 0, told.end_us)
                slots.append(mark)
                ends.append(told.end_us[where])
                values.append(told.value[where])
    return Columns(slots, ends, values)


def _counting(series: Series | None, slot: int, any_of: int) -> Series | None:
    """Return which samples count; where nothing is wrong that costs little."""
    if series is None:
        return None
    if slot < _EXERTABLE and any_of & _EXERCISE:
        rested = (series.context & _EXERCISE) == 0
        return series if np.count_nonzero(rested) == len(rested) else series.pick(rested)
    if slot >= VITALS:
        return series.pick((series.context & _ENTERED) != 0)
    return series


def _last_of_each(which: NDArray[np.bool_], ends: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return where `which` holds, the last of each 15 seconds: of a stretch of motion no more is to be known."""
    index = which.nonzero()[0]
    if len(index) < 2:
        return index
    bucket = ends[index] // BUCKET_US
    last = np.ones(len(index), np.bool_)
    np.not_equal(bucket[1:], bucket[:-1], out=last[:-1])
    return index[last]


def taken(waiting: Rows, new: Columns, until_us: int) -> tuple[list[Group], Rows]:
    """Return the medians by 15 seconds and slot, in that order, of those that are over by `until_us` (a multiple of
    15 s), and the rows of the others. Of each slot in each 15 seconds the newest `MOST` rows count."""
    at_us = np.concatenate((waiting["at_us"], *new.end_us))
    value = np.concatenate((waiting["value"], *new.value))
    slots = np.repeat(new.slot, [len(one) for one in new.end_us]) if new.slot else _NO_SLOTS
    slot = np.concatenate((waiting["slot"], slots), dtype=np.int64)
    # By bucket, slot and time in one number: times within a bucket take 24 bits. What is equal keeps its order.
    place = at_us // BUCKET_US * ((_SLOTS << _TIME_BITS) - BUCKET_US) + at_us + (slot << _TIME_BITS)
    order = place.argsort(kind="stable")
    key = place[order] >> _TIME_BITS
    over = int(key.searchsorted(until_us // BUCKET_US * _SLOTS))
    left = _newest(key[over:], order[over:])
    rows = _rows(at_us[left], slot[left], value[left])
    if not over:
        return [], rows
    edges = _edges(key[:over])
    last = edges[1:] - 1
    values, parts = value[order[:over]].tolist(), pairwise(edges.tolist())
    columns = zip(key[last].tolist(), at_us[order[last]].tolist(), parts, strict=True)
    return [
        _group(one, newest_us, values[max(first, end - MOST) : end]) for one, newest_us, (first, end) in columns
    ], rows


def _group(key: int, newest_us: int, values: list[float]) -> Group:
    """Return the group of these values, in the order of their times."""
    bucket, slot = divmod(key, _SLOTS)
    if VITALS <= slot % MEDICAL < MOTION:  # half way between alert and voice is nothing
        return Group(bucket, slot, newest_us, values[-1])
    values.sort()
    count = len(values)
    return Group(bucket, slot, newest_us, (values[(count - 1) // 2] + values[count // 2]) / 2)


def _newest(key: NDArray[np.int64], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return `order` with at most the last `MOST` of each key (sorted)."""
    if not np.count_nonzero(key[MOST:] == key[:-MOST]):
        return order
    edges = _edges(key)
    sizes = edges[1:] - edges[:-1]
    return order[np.repeat(edges[1:], sizes) - np.arange(len(key)) <= MOST]


def _rows(at_us: NDArray[np.int64], slot: NDArray[np.int64], value: NDArray[np.float64]) -> Rows:
    rows: Any = np.empty(len(at_us), _ROW)
    rows["at_us"], rows["slot"], rows["value"] = at_us, slot, value
    return rows  # type: ignore[no-any-return]


def _edges(key: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return where equal keys begin, in sorted keys, and their number at the end."""
    new = np.ones(len(key) + 1, np.bool_)
    np.not_equal(key[1:], key[:-1], out=new[1:-1])
    return new.nonzero()[0]


def by_bucket(found: list[Group]) -> list[tuple[int, list[Group]]]:
    """Return the groups of each 15 seconds with their end (us)."""
    cuts = [0, *(at for at in range(1, len(found)) if found[at].bucket != found[at - 1].bucket), len(found)]
    return [((found[first].bucket + 1) * BUCKET_US, found[first:last]) for first, last in pairwise(cuts)]


class Working:
    """`Inputs` while a step goes through time, 15 seconds after another."""

    def __init__(self, inputs: Inputs) -> None:
        self.known, self.medical = list(inputs.known), list(inputs.medical)
        self.moved_us, self.asleep_us = inputs.moved_us, inputs.asleep_us

    def take(self, group: Group) -> None:
        """Let a group take its place among the newest three of its slot."""
        if group.slot == MOTION:
            self.moved_us = max(self.moved_us, group.at_us)
        elif group.slot == ASLEEP:
            self.asleep_us = max(self.asleep_us, group.at_us)
        else:
            known, slot = (self.known, group.slot) if group.slot < MEDICAL else (self.medical, group.slot - MEDICAL)
            held, new = known[slot], (group.at_us, group.value)
            if held and held[-1][0] > group.at_us:
                place = sum(at_us <= group.at_us for at_us, _ in held)
                known[slot] = (*held[:place], new, *held[place:])[-KEPT:]
            else:
                known[slot] = (*held[1 - KEPT :], new)

    def current(self, slot: int, since_us: int, smooth_us: int) -> tuple[float, int, int] | None:
        """Return (the median of the newest values within `smooth_us` of the newest, when that was measured, of how many
        values), if it was measured at `since_us` or later; else None. What a person entered is not averaged."""
        held = self.known[slot]
        if not held or held[-1][0] < since_us:
            return None
        newest, value = held[-1]
        if slot >= VITALS:
            return value, newest, 1
        since_us = newest - smooth_us
        near = sorted([value for at_us, value in held if at_us >= since_us])
        count = len(near)
        return (near[(count - 1) // 2] + near[count // 2]) / 2, newest, count

    def by_medical(self) -> Working:
        """Return what medical devices alone tell."""
        return Working(Inputs(known=tuple(self.medical), moved_us=self.moved_us, asleep_us=self.asleep_us))

    def frozen(self, waiting: Rows, done_us: int) -> Inputs:
        """Return it as a state."""
        return Inputs(waiting, tuple(self.known), done_us, self.moved_us, self.asleep_us, tuple(self.medical))
