"""Elevated body temperature, for the digest: 38.0 Cel or more, how long and how high.

38.0 Cel is where NEWS2 leaves its normal band (it gives a point from 38.1; Royal College of Physicians, 2017) and the
usual bound of fever. The limit `body_temperature_high` (38.5) stays with the limits and pages; this rule never does. A
sensor that is worn must hold it for half an hour; a thermometer's reading that stands alone decides by itself. Where on
the body it was measured is not known to Vigil: a mouth reads about half a degree above an armpit. The temperature of a
wrist is no body temperature and is not seen here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from alerts.event import Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.no_longer import sustained_no_longer
from stream.detectors.observation import Observations
from stream.detectors.protocol import Person
from stream.detectors.slots import first_of_each, trusted
from stream.detectors.spell import Spell, alone, follow_spell
from stream.detectors.sustain import NEVER, Timing, Transition, Window, codes_of
from vitals.catalogue import number_of
from vitals.clock import US_PER_S

RULE: Final = "elevated_temperature"
_TEMPERATURE: Final = number_of("body_temperature")
_SLOT_US: Final = 10 * US_PER_S
_SUSTAINED: Final = Timing(1_800, min_samples=3, clear_delay_s=3_600, clear_samples=3, max_gap_s=4 * 3_600)


@dataclass(frozen=True, slots=True)
class FeverPolicy:
    """Elevated from `elevated_cel`, over at or below `ends_cel`; a reading with none in the `alone_s` before it decides
    by itself. Raises ValueError where the end lies above the beginning."""

    elevated_cel: float = 38.0
    ends_cel: float = 37.5
    alone_s: float = 3_600.0
    timing: Timing = field(default=_SUSTAINED)

    def __post_init__(self) -> None:
        if not 30 <= self.ends_cel < self.elevated_cel <= 45:
            raise ValueError("ends_cel lies below elevated_cel, both within 30 to 45")
        if self.alone_s <= 0:
            raise ValueError("alone_s is above 0")


@dataclass(frozen=True, slots=True)
class FeverState:
    """Where the rule stands, and when the newest reading was taken."""

    spell: Spell
    last_us: int = NEVER


@dataclass(frozen=True, slots=True)
class Fever:
    """Elevated temperature of one origin; says nothing of children."""

    policy: FeverPolicy = field(default_factory=FeverPolicy)

    name: ClassVar[str] = "fever"
    metrics: ClassVar[frozenset[int]] = frozenset({_TEMPERATURE})
    max_bytes: ClassVar[int] = 1_600
    per_patient: ClassVar[bool] = False

    def fresh(self) -> FeverState:
        """Return the state of somebody never seen."""
        return FeverState(Spell())

    def step(
        self, state: FeverState, seen: Observations, until_us: int, person: Person
    ) -> tuple[FeverState, list[Finding]]:
        """Take in `seen`, at most a reading in ten seconds. Raises nothing."""
        if person.profile.is_child:
            what = "elevated body temperature"
            return self.fresh(), sustained_no_longer(RULE, "body_temperature", what, state.spell.held, until_us)
        told = trusted(seen, _TEMPERATURE)
        if told is None:
            return state, []
        first = first_of_each(told.end_us, _SLOT_US, state.last_us)
        if not first.any():
            return state, []
        ends, value = told.end_us[first], told.value[first]
        own = person.profile.limit("body_temperature", asleep=False).high
        limit = self.policy.elevated_cel if own is None else own
        over = min(self.policy.ends_cel, limit)
        if state.spell.held.is_quiet and value.max() < limit:
            return FeverState(state.spell, int(ends[-1])), []  # nearly always
        window = Window(ends, codes_of(value >= limit, value <= over), value, told.quality[first])
        single = alone(ends, state.last_us, self.policy.alone_s)
        spell, changes = follow_spell(state.spell, self.policy.timing, window, single, lowest=False)
        found = [_finding(one, highest, limit, over, own is not None) for one, highest in changes]
        return FeverState(spell, int(ends[-1])), found


def _finding(told: Transition, highest: float, limit: float, over: float, own: bool) -> Finding:
    last = told.run.readings[-1][1]
    hours = round((told.at_us - told.opened_us) / (3_600 * US_PER_S), 1)
    if told.cleared:
        says = f"body temperature back at or below {over:g} °C, highest {highest:g} °C, elevated for {hours:g} h"
    elif told.run.seen == 1:
        says = f"elevated body temperature, {last:g} °C in a single reading; body site unknown"
    else:
        lasted = f"at or above {limit:g} °C for {hours:g} h"
        says = f"elevated body temperature, {lasted}, last {last:g} °C; body site unknown"
    figures: dict[str, float | str] = {
        "duration_h": hours,
        "highest_cel": round(highest, 2),
        "last_cel": round(last, 2),
        "body_site": "unknown",
    }
    return Finding(
        RULE, 1, "body_temperature", Kind.PHYSIOLOGICAL, Priority.LOW,
        State.CLEARED if told.cleared else State.RAISED, told.opened_us, told.raised_us, told.at_us,
        told.run.readings[-1][0], told.run.since_us, says, told.run.seen, told.run.readings, limit, figures,
        individualised=own, max_age_s=4 * 3_600.0,
    )  # fmt: skip
