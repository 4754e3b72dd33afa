"""Five minutes of rest at a time: what of an origin's samples tells how somebody is when they rest.

At rest is what its context calls sedentary or asleep, not within `after_motion_s` of motion or a workout; between
midnight and six by the wearer's clock also what has no context at all. Means are sums of whole thousandths, so that
cutting the samples elsewhere gives the very same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors.hrv import HrvPolicy, variability
from stream.detectors.observation import Observations
from vitals.batch import NO_ZONE
from vitals.catalogue import BY_NUMBER, number_of
from vitals.clock import US_PER_S
from vitals.quality import TRUSTWORTHY, Context

SLOT_US: Final = 300 * US_PER_S
HOUR_US: Final = 3_600 * US_PER_S
DAY_US: Final = 24 * HOUR_US
TOLD: Final = ("heart_rate", "respiratory_rate", "spo2", "hrv_rmssd", "hrv_sdnn")
"""Metrics of which a slot has the mean of what the device told, in the order of its columns."""
HEART_RATE, RESPIRATORY_RATE, SPO2, RMSSD_TOLD, SDNN_TOLD, RMSSD, SDNN = range(7)
"""Columns: the last two are computed here from RR intervals, and never pool with what a device calls so."""
COLUMNS: Final = 7
RR: Final = number_of("rr_interval")
MOST_BEATS: Final = 600
"""Of five minutes: more than 120 /min is no rest."""
SMALL_HOURS: Final = 6
LONG_MS: Final = 900_000
"""What covers more than a quarter of an hour says nothing about five minutes, unless a device tells HRV of a night."""
_NO_SLOT: Final = -1
_BEAT, _LEFT_OUT = len(TOLD), len(TOLD) + 1
_MILLI: Final = 1_000.0
_AT_US, _PARTS_A_MS = 5_000, 16.0
"""Beats are kept in 16 bits: their times in steps of 5 ms, which holes need, intervals in sixteenths of a ms."""


def _column_of() -> NDArray[np.int64]:
    table = np.full(max(BY_NUMBER) + 1, _LEFT_OUT, np.int64)
    table[[number_of(code) for code in TOLD]] = range(len(TOLD))
    table[RR] = _BEAT
    return table


_COLUMN_OF: Final = _column_of()
_MOVING: Final = int(Context.MOTION_ACTIVE | Context.WORKOUT)
_STILL: Final = int(Context.MOTION_SEDENTARY | Context.ASLEEP)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot being filled: `number` counts from 1970 in slots; sums in thousandths; `beats` of shape (2, n)."""

    number: int
    zone_min: int
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]
    resting: int
    asleep: int
    beats: NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Row:
    """A full slot: values of shape (7,) by column, NaN where there is none. A `zone_min` of NO_ZONE is taken as UTC."""

    start_us: int
    zone_min: int
    asleep: bool
    values: NDArray[np.float64]

    @property
    def local_us(self) -> int:
        """When it begins by the wearer's clock."""
        return self.start_us + (0 if self.zone_min == NO_ZONE else self.zone_min * 60 * US_PER_S)

    @property
    def hour(self) -> int:
        """The hour of the wearer's day, 0 to 23."""
        return self.local_us % DAY_US // HOUR_US


NO_BEATS: Final = np.zeros((2, 0), np.uint16)


def empty(number: int = _NO_SLOT) -> Slot:
    """Return a slot with nothing in it."""
    return Slot(number, NO_ZONE, np.zeros(len(TOLD)), np.zeros(len(TOLD), np.int64), 0, 0, NO_BEATS)


def is_open(slot: Slot) -> bool:
    """Tell whether it is being filled."""
    return slot.number != _NO_SLOT


def ends_us(seen: Observations) -> NDArray[np.int64]:
    """Return when each measurement ended: the order in which samples come."""
    duration = seen["duration_ms"]
    start: NDArray[np.int64] = seen["start_us"]
    return start + duration.astype(np.int64) * 1_000 if duration.any() else start


