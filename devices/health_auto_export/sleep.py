"""Sleep in its three shapes: stretches with a value, and two of totals a night.

Totals tell how long, not when: how long each stage was is kept, from the told beginning of sleep on and one stage after
the other, with the suffix `.totals` on their source, so that they never mix with stretches that were measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from devices.apple.categories import IN_BED, SLEEP_STAGE
from devices.apple.nights import CONFIDENCE, GAP_US
from devices.documents import number
from devices.health_auto_export.dates import Moment
from devices.health_auto_export.intake import Intake, Record, Refused
from devices.health_auto_export.metrics import plain
from devices.rows import Origin

_METRICS: Final = ("sleep_stage", "in_bed")
_VALUES: Final = {
    "in_bed": (IN_BED, 1), "inbed": (IN_BED, 1), "asleep": (SLEEP_STAGE, 1), "unspecified": (SLEEP_STAGE, 1),
    "asleepunspecified": (SLEEP_STAGE, 1), "awake": (SLEEP_STAGE, 2), "core": (SLEEP_STAGE, 3),
    "asleepcore": (SLEEP_STAGE, 3), "deep": (SLEEP_STAGE, 4), "asleepdeep": (SLEEP_STAGE, 4),
    "rem": (SLEEP_STAGE, 5), "asleeprem": (SLEEP_STAGE, 5),
}  # fmt: skip
_HOUR_MS: Final = {"": 3_600_000, "h": 3_600_000, "hr": 3_600_000, "hours": 3_600_000, "min": 60_000, "s": 1_000}
_ALIKE_H: Final = 0.02
_LONGEST_MS: Final = 48 * 3_600_000
TOTALS: Final = ".totals"
_UNSPECIFIED: Final = 1
_STAGES: Final = {"core": 3, "deep": 4, "rem": 5}


def read_sleep(intake: Intake, metric: Record) -> Iterator[None]:
    """Take the nights or stretches of a metric `sleep_analysis`."""
    stretches: dict[Origin, list[tuple[int, int]]] = defaultdict(list)
    unit_ms = _HOUR_MS.get(plain(metric.get("units")))

    def take(record: Record) -> None:
        if record.get("value") is not None:
            origin, span = _stretch(intake, record)
            stretches[origin].append(span)
        elif unit_ms is None:
            raise Refused("unit")
        else:
            _night(intake, record, unit_ms)

    yield from intake.each(metric.get("data"), take)
    for origin, spans in stretches.items():
        for night in _nights(spans):
            intake.session(origin, "sleep", night, _METRICS, confidence=CONFIDENCE)


def _stretch(intake: Intake, record: Record) -> tuple[Origin, tuple[int, int]]:
    value = plain(record["value"]).removeprefix("hkcategoryvaluesleepanalysis")
    if value not in _VALUES:
        raise Refused("value")
    names = ("startDate", "endDate") if record.get("startDate") is not None else ("start", "end")
    at, duration_ms = intake.span(record, *names)
    origin = intake.origin(record.get("source"))
    metric, category = _VALUES[value]
    intake.add(origin, metric, float(category), at, duration_ms=duration_ms)
    return origin, (at.time_us, at.time_us + duration_ms * 1_000)


def _nights(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join stretches with less than an hour between them."""
    start, end = min(spans)
    for one in sorted(spans):
        if one[0] > end + GAP_US:
            yield start, end
            start, end = one
        end = max(end, one[1])
    yield start, end


def _night(intake: Intake, record: Record, unit_ms: int) -> None:
    """Take the totals of one night. Raises `Refused`, `BadTime`."""
    asleep = _lengths(record)
    in_bed = (number(record.get("inBed")) or 0.0) > 0 and bool(record.get("inBedStart"))
    if not asleep and not in_bed:
        raise Refused("missing_value")
    if sum(length for _, length in asleep) * unit_ms > _LONGEST_MS:
        raise Refused("duration")
    bed = intake.span(record, "inBedStart", "inBedEnd") if in_bed else None
    night = intake.span(record, "sleepStart", "sleepEnd") if asleep else None
    source = record.get("sleepSource") or record.get("source")
    if bed is not None:
        intake.add(intake.origin(record.get("inBedSource") or source), IN_BED, 1.0, bed[0], duration_ms=bed[1])
    if night is not None:
        at, length_ms = night
        origin = intake.origin(source, TOTALS)
        intake.session(origin, "sleep", (at.time_us, at.time_us + length_ms * 1_000), _METRICS)
        _lay_out(intake, origin, at, asleep, unit_ms)


def _lay_out(intake: Intake, origin: Origin, at: Moment, lengths: list[tuple[int, float]], unit_ms: int) -> None:
    for stage, length in lengths:
        duration_ms = round(length * unit_ms)
        intake.add(origin, SLEEP_STAGE, float(stage), at, duration_ms=duration_ms)
        at = at._replace(time_us=at.time_us + duration_ms * 1_000)


def _lengths(record: Record) -> list[tuple[int, float]]:
    """Return (stage, length) of what the night held. `asleep` is the whole, or in later versions what has no stage."""
    told = {name: number(record.get(name)) or 0.0 for name in ("totalSleep", "asleep", "awake", *_STAGES)}
    if min(told.values()) < 0:
        raise Refused("value")
    staged = sum(told[name] for name in _STAGES)
    whole = told["totalSleep"] or (told["asleep"] if told["asleep"] >= staged - _ALIKE_H else told["asleep"] + staged)
    unstaged = whole - staged
    lengths = [(_UNSPECIFIED, unstaged if unstaged > _ALIKE_H else 0.0), *((s, told[n]) for n, s in _STAGES.items())]
    return [(stage, length) for stage, length in [*lengths, (2, told["awake"])] if length > 0]
