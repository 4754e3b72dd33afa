"""What is usual for one person: location and scale by metric and hour of their day, forgetting and frozen. Pure.

Each bin (an hour of the wearer's day, and one for the whole day) holds a location and a scale that follow the values as
Huber's second proposal does (P. J. Huber, "Robust estimation of a location parameter", Ann Math Stat 35:73, 1964), one
step an hour's values instead of all at once: residuals are cut at `clip_sd`, so no value can pull far. A bin's first
days weigh alike; later ones push older ones out with a half-life. Beside it, once a bin has its `reference_days`, a
copy is frozen: it never moves again until a break, or slow deterioration would become normal.

Whoever learns leaves out what an open episode covers. A new device is a new origin and so a new baseline; what else
changes (firmware, medication) is a break: `fresh` again. Nothing is judged by a bin of fewer than `min_days` days and
`min_values` values: the whole day's bin stands in, and where that is too young as well nothing is said (NaN).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

HOURS: Final = 24
WHOLE_DAY: Final = 24
"""The number of the bin that all hours share."""
_MAD_TO_SD: Final = 1.4826
_COLD: Final = 3.0
"""A first scale of so many floors: one hour says little of how days differ."""


@dataclass(frozen=True, slots=True)
class BaselinePolicy:
    """How a baseline learns, in days on which a bin had values. Raises ValueError naming the field."""

    reference_days: int = 14
    min_days: int = 7
    min_values: int = 20
    half_life_days: float = 21.0
    clip_sd: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_days <= self.reference_days:
            raise ValueError("min_days is at least 1 and at most reference_days")
        if self.min_values < 1:
            raise ValueError("min_values is at least 1")
        if self.half_life_days < self.min_days:
            raise ValueError("half_life_days is at least min_days")
        if not 1 <= self.clip_sd <= 4:
            raise ValueError("clip_sd lies within 1 to 4")


@dataclass(frozen=True, slots=True)
class Baseline:
    """Bins of shape (metrics, 25), 30 bytes each; locations and scales are NaN where nothing is known.

    `least_sd` of shape (metrics,) is what a scale never falls below: what the device rounds away is no evenness.
    """

    least_sd: NDArray[np.float32]
    location: NDArray[np.float32]
    scale: NDArray[np.float32]
    weight: NDArray[np.float32]  # days, of which an hour makes up 1/24 in the whole day's bin
    days: NDArray[np.int16]
    values: NDArray[np.int32]
    last_day: NDArray[np.int32]
    frozen_location: NDArray[np.float32]
    frozen_scale: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where values lie: robust z against the frozen reference and the forgetting baseline, NaN where not judged.

    `location` and `scale` are the forgetting ones, `reference` and `reference_scale` the frozen ones.
    """

    frozen_z: Floats
    forgetting_z: Floats
    location: float
    scale: float
    reference: float
    reference_scale: float
    whole_day: bool


def fresh(least_sd: ArrayLike) -> Baseline:
    """Return a baseline that knows nothing; `least_sd` in each metric's unit, above 0, says how many metrics it has."""
    floor = np.asarray(least_sd, np.float32)
    shape = (len(floor), HOURS + 1)
    nan = np.full(shape, np.nan, np.float32)
    none, days = np.zeros(shape, np.int32), np.zeros(shape, np.int16)
    return Baseline(floor, nan, nan.copy(), np.zeros(shape, np.float32), days, none, none - 1, nan.copy(), nan.copy())


