"""What stays of a patient's memory when they are watched by another plan, and what is told where nobody is watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from alerts.event import AlertEvent, Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.policy import WatchPolicy
from stream.detectors.track import Track
from stream.watch.book import ENGINE, LIMITS, NO_LONGER, Circumstances
from stream.watch.events import PATIENT_ORIGIN
from stream.watch.memory import Patient
from stream.watch.plan import Plan

NOT_MONITORED: Final = "not_monitored"
METRIC: Final = "wear_state"


def not_monitored(state: State, opened_us: int, now_us: int) -> Finding:
    """Return the technical finding that nobody watches a patient whose consent was withdrawn, or that it is over."""
    if state is State.CLEARED:
        says = "monitored again: there is consent to care"
    else:
        says = "not monitored: consent to care was withdrawn"
    return Finding(
        NOT_MONITORED, 1, METRIC, Kind.TECHNICAL, Priority.MEDIUM, state, opened_us, opened_us, now_us, now_us,
        opened_us, says, figures={"reason": "consent withdrawn"}, individualised=True,
    )  # fmt: skip


def is_not_monitored(open_alerts: Mapping[str, object]) -> bool:
    """Tell whether one of these is that alert: it is open of whoever was withdrawn, and of nobody else."""
    return any(getattr(one, "rule", None) == NOT_MONITORED for one in open_alerts.values())


def let_go(patient: Patient, at: Circumstances) -> list[AlertEvent]:
    """Forget somebody whose consent was withdrawn, and say, once, that nobody watches them."""
    if patient.withdrawn:
        return []
    events = patient.book.close(at, f"{NO_LONGER}: consent withdrawn")
    patient.withdrawn, patient.track = True, Track()
    patient.origins.clear()
    patient.states.clear()
    finding = not_monitored(State.RAISED, at.now_us, at.now_us)
    return events + patient.book.take(finding, PATIENT_ORIGIN, ENGINE, at)


def taken_back(patient: Patient, at: Circumstances) -> list[AlertEvent]:
    """Watch again whoever may be watched again, and say so."""
    if not patient.withdrawn:
        return []
    patient.withdrawn = False
    over = [not_monitored(State.CLEARED, one.opened_us, at.now_us) for one in patient.book.episodes.values()]
    return [event for one in over for event in patient.book.take(one, PATIENT_ORIGIN, ENGINE, at)]


def swap(patient: Patient, plan: Plan) -> None:
    """Give a patient another plan.

    A detector's state stays (a baseline takes weeks) unless the detector went or its fresh state has another shape:
    then its episodes have nobody who follows them.
    """
    if plan is patient.plan:
        return
    lost = {name for name, shape in patient.plan.shapes.items() if plan.shapes.get(name) != shape}
    for states in (patient.states, *(origin.states for origin in patient.origins.values())):
        for name in lost & set(states):
            del states[name]
    patient.book.orphan(lost)
    patient.plan = plan
    patient.phase_us %= plan.grid_us


def close_lost(patient: Patient, limits: Sequence[WatchPolicy], at: Circumstances) -> list[AlertEvent]:
    """End the episodes that nobody follows any more: of lost detectors, and of limits that are in no device's rules."""
    rules = {(rule.name, rule.metric) for one in limits for rule in one.rules}
    events = patient.book.close_orphans(at)
    return events + patient.book.close(
        at, NO_LONGER, lambda one: one.source == LIMITS and (one.rule, one.metric) not in rules
    )
