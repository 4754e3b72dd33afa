"""One person's page. Pure: rows in, what the template sets into place out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from console.alert_view import AlertView, alert_view
from console.board_view import SILENT_AFTER, urgency
from console.chart_view import Chart, Range, chart, pressure_chart
from console.moment import Moment, Now
from console.tiles import Tile, by_metric, heart_tile, tile, vital_tiles
from console.words import metric_name
from timeseries.console_model import PatientRecord, Series

CHARTED: Final = (
    "heart_rate",
    "pulse_rate",
    "spo2",
    "respiratory_rate",
    "bp_systolic",
    "bp_diastolic",
    "body_temperature",
    "glucose",
    "hrv_rmssd",
    "hrv_sdnn",
)


@dataclass(frozen=True, slots=True)
class PatientView:
    """One person: last values, charts, alerts (open ones first)."""

    patient_id: str
    urgency: str
    newest: Moment | None
    silent: bool
    tiles: tuple[Tile, ...]
    others: tuple[Tile, ...]
    charts: tuple[Chart, ...]
    absent: tuple[str, ...]
    open: tuple[AlertView, ...]
    alerts: tuple[AlertView, ...]
    devices: tuple[str, ...]


def patient_view(record: PatientRecord, series: Sequence[Series], shown: Range, now: Now) -> PatientView:
    """Return the page of `record` with the charts of `series` over the range `shown`."""
    alerts = tuple(alert_view(alert, now) for alert in record.alerts)
    chosen = by_metric(record.latest, now)
    drawn = {one.metric for one in series if one.buckets}
    heart = heart_tile(chosen, now)
    tiles = (*(() if heart is None else (heart,)), *vital_tiles(chosen, now))
    front = {one.metric for one in tiles} | {"bp_diastolic"}
    newest = max((value.time for value in record.latest), default=None)
    return PatientView(
        patient_id=record.patient_id,
        urgency=urgency(alerts),
        newest=None if newest is None else now.moment(newest),
        silent=newest is None or now.at - newest > SILENT_AFTER,
        tiles=tiles,
        others=tuple(tile(value, now) for metric, value in sorted(chosen.items()) if metric not in front),
        charts=_charts(record, series, shown, now),
        absent=tuple(metric_name(metric) for metric in CHARTED if metric in chosen and metric not in drawn),
        open=tuple(alert for alert in alerts if alert.state != "cleared"),
        alerts=alerts,
        devices=tuple(sorted({value.device_id for value in record.latest})),
    )


def _charts(record: PatientRecord, series: Sequence[Series], shown: Range, now: Now) -> tuple[Chart, ...]:
    found: dict[str, list[Series]] = {metric: [] for metric in CHARTED}
    for one in series:
        if one.buckets:
            found[one.metric].append(one)
    upper, lower = found.pop("bp_systolic"), found.pop("bp_diastolic")
    charts = [chart(group, record.alerts, shown, now) for group in found.values() if group]
    if upper or lower:
        charts.append(pressure_chart(upper, lower, shown, now))
    return tuple(charts)
