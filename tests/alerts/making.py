"""Alert events for tests."""

from datetime import UTC, datetime, timedelta

from alerts.event import AlertEvent, Evidence, Kind, Origin, Priority, State, alert_id

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def an_event(
    state: State = State.RAISED,
    changed_s: float = 60,
    *,
    patient: str = "p1",
    rule: str = "heart_rate_high",
    kind: Kind = Kind.PHYSIOLOGICAL,
    priority: Priority = Priority.MEDIUM,
    retrospective: bool = False,
    sentence: str = "Heart rate above 130 /min.",
    opened_s: int = 0,
) -> AlertEvent:
    origin = Origin(device_id="d1", source_app="app")
    return AlertEvent(
        alert_id=alert_id(patient, rule, "heart_rate", origin, opened_s),
        patient_id=patient,
        kind=kind,
        priority=priority,
        rule=rule,
        rule_version=1,
        metric="heart_rate",
        origin=origin,
        state=state,
        opened_at=at(opened_s),
        raised_at=at(opened_s + 60),
        changed_at=at(opened_s + changed_s),
        cleared_at=at(opened_s + changed_s) if state is State.CLEARED else None,
        measured_at=at(opened_s + changed_s),
        retrospective=retrospective,
        evidence=Evidence(window_start=at(opened_s), window_end=at(opened_s + changed_s), samples=60, unit="/min"),
        sentence=sentence,
    )
