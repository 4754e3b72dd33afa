"""What a wearer does: when they sleep, when they move."""

from __future__ import annotations

from typing import Final

import numpy as np

from devices.simulator.noise import Floats, Ints, normal, uniform
from devices.simulator.wearer import Wearer
from vitals.clock import US_PER_S

_HOUR_US: Final = 3_600 * US_PER_S
_DAY_US: Final = 24 * _HOUR_US
_SLOT_US: Final = 1_800 * US_PER_S
_SLOTS_BACK: Final = 2
"""A bout starts in its slot's first half and lasts at most 25 min; after this many slots its effect is gone."""
_BED, _WAKE, _HAPPENS, _BEGINS, _LASTS, _EFFORT = range(10, 16)
_FALLING_ASLEEP_H: Final = 0.15
_RISE_S: Final = 40.0
_FALL_S: Final = 110.0


def asleep(who: Wearer, time_us: Ints) -> Floats:
    """Return how asleep the wearer is at each time, 0 to 1, by their own zone and that night's bed and wake times."""
    night, since_noon_us = np.divmod(time_us + who.zone_offset_min * 60 * US_PER_S - 12 * _HOUR_US, _DAY_US)
    h = since_noon_us / _HOUR_US
    bed = who.bed_h - 12.0 + 0.4 * normal(who.seed, _BED, night).clip(-2, 2)
    wake = who.wake_h + 12.0 + 0.4 * normal(who.seed, _WAKE, night).clip(-2, 2)
    return _sigmoid((h - bed) / _FALLING_ASLEEP_H) * _sigmoid((wake - h) / _FALLING_ASLEEP_H)


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def activity(who: Wearer, time_us: Ints) -> tuple[Floats, Floats]:
    """Return (moving, effort) at each time, 0 to 1: what the body does now, and what the heart makes of it, later."""
    moving, effort = np.zeros(len(time_us)), np.zeros(len(time_us))
    slot_now = time_us // _SLOT_US
    for back in range(_SLOTS_BACK + 1):
        slot = slot_now - back
        begins_us = slot * _SLOT_US + (uniform(who.seed, _BEGINS, slot) * 0.5 * _SLOT_US).astype(np.int64)
        strength = _strength(who, slot, begins_us)
        since_s = (time_us - begins_us) / US_PER_S
        lasts_s = 180.0 + 1_320.0 * uniform(who.seed, _LASTS, slot)
        np.maximum(moving, strength * ((since_s >= 0) & (since_s < lasts_s)), out=moving)
        risen = 1.0 - np.exp(-np.clip(since_s, 0.0, lasts_s) / _RISE_S)
        np.maximum(effort, strength * risen * np.exp(-np.maximum(since_s - lasts_s, 0.0) / _FALL_S), out=effort)
    return moving, effort


def _strength(who: Wearer, slot: Ints, begins_us: Ints) -> Floats:
    happens = uniform(who.seed, _HAPPENS, slot) < who.liveliness * (1.0 - asleep(who, begins_us))
    return happens * (0.2 + 0.8 * uniform(who.seed, _EFFORT, slot) ** 2)
