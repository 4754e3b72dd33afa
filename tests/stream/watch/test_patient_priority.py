"""What is found in all of a patient's devices has the priority that its detector says, whoever's samples came last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from alerts.event import AlertEvent, Priority, State
from stream.detectors.news2 import News2
from stream.detectors.policy import WatchPolicy
from stream.detectors.protocol import Person
from stream.watch.engine import Engine
from stream.watch.plan import Plan
from tests.stream.making import HEADER, samples
from tests.stream.watch.toys import Toy
from vitals.batch import BatchHeader, SampleColumns
from vitals.gate import OPEN, Gate
from vitals.ids import device_id

_PHONE = replace(HEADER, device_id=device_id("phone-1"))
_ILL = {"heart_rate": 125.0, "respiratory_rate": 26.0, "spo2": 90.0}


class _Registered:
    """`HEADER`'s device is a medical one, no other is."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def plan_of(self, patient_id: str) -> Plan:
        return self._plan

    def person(self, patient_id: str, device_id: str) -> Person:
        return Person(ceiling=Priority.HIGH if device_id == HEADER.device_id else Priority.MEDIUM)

    def withdrawn(self, patient_id: str) -> bool:
        return False

    @property
    def gate(self) -> Gate:
        return OPEN


@dataclass(frozen=True, slots=True)
class _OfPatient(Toy):
    name: ClassVar[str] = "of_patient"
    per_patient: ClassVar[bool] = True


def _watched(plan: Plan, *records: tuple[BatchHeader, SampleColumns]) -> list[AlertEvent]:
    engine, events = Engine(_Registered(plan), strict=True), list[AlertEvent]()
    for header, batch in records:
        now_us = int(batch.received_us.max())
        events += engine.see([header], np.array([len(batch)]), batch, now_us)
        events += [event for told in engine.settle(now_us) for event in told]
    return events


def test_a_patients_finding_is_not_capped_by_the_origin_that_brought_it_about() -> None:
    plan = Plan("ward", "3", WatchPolicy("none", ()), (), (Toy(), _OfPatient(rule="of_patient")))
    batches = [samples("heart_rate", range(at, at + 30), [120.0] * 30) for at in range(0, 120, 30)]
    raised = [one for one in _watched(plan, *((_PHONE, one) for one in batches)) if one.state is State.RAISED]
    assert {one.rule: one.priority for one in raised} == {"toy": Priority.MEDIUM, "of_patient": Priority.HIGH}


def test_a_phone_beside_a_monitor_does_not_keep_an_emergency_down() -> None:
    plan = Plan("ward", "3", WatchPolicy("none", ()), (), (News2(),))
    monitor, phone = [], []
    for at in range(0, 1_200, 15):
        parts = [samples(metric, [at], [value]) for metric, value in _ILL.items()]
        monitor.append((HEADER, SampleColumns.concat(parts)))
        phone.append((_PHONE, samples("heart_rate", [at + 3], [125.0])))
    for first, second in ((monitor, phone), (phone, monitor)):
        both = [one for pair in zip(first, second, strict=True) for one in pair]
        events = [one for one in _watched(plan, *both) if one.rule == "news2"]
        assert [(one.state, one.priority) for one in events] == [(State.RAISED, Priority.HIGH)]
    alone = [one for one in _watched(plan, *phone) if one.rule == "news2"]
    assert not alone
