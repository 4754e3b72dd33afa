"""Changes of sleep and activity over days to weeks, against the person's own weekday pattern. Pure, over whole days.

Each measure of a day is held against a reference that is frozen: the person's first weeks, a median by weekday drawn
towards the median of all days, and a robust scale. What deviates adds up in a two-sided CUSUM (Page 1954; tabular form
and its run lengths: Montgomery, Introduction to Statistical Quality Control), each day clipped (Huber) so that one odd
day cannot raise by itself. The reference does not forget, or a slow decline would become normal; beside it stands, as
a figure, what the last eight weeks make of the same days.

Days that do not count (not worn, not told) are stepped over; they are neither usual nor unusual.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WEEK: Final = 7
_MOST: Final = 1_000
_TO_SD: Final = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""


class Direction(StrEnum):
    """Which way a measure went."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ChangePolicy:
    """When a change counts; days are days with data.

    `reference_days` are learned and then frozen, `drawn` days' weight pulls a weekday's median to that of all days.
    `slack_sd` a day is not held against anybody, a day counts `clip_sd` at most, and `decision_sd` of them raise: with
    the defaults a shift of two standard deviations takes about a week, and a measure that only varies is called changed
    once in a thousand days. It clears when over `clear_days` the median is within `clear_sd`. Raises ValueError.
    """

    reference_days: int = 28
    drawn: float = 0.5
    slack_sd: float = 1.0
    clip_sd: float = 3.0
    decision_sd: float = 8.0
    clear_days: int = 7
    clear_sd: float = 1.0
    recent_days: int = 56

    def __post_init__(self) -> None:
        least = {"reference_days": 2 * _WEEK, "clear_days": 1, "recent_days": _WEEK, "drawn": 0, "slack_sd": 0}
        for name, lowest in least.items():
            if not lowest <= getattr(self, name) <= _MOST:
                raise ValueError(f"{name} is at least {lowest}, and at most {_MOST}")
        if self.clip_sd <= self.slack_sd:
            raise ValueError("clip_sd is above slack_sd: no day would ever count")
        if self.decision_sd < self.clip_sd:
            raise ValueError("decision_sd is at least clip_sd: one odd day must not raise by itself")
        if self.clear_sd <= 0:
            raise ValueError("clear_sd is above 0")


@dataclass(frozen=True, slots=True)
class Reference:
    """What is usual: `by_weekday` (7,), Monday first, and the spread of a day around it, in the measure's scale."""

    by_weekday: Floats
    spread: float

    def z(self, day: Ints, value: Floats) -> Floats:
        """Return how unusual each day is, in standard deviations; `day` counts from 1970-01-01."""
        return (value - self.by_weekday[weekday(day)]) / self.spread


@dataclass(frozen=True, slots=True)
class Change:
    """A measure left what is usual: indices into the days given. `cleared` is None while it lasts."""

    direction: Direction
    opened: int
    raised: int
    cleared: int | None


def weekday(day: Ints) -> Ints:
    """Return the weekday, Monday 0, of days counted from 1970-01-01 (a Thursday)."""
    return (day + 3) % _WEEK


def learn(day: Ints, value: Floats, least_spread: float, drawn: float = 0.5) -> Reference:
    """Return what is usual on these days (none NaN, at least one). The spread is at least `least_spread`."""
    middle = float(np.median(value))
    residual, which = value - middle, weekday(day)
    pulled = np.zeros(_WEEK)
    for one in range(_WEEK):
        own = residual[which == one]
        if len(own):
            pulled[one] = np.median(own) * len(own) / (len(own) + drawn)
    off = np.abs(residual - pulled[which])
    # The pattern was fitted to these very days, so they lie closer to it than others will.
    freedom = np.sqrt(len(value) / max(len(value) - len(np.unique(which)), 1))
    return Reference(middle + pulled, max(least_spread, float(_TO_SD * np.median(off) * freedom)))


def changes(
    day: Ints, value: Floats, least_spread: float, policy: ChangePolicy
) -> tuple[Reference | None, list[Change]]:
    """Return the frozen reference and every change since; (None, []) while there are too few days to know.

    `day` ascends, `value` is NaN where the day does not count, in a scale in which a day's spread is about even (logs
    of counts). Indices of changes are positions in `day`.
    """
    known = np.flatnonzero(np.isfinite(value))
    if len(known) <= policy.reference_days:
        return None, []
    first = known[: policy.reference_days]
    usual = learn(day[first], value[first], least_spread, policy.drawn)
    later = known[policy.reference_days :]
    z = usual.z(day[later], value[later])
    return usual, [
        Change(
            one.direction,
            int(later[one.opened]),
            int(later[one.raised]),
            None if one.cleared is None else int(later[one.cleared]),
        )
        for one in _episodes(z, policy)
    ]


def recent(day: Ints, value: Floats, until: int, least_spread: float, policy: ChangePolicy) -> float | None:
    """Return how unusual (SD) the last week up to index `until` is against the weeks before it; None if too few."""
    known = np.flatnonzero(np.isfinite(value[: until + 1]))
    if len(known) < 4 * _WEEK:
        return None
    last, before = known[-_WEEK:], known[-policy.recent_days - _WEEK : -_WEEK]
    usual = learn(day[before], value[before], least_spread, policy.drawn)
    return float(np.median(usual.z(day[last], value[last])))


def _episodes(z: Floats, policy: ChangePolicy) -> Iterator[Change]:
    begin = 0
    while begin < len(z):
        found = _first(z[begin:], policy)
        if found is None:
            return
        direction, opened, raised = found
        calm = _calm_from(z, begin + raised + 1, policy)
        yield Change(direction, begin + opened, begin + raised, calm)
        if calm is None:
            return
        begin = calm + 1


def _first(z: Floats, policy: ChangePolicy) -> tuple[Direction, int, int] | None:
    """Return the first raise in either direction: (direction, where it began to add up, where it was enough)."""
    clipped = np.clip(z, -policy.clip_sd, policy.clip_sd)
    best: tuple[Direction, int, int] | None = None
    for direction, signed in ((Direction.UP, clipped), (Direction.DOWN, -clipped)):
        total = np.cumsum(signed - policy.slack_sd)
        lowest = np.minimum.accumulate(np.minimum(total, 0.0))
        enough = np.flatnonzero(total - lowest >= policy.decision_sd)
        if not len(enough) or (best is not None and enough[0] >= best[2]):
            continue
        raised = int(enough[0])
        at_zero = np.flatnonzero(total[:raised] <= lowest[:raised])
        best = direction, int(at_zero[-1]) + 1 if len(at_zero) else 0, raised
    return best


def _calm_from(z: Floats, begin: int, policy: ChangePolicy) -> int | None:
    """Return the first index from `begin` at which the last `clear_days` are usual again."""
    if len(z) - begin < policy.clear_days:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(z[begin:], policy.clear_days)
    calm = np.flatnonzero(np.abs(np.median(windows, axis=1)) <= policy.clear_sd)
    return begin + int(calm[0]) + policy.clear_days - 1 if len(calm) else None
