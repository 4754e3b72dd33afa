"""What is truly going on in a wearer at any time: the values that a perfect device would read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.simulator.habits import activity, asleep
from devices.simulator.noise import Floats, Ints, smooth
from devices.simulator.wearer import Deterioration, Wearer
from vitals.clock import US_PER_S

_HEART_SLOW, _HEART_FAST, _BREATH, _SPO2, _TEMPERATURE, _VARIABILITY = range(20, 26)
_MINUTE_US: Final = 60 * US_PER_S
_DAY_US: Final = 1_440 * _MINUTE_US

WORST: Final = {"heart_rate": 142.0, "respiratory_rate": 31.0, "spo2": 85.5, "body_temperature": 39.4}
"""Where a deterioration leads, whatever the wearer's constitution."""
LIMITS: Final = {"heart_rate": 130.0, "respiratory_rate": 25.0, "spo2": 90.0, "body_temperature": 39.0}
"""The limits that a deterioration passes: upwards, for SpO2 downwards. NEWS2 scores 3, 3, 3 and 1 to 2 beyond them."""


@dataclass(frozen=True, slots=True)
class Physiology:
    """True values at some times, each an array of their length; units as in the catalogue."""

    heart_rate: Floats
    respiratory_rate: Floats
    spo2: Floats
    body_temperature: Floats
    hrv_rmssd: Floats
    moving: Floats
    asleep: Floats


def physiology(who: Wearer, time_us: Ints) -> Physiology:
    """Return what is true of the wearer at each of `time_us` (int64 microseconds UTC)."""
    sleep = asleep(who, time_us)
    moving, effort = activity(who, time_us)
    ill = severity(who, time_us)
    moving, effort = moving * (1.0 - ill), effort * (1.0 - ill)  # nobody jogs while they deteriorate
    heart = who.resting_heart_rate + 9.0 * (1.0 - sleep) - 4.0 * sleep + 70.0 * effort
    heart += 2.5 * smooth(who.seed, _HEART_SLOW, time_us, 20 * _MINUTE_US)
    heart += 1.5 * smooth(who.seed, _HEART_FAST, time_us, _MINUTE_US // 2)
    breath = who.respiratory_rate - 1.5 * sleep + 9.0 * effort + 0.7 * smooth(who.seed, _BREATH, time_us, _MINUTE_US)
    spo2 = who.spo2 - 0.7 * sleep + 0.4 * smooth(who.seed, _SPO2, time_us, 3 * _MINUTE_US)
    local_us = time_us + who.zone_offset_min * _MINUTE_US
    temperature = who.temperature + 0.3 * np.cos(2.0 * np.pi * (local_us % _DAY_US / _DAY_US - 17 / 24))
    temperature += 0.2 * effort + 0.05 * smooth(who.seed, _TEMPERATURE, time_us, 30 * _MINUTE_US)
    heart = _towards("heart_rate", heart, who.resting_heart_rate, ill)
    variability = who.rmssd_ms * np.exp((who.resting_heart_rate - heart) / 40.0)
    variability *= np.exp(0.15 * smooth(who.seed, _VARIABILITY, time_us, 10 * _MINUTE_US))
    return Physiology(
        heart_rate=heart,
        respiratory_rate=_towards("respiratory_rate", breath, who.respiratory_rate, ill),
        spo2=np.minimum(_towards("spo2", spo2, who.spo2, ill), 100.0),
        body_temperature=_towards("body_temperature", temperature, who.temperature, ill),
        hrv_rmssd=np.clip(variability, 2.0, 200.0),
        moving=moving,
        asleep=sleep,
    )


def severity(who: Wearer, time_us: Ints) -> Floats:
    """Return how ill the wearer is at each time, 0 to 1: the worst of what is scripted."""
    ill = np.zeros(len(time_us))
    for one in who.deteriorations:
        np.maximum(ill, one.severity(time_us), out=ill)
    return ill


def _towards(code: str, well: Floats, typical: float, ill: Floats) -> Floats:
    # A tenth of the wearer's own variation stays, so that the plateau does not look like a stuck value.
    return well + ill * (WORST[code] + 0.1 * (well - typical) - well)


@dataclass(frozen=True, slots=True)
class Truth:
    """What a detector ought to find: when the wearer began to get worse, and when each limit was passed for good.

    `passed_us[code]` is the first second from which the true value stays beyond `LIMITS[code]` until `relief_us`.
    """

    onset_us: int
    worst_us: int
    relief_us: int
    passed_us: dict[str, int]


def truth(who: Wearer, script: Deterioration) -> Truth:
    """Return the truth of one of the wearer's deteriorations, read off the true values second by second."""
    seconds = np.arange(script.start_us, script.relief_us, US_PER_S, dtype=np.int64)
    true = physiology(who, seconds)
    passed = {}
    for code, limit in LIMITS.items():
        value = getattr(true, code)
        inside = np.flatnonzero(value >= limit if code == "spo2" else value <= limit)
        first = 0 if len(inside) == 0 else int(inside[-1]) + 1
        if first < len(seconds):
            passed[code] = int(seconds[first])
    return Truth(script.start_us, script.worst_us, script.relief_us, passed)
