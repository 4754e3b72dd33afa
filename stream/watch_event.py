"""From a detector's finding to the alert event that everyone else reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from alerts.event import AlertEvent, Evidence, Origin, Priority, State, alert_id
from alerts.event import Reading as QuotedReading
from alerts.wording import limit_sentence, signal_sentence
from stream.detectors.limits import LimitRule, Rule
from stream.detectors.sustain import Reading, Transition
from vitals.batch import BatchHeader
from vitals.catalogue import BY_CODE
from vitals.clock import US_PER_S, to_datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One change of an episode; microseconds UTC of event time. `readings` are the newest samples that decided."""

    cleared: bool
    opened_us: int
    raised_us: int
    changed_us: int
    window_start_us: int
    samples: int
    readings: tuple[Reading, ...]

    @property
    def measured_us(self) -> int:
        """When the newest evidence was measured."""
        return self.readings[-1][0]

    @classmethod
    def of(cls, told: Transition) -> Self:
        """Return the finding of a transition."""
        run = told.run
        return cls(told.cleared, told.opened_us, told.raised_us, told.at_us, run.since_us, run.seen, run.readings)

    @classmethod
    def still(cls, opened_us: int, raised_us: int, reading: Reading) -> Self:
        """Return the finding that an episode still goes on, as `reading` shows."""
        return cls(False, opened_us, raised_us, reading[0], opened_us, 1, (reading,))


def alert_event(
    header: BatchHeader, rule: Rule, finding: Finding, ceiling: Priority, *, retrospective: bool
) -> AlertEvent:
    """Return the event of `finding`; its priority is the rule's, at most `ceiling`."""
    origin = Origin(device_id=header.device_id, source_app=header.source_app)
    state = State.CLEARED if finding.cleared else State.RAISED
    changed = to_datetime(finding.changed_us)
    return AlertEvent(
        alert_id=alert_id(header.patient_id, rule.name, rule.metric, origin, finding.opened_us),
        patient_id=header.patient_id,
        kind=rule.kind,
        priority=min(rule.priority, ceiling, key=lambda priority: priority.rank),
        rule=rule.name,
        rule_version=rule.version,
        metric=rule.metric,
        origin=origin,
        state=state,
        opened_at=to_datetime(finding.opened_us),
        raised_at=to_datetime(finding.raised_us),
        changed_at=changed,
        cleared_at=changed if finding.cleared else None,
        measured_at=to_datetime(finding.measured_us),
        retrospective=retrospective,
        individualised=rule.individualised,
        evidence=_evidence(rule, finding),
        sentence=_sentence(rule, finding, state, retrospective=retrospective),
    )


def _evidence(rule: Rule, finding: Finding) -> Evidence:
    limit = isinstance(rule, LimitRule)
    readings = finding.readings if limit else ()
    return Evidence(
        window_start=to_datetime(finding.window_start_us),
        window_end=to_datetime(finding.changed_us),
        samples=finding.samples,
        unit=BY_CODE[rule.metric].unit,
        threshold=rule.threshold if isinstance(rule, LimitRule) else None,
        readings=tuple(QuotedReading(at=to_datetime(at), value=value, quality=grade) for at, value, grade in readings),
        quality=min((grade for _, _, grade in finding.readings), default=None),
    )


def _sentence(rule: Rule, finding: Finding, state: State, *, retrospective: bool) -> str:
    lasted_s = (finding.changed_us - finding.opened_us) / US_PER_S
    measured = to_datetime(finding.measured_us)
    if not isinstance(rule, LimitRule):
        return signal_sentence(state, rule.metric, lasted_s, measured, retrospective=retrospective)
    return limit_sentence(
        state,
        rule.metric,
        rule.side,
        rule.threshold,
        BY_CODE[rule.metric].unit,
        lasted_s,
        finding.readings[-1][1],
        measured,
        individualised=rule.individualised,
        retrospective=retrospective,
    )
