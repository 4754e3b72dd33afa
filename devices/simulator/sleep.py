"""Nights: when a wearer goes to bed and gets up, and the stages in between.

A night is made as a whole from (seed, night) and kept in memory, so that each moment of it is the same whoever asks.
Proportions are those of healthy adults (Ohayon et al. 2004; Boulos et al. 2019): of the time asleep about a fifth deep,
a fifth REM, the rest core (N1 and N2), with deep sleep in the first cycles and REM growing towards morning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.simulator.noise import Floats, Ints, knots_of, normal, uniform
from devices.simulator.scenario import Scenario
from vitals.clock import US_PER_S

if TYPE_CHECKING:
    from devices.simulator.wearer import Wearer

HOUR_US: Final = 3_600 * US_PER_S
DAY_US: Final = 24 * HOUR_US
EPOCH_US: Final = 30 * US_PER_S
"""Sleep is scored in epochs of 30 seconds (AASM manual)."""
AWAKE, CORE, DEEP, REM = 2, 3, 4, 5
OUT_OF_BED: Final = 0
"""The stage of a moment outside bed; the catalogue has no such category, so no sample says it."""
_BED, _WAKE, _LATENCY, _RISING, _CYCLE = 10, 11, 60, 61, 62
_FALLING_ASLEEP_H: Final = 0.15
_CYCLE_US: Final = 93 * 60 * US_PER_S
_WEEKEND_LATER_H: Final = 0.8
# Shares of a cycle, first cycle to fifth and later.
_DEEP: Final = (0.40, 0.29, 0.16, 0.08, 0.03)
_REM: Final = (0.09, 0.18, 0.24, 0.28, 0.31)
_AWAKE: Final = 0.07


class Sleeper(NamedTuple):
    """What of a wearer decides on their nights."""

    seed: int
    zone_offset_min: int
    bed_h: float
    wake_h: float
    scenarios: tuple[Scenario, ...]


@dataclass(frozen=True, slots=True)
class Night:
    """One night: in bed within [bed_us, up_us), asleep from `edges_us[0]`, stage `stages[k]` from `edges_us[k]` on.

    `edges_us` has one more entry than `stages`: when sleep ends. All times are whole epochs.
    """

    bed_us: int
    up_us: int
    edges_us: Ints
    stages: NDArray[np.int8]


def sleeper(who: Wearer) -> Sleeper:
    """Return what of the wearer decides on their nights."""
    moving = tuple(one for one in who.scenarios if type(one).night is not Scenario.night)
    return Sleeper(who.seed, who.zone_offset_min, who.bed_h, who.wake_h, moving)


def night_of(who: Wearer, time_us: Ints) -> Ints:
    """Return the number of the night each moment belongs to: from one noon to the next, local time."""
    return (time_us + who.zone_offset_min * 60 * US_PER_S - 12 * HOUR_US) // DAY_US


def sleep_span(by: Sleeper, night: Ints) -> tuple[Floats, Floats, Floats]:
    """Return (asleep from, asleep until, more awake) of nights: hours after their noon twice, and a share."""
    # Night 0 begins at noon of Thursday, 1 January 1970; Friday's and Saturday's end in a free morning.
    day = (night + 3) % 7
    free = (day == 4) | (day == 5)
    bed = by.bed_h - 12.0 + 0.4 * normal(by.seed, _BED, night).clip(-2, 2) + _WEEKEND_LATER_H * 0.6 * free
    wake = by.wake_h + 12.0 + 0.4 * normal(by.seed, _WAKE, night).clip(-2, 2) + _WEEKEND_LATER_H * free
    restless = np.zeros(len(night))
    noon_us = night * DAY_US + 12 * HOUR_US - by.zone_offset_min * 60 * US_PER_S
    for one in by.scenarios:
        shift = one.night(noon_us)
        bed, wake, restless = bed + shift.bed_h, wake + shift.wake_h, restless + shift.restless
    return bed, np.minimum(wake, 23.5), restless


def asleep(who: Wearer, time_us: Ints) -> Floats:
    """Return how asleep the wearer is at each moment, 0 to 1, by their own zone and that night's times."""
    since_us = time_us + who.zone_offset_min * 60 * US_PER_S - 12 * HOUR_US
    nights, where, share = knots_of(since_us, DAY_US)
    bed, wake, _ = sleep_span(sleeper(who), nights)
    h = share * 24.0
    return _sigmoid((h - bed[where]) / _FALLING_ASLEEP_H) * _sigmoid((wake[where] - h) / _FALLING_ASLEEP_H)


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def nights(who: Wearer, start_us: int, end_us: int) -> list[Night]:
    """Return the nights of which a part lies within [start_us, end_us)."""
    by = sleeper(who)
    first, last = night_of(who, np.array([start_us, max(end_us - 1, start_us)], np.int64)).tolist()
    found = [night(by, number) for number in range(first, last + 1)]
    return [one for one in found if one.bed_us < end_us and start_us < one.up_us]


