"""A point in time as a page shows it: how long ago, and exactly when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo

from console.words import age, clock_time


@dataclass(frozen=True, slots=True)
class Moment:
    """`iso` is for the browser, which counts the age on; `exact` names its zone."""

    iso: str
    exact: str
    age: str


@dataclass(frozen=True, slots=True)
class Now:
    """The moment a page is made for, and the zone it speaks in."""

    at: datetime
    zone: tzinfo

    def age_s(self, time: datetime) -> float:
        """Return seconds since `time`; negative where a device's clock runs ahead."""
        return (self.at - time).total_seconds()

    def moment(self, time: datetime) -> Moment:
        """Return `time` as seen now."""
        return Moment(time.isoformat(), clock_time(time, self.zone, self.at), age(self.age_s(time)))
