"""From the attributes of a Record or Workout to a row of numbers, or to the reason why not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from devices.apple import categories, quantities
from devices.apple.beats import Beat, rr_intervals
from devices.apple.dates import BadDate, DateReader
from devices.apple.elements import Attributes
from devices.apple.nights import add_sleep
from devices.apple.origin import Origin, Origins
from devices.apple.plain import plain_text
from devices.apple.plain_columns import PlainColumns, add_rows, context_of
from devices.apple.summary import ExportSummary, Rejected
from devices.apple.units import converted
from vitals.catalogue import BY_CODE

_RR_INTERVAL: Final = BY_CODE["rr_interval"].number
_WORKOUT: Final = BY_CODE["workout"].number
_SLEEP: Final = (categories.IN_BED, categories.SLEEP_STAGE)
_MINDFUL: Final = BY_CODE["mindful_session"].number


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
        told = self._told(attributes, metadata)
        if told is not None:
            origin, row = told
            origin.rows.extend(row)
            if beats:
                self._add_beats(origin, row, beats)

    def plain(self, found: Sequence[tuple[bytes, ...]]) -> None:
        """Turn many plain Records (fields as in `plain.Plain`) into rows: the same as one by one, in their order."""
        records = PlainColumns(found, self._dates, self._received_us)
        origins, at = records.origins(self._origins)
        for index in records.others.tolist():
            told = self._told(*records.attributes(index))
            if told is not None:
                at[index] = len(origins)
                origins.append(told[0])
                records.rows[index] = told[1]
        for kind, count in records.unread.items():
            self._summary.unknown_type(plain_text(kind), count)
        unread = records.unread.total()
        usual = len(found) - len(records.others) - unread
        self._summary.read += usual + unread
        self._summary.accepted += usual
        if unread:
            self._summary.rejected[Rejected.UNKNOWN_METRIC.value] += unread
        add_rows(origins, at, records.rows)

    def _told(self, attributes: Attributes, metadata: Attributes | None) -> tuple[Origin, tuple[float, ...]] | None:
        """Return a record's origin and row, None where it gives none; counted either way."""
        self._summary.read += 1
        try:
            metric, value, suffix = self._measured(attributes)
            origin, row = self._row(attributes, metadata, metric, value, suffix)
        except _Refused as refused:
            self._summary.rejected[refused.reason.value] += 1
            return None
        self._summary.accepted += 1
        if metric in _SLEEP:
            add_sleep(self._origins, origin, *_stretch(row))
        elif metric == _MINDFUL:
            self._origins.add_session(origin, "mindfulness", *_stretch(row), ("mindful_session",))
        return origin, row

    def other(
        self, name: str, attributes: Attributes, metadata: Attributes | None, statistics: Sequence[str] = ()
    ) -> None:
        """Turn a Workout into a row; count summaries and correlations; let everything else (Me, routes) pass by.

        A workout's totals are sums of records that stand in the file themselves: only which they are is kept.
        """
        if name == "Workout":
            self._workout(attributes, metadata, statistics)
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
        kind = attributes.get("type") or ""
        channel = quantities.channel_of(kind, attributes.get("unit") or "")
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
        return channel.metric, converted(value, channel.scale), channel.suffix

    def _category(self, kind: str, attributes: Attributes) -> tuple[int, float, str]:
        if kind in categories.TYPES:
            found = categories.category_of(kind, attributes.get("value", "HKCategoryValueNotApplicable"))
            if found is None:
                raise _Refused(Rejected.VALUE if "value" in attributes else Rejected.MISSING_ATTRIBUTE)
            return found[0], float(found[1]), found[2]
        if "type" not in attributes:
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
            zone, context = metadata.get("HKTimeZone"), context_of(metadata)
        offset_min = dates.zone_offset_min(start_text, start_us, zone)
        return origin, (start_us, (end_us - start_us) // 1_000, offset_min, metric, value, context, written_us)

    def _add_beats(self, origin: Origin, row: tuple[float, ...], beats: Iterable[Beat]) -> None:
        start_us, duration_ms, offset_min, _, _, context, written_us = row
        intervals, unread = rr_intervals(beats, int(start_us), int(start_us + duration_ms * 1_000))
        for at_us, rr_ms in intervals:
            origin.rows.extend((at_us, 0, offset_min, _RR_INTERVAL, rr_ms, context, written_us))
        self._summary.rr_intervals += len(intervals)
        self._summary.unread_beats += unread

    def _workout(self, attributes: Attributes, metadata: Attributes | None, statistics: Sequence[str]) -> None:
        self._summary.workouts += 1
        try:
            number, word = _workout_type(attributes)
            origin, row = self._row(attributes, metadata, _WORKOUT, float(number), "")
        except _Refused as refused:
            self._summary.rejected_workouts[refused.reason.value] += 1
            return
        self._summary.accepted_workouts += 1
        origin.rows.extend(row)
        told = {code for kind in statistics if (code := quantities.code_of(kind))}
        self._origins.add_session(origin, "workout", *_stretch(row), ("workout", *sorted(told)), label=word)


def _stretch(row: Sequence[float]) -> tuple[int, int]:
    """Return start and end of a row in microseconds."""
    return int(row[0]), int(row[0] + row[1] * 1_000)


def _workout_type(attributes: Attributes) -> tuple[int, str]:
    kind = attributes.get("workoutActivityType")
    if kind is None:
        raise _Refused(Rejected.MISSING_ATTRIBUTE)
    return categories.WORKOUTS.get(kind, categories.OTHER)
