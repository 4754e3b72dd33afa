"""Times as exports write them: with an offset, in UTC, or local to the wearer."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from devices.rows import EARLIEST_US, LATEST_US
from vitals.batch import NO_ZONE
from vitals.clock import US_PER_S, from_datetime, to_datetime
from vitals.errors import VigilError

_ISO: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_AMERICAN: Final = re.compile(r"(\d\d)/(\d\d)/(\d\d)(?: (\d\d):(\d\d):(\d\d))?", re.ASCII)
_MAX_OFFSET_MIN: Final = 18 * 60


class UnknownZone(VigilError):
    """The zone is no IANA name."""


class BadTime(ValueError):
    """A time cannot be read, or lies outside the years 1900 to 2199."""


class Zone:
    """Where a wearer lives: local times become UTC, UTC times get their offset.

    Times that are told in UTC say nothing of where the wearer was; without a zone of their own (`UTC`, the default)
    their offset stays unknown.
    """

    def __init__(self, name: str) -> None:
        try:
            self._zone = ZoneInfo(name)
        except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
            raise UnknownZone("the zone is no IANA name, such as Europe/Vienna") from None
        self._known = name != "UTC"

    def offset_min(self, time_us: int) -> int:
        """Return the offset at a UTC time in minutes, `NO_ZONE` where nobody told the zone."""
        return self._offset(time_us // (900 * US_PER_S)) if self._known else NO_ZONE

    @lru_cache(maxsize=4_096)  # noqa: B019 - one zone a reading
    def _offset(self, quarter: int) -> int:
        moment = to_datetime(quarter * 900 * US_PER_S).astimezone(self._zone)
        return round((moment.utcoffset() or timedelta()).total_seconds()) // 60

    def to_utc(self, local_us: int) -> tuple[int, int]:
        """Return (UTC in us, offset in minutes) of a local time; the first of two where a clock went back."""
        moment = to_datetime(local_us).replace(tzinfo=self._zone)
        offset = moment.utcoffset() or timedelta()
        return local_us - round(offset.total_seconds()) * US_PER_S, round(offset.total_seconds()) // 60

    def read(self, text: object, *, is_utc: bool = False) -> tuple[int, int]:
        """Return (UTC in us, offset in minutes) of ISO 8601 or `mm/dd/yy hh:mm:ss` text. Raises `BadTime`.

        Without an offset in the text, the time is UTC if `is_utc`, else local.
        """
        plain_us, offset = parse_time(text)
        if offset is None and not is_utc:
            return self.to_utc(plain_us)
        if offset is None or offset == NO_ZONE:
            return plain_us, self.offset_min(plain_us)
        return plain_us, offset


def parse_time(text: object) -> tuple[int, int | None]:
    """Return (us, offset in minutes) of a time as text; the offset is None without one, `NO_ZONE` for `Z`.

    Without an offset the first is the local time as if it were UTC. Raises `BadTime`.
    """
    if not isinstance(text, str) or len(text) > 40:
        raise BadTime
    match = _ISO.fullmatch(text.strip())
    if match is not None:
        year, month, day, *clock = (int(part or 0) for part in match.group(1, 2, 3, 4, 5, 6))
        us, offset = int((match[7] or "")[:6].ljust(6, "0")), _offset(match[8])
    else:
        match = _AMERICAN.fullmatch(text.strip())
        if match is None:
            raise BadTime
        month, day, short, *clock = (int(part or 0) for part in match.groups())
        year, us, offset = 2000 + short, 0, None
    return _checked(_utc(year, month, day, clock) + us - 60 * US_PER_S * _minutes(offset)), offset


def _utc(year: int, month: int, day: int, clock: list[int]) -> int:
    hour, minute, second = clock
    leap = 1 if second == 60 else 0
    try:
        return from_datetime(datetime(year, month, day, hour, minute, second - leap, tzinfo=UTC)) + leap * US_PER_S
    except ValueError:
        raise BadTime from None


def _offset(text: str | None) -> int | None:
    if text is None or text == "Z":
        return None if text is None else NO_ZONE
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    if minutes > _MAX_OFFSET_MIN:
        raise BadTime
    return -minutes if text[0] == "-" else minutes


def _minutes(offset: int | None) -> int:
    return 0 if offset is None or offset == NO_ZONE else offset


def _checked(time_us: int) -> int:
    # A day within the bounds, so that every zone's local time of it is a date, too.
    if not EARLIEST_US + 86_400 * US_PER_S <= time_us < LATEST_US - 86_400 * US_PER_S:
        raise BadTime
    return time_us
