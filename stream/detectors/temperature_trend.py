"""Whether body temperature rises: a slope over 6 and over 24 hours that a few wrong readings cannot make.

Quarter-hour means, Theil's and Sen's median of pairwise slopes with Sen's confidence interval (Sen 1968, J Am Stat
Assoc 63:1379, doi:10.1080/01621459.1968.10480934). The day's own swing is about half a degree from trough to peak, at
most 0.4 Cel in six hours, so a rise of 1.0 Cel in six is beyond it, and over 24 it cancels. The words are rising,
falling, stable and unclear. Where on the body it was measured is unknown: a change of site reads as a change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.no_longer import sustained_no_longer
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.slots import Slots, trusted
from stream.detectors.sustain import Code, Sustained, Timing, Transition, Window, follow
from vitals.catalogue import number_of
from vitals.clock import US_PER_S

RULE: Final = "body_temperature_rising"
_TEMPERATURE: Final = number_of("body_temperature")
_SLOT_US: Final = 900 * US_PER_S
_SLOTS_PER_H: Final = 4
_HOUR_US: Final = 3_600 * US_PER_S
_LASTING: Final = Timing(0, min_samples=1, clear_delay_s=7_200, clear_samples=2, max_gap_s=26 * 3_600)


class Trend(NamedTuple):
    """Over how many hours temperature changed by how many Cel, the bounds of that change, and the word for it."""

    word: str
    hours: float
    change_cel: float
    low_cel: float
    high_cel: float


@dataclass(frozen=True, slots=True)
class TemperatureTrendPolicy:
    """A change of `change_cel` within one of `hours`, its interval of `confidence` apart from 0, is rising or falling.
    A trend takes at least `min_slots` quarter hours with readings that span `min_span` of the window."""

    change_cel: float = 1.0
    hours: tuple[float, ...] = (6.0, 24.0)
    confidence: float = 0.95
    min_slots: int = 6
    min_span: float = 0.75
    timing: Timing = field(default=_LASTING)

    def __post_init__(self) -> None:
        if self.change_cel <= 0 or not 0.5 <= self.confidence < 1:
            raise ValueError("change_cel is above 0, confidence within 0.5 to 1")
        if not self.hours or min(self.hours) < 2 or max(self.hours) > 48:
            raise ValueError("hours lie within 2 to 48")
        if self.min_slots < 4 or not 0 < self.min_span <= 1:
            raise ValueError("min_slots is at least 4, min_span within 0 to 1")


@dataclass(frozen=True, slots=True)
class TemperatureTrendState:
    """Quarter hours (readings, thousandths of Cel), and where the rule stands."""

    slots: Slots
    held: Sustained


@dataclass(frozen=True, slots=True)
class TemperatureTrend:
    """A rise of body temperature at one origin, judged each full hour that has readings; says nothing of children."""

    policy: TemperatureTrendPolicy = field(default_factory=TemperatureTrendPolicy)

    name: ClassVar[str] = "temperature_trend"
    metrics: ClassVar[frozenset[int]] = frozenset({_TEMPERATURE})
    max_bytes: ClassVar[int] = 8_000
    per_patient: ClassVar[bool] = False

    def fresh(self) -> TemperatureTrendState:
        """Return the state of somebody never seen."""
        return TemperatureTrendState(Slots.none(2), Sustained())

    def step(
        self, state: TemperatureTrendState, seen: Observations, until_us: int, person: Person
    ) -> tuple[TemperatureTrendState, list[Finding]]:
        """Take in `seen`; an hour is judged when a reading after it has come. Raises nothing."""
        if person.profile.is_child:
            what = "body temperature rising"
            return self.fresh(), sustained_no_longer(RULE, "body_temperature", what, state.held, until_us)
        readings = trusted(seen, _TEMPERATURE)
        if readings is None:
            return state, []
        rows = np.ones((len(readings.value), 2), np.int64)
        rows[:, 1] = np.rint(readings.value * 1_000)
        slots = state.slots.add(readings.end_us // _SLOT_US, rows)
        if len(slots) == len(state.slots):
            return TemperatureTrendState(slots, state.held), []
        ended = _hours_ended(state.slots, slots)
        kept = slots.since(int(slots.number[-1]) - round(max(self.policy.hours) * _SLOTS_PER_H) - _SLOTS_PER_H)
        held, told = self._follow(state.held, slots, ended)
        found = [_finding(one, trend, slots, self.policy) for one, trend in told]
        return TemperatureTrendState(kept, held), found

    def _follow(
        self, held: Sustained, slots: Slots, ended: list[int]
    ) -> tuple[Sustained, list[tuple[Transition, Trend]]]:
        """Judge each hour; while nothing is open, those that cannot be rising, nearly all, change nothing."""
        found: list[tuple[Transition, Trend]] = []
        for hour in ended:
            if held.is_quiet and not _may_rise(slots, hour * _SLOTS_PER_H, self.policy):
                held = Sustained(hour * _HOUR_US)
                continue
            trend = trend_before(slots, hour * _SLOTS_PER_H, self.policy)
            held, told = follow(held, self.policy.timing, _window([hour], [trend], self.policy))
            found += [(one, trend) for one in told]
        return held, found


def _hours_ended(before: Slots, slots: Slots) -> list[int]:
    """Return the ends (in hours since 1970) of the hours with readings that have become whole."""
    first = int(before.number[-1]) if len(before) else int(slots.number[0])
    hours = np.unique(slots.since(first).number // _SLOTS_PER_H + 1)
    ended: list[int] = hours[hours <= slots.number[-1] // _SLOTS_PER_H].tolist()
    return ended


def _may_rise(slots: Slots, end: int, policy: TemperatureTrendPolicy) -> bool:
    """Tell whether a trend before number `end` may be rising: then half of all slopes are as steep as that asks for.

    Counting them takes a fiftieth of what it takes to order them.
    """
    for hours in policy.hours:
        first, last = np.searchsorted(slots.number, (end - round(hours * _SLOTS_PER_H), end))
        count = int(last - first)
        if count < policy.min_slots:
            continue
        at = slots.number[first:last]
        cel = slots.sums[first:last, 1] / slots.sums[first:last, 0] / 1_000
        if float(np.ptp(cel)) < policy.change_cel:
            continue
        before, after = _pairs(count)
        enough = (1 - 1e-9) * policy.change_cel / int(at[-1] - at[0]) * (at[after] - at[before])
        if np.count_nonzero(cel[after] - cel[before] >= enough) >= len(before) // 2:
            return True
    return False


@lru_cache(maxsize=128)
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions of all pairs of so many values, the earlier and the later of each."""
    before, after = np.triu_indices(count, 1)
    return before, after


