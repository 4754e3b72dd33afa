"""Garmin's JSON summaries: a day, a night, a workout. They tell UTC and local time apart, and so the offset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from devices.adapter import Reading, Session
from devices.documents import Unreadable, json_document, number
from devices.fit.tables import workout_of
from devices.local_time import BadTime, Zone, parse_time
from devices.rows import EARLIEST_US, LATEST_US, Origin, Row, Rows
from vitals.batch import NO_ZONE
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S
from vitals.ids import pseudonym

APP: Final = "garmin-summary"
_DAY_US: Final = 86_400 * US_PER_S
_MAX_OFFSET_MIN: Final = 18 * 60
_WORKOUT: Final = BY_CODE["workout"].number
_BREATH: Final = BY_CODE["respiratory_rate"].number
_RESTING: Final = BY_CODE["resting_heart_rate"].number
_TOTALS: Final = tuple(
    (field, BY_CODE[code].number)
    for field, code in (
        ("totalSteps", "steps"),
        ("totalDistanceMeters", "distance"),
        ("activeKilocalories", "active_energy"),
        ("bmrKilocalories", "resting_energy"),
    )
)
# Garmin Connect's own words where they are not FIT's.
_SPORTS: Final = {
    "trail_running": "running", "treadmill_running": "running", "indoor_running": "running", "road_biking": "cycling",
    "mountain_biking": "cycling", "indoor_cycling": "cycling", "virtual_ride": "cycling", "lap_swimming": "swimming",
    "open_water_swimming": "swimming", "indoor_rowing": "rowing", "casual_walking": "walking",
    "speed_walking": "walking",
}  # fmt: skip
_WORDS: Final = frozenset({"running", "cycling", "swimming", "rowing", "walking", "hiking", "hiit"})
_SUB_SPORTS: Final = frozenset({"elliptical", "strength_training", "yoga"})

Record = dict[str, Any]


class BadSummary(Exception):
    """A summary gives nothing; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Summaries:
    """Reads summary files into rows; `told` are the seconds in which FIT files of the archive begin a workout."""

    def __init__(self, rows: Rows, reading: Reading, zone: Zone, told: set[int]) -> None:
        self._rows, self._reading, self._zone, self._told = rows, reading, zone, told
        self._device_id = pseudonym(reading.hash_key, "", "garmin")  # an account may have had several watches

    def days(self, data: bytes) -> None:
        """UDSFile_*.json. Raises `Unreadable`."""
        self._each(_objects(data), self._day)

    def nights(self, data: bytes) -> None:
        """*_sleepData.json. Raises `Unreadable`."""
        self._each(_objects(data), self._night)

    def activities(self, data: bytes) -> None:
        """*_summarizedActivities.json. Raises `Unreadable`."""
        found: list[object] = []
        for one in _objects(data):
            inner = one.get("summarizedActivitiesExport")
            found += inner if isinstance(inner, list) else [one]
        self._each([one if isinstance(one, dict) else {} for one in found], self._activity)

    def _each(self, records: Iterable[Record], take: Callable[[Record], bool]) -> None:
        tally = self._reading.tally
        for record in records:
            tally.read += 1
            try:
                if take(record):
                    tally.accepted += 1
                else:
                    tally.ignored["nothing_new"] += 1
            except BadSummary as bad:
                tally.rejected[bad.reason] += 1
            except BadTime:
                tally.rejected["date"] += 1

    def _span(self, record: Record, start: str, end: str) -> tuple[int, int]:
        """Return from and to of a record. Raises `BadTime`, `BadSummary`."""
        start_us, end_us = _gmt(record.get(start)), _gmt(record.get(end))
        if not 0 < end_us - start_us <= 2 * _DAY_US:
            raise BadSummary("duration")
        return start_us, end_us

    def _day(self, record: Record) -> bool:
        start_us, end_us = self._span(record, "wellnessStartTimeGmt", "wellnessEndTimeGmt")
        offset = self._offset(start_us, record.get("wellnessStartTimeLocal"))
        found = [(metric, number(record.get(field))) for field, metric in _TOTALS]
        resting = number(record.get("restingHeartRate"))
        if resting is not None and resting > 0:
            found.append((_RESTING, resting))
        kept = [(metric, value) for metric, value in found if value is not None and value >= 0]
        for metric, value in kept:
            self._add(Row(start_us, metric, value, (end_us - start_us) // 1_000, offset))
        return bool(kept)

    def _night(self, record: Record) -> bool:
        if record.get("sleepWindowConfirmationType") == "OFF_WRIST" or "sleepStartTimestampGMT" not in record:
            return False
        start_us, end_us = self._span(record, "sleepStartTimestampGMT", "sleepEndTimestampGMT")
        breath = number(record.get("averageRespiration"))
        if breath is not None and breath > 0 and end_us - start_us <= _DAY_US:
            offset = self._zone.offset_min(start_us)
            self._add(Row(start_us, _BREATH, breath, (end_us - start_us) // 1_000, offset))
        # Stages come as sums without times: a night of it is a session, and no stage can be told.
        unsure = str(record.get("sleepWindowConfirmationType")).startswith("UNCONFIRMED")
        self._session("sleep", start_us, end_us, ("sleep_stage",), 0.5 if unsure else 1.0)
        return True

    def _activity(self, record: Record) -> bool:
        begin_ms, duration_ms = number(record.get("beginTimestamp")), number(record.get("duration"))
        if begin_ms is None or not EARLIEST_US <= begin_ms * 1_000 < LATEST_US:
            raise BadSummary("date")
        if duration_ms is None or not 0 < duration_ms <= 4 * _DAY_US / 1_000:
            raise BadSummary("duration")
        start_us, end_us = round(begin_ms) * 1_000, round(begin_ms + duration_ms) * 1_000
        if start_us // US_PER_S in self._told:
            return False
        local_ms = number(record.get("startTimeLocal"))
        offset = None if local_ms is None else _quarters(local_ms * 1_000 - start_us)
        category, word = _sport(record.get("activityType"))
        zone = self._zone.offset_min(start_us) if offset is None else offset
        self._add(Row(start_us, _WORKOUT, category, round(duration_ms), zone))
        self._session("workout", start_us, end_us, ("workout",), 1.0, word)
        return True

    def _offset(self, start_us: int, local: object) -> int:
        try:
            offset = _quarters(parse_time(local)[0] - start_us)
        except BadTime:
            offset = None
        return self._zone.offset_min(start_us) if offset is None else offset

    def _add(self, row: Row) -> None:
        if row.fault is not None:
            raise BadSummary(row.fault)
        self._rows.add(Origin(self._device_id, APP), row)

    def _session(
        self, kind: str, start_us: int, end_us: int, metrics: tuple[str, ...], confidence: float, label: str = ""
    ) -> None:
        known = pseudonym(self._reading.hash_key, f"{self._device_id}\x1f{kind}\x1f{start_us}", "session")
        session = Session(known, kind, start_us, end_us, metrics, confidence, label)
        self._rows.session(Origin(self._device_id, APP), session)


def _objects(data: bytes) -> list[Record]:
    document = json_document(data)
    if not isinstance(document, list):
        raise Unreadable("not_well_formed")
    return [one if isinstance(one, dict) else {} for one in document]


def _gmt(text: object) -> int:
    """Return a time that is UTC by its field's name, with an offset or without. Raises `BadTime`."""
    time_us, _ = parse_time(text)
    return time_us


def _quarters(difference_us: float) -> int | None:
    minutes = round(difference_us / (900 * US_PER_S)) * 15
    return minutes if abs(minutes) <= _MAX_OFFSET_MIN and minutes != NO_ZONE else None


def _sport(told: object) -> tuple[int, str]:
    word = told if isinstance(told, str) else ""
    word = _SPORTS.get(word, word)
    if word in _SUB_SPORTS:
        return workout_of(word, word)
    return workout_of(word, None) if word in _WORDS else (3_000, "other")