def stages(who: Wearer, time_us: Ints) -> NDArray[np.int8]:
    """Return the stage at each moment as a category of the catalogue, `OUT_OF_BED` outside bed."""
    found = np.zeros(len(time_us), np.int8)
    if len(time_us) == 0:
        return found
    for one in nights(who, int(time_us.min()), int(time_us.max()) + 1):
        found[(time_us >= one.bed_us) & (time_us < one.up_us)] = AWAKE
        inside = np.flatnonzero((time_us >= one.edges_us[0]) & (time_us < one.edges_us[-1]))
        found[inside] = one.stages[np.searchsorted(one.edges_us, time_us[inside], side="right") - 1]
    return found


@lru_cache(maxsize=4_096)
def night(by: Sleeper, number: int) -> Night:
    """Make one night."""
    at = np.array([number], np.int64)
    bed, wake, restless = (float(one[0]) for one in sleep_span(by, at))
    noon_us = number * DAY_US + 12 * HOUR_US - by.zone_offset_min * 60 * US_PER_S
    asleep_us, awake_us = (_epoch(noon_us + h * HOUR_US) for h in (bed, wake))
    latency_us = _epoch((4.0 + 22.0 * float(uniform(by.seed, _LATENCY, at)[0])) * 60 * US_PER_S)
    rising_us = _epoch((2.0 + 14.0 * float(uniform(by.seed, _RISING, at)[0])) * 60 * US_PER_S)
    edges, kinds = _hypnogram(by.seed, number, asleep_us, awake_us, _AWAKE + restless)
    return Night(asleep_us - latency_us, awake_us + rising_us, edges, kinds)


def _epoch(time_us: float) -> int:
    return round(time_us / EPOCH_US) * EPOCH_US


def _hypnogram(seed: int, number: int, start_us: int, end_us: int, awake: float) -> tuple[Ints, NDArray[np.int8]]:
    """Return (edges, stages): cycles of core, deep, core, REM and a short awakening, each of its own length."""
    cycles = max(1, round((end_us - start_us) / _CYCLE_US))
    varied = normal(seed, _CYCLE, number * 128 + np.arange(cycles * 6, dtype=np.int64)).clip(-2, 2).reshape(cycles, 6)
    parts = []
    for cycle in range(cycles):
        late = min(cycle, 4)
        deep, rem = _DEEP[late], _REM[late]
        core = 1.0 - deep - rem - awake
        parts += [0.45 * core, deep, 0.35 * core, awake * 0.3, 0.2 * core, rem, awake * 0.7]
    kinds = np.tile(np.array([CORE, DEEP, CORE, AWAKE, CORE, REM, AWAKE], np.int8), cycles)
    weights = np.asarray(parts) * np.exp(0.25 * np.insert(varied, 4, varied[:, 0], axis=1).ravel())
    cut = start_us + np.cumsum(weights) / weights.sum() * (end_us - start_us)
    edges = np.concatenate(([start_us], np.round(cut / EPOCH_US).astype(np.int64) * EPOCH_US))
    edges[-1] = end_us
    kinds[-1] = CORE  # who wakes up in the end was asleep before
    kept = np.flatnonzero(np.diff(edges) > 0)  # what is shorter than half an epoch is not scored
    kept = kept[np.concatenate(([True], kinds[kept][1:] != kinds[kept][:-1]))]
    return np.append(edges[kept], end_us), kinds[kept]
