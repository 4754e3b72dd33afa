"""What watch remembers: bounded, and nothing that the log could not give back.

A patient has at most `MAX_ORIGINS` origins, an origin one series a watched metric, a series at most `max_recent` (64)
samples of 42 bytes: 2.7 KB. A rule that is not quiet adds 32 readings, some 5 KB as Python objects. One device with
five metrics and two open episodes thus holds less than 24 KB. The numbers of patients and of a patient's origins are
capped; those seen least recently are forgotten first, and counted.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from stream.detectors.observation import NOTHING, Observations
from stream.detectors.sustain import NEVER, Sustained
from vitals.batch import BatchHeader

MAX_PATIENTS: Final = 100_000
MAX_ORIGINS: Final = 8

OriginKey = tuple[str, str]
"""Device id and source application."""


@dataclass(slots=True)
class Series:
    """One metric of one origin.

    All samples up to `base_us` are taken in for good; `recent` holds later ones, ordered by start, which a late
    neighbour may still precede. `active` has the rules that are not quiet as of `base_us` (or, after a transition, as
    of that), `retrospective` the names of raised rules whose finding was too old to be called live.
    """

    base_us: int = NEVER
    recent: Observations = field(default_factory=lambda: NOTHING)
    alarming: bool = False  # some of `recent` is worth a closer look
    active: dict[str, Sustained] = field(default_factory=dict)
    retrospective: set[str] = field(default_factory=set)


Origins = OrderedDict[OriginKey, dict[int, Series]]


@dataclass(slots=True)
class WatchState:
    """Every patient's series. `ignored` counts samples that came too late or twice, `evicted` forgotten origins."""

    patients: OrderedDict[str, Origins] = field(default_factory=OrderedDict)
    max_patients: int = MAX_PATIENTS
    ignored: int = 0
    evicted: int = 0

    def series_of(self, header: BatchHeader) -> dict[int, Series]:
        """Return the series of the batch's patient and origin, by metric number; made where there are none yet."""
        origins = self.patients.get(header.patient_id)
        if origins is None:
            origins = self.patients[header.patient_id] = OrderedDict()
            self._forget(self.patients, self.max_patients)
        else:
            self.patients.move_to_end(header.patient_id)
        key = (header.device_id, header.source_app)
        series = origins.get(key)
        if series is None:
            series = origins[key] = {}
            self._forget(origins, MAX_ORIGINS)
        else:
            origins.move_to_end(key)
        return series

    def _forget(self, held: OrderedDict[str, Origins] | Origins, limit: int) -> None:
        while len(held) > limit:
            held.popitem(last=False)
            self.evicted += 1
