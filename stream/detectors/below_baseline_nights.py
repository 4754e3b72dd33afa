"""Nights: what somebody's rest at night comes to, held against their own nights. Pure.

A night belongs to its wake day and reaches from 18 h to 11 h by the wearer's clock. Of it count the five minutes asleep
or, where nobody tells sleep, those at rest between midnight and six; its figure is their median. The last 28 nights are
kept as they are: median and MAD of them are the forgetting reference, median and MAD of the first 14 the frozen one.
HRV is compared in logarithms, in which it varies alike whatever its size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.detectors.below_baseline_slots import COLUMNS, HOUR_US, RMSSD_TOLD, SLOT_US, SMALL_HOURS, Row

KEPT_NIGHTS: Final = 28
MOST_ROWS: Final = 120
"""Of five minutes each: the first ten hours of a night count."""
_BEGINS_H, _ENDS_H = 18, 11
_LEAST_ROWS: Final = np.array([12, 12, 12, 1, 1, 6, 6])
"""By column: an hour of rates, half an hour of our own HRV; a device may tell one HRV a night."""
_LEAST_SD: Final = np.array([1.0, 0.4, 0.4, 0.08, 0.08, 0.08, 0.08])
_MAD_TO_SD: Final = 1.4826
_NO_NIGHT: Final = -(1 << 30)


@dataclass(frozen=True, slots=True)
class Night:
    """A night being filled: `number` is its wake day, days since 1970; `rows` of shape (n, 7)."""

    number: int
    last_us: int
    rows: NDArray[np.float16]
    asleep: NDArray[np.bool_]
    small_hours: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Nights:
    """The last nights: `numbers` of shape (n,), ascending, n <= 28, `values` of shape (n, 7); NaN: not known.

    `reference` of shape (2, 7) holds location and SD (of logarithms for HRV), NaN until frozen.
    """

    numbers: NDArray[np.int32]
    values: NDArray[np.float32]
    reference: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual, in natural units or logarithms, over so many nights."""

    location: float
    sd: float
    nights: int


def no_night() -> Night:
    """Return a night that has not begun."""
    none = np.zeros(0, np.bool_)
    return Night(_NO_NIGHT, 0, np.zeros((0, COLUMNS), np.float16), none, none)


def no_nights() -> Nights:
    """Return the nights of somebody never seen."""
    return Nights(np.zeros(0, np.int32), np.zeros((0, COLUMNS), np.float32), np.full((2, COLUMNS), np.nan, np.float32))


def night_of(row: Row) -> tuple[int, bool]:
    """Return (the wake day of the night that a slot is in or comes after, whether it is in it)."""
    day, hour = divmod((row.local_us + (24 - _BEGINS_H) * HOUR_US) // HOUR_US, 24)
    return day, hour < 24 - _BEGINS_H + _ENDS_H


def is_over(night: Night, row: Row) -> bool:
    """Tell whether a slot comes after the night."""
    number, within = night_of(row)
    return night.number != _NO_NIGHT and (number > night.number or (number == night.number and not within))


def add(night: Night, row: Row) -> Night:
    """Return the night with a slot of it, if it counts; what a flight west brings twice counts as it comes."""
    number, within = night_of(row)
    small = row.hour < SMALL_HOURS
    if not within or number < night.number or not (row.asleep or small) or np.isnan(row.values).all():
        return night
    if night.number == _NO_NIGHT:
        night = replace(no_night(), number=number)
    if len(night.rows) >= MOST_ROWS:
        return night
    return Night(
        number, row.start_us + SLOT_US,
        np.concatenate((night.rows, row.values[None].astype(np.float16))),
        np.append(night.asleep, row.asleep), np.append(night.small_hours, small),
    )  # fmt: skip


def figure(night: Night) -> tuple[NDArray[np.float64], int]:
    """Return (the night's medians, shape (7,), NaN where too little is known; how many slots counted)."""
    told = np.count_nonzero(night.asleep) >= _LEAST_ROWS[0]
    rows = night.rows[night.asleep if told else night.asleep | night.small_hours].astype(np.float64)
    medians = np.full(COLUMNS, np.nan)
    if not len(rows):
        return medians, 0
    enough = np.count_nonzero(np.isfinite(rows), axis=0) >= _LEAST_ROWS
    if enough.any():
        medians[enough] = np.nanmedian(rows[:, enough], axis=0)
    return medians, len(rows)


def scaled(column: int, value: float) -> float:
    """Return a value as it is compared: HRV as its logarithm."""
    return float(np.log(max(value, 0.1))) if column >= RMSSD_TOLD else value


def unscaled(column: int, value: float) -> float:
    """Return a compared value in its unit."""
    return float(np.exp(value)) if column >= RMSSD_TOLD else value


def usual(nights: Nights, column: int) -> Usual:
    """Return median and SD (by MAD) of the kept nights of a column, as compared; NaN where there are none."""
    known = nights.values[:, column].astype(np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return Usual(np.nan, np.nan, 0)
    if column >= RMSSD_TOLD:
        known = np.log(np.maximum(known, 0.1))
    location = float(np.median(known))
    sd = max(_MAD_TO_SD * float(np.median(np.abs(known - location))), float(_LEAST_SD[column]))
    return Usual(location, sd, len(known))


def learned(nights: Nights, number: int, values: NDArray[np.float64], reference_nights: int) -> Nights:
    """Return the nights with one more, and frozen those columns that now have their `reference_nights`."""
    fresh = values.astype(np.float32)[None]
    numbers = np.append(nights.numbers, np.int32(number))[-KEPT_NIGHTS:]
    kept = Nights(numbers, np.concatenate((nights.values, fresh))[-KEPT_NIGHTS:], nights.reference)
    young = np.isnan(nights.reference[0]) & (np.count_nonzero(np.isfinite(kept.values), axis=0) >= reference_nights)
    if not young.any():
        return kept
    reference = nights.reference.copy()
    for column in np.flatnonzero(young).tolist():
        found = usual(kept, column)
        reference[:, column] = found.location, found.sd
    return replace(kept, reference=reference)


def without(nights: Nights, since: int) -> Nights:
    """Return the nights without those from `since` on: an episode covers them, so they are not usual."""
    keep = nights.numbers < since
    return replace(nights, numbers=nights.numbers[keep], values=nights.values[keep])


def rebuilt(numbers: NDArray[np.int64], values: NDArray[np.float64], reference_nights: int = 14) -> Nights:
    """Return the nights of a stored history: wake days ascending, shape (n,), and values by column, shape (n, 7)."""
    held = no_nights()
    for number, row in zip(numbers.tolist(), values, strict=True):
        held = learned(held, number, row, reference_nights)
    return held
