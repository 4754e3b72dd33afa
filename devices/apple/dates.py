"""Dates of an Apple export: `yyyy-MM-dd HH:mm:ss Z`, read at the rate of millions an import.

A file has few distinct hours and only 3,600 ways to go on from one, so a date is two look-ups: its hour with its
zone, and its minute with its second. Only an hour not seen before is parsed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from vitals.clock import US_PER_S, from_datetime, to_datetime

_HOUR: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d) ([+-])(\d\d)(\d\d)", re.ASCII)
_AFTER_HOUR: Final = {
    f":{minute:02d}:{second:02d}": (minute * 60 + second) * US_PER_S for minute in range(60) for second in range(60)
}
_MAX_HOURS: Final = 16_384
_MAX_ZONES: Final = 1_024
_MAX_OFFSET_H: Final = 18
# Outside these years a date is a mistake; inside, microseconds are exact in a float64 column.
_YEARS: Final = range(1900, 2200)


class BadDate(ValueError):
    """A date is not `yyyy-MM-dd HH:mm:ss Z`, or no day of the years 1900 to 2199."""


class DateReader:
    """Parses dates, remembering hours and zones; bounded, so that a hostile file cannot fill the memory."""

    def __init__(self) -> None:
        self._hours: dict[str, int] = {}
        self._zones: dict[str, tzinfo | None] = {}
        self._offsets: dict[str, int] = {}

    def time_us(self, text: str) -> int:
        """Return microseconds UTC. Raises `BadDate`."""
        try:
            return self._hours[text[:13] + text[19:]] + _AFTER_HOUR[text[13:19]]
        except KeyError:
            return self._learn(text[:13] + text[19:]) + _after_hour(text[13:19])

    def _learn(self, hour: str) -> int:
        match = _HOUR.fullmatch(hour)
        if match is None or int(match[1]) not in _YEARS or int(match[6]) > _MAX_OFFSET_H or int(match[7]) > 59:
            raise BadDate
        try:
            local = datetime(*(int(part) for part in match.group(1, 2, 3, 4)), tzinfo=UTC)  # type: ignore[misc,arg-type]
        except ValueError:
            raise BadDate from None
        if len(self._hours) >= _MAX_HOURS:
            self._hours.clear()
        offset_min = int(match[5] + "1") * (int(match[6]) * 60 + int(match[7]))
        self._offsets[hour[13:]] = offset_min
        known = self._hours[hour] = from_datetime(local - timedelta(minutes=offset_min))
        return known

    def zone_offset_min(self, text: str, time_us: int, zone: str | None) -> int:
        """Return the wearer's offset from UTC at `time_us`, which is `text`, a date read before.

        It is that of `zone` (an IANA name), where this machine knows it, else the one that `text` ends with.
        """
        offset = self.offset_in(zone, time_us) if zone else None
        return self._offsets[text[19:]] if offset is None else offset

    def offset_in(self, zone: str, time_us: int) -> int | None:
        """Return the offset of `zone` at a time, None for a zone that this machine does not know."""
        place = self._zone(zone)
        offset = None if place is None else to_datetime(time_us).astimezone(place).utcoffset()
        return None if offset is None else offset // timedelta(minutes=1)

    def _zone(self, name: str) -> tzinfo | None:
        if name not in self._zones:
            if len(self._zones) >= _MAX_ZONES:
                self._zones.clear()
            self._zones[name] = _load_zone(name)
        return self._zones[name]


def _after_hour(text: str) -> int:
    after = _AFTER_HOUR.get(text)
    if after is None:
        raise BadDate
    return after


def _load_zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not on this machine, or no zone's name at all
        return None
