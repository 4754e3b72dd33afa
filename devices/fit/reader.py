"""From the messages of one FIT file to rows and sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from devices.adapter import Reading, Session
from devices.documents import number
from devices.fit import tables
from devices.fit.held import MAX_ROWS, Held, Stretch
from devices.fit.monitoring import Monitoring
from devices.local_time import Zone
from devices.rows import Origin, Rows
from vitals.catalogue import BY_CODE, BY_NUMBER
from vitals.clock import US_PER_S
from vitals.ids import pseudonym
from vitals.quality import Context

_RR: Final = BY_CODE["rr_interval"].number
_CADENCE: Final = BY_CODE["cadence"].number
_SPEED: Final = BY_CODE["speed"].number
_DISTANCE: Final = BY_CODE["distance"].number
_RESPIRATION: Final = BY_CODE["respiratory_rate"].number
_STAGE: Final = BY_CODE["sleep_stage"].number
_WORKOUT: Final = BY_CODE["workout"].number
_APP: Final = "fit"
_RR_DRIFT_US: Final = 5 * US_PER_S
_MAX_GAP_MS: Final = 600_000
_MAX_OFFSET_MIN: Final = 18 * 60
_MAX_SPAN_S: Final = 14 * 86_400
_MAX_STAGES: Final = 20_000
_MAX_SESSIONS: Final = 1_000
"""Per file: a hostile one could name millions."""

Fields = dict[str, Any]


class BadMessage(Exception):
    """A message breaks the format's rules; `reason` says how."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class FitFile:
    """Takes the messages of one FIT file in their order; `finish` hands its rows on."""

    def __init__(self, rows: Rows, reading: Reading, zone: Zone) -> None:
        self._rows, self._reading, self._zone = rows, reading, zone
        self._device_id = pseudonym(reading.hash_key, "", "fit")
        self._held, self._monitoring = Held(), Monitoring()
        self._offset_min: int | None = None
        self._context = 0
        self._now_us: int | None = None
        self._rr_at_us: int | None = None
        self._last_distance: tuple[int, float] | None = None
        self._stages: list[tuple[int, float]] = []
        self._on_foot: list[Stretch] = []
        self._sessions: list[Session] = []
        self._handlers: dict[str, Callable[[Fields], None]] = {
            "file_id": self._file_id, "activity": self._local, "monitoring_info": self._monitoring_info,
            "record": self._record, "hrv": self._hrv, "monitoring": self._monitor, "session": self._session,
            "sleep_level": self._sleep_level, "event": self._event,
        }  # fmt: skip

    def take(self, name: str, fields: Fields) -> None:
        """Turn one message into rows, and count what became of it."""
        tally = self._reading.tally
        tally.read += 1
        before = len(self._held) + len(self._stages) + len(self._sessions)
        try:
            if name in self._handlers:
                self._handlers[name](fields)
            elif name in tables.POINTS:
                self._points(name, fields)
        except BadMessage as bad:
            tally.rejected[bad.reason] += 1
            return
        if len(self._held) + len(self._stages) + len(self._sessions) > before:
            tally.accepted += 1
        else:
            tally.ignored[name] += 1
        if len(self._held) >= MAX_ROWS:
            self._flush()

    def finish(self) -> None:
        """Hand everything on."""
        self._sleep()
        self._flush()
        for session in self._sessions:
            self._rows.session(Origin(self._device_id, _APP), session)

    def _flush(self) -> None:
        self._held.flush(
            self._rows, self._device_id, self._offset_min, self._zone, self._reading.received_us, self._on_foot
        )

    def _file_id(self, fields: Fields) -> None:
        text = "\x1f".join(str(fields.get(key)) for key in ("manufacturer", "product", "serial_number"))
        if len(self._held):
            self._flush()  # a second file_id in one file: what came before is another device's
        self._device_id = pseudonym(self._reading.hash_key, text, "fit")
        self._context = int(Context.WORKOUT) if fields.get("type") == "activity" else 0
        self._now_us = _time_us(fields.get("time_created"))

    def _local(self, fields: Fields) -> None:
        utc, local = fields.get("timestamp"), fields.get("local_timestamp")
        if isinstance(utc, int) and isinstance(local, int) and min(utc, local) >= tables.ABSOLUTE_FROM:
            offset_min = round((local - utc) / 900) * 15  # every zone in use is whole quarters of an hour away
            if abs(offset_min) <= _MAX_OFFSET_MIN:
                self._offset_min = offset_min

    def _monitoring_info(self, fields: Fields) -> None:
        self._local(fields)
        self._monitoring.info(fields)

    def _time(self, fields: Fields) -> int:
        """Return the message's time. Raises `BadMessage`."""
        at_us = _time_us(fields.get("timestamp"))
        if at_us is None:
            raise BadMessage("date")
        self._now_us = at_us
        return at_us

    def _points(self, name: str, fields: Fields) -> None:
        key = "timestamp" if "timestamp" in fields else "update_time"
        at_us = self._time({"timestamp": fields.get(key)})
        self._add_points(name, fields, at_us, 0)

    def _add_points(self, name: str, fields: Fields, at_us: int, context: int) -> None:
        for field, metric in tables.POINTS[name]:
            value = number(fields.get(field))
            if value is not None and value > 0:
                self._held.add(_APP, at_us, metric, value, context=context)

    def _record(self, fields: Fields) -> None:
        at_us = self._time(fields)
        self._add_points("record", fields, at_us, self._context)
        speed = _first(fields, "enhanced_speed", "speed")
        breath = _first(fields, "enhanced_respiration_rate", "respiration_rate")
        cadence = number(fields.get("cadence"))
        if speed is not None and speed >= 0:
            self._held.add(_APP, at_us, _SPEED, speed, context=self._context)
        if breath is not None and breath > 0:
            self._held.add(_APP, at_us, _RESPIRATION, breath, context=self._context)
        if cadence is not None:
            fraction = number(fields.get("fractional_cadence")) or 0.0
            self._held.add(_APP, at_us, _CADENCE, cadence + fraction, context=self._context)
        self._distance(at_us, number(fields.get("distance")))

    def _distance(self, at_us: int, total_m: float | None) -> None:
        """Add what was covered since the last record: a record tells the way since the start."""
        if total_m is None:
            return
        if self._last_distance is not None:
            before_us, before_m = self._last_distance
            duration_ms = (at_us - before_us) // 1_000
            if 0 < duration_ms <= _MAX_GAP_MS and total_m >= before_m:
                way_m = round(total_m - before_m, 2)
                self._held.add(_APP, before_us, _DISTANCE, way_m, duration_ms, context=self._context)
        self._last_distance = at_us, total_m

    def _hrv(self, fields: Fields) -> None:
        """Add RR intervals one after the other; where they part from the records' clock, they begin there again."""
        if self._now_us is None:
            raise BadMessage("date")
        times = fields.get("time")
        for time in times if isinstance(times, tuple) else (times,):
            seconds = number(time)
            if seconds is None or not 0 < seconds < 60:
                continue
            if self._rr_at_us is None or abs(self._rr_at_us - self._now_us) > _RR_DRIFT_US:
                self._rr_at_us = self._now_us
            self._held.add(_APP, self._rr_at_us, _RR, round(seconds * 1_000, 3), context=self._context)
            self._rr_at_us += round(seconds * US_PER_S)

    def _monitor(self, fields: Fields) -> None:
        at_s = self._monitoring.time(fields)
        if at_s is None:
            raise BadMessage("date")
        at_us = (at_s + tables.FIT_EPOCH_S) * US_PER_S
        self._add_points("monitoring", fields, at_us, 0)
        for app, metric, before_s, value in self._monitoring.counted(fields, at_s):
            start_us = (before_s + tables.FIT_EPOCH_S) * US_PER_S
            self._held.add(app, start_us, metric, value, (at_s - before_s) * 1_000)

    def _session(self, fields: Fields) -> None:
        start_us = _time_us(fields.get("start_time"))
        elapsed_s = number(fields.get("total_elapsed_time"))
        if start_us is None:
            raise BadMessage("date")
        if elapsed_s is None or not 0 < elapsed_s <= _MAX_SPAN_S:
            raise BadMessage("duration")
        if len(self._sessions) >= _MAX_SESSIONS:
            raise BadMessage("too_many")
        category, word = tables.workout_of(fields.get("sport"), fields.get("sub_sport"))
        end_us = start_us + round(elapsed_s * US_PER_S)
        if word in tables.ON_FOOT:
            self._on_foot.append((start_us, end_us))
        self._held.add(_APP, start_us, _WORKOUT, category, round(elapsed_s * 1_000), self._context)
        self._add_session("workout", start_us, end_us, self._held.metrics, word)

    def _add_session(self, kind: str, start_us: int, end_us: int, metrics: set[int], label: str) -> None:
        text = f"{self._device_id}\x1f{kind}\x1f{start_us}"
        codes = tuple(sorted(BY_NUMBER[one].code for one in metrics))
        known = pseudonym(self._reading.hash_key, text, "session")
        self._sessions.append(Session(known, kind, start_us, end_us, codes, 1.0, label))

    def _sleep_level(self, fields: Fields) -> None:
        """Remember a stage: it holds from its time until the next one's."""
        at_us = self._time(fields)
        stage = tables.STAGES.get(str(fields.get("sleep_level")), 0.0)
        if self._stages and at_us <= self._stages[-1][0]:
            raise BadMessage("date")
        if len(self._stages) >= _MAX_STAGES:
            raise BadMessage("too_many")
        self._stages.append((at_us, stage))

    def _event(self, fields: Fields) -> None:
        at_us = _time_us(fields.get("timestamp"))
        if at_us is not None:
            self._now_us = at_us
        ends = fields.get("event") in tables.SLEEP_EVENTS and fields.get("event_type") == "stop"
        if ends and at_us is not None and self._stages and at_us > self._stages[-1][0]:
            self._stages.append((at_us, 0.0))

    def _sleep(self) -> None:
        for (start_us, stage), (end_us, _) in zip(self._stages, self._stages[1:], strict=False):
            duration_ms = (end_us - start_us) // 1_000
            if stage and duration_ms <= 86_400_000:
                self._held.add(_APP, start_us, _STAGE, stage, duration_ms)
        if len(self._stages) > 1 and self._stages[-1][0] - self._stages[0][0] <= 2 * 86_400 * US_PER_S:
            self._add_session("sleep", self._stages[0][0], self._stages[-1][0], {_STAGE}, "")


def _first(fields: Fields, *names: str) -> float | None:
    found = (number(fields.get(name)) for name in names)
    return next((one for one in found if one is not None), None)


def _time_us(seconds: object) -> int | None:
    """Return microseconds UTC of a FIT date_time, None for none and for one that counts from power-on."""
    if not isinstance(seconds, int) or seconds < tables.ABSOLUTE_FROM:
        return None
    return (seconds + tables.FIT_EPOCH_S) * US_PER_S