def trend_before(slots: Slots, end: int, policy: TemperatureTrendPolicy) -> Trend:
    """Return the trend of the quarter hours before number `end`: of the windows, the first that is not unclear."""
    found = [_over(slots, end, hours, policy) for hours in policy.hours]
    moving = [one for one in found if one.word in ("rising", "falling")]
    clear = [one for one in found if one.word == "stable"]
    return (moving or clear or found)[0]


def _over(slots: Slots, end: int, hours: float, policy: TemperatureTrendPolicy) -> Trend:
    first, last = np.searchsorted(slots.number, (end - round(hours * _SLOTS_PER_H), end))
    at = slots.number[first:last]
    if len(at) < policy.min_slots or (at[-1] - at[0] + 1) < policy.min_span * hours * _SLOTS_PER_H:
        return Trend("unclear", hours, 0.0, 0.0, 0.0)
    cel = slots.sums[first:last, 1] / slots.sums[first:last, 0] / 1_000
    span, spread = int(at[-1] - at[0]), float(np.ptp(cel))
    if spread < policy.change_cel:  # nearly always: no slope need be computed to bound the change
        return Trend("stable", hours, round(float(cel[-1] - cel[0]), 2), round(-spread, 2), round(spread, 2))
    slope, _, low, high = (span * float(one) for one in theilslopes(cel, at - at[0], policy.confidence))
    return Trend(_word(slope, low, high, policy.change_cel), hours, round(slope, 2), round(low, 2), round(high, 2))


def _word(change: float, low: float, high: float, enough: float) -> str:
    if change >= enough and low > 0:
        return "rising"
    if change <= -enough and high < 0:
        return "falling"
    return "stable" if -enough < low and high < enough else "unclear"


def _window(ended: list[int], trends: list[Trend], policy: TemperatureTrendPolicy) -> Window:
    """Return what each hour means: rising, calm where it rises by less than half as much, or nothing."""
    change = np.array([one.change_cel for one in trends], np.float64)
    word = np.array([one.word for one in trends], "U8")
    code: NDArray[np.int8] = np.where(
        word == "rising", Code.BREACH, np.where(change < policy.change_cel / 2, Code.CALM, Code.HOLD)
    ).astype(np.int8)
    code[word == "unclear"] = Code.SKIP
    start = np.array(ended, np.int64) * _HOUR_US
    return Window(start, code, change, np.ones(len(start), np.float32))


def _finding(told: Transition, trend: Trend, slots: Slots, policy: TemperatureTrendPolicy) -> Finding:
    if told.cleared:
        says = f"body temperature no longer rising: {trend.word}"
    else:
        says = (
            f"body temperature rising by {trend.change_cel:g} °C in {trend.hours:g} h "
            f"({policy.confidence:.0%} interval {trend.low_cel:g} to {trend.high_cel:g}); body site unknown"
        )
    within = slots.since(told.at_us // _SLOT_US - round(trend.hours * _SLOTS_PER_H))
    whole = within.number < told.at_us // _SLOT_US
    figures: dict[str, float | str] = {
        "trend": trend.word, "change_cel": trend.change_cel, "change_low_cel": trend.low_cel,
        "change_high_cel": trend.high_cel, "window_h": trend.hours, "body_site": "unknown",
    }  # fmt: skip
    return Finding(
        RULE, 1, "body_temperature", Kind.PHYSIOLOGICAL, Priority.LOW,
        State.CLEARED if told.cleared else State.RAISED, told.opened_us, told.raised_us, told.at_us, told.at_us,
        told.at_us - round(trend.hours * _HOUR_US), says, int(within.sums[whole, 0].sum()),
        threshold=policy.change_cel, figures=figures, max_age_s=4 * 3_600.0,
    )  # fmt: skip