def at_rest(
    seen: Observations, end_us: NDArray[np.int64], moved_us: int, after_motion_s: float
) -> tuple[NDArray[np.bool_] | None, int]:
    """Return which samples count as taken at rest (None: all), and when the wearer last moved (`moved_us`, if not)."""
    context = seen["context"]
    after_us = round(after_motion_s * US_PER_S)
    any_of = int(np.bitwise_or.reduce(context))
    still = (context & _STILL) != 0
    calm = not any_of & (_MOVING | int(Context.NO_CONTACT)) and int(end_us[0]) - moved_us > after_us
    if calm and still.all() and seen["quality"].min() >= TRUSTWORTHY:
        return None, moved_us
    moving = (context & _MOVING) != 0
    moved = np.maximum.accumulate(np.where(moving, end_us, moved_us))
    zone = seen["zone_offset_min"].astype(np.int64)
    local_us = end_us + np.where(zone == NO_ZONE, 0, zone) * (60 * US_PER_S)
    still |= (local_us % DAY_US < SMALL_HOURS * HOUR_US) & ~moving
    still &= end_us - moved > after_us
    # How somebody was when a long measurement ended says nothing about it.
    still |= seen["duration_ms"] > LONG_MS
    still &= (seen["quality"] >= TRUSTWORTHY) & ((context & int(Context.NO_CONTACT)) == 0)
    return still, int(moved[-1])


def by_slot(end_us: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield (first, after the last) of the samples of each slot; times ascending, shape (n,), n >= 1."""
    if int(end_us[0]) // SLOT_US == int(end_us[-1]) // SLOT_US:
        return iter(((0, len(end_us)),))
    return pairwise([0, *(np.flatnonzero(np.diff(end_us // SLOT_US)) + 1).tolist(), len(end_us)])


def fill(slot: Slot, part: Observations, resting: NDArray[np.bool_] | None) -> Slot:
    """Return the slot with samples taken in that end within it, of which `resting` count (None: all)."""
    zone = part["zone_offset_min"]
    known = int(zone[-1]) if zone[-1] != NO_ZONE else _last_known(zone, slot.zone_min)
    picked = part if resting is None else part[resting]
    if not len(picked):
        return replace(slot, zone_min=known)
    column, value, duration = _COLUMN_OF[picked["metric"]], picked["value"], picked["duration_ms"]
    asleep = picked["context"] & int(Context.ASLEEP)
    if duration.max() > LONG_MS:
        column = np.where((duration > LONG_MS) & (column < RMSSD_TOLD), _LEFT_OUT, column)
        asleep |= duration > LONG_MS
    # One more bin than there are columns takes what is no mean: RR intervals and what is left out.
    sums = np.bincount(column, np.rint(value * _MILLI), _LEFT_OUT + 1)[: len(TOLD)]
    counts = np.bincount(column, minlength=_LEFT_OUT + 1)
    beats = slot.beats if counts[_BEAT] == 0 else _with_beats(slot, picked["start_us"], value, column == _BEAT)
    return Slot(
        slot.number, known, slot.sums + sums, slot.counts + counts[: len(TOLD)],
        slot.resting + len(picked), slot.asleep + int(np.count_nonzero(asleep)), beats,
    )  # fmt: skip


def _last_known(zone: NDArray[np.int16], before: int) -> int:
    known = zone[zone != NO_ZONE]
    return int(known[-1]) if len(known) else before


def _with_beats(
    slot: Slot, start: NDArray[np.int64], value: NDArray[np.float64], which: NDArray[np.bool_]
) -> NDArray[np.uint16]:
    before = slot.beats.shape[1]
    start, value = start[which][: MOST_BEATS - before], value[which][: MOST_BEATS - before]
    beats = np.empty((2, before + len(start)), np.uint16)
    beats[:, :before] = slot.beats
    beats[0, before:] = np.maximum(start - slot.number * SLOT_US, 0) // _AT_US
    # The catalogue keeps them within 200 to 4,000 ms, which fits.
    beats[1, before:] = np.minimum(value, 4_000.0) * _PARTS_A_MS
    return beats


def closed(slot: Slot, policy: HrvPolicy | None) -> Row:
    """Return what a slot comes to; without a policy its variability is not looked at."""
    values = np.full(COLUMNS, np.nan)
    known = slot.counts > 0
    values[: len(TOLD)][known] = slot.sums[known] / slot.counts[known] / _MILLI
    if policy is not None and slot.beats.shape[1] >= policy.min_beats:
        found = variability(slot.beats[0] * (_AT_US / 1_000.0), slot.beats[1] / _PARTS_A_MS, policy)
        values[RMSSD], values[SDNN] = found.rmssd_ms, found.sdnn_ms
    asleep = slot.asleep > 0 and 2 * slot.asleep >= slot.resting
    return Row(slot.number * SLOT_US, slot.zone_min, asleep, values)
