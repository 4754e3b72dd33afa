"""What is truly going on in a wearer at any time: the values that a perfect device would read.

The truth is stated every five seconds (`KNOT_US`) and is a straight line in between: whoever asks for a moment gets the
same answer, whether they ask for that moment or for a year.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.simulator.habits import activity, meals
from devices.simulator.noise import Floats, Ints, knots_of, smooth, wander
from devices.simulator.scenario import Effect, effect_on
from devices.simulator.sleep import AWAKE, DAY_US, DEEP, REM, asleep, stages
from devices.simulator.wearer import Wearer
from vitals.clock import US_PER_S

KNOT_US: Final = 5 * US_PER_S
_MINUTE_US: Final = 60 * US_PER_S
_HEART, _BREATH, _SPO2, _TEMPERATURE, _VARIABILITY, _PRESSURE, _GLUCOSE = 20, 30, 31, 32, 33, 34, 35
# 10 s to almost three hours, each four times the one before, of similar size: like 1/f (Kobayashi and Musha 1982). The
# slower ones are smaller because activity and sleep add to them.
_HEART_WANDER: Final = tuple((10 * US_PER_S * 4**n, sd) for n, sd in enumerate((1.0, 2.2, 2.0, 1.5, 1.2, 1.0)))
_EFFORT_BPM: Final = 70.0

WORST: Final = MappingProxyType(
    {"heart_rate": 142.0, "respiratory_rate": 31.0, "spo2": 85.5, "body_temperature": 39.4, "bp_systolic": 86.0}
)
"""Where a deterioration leads, whatever the wearer's constitution."""
LIMITS: Final = MappingProxyType(
    {"heart_rate": 130.0, "respiratory_rate": 25.0, "spo2": 90.0, "body_temperature": 39.0, "bp_systolic": 90.0}
)
"""The limits that a deterioration passes: upwards, but SpO2 and pressure downwards. NEWS2 gives 1 to 3 points there."""
FALLING: Final = frozenset({"spo2", "bp_systolic"})


@dataclass(frozen=True, slots=True)
class Physiology:
    """True values at some times, each an array of their length; units as in the catalogue.

    `moving`, `asleep` and `ill` go from 0 to 1, `fibrillation` is 0 or 1, `irregularity` and `ectopy` are shares;
    `stage` is a category of the catalogue, 0 out of bed.
    """

    heart_rate: Floats
    respiratory_rate: Floats
    spo2: Floats
    body_temperature: Floats
    wrist_temperature: Floats
    bp_systolic: Floats
    bp_diastolic: Floats
    glucose: Floats
    hrv_rmssd: Floats
    moving: Floats
    asleep: Floats
    fibrillation: Floats
    irregularity: Floats
    ectopy: Floats
    ill: Floats
    stage: NDArray[np.int8]


_STEPWISE: Final = frozenset({"stage", "fibrillation", "irregularity", "ectopy"})
"""What has no values in between: the knot before a moment holds until the next."""
FIELDS: Final = tuple(one.name for one in fields(Physiology))


@dataclass(frozen=True, slots=True)
class Course:
    """The truth on a run of knots, `first` being the number of the first; every moment asked for must lie in it."""

    first: int
    at_knots: Physiology

    def place(self, time_us: Ints) -> tuple[Ints, Floats]:
        """Return (the knot before each moment, how far on to the next one)."""
        number, within = np.divmod(time_us, KNOT_US)
        return number - self.first, within * (1.0 / KNOT_US)

    def value(self, name: str, knot: Ints, share: Floats) -> Floats:
        """Return one of the values at moments that `place` has placed."""
        known: Floats = getattr(self.at_knots, name)
        if name in _STEPWISE:
            return known[knot]
        low = known[knot]
        return low + share * (known[knot + 1] - low)


def course(who: Wearer, start_us: int, end_us: int) -> Course:
    """Return the truth on all knots around [start_us, end_us], both ends included."""
    first, last = start_us // KNOT_US, end_us // KNOT_US + 1
    return Course(first, _at_knots(who, np.arange(first, last + 1, dtype=np.int64) * KNOT_US))


def physiology(who: Wearer, time_us: Ints) -> Physiology:
    """Return what is true of the wearer at each of `time_us` (int64 microseconds UTC, in any order)."""
    knots, where, share = knots_of(time_us, KNOT_US)
    known = Course(0, _at_knots(who, knots * KNOT_US))
    return Physiology(**{name: known.value(name, where, share) for name in FIELDS})  # type: ignore[arg-type]


