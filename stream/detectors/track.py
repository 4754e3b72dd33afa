"""The person track: when somebody moved, exercised and slept, as far as all of their devices have told by now.

One device knows that its wearer walks, another measures the heart: resting rules need both. A patient's track takes in
every origin's settled samples and lends their neighbours the context bits that they lack. Origins settle at different
times: a strap's heart rate can be judged before the phone's steps come, and what is known by then is what counts.

Motion is the bit itself, ENMO from 80 m[g] (walking lies above 100, desk work below 40: Hildebrand et al. 2014,
doi:10.1249/MSS.0000000000000289, wrist), at least 20 steps a minute, a cadence of 40 /min, an intensity of moderate or
more, or a class that moves the wearer's own legs. Being in bed alone is not sleep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors.by_metric import Stretch, by_metric
from stream.detectors.observation import Observations, copied, pick
from vitals.catalogue import BY_CODE, BY_NUMBER
from vitals.clock import US_PER_S
from vitals.quality import TRUSTWORTHY, Context

KEPT: Final = 64
"""Stretches of each kind that are remembered, the newest."""
MAX_BYTES: Final = 3 * KEPT * 16 + 256

Stretches = NDArray[np.int64]
"""Shape (n, 2): start and end in us UTC, apart from one another and in order."""

_JOIN_US: Final = 60 * US_PER_S  # two that are closer than this are one
_MARGIN_US: Final = 15 * US_PER_S  # how far beyond its stretch a bit is lent
_LONGEST_STEPS_MS: Final = 15 * 60_000  # steps counted over more say too little about when
_ENMO_MG, _STEPS_PER_MIN, _CADENCE_PER_MIN, _INTENSITY = 80.0, 20.0, 40.0, 2.0
_MOVING_CLASSES: Final = (2.0, 3.0, 4.0)  # walking, running, cycling; in a vehicle one sits
_ASLEEP_STAGES: Final = (1.0, 3.0, 4.0, 5.0)
_BITS: Final = (Context.MOTION_ACTIVE, Context.WORKOUT, Context.ASLEEP)
_BITS_AS_INTS: Final = tuple(int(bit) for bit in _BITS)
_NO_CONTACT: Final = int(Context.NO_CONTACT)
_ANY_BIT: Final = int(Context.MOTION_ACTIVE | Context.WORKOUT | Context.ASLEEP)

_ENMO, _STEPS, _CADENCE, _INTENSE, _CLASS, _WORKOUT, _STAGE = _NUMBERS = tuple(
    BY_CODE[code].number
    for code in ("enmo", "steps", "cadence", "activity_intensity", "activity_class", "workout", "sleep_stage")
)
METRICS: Final = frozenset(_NUMBERS)
"""What the track needs to see, beside the context bits of whatever comes."""
_TELLS: Final = np.zeros(max(BY_NUMBER) + 1, np.bool_)
_TELLS[list(METRICS)] = True
_TELLING: Final = sum(1 << number for number in METRICS)
_TELLS_ANYWAY: Final = sum(1 << number for number in (_STEPS, _CLASS, _WORKOUT, _STAGE))
_LEAST: Final = ((_ENMO, _ENMO_MG), (_CADENCE, _CADENCE_PER_MIN), (_INTENSE, _INTENSITY))
"""From which value on these tell of motion."""


def _none() -> Stretches:
    return np.empty((0, 2), np.int64)


@dataclass(frozen=True, slots=True)
class Track:
    """Stretches of motion, exercise and sleep; at most `KEPT` of each."""

    motion: Stretches = field(default_factory=_none)
    workout: Stretches = field(default_factory=_none)
    asleep: Stretches = field(default_factory=_none)

    def stretches(self) -> tuple[Stretches, Stretches, Stretches]:
        """Return those of motion, exercise and sleep, as `Context` has their bits."""
        return self.motion, self.workout, self.asleep


def take(track: Track, seen: Observations) -> Track:
    """Return the track with what settled samples of one origin tell, in any order; of unworn devices, nothing."""
    stretch = by_metric(seen)
    if not _may_tell(stretch):
        return track
    telling = stretch.bits & _TELLING
    if not (stretch.all_well and stretch.context > 0 and stretch.context & _ANY_BIT):  # else all of them tell
        told = ((seen["context"] & _ANY_BIT) != 0) | _TELLS[seen["metric"]]
        if not stretch.all_well:
            told &= (seen["quality"] >= TRUSTWORTHY) & ((seen["context"] & _NO_CONTACT) == 0)
        count = np.count_nonzero(told)
        if not count:
            return track
        seen = seen if count == len(told) else pick(seen, told)
    moved, trained, slept = _meanings(seen, telling)
    return Track(
        _with(track.motion, seen, moved), _with(track.workout, seen, trained), _with(track.asleep, seen, slept)
    )


def _may_tell(stretch: Stretch) -> bool:
    """Tell whether anything may be told; False is certain."""
    if stretch.any_context & _ANY_BIT or stretch.bits & _TELLS_ANYWAY:
        return True
    return any(stretch.of(number) is not None and stretch.extremes(number)[1] >= least for number, least in _LEAST)


def _meanings(seen: Observations, telling: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which samples tell of motion, exercise and sleep; `telling` has the bits of the metrics that may."""
    context, metric, value = (np.ascontiguousarray(seen[name]) for name in ("context", "metric", "value"))
    moved, trained, slept = [(context & bit) != 0 for bit in _BITS_AS_INTS]
    if telling & 1 << _STAGE:
        stage = metric == _STAGE
        # A sample counted over time speaks for all of it; its bit may be that of its end alone.
        moved &= ~stage
        slept = np.where(stage, _is_one_of(value, _ASLEEP_STAGES), slept)
    if telling & 1 << _STEPS:
        duration = np.ascontiguousarray(seen["duration_ms"])
        enough = value >= _STEPS_PER_MIN * (np.maximum(duration, 1) / 60_000.0)
        moved |= (metric == _STEPS) & enough & (duration <= _LONGEST_STEPS_MS)
    for number, least in _LEAST:
        if telling & 1 << number:
            moved |= (metric == number) & (value >= least)
    if telling & 1 << _CLASS:
        moved |= (metric == _CLASS) & _is_one_of(value, _MOVING_CLASSES)
    if telling & 1 << _WORKOUT:
        trained |= metric == _WORKOUT
    return moved, trained, slept


