"""Scenarios and faults by name, each placed sensibly in a given stretch of time: what `vigil simulate` offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeVar

import numpy as np

from devices.simulator import scenarios as may
from devices.simulator.apnoea import SleepApnoea
from devices.simulator.fault import Fault
from devices.simulator.faults import (
    BackDate,
    Burst,
    Drift,
    Duplicate,
    FirmwareChange,
    Glitch,
    Loss,
    OffWrist,
    Reorder,
    ZoneChange,
)
from devices.simulator.noise import uniform
from devices.simulator.physiology import KNOT_US
from devices.simulator.scenario import Scenario
from devices.simulator.wearer import CADENCES_S, Wearer, wearer
from vitals.clock import US_PER_S
from vitals.errors import VigilError

R = TypeVar("R")

_HOUR_S: Final = 3_600.0
_DAY_S: Final = 86_400.0


class NoSuchRecipe(VigilError):
    """A scenario or fault was asked for by a name that there is not."""

    def __init__(self, what: str, known: Mapping[str, object]) -> None:
        super().__init__(f"there is no such {what}: choose of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of time to place something in: from when (us) and how long; `luck` in [0, 1) moves it a little."""

    start_us: int
    length_s: float
    luck: float

    def at(self, share: float) -> int:
        """Return the moment so far into the stretch, moved by up to a twentieth of it, at a knot of the truth."""
        at_us = self.start_us + (share + 0.1 * (self.luck - 0.5)) * self.length_s * US_PER_S
        return round(at_us / KNOT_US) * KNOT_US

    def most(self, seconds: float, share: float) -> float:
        """Return `seconds`, or this share of the stretch if that is less."""
        return min(seconds, share * self.length_s)


@dataclass(frozen=True, slots=True)
class ScenarioRecipe:
    """A scenario by name: `about` says what befalls the wearer, `shows` where in the data it is to be seen."""

    name: str
    about: str
    shows: str
    happen: Callable[[Wearer, Stage], Wearer]


@dataclass(frozen=True, slots=True)
class FaultRecipe:
    """A fault by name; `about` says what the device or the line does wrong."""

    name: str
    about: str
    make: Callable[[Stage], Fault]


def _befalls(make: Callable[[Stage], Scenario]) -> Callable[[Wearer, Stage], Wearer]:
    return lambda who, stage: replace(who, scenarios=(*who.scenarios, make(stage)))


def _athlete(who: Wearer, _: Stage) -> Wearer:
    fit = replace(who, resting_heart_rate=who.resting_heart_rate - 14.0, rmssd_ms=who.rmssd_ms * 1.6)
    return replace(fit, liveliness=who.liveliness + 0.2)


def _with_glucose(who: Wearer, stage: Stage) -> Wearer:
    low = may.Hypoglycaemia(stage.at(0.5), fall_s=stage.most(2_400, 0.2))
    cadences = {**who.cadences_s, "glucose": who.cadences_s.get("glucose", 300.0)}
    return replace(who, scenarios=(*who.scenarios, low), cadences_s=cadences)


def _withdrawal(stage: Stage) -> Scenario:
    days = stage.length_s / _DAY_S
    return may.Withdrawal(stage.at(0.3), onset_days=min(14.0, 0.3 * days), hold_days=max(28.0, days))


_SCENARIOS: Final = (
    ScenarioRecipe("well", "nothing: an ordinary adult", "nothing to find", lambda who, _: who),
    ScenarioRecipe(
        "deterioration", "sepsis-like: all vitals get worse together over hours, and recover",
        "heart_rate, respiratory_rate, spo2, body_temperature, bp_*, NEWS2 up to 14",
        _befalls(lambda s: may.Deterioration(
            s.at(0.4), s.most(6 * _HOUR_S, 0.25), s.most(6 * _HOUR_S, 0.15), s.most(6 * _HOUR_S, 0.1)
        )),
    ),
    ScenarioRecipe(
        "af", "an episode of atrial fibrillation, up to an hour", "rr_interval without a pattern, ECG without P waves",
        _befalls(lambda s: may.AtrialFibrillation(s.at(0.5), s.most(_HOUR_S, 0.2))),
    ),
    ScenarioRecipe(
        "ectopy", "early beats, three in a hundred, throughout", "rr_interval short and then long",
        _befalls(lambda s: may.Ectopy(s.start_us, s.length_s, 0.03)),
    ),
    ScenarioRecipe(
        "apnoea", "sleep apnoea, twenty desaturations an hour asleep", "spo2 dips of 4 to 10 points, heart_rate swings",
        _befalls(lambda s: SleepApnoea(s.start_us, s.length_s)),
    ),
    ScenarioRecipe(
        "fever", "fever of 39.2 Cel for a day", "body_temperature, heart_rate, respiratory_rate",
        _befalls(lambda s: may.Fever(
            s.at(0.35), 39.2, s.most(4 * _HOUR_S, 0.15), s.most(20 * _HOUR_S, 0.25), s.most(8 * _HOUR_S, 0.15)
        )),
    ),
    ScenarioRecipe(
        "panic", "a panic attack of half an hour", "heart_rate surges without motion",
        _befalls(lambda s: may.Panic(
            s.at(0.6), rise_s=s.most(90, 0.05), hold_s=s.most(480, 0.1), recover_s=s.most(900, 0.2)
        )),
    ),
    ScenarioRecipe(
        "withdrawal", "over weeks less activity, and sleep that moves later", "steps, in_bed, sleep_stage",
        _befalls(_withdrawal),
    ),
    ScenarioRecipe(
        "beta_blocker", "a beta blocker is begun", "heart_rate lower, its surges blunted",
        _befalls(lambda s: may.BetaBlocker(s.at(0.3), s.length_s, onset_s=s.most(2 * _HOUR_S, 0.1))),
    ),
    ScenarioRecipe("hypoglycaemia", "low glucose for an hour", "glucose (sensor added), heart_rate", _with_glucose),
    ScenarioRecipe("athlete", "a trained heart: slow, variable, often at work", "nothing to find", _athlete),
)  # fmt: skip
SCENARIOS: Final[Mapping[str, ScenarioRecipe]] = MappingProxyType({one.name: one for one in _SCENARIOS})


