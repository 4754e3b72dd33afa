"""An alert as the page shows it. Pure: the words are the alert's own, drawing and facts are its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from alerts.event import Evidence
from console import plot
from console.moment import Moment, Now
from console.why import Fact, facts
from console.words import metric_name, number, unit_sign
from timeseries.console_model import StoredAlert
from vitals.catalogue import BY_CODE

_KINDS: Final = {"physiological": "Physiological", "technical": "Technical"}
_PRIORITIES: Final = {"high": "High", "medium": "Medium", "low": "Low"}
_JOIN_S: Final = 120.0
"""Quoted readings further apart than this are not joined by a line."""


@dataclass(frozen=True, slots=True)
class EvidencePlot:
    """The quoted readings and the limit that they were held against (`limit_y` in the plot's units)."""

    path: str
    limit_y: float | None
    limit: str
    says: str


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert. `state`: `raised`, `acknowledged` or `cleared`.

    `sentence` is what it said while it was open, as far as that was kept; `ended` is what it said when it cleared.
    """

    alert_id: str
    patient_id: str
    priority: str
    priority_word: str
    kind: str
    metric: str
    sentence: str
    ended: str | None
    state: str
    raised: Moment
    measured: Moment
    cleared: Moment | None
    acknowledged: Moment | None
    acknowledged_by: str | None
    retrospective: bool
    plot: EvidencePlot | None
    why: tuple[Fact, ...]


def alert_view(alert: StoredAlert, now: Now) -> AlertView:
    """Return the view of a stored alert."""
    evidence = _evidence(alert.raised_evidence or alert.evidence)
    is_kept = alert.state == "cleared" and alert.raised_sentence is not None
    state = "cleared" if alert.state == "cleared" else "raised" if alert.acknowledged_at is None else "acknowledged"
    return AlertView(
        alert_id=alert.alert_id,
        patient_id=alert.patient_id,
        priority=alert.priority,
        priority_word=_PRIORITIES.get(alert.priority, "Unknown"),
        kind=_KINDS.get(alert.kind, "Other"),
        metric=metric_name(alert.metric),
        sentence=(alert.raised_sentence if is_kept else None) or alert.sentence,
        ended=alert.sentence if is_kept else None,
        state=state,
        raised=now.moment(alert.raised_at),
        measured=now.moment(alert.measured_at),
        cleared=None if alert.cleared_at is None else now.moment(alert.cleared_at),
        acknowledged=None if alert.acknowledged_at is None else now.moment(alert.acknowledged_at),
        acknowledged_by=alert.acknowledged_by,
        retrospective=alert.retrospective,
        plot=_evidence_plot(alert.metric, evidence),
        why=facts(alert, evidence, now),
    )


def evidence_of(alert: StoredAlert) -> Evidence | None:
    """Return the alert's newest evidence; None for one that another version wrote and this one does not read."""
    return _evidence(alert.evidence)


def _evidence(stored: Mapping[str, Any]) -> Evidence | None:
    try:
        return Evidence.model_validate(stored)
    except ValidationError:
        return None


def _evidence_plot(metric: str, evidence: Evidence | None) -> EvidencePlot | None:
    if evidence is None or not evidence.readings or metric not in BY_CODE:
        return None
    points = sorted((reading.at.timestamp(), reading.value) for reading in evidence.readings)
    limit = evidence.threshold
    scale = _scale(points, limit)
    unit = unit_sign(evidence.unit)
    said_limit = "" if limit is None else f"{limit:g} {unit}".strip()
    return EvidencePlot(
        path=plot.line(points, scale, _JOIN_S),
        limit_y=None if limit is None else scale.y(limit),
        limit=said_limit,
        says=_said(metric, [value for _, value in points], unit, said_limit),
    )


def _scale(points: list[plot.Point], limit: float | None) -> plot.Scale:
    values = [value for _, value in points] + ([] if limit is None else [limit])
    room = max((max(values) - min(values)) * 0.15, 0.5)
    start, end = points[0][0], points[-1][0]
    return plot.Scale(start - 1.0, max(end, start + 1.0) + 1.0, min(values) - room, max(values) + room)


def _said(metric: str, values: list[float], unit: str, limit: str) -> str:
    low, high = number(min(values), metric), number(max(values), metric)
    against = f", limit {limit}" if limit else ""
    return f"{metric_name(metric)}: the last {len(values)} values, from {low} to {high} {unit}{against}"