def _at_knots(who: Wearer, time_us: Ints) -> Physiology:
    sleep, stage, effect = asleep(who, time_us), stages(who, time_us), effect_on(who, time_us)
    moving, effort = (one * effect.activity for one in activity(who, time_us))
    heart = _heart(who, time_us, sleep, stage, effort, effect)
    breath = who.respiratory_rate - 1.5 * sleep + 9.0 * effort + effect.respiratory_rate
    breath += 0.7 * smooth(who.seed, _BREATH, time_us, _MINUTE_US)
    spo2 = who.spo2 - 0.7 * sleep + 0.4 * smooth(who.seed, _SPO2, time_us, 3 * _MINUTE_US)
    warmth = _temperature(who, time_us, effort)
    warmth = warmth + effect.fever * (effect.fever_c + 0.1 * (warmth - who.temperature) - warmth)
    pressure = who.systolic - 11.0 * sleep + 25.0 * effort + effect.systolic
    pressure += 2.5 * smooth(who.seed, _PRESSURE, time_us, 20 * _MINUTE_US)
    heart = _towards("heart_rate", heart, who.resting_heart_rate, effect.ill)
    pressure = _towards("bp_systolic", pressure, who.systolic, effect.ill)
    warmth = _towards("body_temperature", warmth, who.temperature, effect.ill)
    full = np.ones(len(time_us))
    return Physiology(
        heart_rate=np.clip(heart, 30.0, 210.0),
        respiratory_rate=_towards("respiratory_rate", breath, who.respiratory_rate, effect.ill),
        spo2=np.clip(_towards("spo2", np.minimum(spo2, 100.0), who.spo2, effect.ill) + effect.spo2, 50.0, 100.0),
        body_temperature=warmth,
        # The skin warms in sleep and cools in effort; half of a fever reaches it.
        wrist_temperature=33.2 + 1.6 * sleep - 0.6 * effort + 0.5 * (warmth - who.temperature),
        bp_systolic=pressure,
        bp_diastolic=0.62 * pressure + 4.0,
        glucose=_glucose(who, time_us, effect),
        hrv_rmssd=_variability(who, time_us, heart, sleep, stage) * effect.variability,
        moving=moving,
        asleep=sleep,
        fibrillation=full * effect.fibrillation,
        irregularity=full * effect.irregularity,
        ectopy=full * effect.ectopy,
        ill=full * effect.ill,
        stage=stage,
    )


def _heart(
    who: Wearer, time_us: Ints, sleep: Floats, stage: NDArray[np.int8], effort: Floats, effect: Effect
) -> Floats:
    heart = who.resting_heart_rate + 9.0 * (1.0 - sleep) - 5.0 * sleep
    heart += sleep * (2.5 * (stage == REM) - 1.5 * (stage == DEEP) + 5.0 * (stage == AWAKE))
    heart += (1.0 - 0.35 * sleep) * wander(who.seed, _HEART, time_us, _HEART_WANDER)
    return heart + effect.surge * (_EFFORT_BPM * effort + effect.surge_bpm) + effect.heart_rate_bpm


def _temperature(who: Wearer, time_us: Ints, effort: Floats) -> Floats:
    local_us = time_us + who.zone_offset_min * _MINUTE_US
    warmth = who.temperature + 0.3 * np.cos(2.0 * np.pi * (local_us % DAY_US / DAY_US - 17 / 24))
    return warmth + 0.2 * effort + 0.05 * smooth(who.seed, _TEMPERATURE, time_us, 30 * _MINUTE_US)


def _glucose(who: Wearer, time_us: Ints, effect: Effect) -> Floats:
    glucose = who.glucose + meals(who, time_us) + 4.0 * smooth(who.seed, _GLUCOSE, time_us, 40 * _MINUTE_US)
    return glucose + effect.low_glucose * (effect.glucose - glucose)


def _variability(who: Wearer, time_us: Ints, heart: Floats, sleep: Floats, stage: NDArray[np.int8]) -> Floats:
    rmssd = who.rmssd_ms * np.exp((who.resting_heart_rate - heart) / 40.0)
    rmssd *= 1.0 + sleep * (0.1 - 0.15 * (stage == REM))
    return np.clip(rmssd * np.exp(0.15 * smooth(who.seed, _VARIABILITY, time_us, 10 * _MINUTE_US)), 2.0, 150.0)


def _towards(code: str, well: Floats, typical: float, ill: Floats | float) -> Floats:
    # A tenth of the wearer's own variation stays, so that the plateau does not look like a stuck value.
    return well + ill * (WORST[code] + 0.1 * (well - typical) - well)
