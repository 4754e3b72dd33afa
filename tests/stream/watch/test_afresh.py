"""What breaks in the engine itself costs one person's memory, not everybody's watch; and a new crowd that changes
nothing for somebody touches nothing of theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alerts.event import AlertEvent, State
from stream.watch.adoption import swap
from stream.watch.crowd import Everyone
from stream.watch.engine import Engine
from stream.watch.memory import Patient
from stream.watch.plan import Plan
from tests.stream.making import HEADER, T0, S, samples
from tests.stream.watch.test_engine import LIMITS, PLAN, see, told, watch
from tests.stream.watch.toys import overdue
from vitals.batch import BatchHeader
from vitals.ids import device_id, patient_id

OTHER = BatchHeader(patient_id("p2"), device_id("d2"), "app", "ble")
FAST = [samples("heart_rate", range(at, at + 30), 120) for at in range(0, 180, 30)]


def both(engine: Engine, at: int) -> list[AlertEvent]:
    return see(engine, [(HEADER, FAST[at]), (OTHER, FAST[at])], T0 + (at + 1) * 30 * S)


def raised_of_both() -> Engine:
    engine = Engine(Everyone(PLAN))
    events = [event for at in range(4) for event in both(engine, at)]
    assert {event.patient_id for event in events} == {HEADER.patient_id, OTHER.patient_id}
    return engine


def breaking(monkeypatch: pytest.MonkeyPatch, what: str, whose: str) -> None:
    method: Any = getattr(Engine, what)

    def broken(self: Engine, patient: Any, *args: Any, **more: Any) -> Any:
        if patient.patient_id == whose:
            raise ArithmeticError("no number")
        return method(self, patient, *args, **more)

    monkeypatch.setattr(Engine, what, broken)


@pytest.mark.parametrize("what", ["_take", "_settle", "_overdue", "_adopt"])
def test_whose_data_breaks_the_engine_begins_afresh_and_others_go_on(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = raised_of_both()
    with monkeypatch.context() as patched:
        breaking(patched, what, HEADER.patient_id)
        now_us = T0 + 150 * S
        if what == "_overdue":
            events = overdue(engine, now_us)
        elif what == "_adopt":
            events = engine.adopt(Everyone(PLAN), now_us)
        else:
            events = both(engine, 4)
    (over,) = [event for event in events if event.patient_id == HEADER.patient_id]
    assert (over.state, over.rule) == (State.CLEARED, "toy")
    assert "begins afresh" in over.sentence
    assert engine.failures == {"engine": 1}
    assert engine.open_alerts(HEADER.patient_id) == {}
    assert len(engine.open_alerts(OTHER.patient_id)) == 1
    assert engine.snapshot(HEADER.patient_id) == b""
    again = [
        event
        for at in range(3)
        for event in watch(engine, samples("heart_rate", range(200 + at * 60, 260 + at * 60), 120))
    ]
    assert ("toy", "raised") in told(again)


def test_who_is_watched_as_before_is_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = raised_of_both()
    for name in (HEADER.patient_id, OTHER.patient_id):
        engine.snapshot(name)
    calls: list[str] = []

    def swapped(patient: Patient, plan: Plan) -> None:
        calls.append(patient.patient_id)
        swap(patient, plan)

    monkeypatch.setattr("stream.watch.engine.swap", swapped)
    assert engine.adopt(Everyone(PLAN), T0 + 130 * S) == []
    assert calls == []
    assert engine.dirty() == []
    assert engine.adopt(Everyone(replace(PLAN, version="4")), T0 + 131 * S) == []
    assert sorted(calls) == sorted([HEADER.patient_id, OTHER.patient_id])


def test_what_a_snapshot_left_open_is_compared_with_the_crowd_though_the_plan_is_the_same() -> None:
    limited = replace(PLAN, limits=LIMITS)
    engine = Engine(Everyone(limited), strict=True)
    fast = samples("heart_rate", range(60), 190)
    events = engine.see([HEADER], np.array([60]), fast, T0 + 60 * S)
    assert "heart_rate_high" in {event.rule for event in events}
    kept = engine.snapshot(HEADER.patient_id)
    without = Everyone(replace(PLAN, limits=replace(LIMITS, rules=())))
    again = Engine(without, strict=True)
    again.restore(HEADER.patient_id, kept)
    closed = again.adopt(without, T0 + 70 * S)
    assert ("heart_rate_high", "cleared") in told(closed)
