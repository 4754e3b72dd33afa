"""What a detector says: one change of one episode, with the evidence a person needs to judge it. Frozen, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from alerts.event import Audience, Kind, Priority, State
from stream.detectors.limits import MAX_AGE_S
from stream.detectors.sustain import Reading

Figures = Mapping[str, float | str]
NO_FIGURES: Final[Figures] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Finding:
    """One change of an episode of `rule` on `metric` (a catalogue code); all times microseconds UTC of event time.

    The episode is known by (patient, rule, metric, origin, `opened_us`): every change of one episode tells the same
    `opened_us`, which is when it became pending, and depends on what was measured alone. `changed_us` is when it came
    into `state`; `measured_us` when the newest evidence was measured. `says` is a clause in plain words, beginning
    small, without the time and without a full stop, naming what is seen and never a disorder ("heart rate above 130
    /min for 60 s, last 142 /min"); whoever makes the alert adds when it was measured and the remarks that CLINICAL asks
    for. `figures` are the numbers behind it by snake_case name with unit (`rmssd_ms`, `episodes`), at most 24;
    `readings` the newest samples that decided (at most 32; none for technical findings).
    """

    rule: str
    version: int
    metric: str
    kind: Kind
    priority: Priority
    state: State
    opened_us: int
    raised_us: int
    changed_us: int
    measured_us: int
    window_start_us: int
    says: str
    samples: int = 0
    readings: tuple[Reading, ...] = ()
    threshold: float | None = None
    figures: Figures = field(default_factory=lambda: NO_FIGURES)
    individualised: bool = False
    max_age_s: float = MAX_AGE_S
    audience: Audience = Audience.CARE
    unit: str | None = None  # of readings and threshold; None: the metric's own
    quality: float | None = field(default=None)  # None: the lowest among the readings
    by_arrival: bool = False  # of when samples came, not of when they were measured: news on the backfill lane, too
