"""Sleep apnoea: desaturations whose times and depths are known.

Time is cut into slots of two minutes, each with one event or none; an event happens only where the wearer sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

import numpy as np

from devices.simulator.noise import Floats, Ints, choose, uniform
from devices.simulator.scenario import Effect, Episode, Scenario, after, ease
from devices.simulator.sleep import asleep
from vitals.clock import US_PER_S

if TYPE_CHECKING:
    from devices.simulator.wearer import Wearer

SLOT_US: Final = 120 * US_PER_S
MOST_EVENTS_PER_H: Final = 3_600 * US_PER_S / SLOT_US
_HAPPENS, _BEGINS, _FALLS, _DEPTH = range(70, 74)
_KNOT_S: Final = 5
"""Events keep to the knots of the truth (physiology.KNOT_US), so that the nadir is one of them."""
_HOLD_S: Final = 10.0
_RECOVER_S: Final = 15.0


class Events(NamedTuple):
    """Desaturations: arrays of one length, in order. `fall_s` from start to nadir; `depth` in percentage points."""

    slot: Ints
    start_us: Ints
    fall_s: Floats
    depth: Floats

    @property
    def nadir_us(self) -> Ints:
        """When saturation first is at its lowest; it stays there for ten seconds."""
        return self.start_us + np.round(self.fall_s * US_PER_S).astype(np.int64)

    @property
    def end_us(self) -> Ints:
        """When saturation is what it was."""
        return self.nadir_us + round((_HOLD_S + _RECOVER_S) * US_PER_S)


@dataclass(frozen=True, slots=True)
class SleepApnoea(Scenario):
    """Desaturations in sleep: `events_per_h` (30 at most), each `shallowest` to `deepest` percentage points deep.

    Saturation falls over 20 to 40 s, stays at its nadir for 10 s and is back 15 s later; the heart slows before and
    quickens after it (Guilleminault et al. 1984: cyclical variation of heart rate).
    """

    kind: ClassVar[str] = "sleep_apnoea"
    duration_s: float = 30 * 86_400.0
    events_per_h: float = 20.0
    shallowest: float = 4.0
    deepest: float = 10.0

    @property
    def end_us(self) -> int:
        """When the last event, which begins within `duration_s`, is surely over."""
        return after(self.start_us, self.duration_s, 120.0)

    def events(self, who: Wearer, start_us: int, end_us: int) -> Events:
        """Return the events of which a part lies within [start_us, end_us)."""
        slot = np.arange(start_us // SLOT_US - 1, end_us // SLOT_US + 1, dtype=np.int64)
        slot = slot[choose(who.seed, _HAPPENS, slot, self.events_per_h / MOST_EVENTS_PER_H)]
        begins = (slot * (SLOT_US // US_PER_S) + _KNOT_S * np.floor(8 * uniform(who.seed, _BEGINS, slot))) * US_PER_S
        found = Events(
            slot,
            begins.astype(np.int64),
            _KNOT_S * (4.0 + np.floor(5 * uniform(who.seed, _FALLS, slot))),
            self.shallowest + (self.deepest - self.shallowest) * uniform(who.seed, _DEPTH, slot) ** 2,
        )
        kept = (asleep(who, found.start_us) > 0.5) & (found.start_us < end_us) & (found.end_us > start_us)
        kept &= (found.start_us >= self.start_us) & (found.start_us < after(self.start_us, self.duration_s))
        return Events(found.slot[kept], found.start_us[kept], found.fall_s[kept], found.depth[kept])

    def effect_on(self, who: Wearer, time_us: Ints) -> Effect:
        """Return how far saturation has fallen at each moment, and what the heart does meanwhile."""
        # Four minutes after an event nothing is left of what the heart made of it.
        events = self.events(who, int(time_us.min()) - 2 * SLOT_US, int(time_us.max()) + 1)
        if len(events.slot) == 0:
            return Effect()
        which = np.searchsorted(events.start_us, time_us, side="right") - 1
        which = np.maximum(which, 0)
        since_s = (time_us - events.start_us[which]) / US_PER_S
        fall_s = events.fall_s[which]
        fallen = ease(np.clip(since_s / fall_s, 0.0, 1.0))
        back = np.clip((since_s - fall_s - _HOLD_S) / _RECOVER_S, 0.0, 1.0)
        far = np.where(back >= 1.0, 0.0, fallen * (1.0 - ease(back)))
        surge = np.exp(-(((since_s - fall_s - _HOLD_S) / 12.0) ** 2)) * (since_s >= 0)
        return Effect(spo2=-events.depth[which] * far, heart_rate_bpm=14.0 * surge - 5.0 * far)

    def episodes(self, who: Wearer, start_us: int, end_us: int) -> list[Episode]:
        """Return every desaturation by itself."""
        events = self.events(who, start_us, end_us)
        columns = (events.start_us, events.nadir_us, events.end_us, events.depth)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [Episode("desaturation", a, c, {"nadir_us": b, "depth": depth}) for a, b, c, depth in rows]
