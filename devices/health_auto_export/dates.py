"""Dates of Health Auto Export: `yyyy-MM-dd HH:mm:ss Z`, with am and pm, U+202F before them, without zone or time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from devices.local_time import BadTime, Zone
from devices.rows import EARLIEST_US, LATEST_US
from vitals.batch import NO_ZONE
from vitals.clock import US_PER_S, from_datetime

_DATE: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)? ?(?:([AP])\.? ?M\.?)? ?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_SPACES: Final = str.maketrans("\u202f\u00a0\u2009", "   ")
_LONGEST: Final = 48
_MAX_KNOWN: Final = 50_000
_MAX_OFFSET_MIN: Final = 18 * 60
DAY_US: Final = 86_400 * US_PER_S


class Moment(NamedTuple):
    """A time: microseconds UTC, the wearer's offset in minutes, and the microseconds of the day by his clock."""

    time_us: int
    offset_min: int
    of_day_us: int

    @property
    def resolution(self) -> int:
        """The coarsest unit that its clock time is a whole number of: `SECOND`, `MINUTE`, `HOUR` or `DAY`."""
        if self.of_day_us == 0:
            return DAY
        if self.of_day_us % (3_600 * US_PER_S) == 0:
            return HOUR
        return MINUTE if self.of_day_us % (60 * US_PER_S) == 0 else SECOND


SECOND, MINUTE, HOUR, DAY = range(4)


class Dates:
    """Reads dates; those without an offset are the wearer's local time."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._known: dict[str, Moment] = {}

    def read(self, text: object) -> Moment:
        """Return the moment that `text` names. Raises `BadTime`."""
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise BadTime
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[text] = self._parse(text)
        return known

    def end_of_day(self, start: Moment) -> int:
        """Return when the wearer's day that begins at `start` is over: 23 or 25 hours later where clocks change."""
        local_us = start.time_us + start.offset_min * 60 * US_PER_S
        end_us, _ = self._zone.to_utc(local_us + DAY_US)
        began_us, _ = self._zone.to_utc(local_us)
        # Where the offset is not that of the wearer's known zone, he was elsewhere, and a day has 24 hours.
        return end_us if began_us == start.time_us else start.time_us + DAY_US

    def _parse(self, text: str) -> Moment:
        match = _DATE.fullmatch(text.translate(_SPACES).strip())
        if match is None:
            raise BadTime
        local_us = _local(match)
        if match[9] is None:
            time_us, offset = self._zone.to_utc(local_us)
        elif match[9] in "zZ":  # says when, not where: the wearer's zone, if it is known
            time_us, told = local_us, self._zone.offset_min(local_us)
            offset = 0 if told == NO_ZONE else told
            local_us += offset * 60 * US_PER_S
        else:
            offset = _offset(match[9])
            time_us = local_us - offset * 60 * US_PER_S
        return Moment(time_us, offset, local_us % DAY_US)


def _local(match: re.Match[str]) -> int:
    """Return the clock time as if it were UTC. Raises `BadTime`."""
    year, month, day, hour, minute, second = (int(part or 0) for part in match.group(1, 2, 3, 4, 5, 6))
    if match[8]:
        if not 1 <= hour <= 12:
            raise BadTime
        hour = hour % 12 + (12 if match[8].upper() == "P" else 0)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise BadTime from None
    local_us = from_datetime(moment) + int((match[7] or "")[:6].ljust(6, "0"))
    if not EARLIEST_US + 2 * DAY_US <= local_us < LATEST_US - 2 * DAY_US:
        raise BadTime
    return local_us


def _offset(text: str) -> int:
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    if minutes > _MAX_OFFSET_MIN:
        raise BadTime
    return -minutes if text[0] == "-" else minutes
