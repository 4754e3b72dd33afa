"""Desaturations: falls of saturation from the level before them, with their nadir, length and recovery.

The level before a fall is the 90th percentile of the last two minutes: during a row of events it stays the level
between them, which a mean would leave (the AASM manual asks for a fall from the level before the event, by 3 % or 4 %;
Berry et al. 2012, J Clin Sleep Med 8:597, doi:10.5664/jcsm.2172). An event lasts from where saturation left that level
by more than 1 % until two thirds of the fall are made up for, 10 to 180 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np

from stream.detectors.slots import Ints
from stream.detectors.sustain import NEVER
from vitals.clock import US_PER_S

BEFORE_US: Final = 120 * US_PER_S
_LEAST_BEFORE_US: Final = 55 * US_PER_S
_PERCENTILE: Final = 0.9
_LEVEL: Final = 10
"""Within 1 % (in tenths) of the level before is no fall."""
_FALL: Final = 30
_CHUNK: Final = 1_024
"""So many candidates' surroundings are looked at together, which bounds memory."""


class Event(NamedTuple):
    """One desaturation: began, nadir and recovered (us), and its depth and nadir in tenths of a per cent."""

    start_us: int
    end_us: int
    depth: int
    nadir: int


@dataclass(frozen=True, slots=True)
class Fall:
    """An event that goes on: since when, from which level, how low so far (tenths of a per cent), how many samples
    lay deep."""

    start_us: int
    level: int
    nadir: int
    deep: int


@dataclass(frozen=True, slots=True)
class Recent:
    """Samples in order, at most one a second, none further than the longest gap from the next: the last two minutes."""

    start_us: Ints
    value: Ints  # tenths of a per cent

    @classmethod
    def none(cls) -> Self:
        """Return no samples."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    @property
    def last_us(self) -> int:
        """When the newest was taken; `NEVER` without any."""
        return int(self.start_us[-1]) if len(self.start_us) else NEVER


def events_in(
    recent: Recent, fall: Fall | None, start_us: Ints, value: Ints, max_gap_us: int
) -> tuple[Recent, Fall | None, list[Event]]:
    """Take in samples (ascending, at most one a second); return what is left open and the events that ended.

    A gap longer than `max_gap_us` ends nothing and begins everything anew: nobody knows what was in it.
    """
    old = len(recent.start_us)
    times, values = np.concatenate((recent.start_us, start_us)), np.concatenate((recent.value, value))
    if not len(start_us):
        return recent, fall, []
    gaps = np.flatnonzero(np.diff(times) > max_gap_us) + 1
    found: list[Event] = []
    begins = [0, *gaps.tolist()]
    for first, last in zip(begins, [*begins[1:], len(times)], strict=True):
        if first >= old:
            fall = None
        fall, events = _within(times[first:last], values[first:last], max(old - first, 0), fall)
        found += events
    first = max(begins[-1], int(np.searchsorted(times, times[-1] - BEFORE_US)))
    return Recent(times[first:], values[first:]), fall, found


def _within(times: Ints, values: Ints, at: int, fall: Fall | None) -> tuple[Fall | None, list[Event]]:
    """Return the events in a stretch without gaps, from position `at` on."""
    found: list[Event] = []
    if fall is None and values[at:].min(initial=1_000) > values.max(initial=0) - _FALL:
        return None, found  # nearly always: nothing lies so far below anything
    level = _levels(times, values, at)
    deep = np.flatnonzero(values[at:] <= level - _FALL) + at
    while at < len(times):
        if fall is None:
            later = np.searchsorted(deep, at)
            if later == len(deep):
                break
            at = int(deep[later])
            fall = _begun(times, values, at, int(level[at - len(times)]))
        fall, at, event = _followed(times, values, at, fall)
        if event is not None:
            found.append(event)
    return fall, found


def _levels(times: Ints, values: Ints, at: int) -> Ints:
    """Return the level before each sample from `at` on: int64, so low that nothing falls from it where unknown."""
    level = np.zeros(len(times) - at, np.int64)
    top = values.max(initial=0)
    wanted = np.flatnonzero(values[at:] <= top - _FALL)
    for chunk in np.array_split(wanted, len(wanted) // _CHUNK + 1) if len(wanted) else []:
        here = chunk + at
        first = np.searchsorted(times, times[here] - BEFORE_US)
        width = int((here - first).max(initial=1))
        index = here[:, None] - np.arange(1, width + 1)
        inside = index >= first[:, None]
        around = np.sort(np.where(inside, values[np.maximum(index, 0)], -1), axis=1)
        count = inside.sum(axis=1)
        rank = width - np.maximum(count - np.floor(_PERCENTILE * count).astype(np.int64), 1)
        known = (count > 0) & (times[here] - times[first] >= _LEAST_BEFORE_US)
        level[chunk] = np.where(known, around[np.arange(len(here)), rank], 0)
    return level


def _begun(times: Ints, values: Ints, at: int, level: int) -> Fall:
    """Return the fall of which sample `at` is the first that lies deep."""
    near = np.flatnonzero(values[:at] >= level - _LEVEL)
    start = int(times[near[-1]]) if len(near) else int(times[at])
    return Fall(start, level, int(values[at]), 0)


def _followed(times: Ints, values: Ints, at: int, fall: Fall) -> tuple[Fall | None, int, Event | None]:
    """Return how a fall goes on from `at`: still open, or the position after its end and the event, if it is one."""
    nadir = np.minimum(np.minimum.accumulate(values[at:]), fall.nadir)
    # Two thirds of the fall made up for, in whole numbers; at least one per cent.
    risen = values[at:] - nadir
    back = (3 * risen >= 2 * (fall.level - nadir)) & (risen >= _LEVEL)
    late = times[at:] - fall.start_us > MOST_US
    over = np.flatnonzero(back | late)
    deep = np.cumsum(values[at:] <= fall.level - _FALL) + fall.deep
    if not len(over):
        return Fall(fall.start_us, fall.level, int(nadir[-1]), int(deep[-1])), len(times), None
    end = int(over[0])
    lasted_us = int(times[at + end]) - fall.start_us
    real = not late[end] and lasted_us >= LEAST_US and deep[end] >= _LEAST_DEEP
    low = int(nadir[end])
    event = Event(fall.start_us, int(times[at + end]), fall.level - low, low) if real else None
    return None, at + end + 1, event


LEAST_US: Final = 10 * US_PER_S
MOST_US: Final = 180 * US_PER_S
_LEAST_DEEP: Final = 2
"""One sample alone may be wrong."""
