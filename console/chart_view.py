"""One metric over a range, as a chart. Pure. What was not measured stays empty: no line, and a stripe that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from console import plot
from console.alert_view import evidence_of
from console.moment import Now
from console.words import is_continuous, lasting, metric_name, number, resolution, stale_after_s, unit_of
from timeseries.console_model import Bucket, Series, StoredAlert
from vitals.catalogue import BY_CODE

X_LABELS: Final = 6
# Ranges that a person reads a change in: below them noise would fill the chart (unit of the metric).
_SMALLEST: Final = {"/min": 20.0, "%": 6.0, "Cel": 1.0, "mm[Hg]": 30.0, "mg/dL": 40.0, "ms": 20.0}


@dataclass(frozen=True, slots=True)
class Range:
    """What a page shows: [start, end) in steps of `step_s` seconds, at most some 1,500 of them."""

    word: str
    title: str
    length: timedelta
    step_s: int

    @property
    def resolution(self) -> str:
        """What one point stands for."""
        return resolution(self.step_s)

    def starts(self, now: Now) -> datetime:
        """Return where the range that ends now begins, on a whole step so that the drawing does not tremble."""
        begin = (now.at - self.length).timestamp()
        return datetime.fromtimestamp(begin - begin % self.step_s, now.at.tzinfo)


RANGES: Final = {
    "1h": Range("1h", "1 hour", timedelta(hours=1), 15),
    "6h": Range("6h", "6 hours", timedelta(hours=6), 60),
    "24h": Range("24h", "24 hours", timedelta(hours=24), 300),
    "7d": Range("7d", "7 days", timedelta(days=7), 900),
    "30d": Range("30d", "30 days", timedelta(days=30), 3_600),
    "1y": Range("1y", "1 year", timedelta(days=365), 21_600),
}


@dataclass(frozen=True, slots=True)
class Trace:
    """One origin's drawing: the mean as a line or dots, the lowest to the highest as a band or bars."""

    device_id: str
    line: str
    band: str
    bars: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A metric's drawing and everything that is said beside it. `limits` are heights in the box."""

    metric: str
    name: str
    unit: str
    scale: plot.Scale
    traces: tuple[Trace, ...]
    gaps: tuple[plot.Gap, ...]
    limits: tuple[float, ...]
    y_labels: tuple[str, ...]
    grid: tuple[float, ...]
    x_labels: tuple[str, ...]
    extent: str
    missing: str


def chart(series: Sequence[Series], alerts: Sequence[StoredAlert], shown: Range, now: Now) -> Chart:
    """Return the chart of one metric from all its origins (at least one, each with at least one bucket)."""
    metric = series[0].metric
    values = [edge for one in series for bucket in one.buckets for edge in (bucket.low, bucket.high)]
    limits = _limits(alerts, metric, shown.starts(now))
    axis = plot.axis([*values, *limits], smallest=_SMALLEST.get(BY_CODE[metric].unit, 1.0))
    scale = plot.Scale(shown.starts(now).timestamp(), now.at.timestamp(), axis.low, axis.high)
    gaps = _gaps(series, scale, shown)
    return Chart(
        metric=metric,
        name=metric_name(metric),
        unit=unit_of(metric),
        scale=scale,
        traces=tuple(_trace(one, scale, shown) for one in series),
        gaps=tuple(gaps),
        limits=tuple(scale.y(limit) for limit in limits),
        y_labels=axis.labels,
        grid=tuple(
            scale.y(axis.low + (axis.high - axis.low) * k / (len(axis.labels) - 1)) for k in range(len(axis.labels))
        ),
        x_labels=_x_labels(scale, now),
        extent=_extent(number(min(values), metric), number(max(values), metric), unit_of(metric)),
        missing=_missing(gaps),
    )


def pressure_chart(upper: Sequence[Series], lower: Sequence[Series], shown: Range, now: Now) -> Chart:
    """Return systolic and diastolic pressure as upright bars; a number without its partner is a dot."""
    base = chart([*upper, *lower], (), shown, now)
    below = {(one.device_id, bucket.time): bucket.mean for one in lower for bucket in one.buckets}
    pairs = [
        (bucket.time.timestamp(), below[one.device_id, bucket.time], bucket.mean)
        for one in upper
        for bucket in one.buckets
        if (one.device_id, bucket.time) in below
    ]
    joined = Trace(base.traces[0].device_id, "", "", plot.bars(pairs, base.scale))
    return replace(base, metric="bp_systolic", name="Blood pressure", traces=(*base.traces, joined))


def _limits(alerts: Sequence[StoredAlert], metric: str, start: datetime) -> list[float]:
    """Return the limits that this metric's alerts in the range were held against."""
    concerned = [one for one in alerts if one.metric == metric and (one.cleared_at or one.changed_at) >= start]
    found = {evidence.threshold for one in concerned if (evidence := evidence_of(one))}
    return sorted(limit for limit in found if limit is not None)


def _max_gap_s(metric: str, shown: Range) -> float:
    return max(stale_after_s(BY_CODE[metric]), 2.5 * shown.step_s)


def _points(buckets: Sequence[Bucket], which: str) -> list[plot.Point]:
    return [(bucket.time.timestamp(), getattr(bucket, which)) for bucket in buckets]


def _trace(series: Series, scale: plot.Scale, shown: Range) -> Trace:
    means = _points(series.buckets, "mean")
    if not is_continuous(BY_CODE[series.metric]):
        return Trace(series.device_id, plot.dots(means, scale), "", "")
    gap = _max_gap_s(series.metric, shown)
    band = plot.band(_points(series.buckets, "low"), _points(series.buckets, "high"), scale, gap)
    return Trace(series.device_id, plot.line(means, scale, gap), band, "")


def _gaps(series: Sequence[Series], scale: plot.Scale, shown: Range) -> list[plot.Gap]:
    """Return where none of the origins measured; nothing for what is only measured now and then."""
    metric = series[0].metric
    if not is_continuous(BY_CODE[metric]):
        return []
    every = sorted(point for one in series for point in _points(one.buckets, "mean"))
    return plot.gaps(every, scale, _max_gap_s(metric, shown))


def _extent(low: str, high: str, unit: str) -> str:
    return (f"{low} {unit}" if low == high else f"{low} to {high} {unit}").strip()


def _missing(gaps: Sequence[plot.Gap]) -> str:
    if not gaps:
        return ""
    longest = lasting(max(gap.seconds for gap in gaps))
    count = "1 gap" if len(gaps) == 1 else f"{len(gaps)} gaps"
    return f"{count} without trustworthy data, the longest {longest}"


def _x_labels(scale: plot.Scale, now: Now) -> tuple[str, ...]:
    step = (scale.end - scale.start) / (X_LABELS - 1)
    moments = (datetime.fromtimestamp(scale.start + step * k, now.zone) for k in range(X_LABELS))
    return tuple(moment.strftime(_clock_words(scale.end - scale.start)) for moment in moments)


def _clock_words(seconds: float) -> str:
    """Return how times below a chart of this length are written: times of a day, days of a month, months of a year."""
    days = seconds / 86_400
    return "%H:%M" if days < 2 else "%-d %b" if days < 60 else "%b %Y"
