"""The first page: who needs someone, then everybody. Pure: rows in, what the template sets into place out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from console import plot
from console.alert_view import AlertView, alert_view
from console.moment import Moment, Now
from console.tiles import Tile, by_metric, heart_tile, vital_tiles
from console.words import number, stale_after_s, unit_of
from timeseries.console_model import LatestValue, Overview, Series
from vitals.catalogue import BY_CODE

SPARK_LENGTH: Final = timedelta(hours=1)
SPARK_STEP_S: Final = 60
SILENT_AFTER: Final = timedelta(minutes=15)
"""CLINICAL: with nothing measured for so long a person counts as not monitored."""
_RANK: Final = {"high": 3, "medium": 2, "low": 1}


@dataclass(frozen=True, slots=True)
class Spark:
    """The last hour of one heart series; `band` spans each minute's lowest to highest."""

    line: str
    band: str
    says: str


@dataclass(frozen=True, slots=True)
class PatientCard:
    """One person. `urgency` is the highest priority among the open alerts that nobody acknowledged, or empty."""

    patient_id: str
    alerts: int
    urgency: str
    heart: Tile | None
    tiles: tuple[Tile, ...]
    spark: Spark | None
    newest: Moment | None
    silent: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of all people is shown."""

    number: int
    pages: int


@dataclass(frozen=True, slots=True)
class BoardView:
    """The whole first page."""

    patients: int
    silent: int
    open: dict[str, int]
    waiting: int
    alerts: tuple[AlertView, ...]
    hidden_alerts: int
    cards: tuple[PatientCard, ...]
    page: Page


def board_view(overview: Overview, sparks: Iterable[Series], now: Now, page: int, page_size: int) -> BoardView:
    """Return the first page as it is at `now`."""
    alerts = tuple(alert_view(alert, now) for alert in overview.alerts)
    hearts: dict[str, list[Series]] = {}
    for series in sparks:
        hearts.setdefault(series.patient_id, []).append(series)
    latest: dict[str, list[LatestValue]] = {}
    for value in overview.latest:
        latest.setdefault(value.patient_id, []).append(value)
    totals = overview.totals
    return BoardView(
        patients=totals.patients,
        silent=totals.silent,
        open={priority: totals.open.get(priority, 0) for priority in _RANK},
        waiting=sum(totals.waiting.values()),
        alerts=alerts,
        hidden_alerts=sum(totals.open.values()) - len(alerts),
        cards=tuple(_card(one, latest.get(one, []), hearts.get(one, []), alerts, now) for one in overview.patients),
        page=Page(page, max(-(-totals.patients // page_size), 1)),
    )


def _card(
    patient_id: str, latest: Sequence[LatestValue], hearts: Sequence[Series], alerts: Sequence[AlertView], now: Now
) -> PatientCard:
    mine = [alert for alert in alerts if alert.patient_id == patient_id]
    chosen = by_metric(latest, now)
    heart = heart_tile(chosen, now)
    newest = max((value.time for value in latest), default=None)
    return PatientCard(
        patient_id=patient_id,
        alerts=len(mine),
        urgency=urgency(mine),
        heart=heart,
        tiles=vital_tiles(chosen, now),
        spark=None if heart is None else _spark(hearts, chosen[heart.metric], now),
        newest=None if newest is None else now.moment(newest),
        silent=newest is None or now.at - newest > SILENT_AFTER,
    )


def urgency(alerts: Iterable[AlertView]) -> str:
    """Return the highest priority that waits for a person; empty where none does."""
    waiting = [alert.priority for alert in alerts if alert.state == "raised" and alert.priority in _RANK]
    return max(waiting, key=_RANK.__getitem__, default="")


def _spark(hearts: Sequence[Series], shown: LatestValue, now: Now) -> Spark | None:
    """Draw the series that the tile shows, and no other: two origins never mix."""
    mine = (shown.metric, shown.device_id, shown.source_app)
    series = next((one for one in hearts if (one.metric, one.device_id, one.source_app) == mine), None)
    if series is None or not series.buckets:
        return None
    low, high = min(b.low for b in series.buckets), max(b.high for b in series.buckets)
    room = max((30.0 - (high - low)) / 2, 2.0)  # a calm hour should look calm
    start = (now.at - SPARK_LENGTH).timestamp()
    scale = plot.Scale(start, now.at.timestamp(), low - room, high + room)
    gap = max(stale_after_s(BY_CODE[series.metric]), 2.5 * SPARK_STEP_S)
    at = [(max(b.time.timestamp(), start), b) for b in series.buckets]
    lows, highs = [(time, b.low) for time, b in at], [(time, b.high) for time, b in at]
    return Spark(
        line=plot.line([(time, b.mean) for time, b in at], scale, gap),
        band=plot.band(lows, highs, scale, gap),
        says=f"{number(low, series.metric)} to {number(high, series.metric)} {unit_of(series.metric)}",
    )
