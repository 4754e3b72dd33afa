"""Five minutes of rest at a time: what of an origin's samples tells how somebody is when they rest.

At rest is what its context calls sedentary or asleep, not within `after_motion_s` of motion or a workout; between
midnight and six by the wearer's clock also what has no context at all. Means are sums of whole thousandths, so that
cutting the samples elsewhere gives the very same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.detectors.by_metric import Series, Stretch, by_metric
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
_NUMBERS: Final = tuple(number_of(code) for code in TOLD)
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
_NO_CONTACT: Final = int(Context.NO_CONTACT)
_ASLEEP: Final = int(Context.ASLEEP)
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


class Part(NamedTuple):
    """Samples in the order of their ends, with their metrics and zones: columns of shape (n,)."""

    samples: Series
    metric: NDArray[np.int16]
    zone_min: NDArray[np.int16]

    def pick(self, which: slice | NDArray[np.bool_]) -> Part:
        """Return the samples that the mask or the slice selects."""
        return Part(self.samples.pick(which), self.metric[which], self.zone_min[which])


def part_of(seen: Observations, metrics: NDArray[np.bool_]) -> Part | None:
    """Return the samples of the metrics that a table by number names; None without any."""
    samples, metric = by_metric(seen).several(metrics)
    return Part(samples, metric, seen["zone_offset_min"][samples.place]) if len(metric) else None


def at_rest(part: Part, moved_us: int, after_motion_s: float) -> tuple[NDArray[np.bool_] | None, int]:
    """Return which samples count as taken at rest (None: all), and when the wearer last moved (`moved_us`, if not)."""
    samples, end_us = part.samples, part.samples.end_us
    context, quality = samples.context, samples.quality
    after_us = round(after_motion_s * US_PER_S)
    any_of = int(np.bitwise_or.reduce(context))
    rested = int(end_us[0]) - moved_us > after_us
    if not any_of & _MOVING:
        well = not any_of & _NO_CONTACT and bool(np.minimum.reduce(quality) >= TRUSTWORTHY)
        if rested and well and bool(((context & _STILL) != 0).all()):
            return None, moved_us
        moved: NDArray[np.int64] | int = moved_us
        newest_us = moved_us
    else:
        if any_of == int(np.bitwise_and.reduce(context)) and not (samples.duration_ms > LONG_MS).any():
            return np.zeros(len(context), np.bool_), int(end_us[-1])  # all of it in motion
        moved = np.maximum.accumulate(np.where((context & _MOVING) != 0, end_us, moved_us))
        newest_us = int(moved[-1])
    still = (context & _STILL) != 0
    zone = part.zone_min.astype(np.int64)
    local_us = end_us + np.where(zone == NO_ZONE, 0, zone) * (60 * US_PER_S)
    still |= (local_us % DAY_US < SMALL_HOURS * HOUR_US) & ((context & _MOVING) == 0)
    still &= end_us - moved > after_us
    # How somebody was when a long measurement ended says nothing about it.
    still |= samples.duration_ms > LONG_MS
    still &= (quality >= TRUSTWORTHY) & ((context & _NO_CONTACT) == 0)
    return still, newest_us


def by_slot(end_us: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield (first, after the last) of the samples of each slot; times ascending, shape (n,), n >= 1."""
    if int(end_us[0]) // SLOT_US == int(end_us[-1]) // SLOT_US:
        return iter(((0, len(end_us)),))
    return pairwise([0, *(np.flatnonzero(np.diff(end_us // SLOT_US)) + 1).tolist(), len(end_us)])


def fill(slot: Slot, part: Part, resting: NDArray[np.bool_] | None) -> Slot:
    """Return the slot with samples taken in that end within it, of which `resting` count (None: all)."""
    zone = part.zone_min
    known = int(zone[-1]) if zone[-1] != NO_ZONE else _last_known(zone, slot.zone_min)
    if resting is not None and not resting.all():
        if not resting.any():
            return slot if slot.zone_min == known else replace(slot, zone_min=known)
        part = part.pick(resting)
    picked = part.samples
    column, value, duration = _COLUMN_OF[part.metric], picked.value, picked.duration_ms
    asleep = picked.context & _ASLEEP
    if np.maximum.reduce(duration) > LONG_MS:
        column = np.where((duration > LONG_MS) & (column < RMSSD_TOLD), _LEFT_OUT, column)
        asleep |= duration > LONG_MS
    # One more bin than there are columns takes what is no mean: RR intervals and what is left out.
    sums = np.bincount(column, np.rint(value * _MILLI), _LEFT_OUT + 1)[: len(TOLD)]
    counts = np.bincount(column, minlength=_LEFT_OUT + 1)
    beats = slot.beats
    if counts[_BEAT]:
        which = column == _BEAT
        beats = _with_beats(slot, picked.start_us[which], value[which])
    return Slot(
        slot.number, known, slot.sums + sums, slot.counts + counts[: len(TOLD)],
        slot.resting + len(value), slot.asleep + int(np.count_nonzero(asleep)), beats,
    )  # fmt: skip


def glance(
    slot: Slot, stretch: Stretch, moved_us: int, after_motion_s: float, metrics: Sequence[int]
) -> tuple[Slot, int] | None:
    """Return what `at_rest` and `fill` do, where one look tells it of all samples of `metrics`: taken well within
    `slot` (as far as it is open), in one context, all at rest or all in motion. None where it does not."""
    agreed, ends_us = stretch.context, stretch.ends_us
    number = int(ends_us[0]) // SLOT_US
    if agreed < 0 or not stretch.all_well or stretch.longest_ms > LONG_MS or number != slot.number:
        return None
    told = [one for metric in metrics if (one := stretch.of(metric)) is not None]
    if not told or int(ends_us[-1]) // SLOT_US != number:
        return None
    last = max([int(one.place[-1]) for one in told])
    zone_min = int(stretch.seen["zone_offset_min"][last])
    if zone_min == NO_ZONE:
        return None
    if agreed & _MOVING:
        return slot if slot.zone_min == zone_min else replace(slot, zone_min=zone_min), int(ends_us[last])
    first_us = min([int(one.end_us[0]) for one in told])
    if not agreed & _STILL or first_us - moved_us <= round(after_motion_s * US_PER_S):
        return None
    return _grown(slot, stretch, zone_min, sum([len(one.value) for one in told])), moved_us


def _grown(slot: Slot, stretch: Stretch, zone_min: int, samples: int) -> Slot:
    sums, counts = slot.sums.copy(), slot.counts.copy()
    total = stretch.reduced(np.add, np.rint(stretch.whole.value * _MILLI))
    for column, metric in enumerate(_NUMBERS):
        if metric in total:
            first, end = stretch.bounds(metric)
            sums[column] += total[metric]
            counts[column] += end - first
    rr = stretch.of(RR)
    beats = slot.beats if rr is None else _with_beats(slot, rr.start_us, rr.value)
    asleep = samples if stretch.context & _ASLEEP else 0
    return Slot(slot.number, zone_min, sums, counts, slot.resting + samples, slot.asleep + asleep, beats)


def _last_known(zone: NDArray[np.int16], before: int) -> int:
    known = zone[zone != NO_ZONE]
    return int(known[-1]) if len(known) else before


def _with_beats(slot: Slot, start: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.uint16]:
    before = slot.beats.shape[1]
    start, value = start[: MOST_BEATS - before], value[: MOST_BEATS - before]
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