def _later(stage: Stage, share: float, seconds: float, most: float) -> tuple[int, int]:
    start_us = stage.at(share)
    return start_us, start_us + round(stage.most(seconds, most) * US_PER_S)


def _all(stage: Stage, share: float = 0.0) -> tuple[int, int]:
    return stage.at(share) if share else stage.start_us, 1 << 62


_FAULTS: Final = (
    FaultRecipe("loss", "5 % of all samples never arrive", lambda s: Loss(*_all(s))),
    FaultRecipe("gap", "nothing at all for two hours", lambda s: Loss(*_later(s, 0.3, 2 * _HOUR_S, 0.1), share=1.0)),
    FaultRecipe("duplicate", "5 % of all samples arrive twice", lambda s: Duplicate(*_all(s))),
    FaultRecipe(
        "resend", "a stuck phone sends the same stretch nine times",
        lambda s: Duplicate(*_later(s, 0.55, _HOUR_S, 0.05), share=1.0, later_s=60.0, times=8),
    ),
    FaultRecipe("reorder", "10 % of all samples are held up for up to 30 s", lambda s: Reorder(*_all(s))),
    FaultRecipe("drift", "the device's clock gains 17 s a day", lambda s: Drift(*_all(s))),
    FaultRecipe(
        "back_date", "an hour of samples is dated 11 hours early", lambda s: BackDate(*_later(s, 0.7, _HOUR_S, 0.1))
    ),
    FaultRecipe(
        "burst", "an outage of three hours, then all of it at once", lambda s: Burst(*_later(s, 0.45, 3 * _HOUR_S, 0.1))
    ),
    FaultRecipe(
        "off_wrist", "a watch on a table repeats heart rate 63 for up to 679 minutes",
        lambda s: OffWrist(*_later(s, 0.8, 679 * 60.0, 0.15)),
    ),
    FaultRecipe(
        "no_contact", "the same, by a watch that says so",
        lambda s: OffWrist(*_later(s, 0.8, 679 * 60.0, 0.15), honest=True),
    ),
    FaultRecipe("glitch", "RR of 255 ms, and SpO2 of 60.0 with quality 0, one in 2,000", lambda s: Glitch(*_all(s))),
    FaultRecipe(
        "firmware", "new firmware rounds heart rate to fives; the id stays", lambda s: FirmwareChange(*_all(s, 0.5))
    ),
    FaultRecipe(
        "new_device", "the device is replaced by one with another id and firmware",
        lambda s: FirmwareChange(*_all(s, 0.5), firmware="3.1", heart_rate_step=1.0, suffix="-b"),
    ),
    FaultRecipe("zone", "a flight to Tokyo: samples say UTC+9", lambda s: ZoneChange(*_all(s, 0.5))),
)  # fmt: skip
FAULTS: Final[Mapping[str, FaultRecipe]] = MappingProxyType({one.name: one for one in _FAULTS})


def cohort(
    patients: int,
    seed: int,
    start_us: int,
    end_us: int,
    *,
    scenarios: Sequence[str] = (),
    faults: Sequence[str] = (),
    cadences_s: Mapping[str, float] = CADENCES_S,
    zone_offset_min: int = 0,
    beats: bool = True,
) -> list[Wearer]:
    """Return so many wearers. They take the scenarios in turn (`a+b` is both at once), and every one has all faults.

    Raises `NoSuchRecipe`.
    """
    people = []
    for number in range(1, patients + 1):
        own = seed * 1_000_003 + number
        luck = float(uniform(own, 1, np.zeros(1, np.int64))[0])
        stage = Stage(start_us, (end_us - start_us) / US_PER_S, luck)
        who = wearer(
            own, patient=f"sim-{seed}-{number:05d}", device=f"sim-{seed}-device-{number:05d}",
            zone_offset_min=zone_offset_min, cadences_s=cadences_s, beats=beats,
        )  # fmt: skip
        for name in (scenarios[(number - 1) % len(scenarios)] if scenarios else "well").split("+"):
            who = _known("scenario", SCENARIOS, name).happen(who, stage)
        people.append(replace(who, faults=tuple(_known("fault", FAULTS, name).make(stage) for name in faults)))
    return people


def _known(what: str, recipes: Mapping[str, R], name: str) -> R:
    if name not in recipes:
        raise NoSuchRecipe(what, recipes)
    return recipes[name]
