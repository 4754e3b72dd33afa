"""Technical alerts on simulated devices: which fault is seen, what it looks like, how often one is told of none.

Each wearer's device tells a day through the engine, with every technical detector and the adult limits. Figures are of
a simulation, never clinical performance.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alerts.event import AlertEvent, Kind, Priority, State
from devices.simulator import ALL_CADENCES_S, CADENCES_S, FAULTS, Wearer, cohort
from stream.detectors.policy import ADULT
from stream.detectors.registry import SECTIONS
from stream.watch.crowd import Everyone
from stream.watch.engine import Engine
from stream.watch.plan import Plan
from stream.watch.replay import replay
from tests.accuracy.people import told_by
from vitals.clock import US_PER_S

HOUR_US: Final = 3_600 * US_PER_S
START_US: Final = 1_750_000_000 * US_PER_S // HOUR_US * HOUR_US
HEALTHY: Final = ("well", "athlete", "beta_blocker", "ectopy")


def technical_plan() -> Plan:
    """Return the plan of adult limits and all technical detectors, nothing else.

    It settles every 10 s: a sensor that hangs at 5 s must be known before a limit of a minute raises.
    """
    made: Any = tuple(one.make(one.policy()) for one in SECTIONS if one.technical)
    return Plan(label="technical", version="1", limits=ADULT, technical=made, settle_every_s=10.0)


@dataclass(frozen=True, slots=True)
class Told:
    """Alerts raised over so many days, by rule and priority."""

    days: float
    technical: Counter[str]
    paging: Counter[str]
    physiological: Counter[str]
    uncleared: int


def alerts_of(people: Sequence[Wearer], hours: float) -> Told:
    """Return what is raised while these people wear their devices for so many hours, from `START_US` on."""
    engine_of = technical_plan()
    raised: Counter[str] = Counter()
    paging: Counter[str] = Counter()
    physiological: Counter[str] = Counter()
    open_ids: set[str] = set()
    for who in people:
        for event in _events(engine_of, who, START_US + round(hours * HOUR_US)):
            if event.state is State.CLEARED:
                open_ids.discard(event.alert_id)
            elif event.alert_id not in open_ids:
                open_ids.add(event.alert_id)
                (raised if event.kind is Kind.TECHNICAL else physiological)[event.rule] += 1
                if event.kind is Kind.TECHNICAL and event.priority is not Priority.LOW and not event.retrospective:
                    paging[event.rule] += 1
    return Told(len(people) * hours / 24, raised, paging, physiological, len(open_ids))


def _events(plan: Plan, who: Wearer, end_us: int) -> list[AlertEvent]:
    return list(replay(Engine(Everyone(plan)), told_by(who, START_US, end_us), step_s=30.0))


def healthy(patients: int, hours: float, seed: int, cadences_s: Mapping[str, float] = CADENCES_S) -> dict[str, Any]:
    """Return technical alerts per healthy patient-day; athletes, beta blockers and ectopy are among them."""
    end_us = START_US + round(hours * HOUR_US)
    people = cohort(patients, seed, START_US, end_us, scenarios=HEALTHY, cadences_s=cadences_s)
    told = alerts_of(people, hours)
    return {
        "patient_days": told.days,
        "technical_per_patient_day": round(told.technical.total() / told.days, 4),
        "technical_paging_per_patient_day": round(told.paging.total() / told.days, 4),
        "by_rule": dict(told.technical),
    }


def faulty(fault: str, patients: int, hours: float, seed: int) -> dict[str, Any]:
    """Return what is raised by healthy people whose devices have a fault: nothing physiological, one hopes."""
    people = cohort(patients, seed, START_US, START_US + round(hours * HOUR_US), scenarios=("well",), faults=(fault,))
    told = alerts_of(people, hours)
    return {
        "patients": patients,
        "physiological": dict(told.physiological),
        "technical": dict(told.technical),
        "open_at_end": told.uncleared,
    }


def figures(patients: int = 8, hours: float = 24.0, seed: int = 7) -> dict[str, Any]:
    """Return all figures; two minutes with the defaults."""
    return {
        "healthy": healthy(patients, hours, seed),
        "healthy_all_channels": healthy(patients, hours, seed + 1, ALL_CADENCES_S),
        "faults": {fault: faulty(fault, max(patients // 4, 1), hours, seed + 2) for fault in FAULTS},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(figures(), indent=2) + "\n")
