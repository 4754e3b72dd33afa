"""Points of metrics: `{qty, date, source}`, `{Min, Avg, Max}`, blood pressure; and what time each of them covers.

The app aggregates by second, minute, hour or day as its user says, and tells it in a header of the request, not in the
body. Where nobody hands that on, it shows in the dates: the finest unit that they use. Values that accumulate (steps)
cover that unit; a day's total covers the wearer's day. An average of an hour or a day covers it, too: where the metric
knows no such interval (a day's mean glucose) it is refused as `aggregated`, because no moment had that value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from devices.apple.units import converted, scale_of
from devices.health_auto_export.dates import DAY, HOUR, MINUTE, SECOND, Moment
from devices.health_auto_export.intake import Intake, Record, Refused, id_of, value_of
from devices.health_auto_export.metrics import BLOOD_PRESSURE, CHANNELS, MINDFUL, Channel, plain
from devices.local_time import BadTime
from vitals.catalogue import BY_CODE, Kind
from vitals.quality import Context

LONGER: Final = 4
"""Weeks, months, years: no sample covers them."""
AGGREGATIONS: Final = {
    "seconds": SECOND, "minutes": MINUTE, "hours": HOUR, "days": DAY,
    "weeks": LONGER, "months": LONGER, "years": LONGER,
}  # fmt: skip
"""Words of the header `automation-aggregation` -> resolution."""
_MS: Final = {SECOND: 1_000, MINUTE: 60_000, HOUR: 3_600_000}
_AVERAGE: Final = ("Avg", "avg", "average")
_MINDFUL: Final = BY_CODE["mindful_session"].number
_LONGEST_MIN: Final = 1_440


def common_resolution(intake: Intake, metrics: Iterable[Record]) -> int | None:
    """Return the resolution that a payload's accumulating metrics show, None where there are none."""
    found: set[Moment] = set()
    for metric in metrics:
        channel = CHANNELS.get(str(metric.get("name")))
        if channel is not None and channel.metric.kind is Kind.INTERVAL:
            found |= _moments(intake, metric.get("data"))
    return _finest(found) if found else None


def _moments(intake: Intake, points: object) -> set[Moment]:
    found = set()
    for point in points if isinstance(points, list) else []:
        try:
            found.add(intake.dates.read(point.get("date") if isinstance(point, dict) else None))
        except BadTime:
            continue
    return found


def _finest(moments: set[Moment]) -> int:
    finest = min(moment.resolution for moment in moments)
    # One full hour by itself is as likely a minute.
    return MINUTE if finest == HOUR and len({moment.time_us for moment in moments}) < 2 else finest


def read_points(
    intake: Intake, metric: Record, resolution: int | None, *, told: bool, suffix: str = ""
) -> Iterator[None]:
    """Take the points of a metric of `CHANNELS`; `told` where the app itself says the resolution."""
    name, points = str(metric.get("name")), metric.get("data")
    span = resolution if told and resolution is not None else _shown(intake, points, resolution)
    if name == BLOOD_PRESSURE:
        yield from intake.each(points, lambda point: _blood_pressure(intake, point, metric.get("units"), span))
    elif name == MINDFUL:
        yield from intake.each(points, lambda point: _mindful(intake, point, metric.get("units"), span))
    else:
        channel = CHANNELS[name]
        yield from intake.each(
            points, lambda point: take_point(intake, channel, point, metric.get("units"), span, suffix)
        )


def _shown(intake: Intake, points: object, common: int | None) -> int:
    """Return the resolution of one metric, as its dates show it and those of the payload allow it."""
    moments = _moments(intake, points)
    own = _finest(moments) if moments else SECOND
    if common is None:  # nothing accumulates in this payload: only whole days are told from single readings
        return own if own == DAY else min(own, MINUTE)
    return min(own, common)


def take_point(
    intake: Intake, channel: Channel, point: Record, unit: object, resolution: int, suffix: str = "", context: int = 0
) -> None:
    """Take one point. Raises `Refused`, `BadTime`."""
    is_average = any(point.get(name) is not None for name in _AVERAGE)
    value = _converted(channel, value_of(point, *(_AVERAGE if is_average else ("qty", "Max", "Min"))), unit)
    at = intake.dates.read(point.get("date"))
    duration_ms = _duration_ms(intake, channel, at, resolution, is_average=is_average)
    origin = intake.origin(point.get("source"), channel.suffix + suffix)
    context |= Context.USER_ENTERED if point.get("userEntered") is True else 0
    intake.add(
        origin, channel.metric.number, value, at, duration_ms=duration_ms, context=context, sample_id=id_of(point)
    )


def _converted(channel: Channel, value: float, unit: object) -> float:
    scale = scale_of(channel.scales, unit) if isinstance(unit, str) else None
    if scale is None:
        raise Refused("unit")
    return converted(value, scale)


def _duration_ms(intake: Intake, channel: Channel, at: Moment, resolution: int, *, is_average: bool) -> int:
    metric = channel.metric
    if metric.kind is not Kind.INTERVAL:
        if resolution < HOUR and not is_average:
            return 0
        if metric.max_duration_s == 0 and resolution <= DAY:
            return 0  # weight, height: what is so at the day's beginning is so that day
    if resolution == LONGER:
        raise Refused("aggregated")
    span_ms = _MS.get(resolution) or (intake.dates.end_of_day(at) - at.time_us) // 1_000
    if span_ms > metric.max_duration_s * 1_000:
        raise Refused("aggregated")
    return span_ms


def _blood_pressure(intake: Intake, point: Record, unit: object, resolution: int) -> None:
    at = intake.dates.read(point.get("date"))
    origin = intake.origin(point.get("source"))
    told = []
    for name in ("systolic", "diastolic"):
        channel = CHANNELS[f"{BLOOD_PRESSURE}_{name}"]
        value = _converted(channel, value_of(point, name), unit)
        told.append((channel, value, _duration_ms(intake, channel, at, resolution, is_average=False)))
    for channel, value, duration_ms in told:
        intake.add(origin, channel.metric.number, value, at, duration_ms=duration_ms, sample_id=id_of(point))


def _mindful(intake: Intake, point: Record, unit: object, resolution: int) -> None:
    """Take a mindful session: minutes from a start. An hour's or a day's sum says not when it was."""
    if resolution > MINUTE:
        raise Refused("aggregated")
    at = intake.dates.read(point.get("date"))
    minutes = value_of(point, "qty")
    if not 0 <= minutes <= _LONGEST_MIN:
        raise Refused("duration")
    if plain(unit) not in {"", "min", "minutes"}:
        raise Refused("unit")
    origin, length_ms = intake.origin(point.get("source")), round(minutes * 60_000)
    intake.add(origin, _MINDFUL, 1.0, at, duration_ms=length_ms)
    intake.session(origin, "mindfulness", (at.time_us, at.time_us + length_ms * 1_000), ("mindful_session",))
