"""One partial NEWS2: what is known scores, what nobody observed scores nothing and is named."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from stream.detectors.news2_chart import (
    CONSCIOUSNESS,
    OXYGEN,
    PARAMETERS,
    PRESSURE,
    PULSE,
    RESPIRATION,
    SPO2,
    TEMPERATURE,
    points,
)
from stream.detectors.news2_inputs import KEPT, SOURCES, Working
from stream.detectors.sustain import NEVER
from vitals.care_profile import CareProfile
from vitals.clock import US_PER_S

_SLOTS: Final = {
    parameter: tuple(SOURCES.index(code) for code in codes)
    for parameter, codes in {
        RESPIRATION: ("respiratory_rate",),
        SPO2: ("spo2",),
        OXYGEN: ("supplemental_oxygen",),
        PRESSURE: ("bp_systolic",),
        CONSCIOUSNESS: ("consciousness",),
        PULSE: ("heart_rate", "pulse_rate"),
        TEMPERATURE: ("body_temperature",),
    }.items()
}
# What the chart gives points and sleep does to anybody: from, and below. A slow heart is the limits' from 30 on.
_ASLEEP: Final = {PULSE: (30.0, 50.5), PRESSURE: (90.5, 110.5), RESPIRATION: (8.5, 11.5)}
_NONE: Final[frozenset[str]] = frozenset()
_ASLEEP_US: Final = 600 * US_PER_S
_FIGURES: Final = {
    RESPIRATION: "respiratory_rate_per_min", SPO2: "spo2_percent", PRESSURE: "bp_systolic_mmhg",
    PULSE: "pulse_per_min", TEMPERATURE: "body_temperature_cel",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ages:
    """How old an input may be (s), and over what time its newest values are averaged (median).

    Devices tell pulse, respiration and saturation all the time: 15 minutes, as everywhere (CLINICAL). What is taken by
    hand belongs to a set of observations: NEWS2 wants one an hour from 5 points on, so pressure and consciousness hold
    for that and half an hour's grace; temperature moves slowly, and oxygen is changed by a person: four hours, the
    shortest interval for 1 to 4 points.
    """

    vital_s: float = 900.0
    pressure_s: float = 5_400.0
    consciousness_s: float = 5_400.0
    temperature_s: float = 14_400.0
    oxygen_s: float = 14_400.0
    smooth_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("vital_s", "pressure_s", "consciousness_s", "temperature_s", "oxygen_s", "smooth_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is above 0")

    def of(self, parameter: str) -> float:
        """Return the maximum age of one of NEWS2's parameters (s)."""
        slow = {
            PRESSURE: self.pressure_s, CONSCIOUSNESS: self.consciousness_s, TEMPERATURE: self.temperature_s,
            OXYGEN: self.oxygen_s,
        }  # fmt: skip
        return slow.get(parameter, self.vital_s)


@dataclass(frozen=True, slots=True)
class Score:
    """NEWS2 as of `at_us`, as far as it is known: values and points by parameter; what is missing has neither.

    `excused` parameters have points that the chart gives a body asleep or trained as well: they are told and raise not.
    `firm` are those whose value no single odd sample can have moved.
    """

    at_us: int
    measured_us: int
    values: dict[str, float] = field(default_factory=dict)
    points: dict[str, int] = field(default_factory=dict)
    excused: frozenset[str] = frozenset()
    firm: frozenset[str] = frozenset()

    @property
    def raising(self) -> int:
        """The sum that alerts go by: without points that sleep or training explains (`excused`)."""
        return self.total - sum(self.points[one] for one in self.excused) if self.excused else self.total

    @property
    def total(self) -> int:
        """The sum of what is known."""
        return sum(self.points.values())

    @property
    def missing(self) -> tuple[str, ...]:
        """The parameters that nobody observed lately, in the chart's order."""
        return tuple(one for one in PARAMETERS if one not in self.points)

    @property
    def told(self) -> str:
        """An integer only where all seven are known (CLINICAL)."""
        missing = self.missing
        if not missing:
            return f"{self.total}"
        return f"at least {self.total}; {len(missing)} of 7 missing ({', '.join(missing)})"

    def figures(self) -> dict[str, float | str]:
        """Return it as the figures of a finding."""
        missing = self.missing
        told: dict[str, float | str] = {"at_least_points" if missing else "total_points": float(self.total)}
        told |= {"missing_count": float(len(missing)), "missing": ", ".join(missing)}
        told |= {f"{one.lower()}_points": float(score) for one, score in self.points.items()}
        return told | {_FIGURES[one]: round(value, 1) for one, value in self.values.items() if one in _FIGURES}


@lru_cache(maxsize=64)
def _asked(ages: Ages) -> tuple[tuple[str, int, int], ...]:
    """Return (parameter, slot, maximum age in us), the better source first."""
    return tuple(
        (parameter, slot, round(ages.of(parameter) * US_PER_S)) for parameter, slots in _SLOTS.items() for slot in slots
    )


def score(known: Working, at_us: int, ages: Ages, profile: CareProfile) -> Score:
    """Return the score as of `at_us`. The profile's oxygen stands where nobody entered any."""
    smooth_us = round(ages.smooth_s * US_PER_S)
    values: dict[str, float] = {}
    measured_us, firm = NEVER, []
    for parameter, slot, max_age_us in _asked(ages):
        if parameter in values:
            continue
        found = known.current(slot, at_us - max_age_us, smooth_us)
        if found is not None:
            values[parameter] = found[0]
            measured_us = max(measured_us, found[1])
            if found[2] == KEPT:
                firm.append(parameter)
    if profile.oxygen is not None:
        values.setdefault(OXYGEN, float(profile.oxygen))
    scale, on_oxygen = profile.spo2_scale, values.get(OXYGEN) == 1.0
    scored = {one: points(one, value, spo2_scale=scale, on_oxygen=on_oxygen) for one, value in values.items()}
    excused = _excused(values, scored, profile, asleep=at_us - known.asleep_us <= _ASLEEP_US)
    return Score(at_us, at_us if measured_us == NEVER else measured_us, values, scored, excused, frozenset(firm))


def _excused(values: dict[str, float], scored: dict[str, int], profile: CareProfile, *, asleep: bool) -> frozenset[str]:
    if not asleep and not profile.trained:
        return _NONE
    return frozenset(
        one
        for one, (low, high) in _ASLEEP.items()
        if scored.get(one) and low <= values[one] < high and (asleep or one == PULSE)
    )
