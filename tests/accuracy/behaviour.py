"""How soon changes of sleep and activity are found in simulated people, and how often where nothing happens.

Days are made as `daily_summary` makes them, from the simulator's steps by the minute and its nights. Its people differ
less from day to day than people do, so `Days` lets them: whole days of more and of less activity (a log SD of 0.3,
which resembles the day before a little), nights that lie 20 min earlier or later. Figures of a simulation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from devices.simulator import Wearer, Withdrawal, wearer
from devices.simulator.channels import STEPS_A_MINUTE
from devices.simulator.habits import activity
from devices.simulator.noise import normal
from devices.simulator.scenario import Effect, NightShift, Scenario
from devices.simulator.sleep import AWAKE, night, sleeper
from stream.detectors.behaviour_review import PersonDays, review
from vitals.clock import US_PER_S

DAY_US: Final = 86_400 * US_PER_S
MINUTE_US: Final = 60 * US_PER_S
FIRST: Final = 20_605  # 2026-06-01, a Monday
DAYS: Final = 180
ONSET: Final = 90
_ECHO: Final = 0.3


@dataclass(frozen=True, slots=True)
class Days(Scenario):
    """Days and nights that differ, as a person's do."""

    kind: ClassVar[str] = "days"
    seed: int = 0
    activity_sd: float = 0.3
    night_sd_h: float = 0.33

    @property
    def end_us(self) -> int:
        """Never."""
        return self.start_us + 1_000 * DAY_US

    def effect(self, time_us: NDArray[np.int64]) -> Effect:
        """Return how active the day of each moment is."""
        day = time_us // DAY_US
        own, before = (normal(self.seed, 950, day - back) for back in (0, 1))
        drawn = (own + _ECHO * before) / math.hypot(1.0, _ECHO)
        return Effect(activity=np.exp(self.activity_sd * drawn))

    def night(self, noon_us: NDArray[np.int64]) -> NightShift:
        """Return how much later the night is."""
        late = self.night_sd_h * normal(self.seed, 951, noon_us // DAY_US)
        return NightShift(late, late, np.zeros(len(noon_us)))


def days_of(who: Wearer, days: int = DAYS) -> PersonDays:
    """Return somebody's days, by UTC."""
    minute = FIRST * DAY_US + np.arange(days * 1_440) * MINUTE_US
    moving, _ = activity(who, minute)
    for one in who.scenarios:
        moving = moving * one.effect(minute).activity
    steps = moving.reshape(days, 1_440).sum(axis=1) * STEPS_A_MINUTE
    slept = [_night(who, FIRST + day - 1) for day in range(days)]  # the night that ends on a day began the day before
    names = ("sleep_midpoint_local_min", "sleep_total_min", "sleep_awake_min")
    columns = dict(zip(names, np.array(slept).T, strict=True))
    return PersonDays(np.arange(FIRST, FIRST + days), np.zeros(days, np.int64), {"steps": steps, **columns})


def _night(who: Wearer, number: int) -> tuple[float, float, float]:
    """Return (midpoint from midnight, asleep, awake) of a night in minutes."""
    one = night(sleeper(who), number)
    minutes = np.diff(one.edges_us) / MINUTE_US
    awake = float(minutes[one.stages == AWAKE].sum())
    middle = (int(one.edges_us[0]) + int(one.edges_us[-1])) / 2 - (number + 1) * DAY_US
    return middle / MINUTE_US, float(minutes.sum()) - awake, awake


def person(number: int, *others: Scenario) -> Wearer:
    """Return a wearer whose days differ, and to whom `others` happens."""
    who = wearer(70_000 + number, patient=f"days-{number}", device=f"days-{number}")
    return replace(who, scenarios=(Days(FIRST * DAY_US, seed=who.seed), *others))


def ordinary(number: int) -> Counter[str]:
    """Return what is raised over half a year in which nothing happens, by rule."""
    return Counter(one.rule for one in review(days_of(person(number))))


def changed(number: int) -> float | None:
    """Return after how many days of a withdrawal (14 days to its depth) it is told; None if never."""
    begins_us = (FIRST + ONSET) * DAY_US
    told = review(days_of(person(number, Withdrawal(begins_us, onset_days=14.0, hold_days=60.0))))
    after = [(one.raised_us - begins_us) / DAY_US for one in told if one.raised_us > begins_us]
    return min(after, default=None)


def figures(people: int = 150) -> dict[str, Any]:
    """Return the share found and its delay in days, and false reviews a patient-day once the usual is learned."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        false = sum(pool.map(ordinary, range(people)), Counter[str]())
        delays = list(pool.map(changed, range(people, 2 * people)))
    found = [one for one in delays if one is not None]
    judged = people * (DAYS - 28)
    return {
        "patient_days_without": judged,
        "false_reviews_a_patient_day": round(false.total() / judged, 5),
        "false_reviews_by_rule": dict(false),
        "withdrawals": people,
        "found_share": round(len(found) / people, 3),
        **{f"delay_days_{name}": _percentile(found, share) for name, share in (("median", 50), ("p90", 90))},
        "found_within_28_days_share": round(sum(one <= 28 for one in found) / people, 3),
    }


def _percentile(values: Iterable[float], share: float) -> float | None:
    found = list(values)
    return round(float(np.percentile(found, share)), 1) if found else None
