"""What the surge detector sees of a person: quarter minutes of heart rate, and what was known of motion in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.detectors.by_metric import Series, by_metric
from stream.detectors.observation import Observations
from stream.detectors.slots import Ints, Slots, trusted
from stream.detectors.sustain import NEVER, Reading
from vitals.catalogue import number_of
from vitals.clock import US_PER_S
from vitals.quality import Context

HEART, TEMPERATURE = number_of("heart_rate"), number_of("body_temperature")
TELLING: Final = frozenset(map(number_of, ("steps", "cadence", "activity_intensity", "activity_class", "enmo")))
"""Metrics that tell of motion by being there; what they say of it stands in the context of every sample."""
_TELLING: Final = tuple(sorted(TELLING))
_NONE: Final[Ints] = np.empty(0, np.int64)
SLOT_US: Final = 15 * US_PER_S
HELD, RISING, BEFORE = 10, 12, 40
"""Quarter minutes: how long a surge has held, may rise, and how long the rate before it is looked at."""
SPAN: Final = HELD + RISING + BEFORE
LATE: Final = 24
"""By so many quarter minutes heart rates may come later than what tells of motion."""
STILL: Final = HELD + RISING + 12
"""For so long there must have been no sleep, and motion in at most `_TWITCHES`: from three minutes before a surge could
begin. While it holds there must be none."""
_TWITCHES: Final = 2
COUNT, RATE, QUALITY, MOVING, TOLD, ASLEEP, FEVERISH, WALKED = range(8)
"""Columns of the slots: how many heart rates, their sum in tenths of /min, their quality in thousandths, and how many
of them while moving, with motion known, asleep, within hours of an elevated temperature; and how many quarter minutes
of motion were told as a whole at their end (steps of a minute)."""
COLUMNS: Final = 8
_NO_ROWS: Final[Ints] = np.empty((0, COLUMNS), np.int64)
_MOTION: Final = int(Context.MOTION_ACTIVE | Context.WORKOUT)
_ASLEEP: Final = int(Context.ASLEEP)
_KNOWN: Final = _MOTION | int(Context.MOTION_SEDENTARY)
_LONGEST_S: Final = 15.0
"""A mean over longer hides when it rose."""
_TELLS_US: Final = 120 * US_PER_S
"""A sample that tells of motion tells it for so long after its end."""
_LEAST_HELD, _LEAST_BEFORE = 8, 20


@dataclass(frozen=True, slots=True)
class Since:
    """When a sample last told of motion, and when temperature was last elevated (us)."""

    told_us: int = NEVER
    fever_us: int = NEVER


class Around(NamedTuple):
    """At the end of each judged quarter minute: means of it and the 61 before it (NaN where none), oldest first."""

    end_us: Ints  # (n,)
    bpm: NDArray[np.float64]  # (n, SPAN)
    quality: NDArray[np.float64]  # (n, SPAN)
    told: NDArray[np.float64]  # (n,) share of heart rates with motion known
    moving: NDArray[np.bool_]  # (n,) in this minute
    excused: NDArray[np.bool_]  # (n,) motion or sleep of late, or elevated temperature now
    full: NDArray[np.bool_]  # (n,) enough heart rates to judge

    def readings(self, at: int) -> tuple[Reading, ...]:
        """Return the means of the newest quarter minutes as they are quoted, by when each began."""
        last = np.arange(SPAN - HELD, SPAN)
        known = last[~np.isnan(self.bpm[at, last])].tolist()
        begin = int(self.end_us[at]) - SPAN * SLOT_US
        return tuple(
            (begin + one * SLOT_US, round(float(self.bpm[at, one]), 1), round(float(self.quality[at, one]), 3))
            for one in known
        )


def counted(since: Since, seen: Observations, fever_cel: float, fever_us: int) -> tuple[Since, Ints, Ints]:
    """Return (since when, slot numbers (n,), rows (n, COLUMNS)) of the samples that count."""
    rates, telling, warm = trusted(seen, HEART, longest_s=_LONGEST_S), _telling(seen), _NONE
    warmth = trusted(seen, TEMPERATURE)
    if warmth is not None:
        warm = warmth.end_us[warmth.value >= fever_cel]
    told_us = max([int(one.end_us[-1]) for one in telling], default=since.told_us)
    now = Since(told_us, int(warm[-1]) if len(warm) else since.fever_us)
    number, rows = _NONE, _NO_ROWS
    stretch = by_metric(seen)
    if rates is not None:
        flags = _flags(since, rates, stretch.context, telling, warm, fever_us)
        number, rows = _by_slot(rates.end_us // SLOT_US, rates, flags)
    if telling and stretch.any_context & _MOTION:
        number, rows = _with_motion(number, rows, telling)
    return now, number, rows


def _telling(seen: Observations) -> list[Series]:
    """Return the samples that tell of motion by being there, by metric."""
    stretch = by_metric(seen)
    return [one for number in _TELLING if (one := stretch.of(number)) is not None]


def _flags(
    since: Since, rates: Series, agreed: int, telling: list[Series], warm: Ints, fever_us: int
) -> Sequence[NDArray[np.bool_] | bool]:
    """Return of each rate, or of all, whether they were taken moving, with motion known, asleep and, if need be, within
    hours of an elevated temperature; `agreed`: the context of all of them, or -1."""
    end, context = rates.end_us, rates.context
    feverish = len(warm) > 0 or since.fever_us != NEVER
    if agreed >= 0 and agreed & _KNOWN and not feverish:  # nearly always: one look does for all
        return bool(agreed & _MOTION), True, bool(agreed & _ASLEEP)
    flags = [(context & _MOTION) != 0, (context & _KNOWN) != 0, (context & _ASLEEP) != 0]
    if np.count_nonzero(flags[1]) < len(end):
        told_us = np.sort(np.concatenate([_NONE, *(one.end_us for one in telling)]))
        flags[1] |= end - _last_before(end, told_us, since.told_us) <= _TELLS_US
    if feverish:
        flags.append(end - _last_before(end, warm, since.fever_us) <= fever_us)
    return flags


def _by_slot(number: Ints, rates: Series, flags: Sequence[NDArray[np.bool_] | bool]) -> tuple[Ints, Ints]:
    """Return each slot once, and its row; `flags`, of each rate or of all, are the columns from `MOVING` on."""
    begin = np.ones(len(number), np.bool_)
    np.not_equal(number[1:], number[:-1], out=begin[1:])
    begins = begin.nonzero()[0]
    rows = np.zeros((len(begins), COLUMNS), np.int64)
    count, rate, quality = rows[:, COUNT], rows[:, RATE], rows[:, QUALITY]
    count[:-1], count[-1] = begins[1:], len(number)
    count -= begins
    # Whole numbers, which floats add up exactly.
    rate[:] = np.add.reduceat(np.rint(rates.value * 10), begins)
    quality[:] = np.add.reduceat(np.rint(rates.quality * 1_000), begins, dtype=np.float64)
    for column, flag in enumerate(flags, MOVING):
        if isinstance(flag, bool):
            if flag:
                rows[:, column] = count
        elif np.count_nonzero(flag):
            rows[:, column] = np.add.reduceat(flag.astype(np.int64), begins)
    return number[begins], rows


def _with_motion(number: Ints, rows: Ints, telling: list[Series]) -> tuple[Ints, Ints]:
    """Return slot numbers and rows, those of samples that told motion in them too."""
    which = (np.concatenate([one.context for one in telling]) & _MOTION) != 0
    if not np.count_nonzero(which):
        return number, rows
    duration = np.concatenate([one.duration_ms for one in telling])[which]
    ends = np.concatenate([one.end_us for one in telling])[which]
    more = np.zeros((len(ends), COLUMNS), np.int64)
    more[:, WALKED] = np.minimum(duration.astype(np.int64) * 1_000 // SLOT_US, STILL) + 1
    both = np.concatenate((number, ends // SLOT_US))
    order = np.argsort(both, kind="stable")
    return both[order], np.concatenate((rows, more))[order]


def _last_before(start: Ints, others: Ints, before_us: int) -> Ints:
    """Return for each time the last of `others` (ascending) strictly before it, `before_us` where none is; it is 292
    years early at most, so that differences do not wrap around."""
    known = np.concatenate(([max(before_us, -(1 << 61))], others))
    return known[np.searchsorted(others, start)]


def unjudged(slots: Slots) -> int | None:
    """Return the number of the last slot with heart rates, which alone may get more of them; None without any.

    Not that of the last slot: steps may be told before the heart rates of their time, or minutes after.
    """
    if len(slots) and slots.sums[-1, COUNT]:  # nearly always
        return int(slots.number[-1])
    known = slots.sums[:, COUNT].nonzero()[0]
    return int(slots.number[known[-1]]) if len(known) else None


def all_excused(slots: Slots, first: int) -> bool:
    """Tell whether each whole slot from position `first` on has motion or sleep of late (`Around.excused`)."""
    begins = slots.number.searchsorted(slots.number[first:-1] - (STILL - 1)).tolist()
    moved = (slots.sums[:, MOVING] > 0) + slots.sums[:, WALKED] + (_TWITCHES + 1) * slots.sums[:, ASLEEP]
    return all(int(np.add.reduce(moved[begin:end])) > _TWITCHES for end, begin in enumerate(begins, first + 1))


def around(slots: Slots, first: int, end: int) -> Around:
    """Return the surroundings of the slots from position `first` to before `end`."""
    which = np.arange(first, end)
    index = np.maximum(which[:, None] + np.arange(1 - SPAN, 1), 0)
    back = slots.number[which][:, None] - slots.number[index]
    row = np.broadcast_to(np.arange(len(which))[:, None], back.shape)
    inside = (back < SPAN) & (which[:, None] + np.arange(1 - SPAN, 1) >= 0)
    sums = np.zeros((len(which), SPAN, COLUMNS), np.int64)
    sums[row[inside], SPAN - 1 - back[inside]] = slots.sums[index[inside]]
    count = sums[..., COUNT]
    some = np.where(count > 0, count, np.nan)
    all_told = sums[..., TOLD].sum(axis=1) / np.maximum(count.sum(axis=1), 1)
    moved = (sums[:, -STILL:, MOVING] > 0).sum(axis=1) + sums[:, -STILL:, WALKED].sum(axis=1)
    now = sums[:, -HELD:, [MOVING, WALKED, FEVERISH]].sum(axis=(1, 2))
    excused = (moved > _TWITCHES) | (now + sums[:, -STILL:, ASLEEP].sum(axis=1) > 0)
    full = ((count[:, -HELD:] > 0).sum(axis=1) >= _LEAST_HELD) & ((count[:, :BEFORE] > 0).sum(axis=1) >= _LEAST_BEFORE)
    return Around(
        (slots.number[which] + 1) * SLOT_US, sums[..., RATE] / some / 10, sums[..., QUALITY] / some / 1_000,
        all_told, sums[:, -4:, [MOVING, WALKED]].sum(axis=(1, 2)) > 0, excused, full & (count[:, -1] > 0),
    )  # fmt: skip
