"""From a finding to the alert event that everyone else reads."""

from __future__ import annotations

import math

from alerts.event import AlertEvent, Audience, Evidence, Kind, Origin, Priority, State, alert_id
from alerts.wording import limit_clause, sentence, signal_clause
from stream.detectors.finding import Figures, Finding
from stream.detectors.limits import LimitRule, Rule
from stream.detectors.sustain import KEPT_READINGS, Reading, Transition
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S, to_datetime
from vitals.ids import device_id

PATIENT_ORIGIN = Origin(device_id=device_id("patient"), source_app="vigil")
"""Of what is found in all of a patient's devices together."""
_MAX_FIGURES = 24


def finding_of(rule: Rule, told: Transition) -> Finding:
    """Return the finding of a limit's transition."""
    state = State.CLEARED if told.cleared else State.RAISED
    run = told.run
    return _finding(rule, state, told.opened_us, told.raised_us, told.at_us, run.since_us, run.seen, run.readings)


def going_on(rule: Rule, opened_us: int, raised_us: int, reading: Reading) -> Finding:
    """Return the finding that an episode still goes on, as `reading` shows."""
    return _finding(rule, State.RAISED, opened_us, raised_us, reading[0], opened_us, 1, (reading,))


def _finding(
    rule: Rule,
    state: State,
    opened_us: int,
    raised_us: int,
    changed_us: int,
    since_us: int,
    samples: int,
    readings: tuple[Reading, ...],
) -> Finding:
    lasted_s, value = (changed_us - opened_us) / US_PER_S, readings[-1][1]
    threshold = rule.limit_beyond(value) if isinstance(rule, LimitRule) else None
    if isinstance(rule, LimitRule) and threshold is not None:
        unit = BY_CODE[rule.metric].unit
        says = limit_clause(state, rule.metric, rule.side, threshold, unit, lasted_s, value)
    else:
        says = signal_clause(state, rule.metric, lasted_s)
    return Finding(
        rule.name, rule.version, rule.metric, rule.kind, rule.priority, state, opened_us, raised_us, changed_us,
        readings[-1][0], since_us, says, samples, readings, threshold, individualised=rule.individualised,
        max_age_s=rule.max_age_s, quality=min(grade for _, _, grade in readings),
    )  # fmt: skip


def alert_event(
    patient_id: str,
    origin: Origin,
    finding: Finding,
    *,
    state: State,
    priority: Priority,
    retrospective: bool,
    policy: str,
    review_by: str | None = None,
) -> AlertEvent:
    """Return the event of `finding`. Raises ValidationError where it breaks the rules of `AlertEvent`."""
    changed, measured = to_datetime(finding.changed_us), to_datetime(finding.measured_us)
    told_of_limits = finding.kind is Kind.TECHNICAL or finding.individualised
    return AlertEvent(
        alert_id=alert_id(patient_id, finding.rule, finding.metric, origin, finding.opened_us),
        patient_id=patient_id,
        kind=finding.kind,
        priority=priority,
        rule=finding.rule,
        rule_version=finding.version,
        metric=finding.metric,
        origin=origin,
        state=state,
        opened_at=to_datetime(finding.opened_us),
        raised_at=to_datetime(finding.raised_us),
        changed_at=changed,
        cleared_at=changed if state is State.CLEARED else None,
        measured_at=measured,
        retrospective=retrospective,
        individualised=finding.individualised,
        audience=finding.audience,
        review_by=review_by if finding.audience is Audience.REVIEW else None,
        policy=policy,
        evidence=_evidence(finding),
        sentence=sentence(
            finding.says, finding.kind, measured, individualised=told_of_limits, retrospective=retrospective
        ),
    )


def _evidence(finding: Finding) -> Evidence:
    # What a sensor says off the body is no measurement: a technical alert quotes no values.
    readings = finding.readings[-KEPT_READINGS:] if finding.kind is Kind.PHYSIOLOGICAL else ()
    quality = finding.quality
    if quality is None:
        quality = min((grade for _, _, grade in finding.readings), default=None)
    return Evidence.model_validate(
        {
            "window_start": to_datetime(finding.window_start_us),
            "window_end": to_datetime(finding.changed_us),
            "samples": finding.samples,
            "unit": _unit(finding),
            "threshold": finding.threshold,
            # Made one by one in Python, 32 readings cost more than all the rest of an alert.
            "readings": [{"at": to_datetime(at), "value": value, "quality": grade} for at, value, grade in readings],
            "quality": quality,
            "figures": _finite(finding.figures),
        }
    )


def _unit(finding: Finding) -> str:
    if finding.unit is not None:
        return finding.unit
    return BY_CODE[finding.metric].unit if finding.metric in BY_CODE else ""


def _finite(figures: Figures) -> dict[str, float | str]:
    """Return the figures that JSON can hold."""
    told = [(name, one) for name, one in figures.items() if isinstance(one, str) or math.isfinite(one)]
    return dict(told[:_MAX_FIGURES])
