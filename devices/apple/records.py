"""From the attributes of a Record or Workout to a row of numbers, or to the reason why not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from devices.apple import quantities
from devices.apple.beats import Beat, rr_intervals
from devices.apple.dates import BadDate, DateReader
from devices.apple.origin import Origin, Origins
from devices.apple.scanner import Attributes
from devices.apple.summary import ExportSummary, Rejected
from vitals.catalogue import BY_CODE
from vitals.quality import Context

_RR_INTERVAL: Final = BY_CODE["rr_interval"].number
_WORKOUT: Final = BY_CODE["workout"].number
_DECIMALS: Final = 6
"""Converted values are rounded so that 0.58 of 100 is 58, not 57.99999999999999: the same in every import."""
_MOTION: Final = {"1": int(Context.MOTION_SEDENTARY), "2": int(Context.MOTION_ACTIVE)}


class _Refused(Exception):
    """A record gives no sample; `reason` says why."""

    def __init__(self, reason: Rejected) -> None:
        super().__init__()
        self.reason = reason


class RecordReader:
    """An `ElementSink` that appends rows (see `collect.FIELDS`) to their origins and keeps count of everything."""

    def __init__(self, origins: Origins, summary: ExportSummary, received_us: int) -> None:
        self._origins, self._summary, self._received_us = origins, summary, received_us
        self._dates = DateReader()

    def record(self, attributes: Attributes, metadata: Attributes | None, beats: list[Beat] | None) -> None:
        """Turn one Record into a row, and its beats into further ones."""
        self._summary.read += 1
        try:
            metric, value, suffix = self._measured(attributes)
            origin, row = self._row(attributes, metadata, metric, value, suffix)
        except _Refused as refused:
            self._summary.rejected[refused.reason.value] += 1
            return
        self._summary.accepted += 1
        origin.rows.extend(row)
        if beats:
            self._add_beats(origin, row, beats)

    def other(self, name: str, attributes: Attributes, metadata: Attributes | None) -> None:
        """Turn a Workout into a row; count summaries and correlations; let everything else (Me, routes) pass by."""
        if name == "Workout":
            self._workout(attributes, metadata)
        elif name == "ActivitySummary":
            self._summary.activity_summaries += 1
        elif name == "Correlation":
            self._summary.correlations += 1

    def nested_record(self) -> None:
        """Count a Record inside a Correlation: it stands at top level as well."""
        self._summary.nested_records += 1

    def damaged(self, name: str) -> None:
        """Count an element lost to damage."""
        if name == "Workout":
            self._summary.workouts += 1
            self._summary.rejected_workouts[Rejected.NOT_WELL_FORMED.value] += 1
        elif name == "Record":
            self._summary.read += 1
            self._summary.rejected[Rejected.NOT_WELL_FORMED.value] += 1
        else:
            self._summary.damaged_others += 1

    def _measured(self, attributes: Attributes) -> tuple[int, float, str]:
        """Return metric, value and the origin's suffix. Raises `_Refused`."""
        kind = attributes.get("type")
        channel = quantities.CHANNELS.get((kind or "", attributes.get("unit")))
        if channel is None:
            return self._category(kind, attributes)
        try:
            value = float(attributes["value"])
        except KeyError:
            raise _Refused(Rejected.MISSING_ATTRIBUTE) from None
        except ValueError:
            raise _Refused(Rejected.VALUE) from None
        if not math.isfinite(value):
            raise _Refused(Rejected.NOT_FINITE)
        if channel.factor != 1.0:
            value = round(value * channel.factor + channel.offset, _DECIMALS)
        elif channel.offset:
            value = round(value + channel.offset, _DECIMALS)
        return channel.metric, value, channel.suffix

    def _category(self, kind: str | None, attributes: Attributes) -> tuple[int, float, str]:
        if kind == quantities.SLEEP_TYPE:
            found = quantities.SLEEP_VALUES.get(attributes.get("value", ""))
            if found is None:
                raise _Refused(Rejected.VALUE if "value" in attributes else Rejected.MISSING_ATTRIBUTE)
            return found[0], float(found[1]), ""
        if kind is None:
            raise _Refused(Rejected.MISSING_ATTRIBUTE)
        if kind in quantities.QUANTITY_TYPES:
            raise _Refused(Rejected.UNIT if "unit" in attributes else Rejected.MISSING_ATTRIBUTE)
        self._summary.unknown_type(kind)
        raise _Refused(Rejected.UNKNOWN_METRIC)

    def _row(
        self, attributes: Attributes, metadata: Attributes | None, metric: int, value: float, suffix: str
    ) -> tuple[Origin, tuple[float, ...]]:
        """Return the origin and its row. Raises `_Refused`."""
        dates, zone, context = self._dates, None, 0
        try:
            start_text, end_text = attributes["startDate"], attributes["endDate"]
            origin = self._origins.of(attributes["sourceName"], attributes.get("device"), suffix)
            start_us = dates.time_us(start_text)
            end_us = start_us if end_text == start_text else dates.time_us(end_text)
            written = attributes.get("creationDate")
            written_us = self._received_us if written is None else dates.time_us(written)
        except KeyError:
            raise _Refused(Rejected.MISSING_ATTRIBUTE) from None
        except BadDate:
            raise _Refused(Rejected.DATE) from None
        if end_us < start_us:
            raise _Refused(Rejected.DURATION)
        if metadata is not None:
            zone, context = metadata.get("HKTimeZone"), _context(metadata)
        offset_min = dates.zone_offset_min(start_text, start_us, zone)
        return origin, (start_us, (end_us - start_us) // 1_000, offset_min, metric, value, context, written_us)

    def _add_beats(self, origin: Origin, row: tuple[float, ...], beats: Iterable[Beat]) -> None:
        start_us, duration_ms, offset_min, _, _, context, written_us = row
        intervals, unread = rr_intervals(beats, int(start_us), int(start_us + duration_ms * 1_000))
        for at_us, rr_ms in intervals:
            origin.rows.extend((at_us, 0, offset_min, _RR_INTERVAL, rr_ms, context, written_us))
        self._summary.rr_intervals += len(intervals)
        self._summary.unread_beats += unread

    def _workout(self, attributes: Attributes, metadata: Attributes | None) -> None:
        self._summary.workouts += 1
        try:
            origin, row = self._row(attributes, metadata, _WORKOUT, _workout_type(attributes), "")
        except _Refused as refused:
            self._summary.rejected_workouts[refused.reason.value] += 1
            return
        self._summary.accepted_workouts += 1
        origin.rows.extend(row)


def _workout_type(attributes: Attributes) -> float:
    kind = attributes.get("workoutActivityType")
    if kind is None:
        raise _Refused(Rejected.MISSING_ATTRIBUTE)
    return float(quantities.WORKOUTS.get(kind, quantities.OTHER_WORKOUT))


def _context(metadata: Attributes) -> int:
    motion = _MOTION.get(metadata.get("HKMetadataKeyHeartRateMotionContext", ""), 0)
    return motion | (Context.USER_ENTERED if metadata.get("HKWasUserEntered") == "1" else 0)
