"""Fitbit's other records: nights, workouts, and what is told once a day or night. Their times are the wearer's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from devices.adapter import Reading, Session
from devices.documents import csv_records, json_records, number
from devices.fitbit.nights import Span, stages
from devices.local_time import BadTime, Zone, parse_time
from devices.rows import Origin, Row, Rows
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S
from vitals.ids import pseudonym

DAY_US: Final = 86_400 * US_PER_S
_APP: Final = "fitbit"
_DAILY: Final = "fitbit-daily"
_IN_BED: Final = BY_CODE["in_bed"].number
_STAGE: Final = BY_CODE["sleep_stage"].number
_WORKOUT: Final = BY_CODE["workout"].number
_RMSSD: Final = BY_CODE["hrv_rmssd"].number
_RESTING: Final = BY_CODE["resting_heart_rate"].number
_BREATH: Final = BY_CODE["respiratory_rate"].number
_WRIST: Final = BY_CODE["wrist_temperature"].number
_BMI: Final = BY_CODE["body_mass_index"].number
_FAT: Final = BY_CODE["body_fat"].number
_EXERCISES: Final = {
    "run": (37, "running"), "treadmill": (37, "running"), "walk": (52, "walking"), "bike": (13, "cycling"),
    "outdoor bike": (13, "cycling"), "spinning": (13, "cycling"), "swim": (46, "swimming"), "hike": (24, "hiking"),
    "elliptical": (16, "elliptical"), "weights": (50, "strength"), "yoga": (57, "yoga"),
    "interval workout": (63, "hiit"), "rowing machine": (35, "rowing"),
}  # fmt: skip
_OTHER: Final = (3_000, "other")
_MAX_SPANS: Final = 5_000
"""A night of 30-second steps has 1,440."""


class BadRecord(Exception):
    """A record gives nothing; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Records:
    """Reads files of records into rows; one method a kind of file, each raises `Unreadable` for a file that is none."""

    def __init__(self, rows: Rows, reading: Reading, zone: Zone, device_id: str) -> None:
        self._rows, self._reading, self._zone, self._device_id = rows, reading, zone, device_id

    def sleep(self, data: bytes) -> None:
        """sleep-*.json: nights with their stages."""
        self._each(json_records(data), self._night)

    def exercise(self, data: bytes) -> None:
        """exercise-*.json: workouts."""
        self._each(json_records(data), self._exercise)

    def resting(self, data: bytes) -> None:
        """resting_heart_rate-*.json: one number a day."""
        self._each(json_records(data), self._resting)

    def google_resting(self, data: bytes) -> None:
        """daily_resting_heart_rate.csv: one number a day."""
        self._each(csv_records(data), self._google_resting)

    def weight(self, data: bytes) -> None:
        """weight-*.json: body fat and body mass index. Its weight is in a unit that the file does not tell."""
        self._each(json_records(data), self._weight)

    def variability(self, data: bytes) -> None:
        """Heart Rate Variability Details: RMSSD of five minutes, in sleep."""
        self._each(csv_records(data), self._variability)

    def breathing(self, data: bytes) -> None:
        """Daily Respiratory Rate Summary: one number a night."""
        self._each(csv_records(data), self._breathing)

    def temperature(self, data: bytes) -> None:
        """Computed Temperature: the skin's mean of a night."""
        self._each(csv_records(data), self._temperature)

    def _each(self, records: Iterable[dict[str, Any] | None], take: Any) -> None:
        tally = self._reading.tally
        for record in records:
            tally.read += 1
            try:
                take({} if record is None else record)  # what is no object tells no time
            except BadRecord as bad:
                tally.rejected[bad.reason] += 1
            except BadTime:
                tally.rejected["date"] += 1
            else:
                tally.accepted += 1

    def _add(self, row: Row, app: str = _APP) -> None:
        """Keep a row. Raises `BadRecord`."""
        if row.fault is not None:
            raise BadRecord(row.fault)
        self._rows.add(Origin(self._device_id, app), row)

    def _session(self, kind: str, start_us: int, end_us: int, metrics: tuple[str, ...], label: str = "") -> None:
        known = pseudonym(self._reading.hash_key, f"{self._device_id}\x1f{kind}\x1f{start_us}", "session")
        session = Session(known, kind, start_us, end_us, metrics, 1.0, label)
        self._rows.session(Origin(self._device_id, _APP), session)

    def _night(self, record: dict[str, Any]) -> None:
        start_us, offset = self._zone.read(record.get("startTime"))
        # A night keeps the clock that it began with: where clocks go back in it, no hour of it comes twice.
        ahead_us = parse_time(record.get("startTime"))[0] - start_us
        end_us = parse_time(record.get("endTime"))[0] - ahead_us
        if not 0 < end_us - start_us <= 2 * DAY_US:
            raise BadRecord("duration")
        levels = record.get("levels")
        found = list(stages(self._spans(levels, "data", ahead_us), self._spans(levels, "shortData", ahead_us)))
        self._add(Row(start_us, _IN_BED, 1.0, (end_us - start_us) // 1_000, offset))
        for span in found:
            self._add(Row(span.start_us, _STAGE, span.stage, span.duration_ms, self._zone.offset_min(span.start_us)))
        self._session("sleep", start_us, end_us, ("in_bed", "sleep_stage") if found else ("in_bed",))

    @staticmethod
    def _spans(levels: object, key: str, ahead_us: int) -> Iterator[Span]:
        listed = levels.get(key) if isinstance(levels, dict) else None
        if isinstance(listed, list) and len(listed) > _MAX_SPANS:
            raise BadRecord("too_many")
        for one in listed if isinstance(listed, list) else []:
            if isinstance(one, dict):
                start_us = parse_time(one.get("dateTime"))[0] - ahead_us
                span = Span.of(start_us, one.get("level"), number(one.get("seconds")))
                if span is not None:
                    yield span

    def _exercise(self, record: dict[str, Any]) -> None:
        start_us, offset = self._zone.read(record.get("startTime"), is_utc=True)
        duration_ms = number(record.get("duration"))
        if duration_ms is None or not 0 < duration_ms <= 4 * DAY_US / 1_000:
            raise BadRecord("duration")
        category, word = _EXERCISES.get(str(record.get("activityName")).lower(), _OTHER)
        self._add(Row(start_us, _WORKOUT, category, round(duration_ms), offset))
        self._session("workout", start_us, start_us + round(duration_ms) * 1_000, ("workout",), word)

    def _resting(self, record: dict[str, Any]) -> None:
        told = record.get("value")
        value = number(told.get("value")) if isinstance(told, dict) else None
        if value is None or value <= 0:  # a day without one is told as 0
            raise BadRecord("value")
        self._day(record.get("dateTime"), _RESTING, round(value, 3))

    def _google_resting(self, record: dict[str, Any]) -> None:
        value = number(record.get("beats per minute"))
        if value is None or value <= 0:
            raise BadRecord("value")
        self._day(str(record.get("timestamp"))[:10], _RESTING, value, "fitbit-google")

    def _breathing(self, record: dict[str, Any]) -> None:
        value = number(record.get("daily_respiratory_rate"))
        if value is None or value <= 0:
            raise BadRecord("value")
        self._day(str(record.get("timestamp"))[:10], _BREATH, value)

    def _day(self, date: object, metric: int, value: float, app: str = _DAILY) -> None:
        """Add what holds for a day of the wearer."""
        start_us, offset = self._zone.read(date)
        self._add(Row(start_us, metric, value, DAY_US // 1_000, offset), app)

    def _weight(self, record: dict[str, Any]) -> None:
        start_us, offset = self._zone.read(f"{record.get('date')} {record.get('time')}")
        told = [(_BMI, number(record.get("bmi"))), (_FAT, number(record.get("fat")))]
        known = [(metric, value) for metric, value in told if value]
        if not known:
            raise BadRecord("unit")
        for metric, value in known:
            self._add(Row(start_us, metric, value, 0, offset))

    def _variability(self, record: dict[str, Any]) -> None:
        start_us, offset = self._zone.read(record.get("timestamp"))
        value, coverage = number(record.get("rmssd")), number(record.get("coverage"))
        if value is None:
            raise BadRecord("value")
        quality = 1.0 if coverage is None else min(max(coverage, 0.0), 1.0)
        self._add(Row(start_us, _RMSSD, value, 300_000, offset, quality=quality))

    def _temperature(self, record: dict[str, Any]) -> None:
        start_us, offset = self._zone.read(record.get("sleep_start"))
        end_us, _ = self._zone.read(record.get("sleep_end"))
        value = number(record.get("nightly_temperature"))
        if value is None or record.get("type") != "SKIN":
            raise BadRecord("value")
        if not 0 < end_us - start_us <= DAY_US:
            raise BadRecord("duration")
        self._add(Row(start_us, _WRIST, value, (end_us - start_us) // 1_000, offset))