def _is_one_of(value: NDArray[np.float64], classes: tuple[float, ...]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.logical_or.reduce([value == one for one in classes])
    return found


def _with(known: Stretches, seen: Observations, which: NDArray[np.bool_]) -> Stretches:
    if not np.count_nonzero(which):
        return known
    start = seen["start_us"][which]
    end = start + seen["duration_ms"][which].astype(np.int64) * 1_000
    if len(known) and start.min() >= known[-1, 0] and known[-1, 1] >= end.max():
        return known
    return _union(np.concatenate((known[:, 0], start)), np.concatenate((known[:, 1], end)))


def _union(start: NDArray[np.int64], end: NDArray[np.int64]) -> Stretches:
    """Return the stretches joined, the newest `KEPT` of them; the order in which they came does not matter."""
    order = np.argsort(start, kind="stable")
    start, until = start[order], np.maximum.accumulate(end[order])
    apart = np.flatnonzero(start[1:] - until[:-1] > _JOIN_US) + 1
    first, last = np.append(0, apart)[-KEPT:], np.append(apart - 1, len(start) - 1)[-KEPT:]
    joined: Stretches = np.stack((start[first], until[last]), axis=1)
    return joined


def enrich(track: Track, seen: Observations) -> Observations:
    """Return `seen` with the bits of the stretches that its samples lie in; itself where none do.

    A sample lies in a stretch up to 15 s before and after it, by its start; `seen` may be in any order.
    """
    if not len(seen):
        return seen
    start, lent = seen["start_us"], None
    first, last = int(np.minimum.reduce(start)) - _MARGIN_US, int(np.maximum.reduce(start)) + _MARGIN_US
    for bit, stretches in zip(_BITS_AS_INTS, track.stretches(), strict=True):
        # The newest stretch ends last: most samples come after all of them, and then this is all it costs.
        if not len(stretches) or stretches[-1, 1] < first or stretches[0, 0] > last:
            continue
        at = np.searchsorted(stretches[:, 0], start + _MARGIN_US, side="right") - 1
        inside = (at >= 0) & (start - _MARGIN_US <= stretches[at, 1])
        bits: Any = inside * np.int16(bit)
        lent = bits if lent is None else lent | bits
    if lent is None or not np.count_nonzero(lent & ~seen["context"]):
        return seen
    richer = copied(seen)
    richer["context"] |= lent
    return richer


def now(track: Track, at_us: int) -> Context:
    """Return the bits that hold at a moment, as `enrich` would lend them: for what is judged at once."""
    found = Context(0)
    for bit, stretches in zip(_BITS, track.stretches(), strict=True):
        if len(stretches) and stretches[-1, 1] >= at_us - _MARGIN_US:
            at = int(np.searchsorted(stretches[:, 0], at_us + _MARGIN_US, side="right")) - 1
            if at >= 0 and at_us - _MARGIN_US <= stretches[at, 1]:
                found |= bit
    return found
