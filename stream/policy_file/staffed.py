"""When somebody is there to look at what Vigil tells: stated, never guessed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from vitals.clock import US_PER_S
from vitals.ids import is_opaque


class Day(StrEnum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_WEEK: Final = tuple(Day)


@dataclass(frozen=True, slots=True)
class Staffed:
    """On these days, from `start` until `end` (local times of the IANA `zone`), somebody looks.

    An `end` that is not later than `start` is on the next day; equal ones are the whole day. `days` empty: nobody has
    said when. `contact` is an opaque id (a rota, a desk), never a name. Raises ValueError.
    """

    days: tuple[Day, ...] = ()
    start: time = time(0)
    end: time = time(0)
    zone: str = "UTC"
    contact: str = ""

    def __post_init__(self) -> None:
        if len(set(self.days)) < len(self.days):
            raise ValueError("days names a day twice")
        if self.contact and not is_opaque(self.contact):
            raise ValueError("contact is an opaque id: 1 to 64 letters, digits, '.', '_', ':' or '-', never a name")
        if self.start.tzinfo or self.end.tzinfo:
            raise ValueError("start and end are local times, such as 08:00:00")
        try:
            ZoneInfo(self.zone)
        except (ValueError, OSError, KeyError):
            raise ValueError("zone is no zone of the IANA database, such as Europe/Berlin") from None

    def is_staffed(self, now_us: int) -> bool:
        """Tell whether somebody is there at a moment (us UTC)."""
        local = datetime.fromtimestamp(now_us / US_PER_S, ZoneInfo(self.zone))
        now, today = local.time(), _WEEK[local.weekday()]
        yesterday = _WEEK[(local - timedelta(days=1)).weekday()]
        if self.start < self.end:
            return today in self.days and self.start <= now < self.end
        begun_before = self.start != self.end and yesterday in self.days and now < self.end
        return (today in self.days and now >= self.start) or begun_before
