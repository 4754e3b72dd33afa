"""What a wearer does: when they move, and when they eat. When they sleep stands in `sleep`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from devices.simulator.noise import Floats, Ints, knots_of, uniform
from devices.simulator.sleep import DAY_US, HOUR_US, asleep
from vitals.clock import US_PER_S

if TYPE_CHECKING:
    from devices.simulator.wearer import Wearer

_SLOT_US: Final = 1_800 * US_PER_S
_SLOTS_BACK: Final = 2
"""A bout starts in its slot's first half and lasts at most 25 min; after this many slots its effect is gone."""
_HAPPENS, _BEGINS, _LASTS, _EFFORT, _EATS, _PORTION = range(12, 18)
_RISE_S: Final = 40.0
_FALL_S: Final = 110.0
_MEALS_H: Final = (7.6, 12.6, 19.0)
_MEAL_PEAK_S: Final = 2_700.0
_MEAL_MG_DL: Final = 38.0


def activity(who: Wearer, time_us: Ints) -> tuple[Floats, Floats]:
    """Return (moving, effort) at each time, 0 to 1: what the body does now, and what the heart makes of it, later."""
    moving, effort = np.zeros(len(time_us)), np.zeros(len(time_us))
    slots, where, _ = knots_of(time_us, _SLOT_US)
    for back in range(_SLOTS_BACK + 1):
        slot = slots - back
        begins_us = slot * _SLOT_US + (uniform(who.seed, _BEGINS, slot) * 0.5 * _SLOT_US).astype(np.int64)
        strength = _strength(who, slot, begins_us)[where]
        lasts_s = (180.0 + 1_320.0 * uniform(who.seed, _LASTS, slot))[where]
        since_s = (time_us - begins_us[where]) / US_PER_S
        np.maximum(moving, strength * ((since_s >= 0) & (since_s < lasts_s)), out=moving)
        risen = 1.0 - np.exp(-np.clip(since_s, 0.0, lasts_s) / _RISE_S)
        np.maximum(effort, strength * risen * np.exp(-np.maximum(since_s - lasts_s, 0.0) / _FALL_S), out=effort)
    return moving, effort


def _strength(who: Wearer, slot: Ints, begins_us: Ints) -> Floats:
    happens = uniform(who.seed, _HAPPENS, slot) < who.liveliness * (1.0 - asleep(who, begins_us))
    return happens * (0.2 + 0.8 * uniform(who.seed, _EFFORT, slot) ** 2)


def meals(who: Wearer, time_us: Ints) -> Floats:
    """Return by how many mg/dL three meals a day raise glucose: a gamma curve that peaks after 45 minutes."""
    local_us = time_us + who.zone_offset_min * 60 * US_PER_S
    days, where, _ = knots_of(local_us, DAY_US)
    raised = np.zeros(len(time_us))
    for number, hour in enumerate(_MEALS_H):
        for back in (0, 1):
            meal = (days - back) * 4 + number
            eats_h = hour - 0.5 + uniform(who.seed, _EATS, meal)
            eaten_us = (days - back) * DAY_US + (eats_h * HOUR_US).astype(np.int64)
            portion = 0.6 + 0.8 * uniform(who.seed, _PORTION, meal)
            x = np.maximum(local_us - eaten_us[where], 0) / (_MEAL_PEAK_S * US_PER_S)
            raised += _MEAL_MG_DL * portion[where] * x * np.exp(1.0 - x)
    return raised