def learn(baseline: Baseline, policy: BaselinePolicy, metric: int, hour: int, day: int, values: ArrayLike) -> Baseline:
    """Return the baseline with one hour's values taken in.

    `day` is the wearer's day (a number that rises), `hour` 0 to 23 of it, by their own clock; `values` of shape (n,),
    not ordered; NaN is left out. Call once an hour: every call weighs as one hour of one day.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return baseline
    after = replace(
        baseline, location=baseline.location.copy(), scale=baseline.scale.copy(), weight=baseline.weight.copy(),
        days=baseline.days.copy(), values=baseline.values.copy(), last_day=baseline.last_day.copy(),
        frozen_location=baseline.frozen_location.copy(), frozen_scale=baseline.frozen_scale.copy(),
    )  # fmt: skip
    for bin_, share in ((hour, 1.0), (WHOLE_DAY, 1.0 / HOURS)):
        _learn_bin(after, policy, (metric, bin_), day, share, known)
    return after


def _learn_bin(held: Baseline, policy: BaselinePolicy, at: tuple[int, int], day: int, share: float, v: Floats) -> None:
    floor = float(held.least_sd[at[0]])
    weight = float(held.weight[at]) + share
    if held.values[at] == 0:
        location = float(np.median(v))
        scale = max(_MAD_TO_SD * float(np.median(np.abs(v - location))), _COLD * floor)
    else:
        gain = max(share / weight, 1.0 - 0.5 ** (share / policy.half_life_days))
        location, scale = towards(float(held.location[at]), float(held.scale[at]), v, gain, policy.clip_sd)
    held.location[at], held.scale[at], held.weight[at] = location, max(scale, floor), weight
    held.values[at] = min(int(held.values[at]) + len(v), 1 << 30)
    if day > held.last_day[at]:
        held.last_day[at] = day
        held.days[at] = min(int(held.days[at]) + 1, 30_000)
    if np.isnan(held.frozen_location[at]) and _ready(held, policy, at) and held.days[at] >= policy.reference_days:
        held.frozen_location[at], held.frozen_scale[at] = held.location[at], held.scale[at]


def towards(location: float, scale: float, values: Floats, gain: float, clip_sd: float) -> tuple[float, float]:
    """Return (location, scale) after one robust step of `gain` towards `values` (finite, shape (n,), n >= 1)."""
    inside, expected = _CUT[clip_sd] if clip_sd in _CUT else _CUT.setdefault(clip_sd, _cut(clip_sd))
    residual = np.clip((values - location) / scale, -clip_sd, clip_sd)
    moved = location + gain * scale * float(residual.mean()) / inside
    surplus = float(np.mean(residual * residual)) / expected - 1.0
    return moved, scale * float(np.exp(min(gain, 0.5) * surplus / 2.0))


def _cut(at: float) -> tuple[float, float]:
    """Return, of a normal number cut at +-`at`: its share within, and its mean square."""
    z = np.linspace(-8.0, 8.0, 16_001)
    density = np.exp(-z * z / 2.0)
    density /= density.sum()
    return float(density[np.abs(z) < at].sum()), float((density * np.clip(z, -at, at) ** 2).sum())


_CUT: Final[dict[float, tuple[float, float]]] = {}


def _ready(held: Baseline, policy: BaselinePolicy, at: tuple[int, int]) -> bool:
    return bool(held.days[at] >= policy.min_days and held.values[at] >= policy.min_values)


def place(baseline: Baseline, policy: BaselinePolicy, metric: int, hour: int, values: ArrayLike) -> Placed:
    """Return where `values` (any shape) of this hour lie; while the hour's bin is too young, by the whole day's."""
    at = (metric, hour)
    whole_day = not _ready(baseline, policy, at)
    if whole_day:
        at = (metric, WHOLE_DAY)
    known = np.asarray(values, np.float64)
    if not _ready(baseline, policy, at):
        nan = np.full(known.shape, np.nan)
        return Placed(nan, nan, np.nan, np.nan, np.nan, np.nan, True)
    location, scale = float(baseline.location[at]), float(baseline.scale[at])
    reference, reference_scale = float(baseline.frozen_location[at]), float(baseline.frozen_scale[at])
    frozen, forgetting = (known - reference) / reference_scale, (known - location) / scale
    return Placed(frozen, forgetting, location, scale, reference, reference_scale, whole_day)


def rebuilt(
    least_sd: ArrayLike, policy: BaselinePolicy, history: Iterable[tuple[int, int, int, ArrayLike]]
) -> Baseline:
    """Return the baseline of a stored history: (metric, hour, day, values), days ascending. For a first start."""
    held = fresh(least_sd)
    for metric, hour, day, values in history:
        held = learn(held, policy, metric, hour, day, values)
    return held
