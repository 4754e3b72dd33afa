"""The watch sees what the recorder stores: what registry or consents refuse raises nothing, and is not remembered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.event import AlertEvent
from stream.detectors.policy import ADULT, hastened
from stream.validate import refused
from stream.watch.crowd import Everyone
from stream.watch.engine import Engine
from stream.watch.plan import default_plan
from tests.stream.making import HEADER, T0, S, samples
from vitals.batch import BatchHeader, SampleColumns
from vitals.catalogue import RetentionClass, number_of
from vitals.gate import CATEGORIES, OPEN, Binding, DeviceRule, DeviceState, Gate, Permissions
from vitals.ids import device_id, patient_id
from vitals.validity import reasons

PLAN = default_plan(hastened(ADULT, 5, 5))
WHO, DEVICE = HEADER.patient_id, HEADER.device_id
FAST = samples("heart_rate", range(40), 190.0)
HOT = samples("body_temperature", range(40), 41.5)
FOREVER = 2**62


def consent(*classes: RetentionClass) -> Permissions:
    spans = np.full(len(classes), FOREVER)
    return Permissions(np.array([CATEGORIES.index(one) for one in classes], np.int8), -spans, spans)


def told(gate: Gate, *batches: SampleColumns, header: BatchHeader = HEADER) -> list[AlertEvent]:
    engine = Engine(Everyone(PLAN, gate=gate), strict=True)
    events = []
    for batch in batches:
        now_us = int(batch.received_us.max())
        events += engine.see([header], np.array([len(batch)]), batch, now_us)
    return events + engine.finish(T0 + 60 * S)


def rules(events: list[AlertEvent]) -> set[str]:
    return {event.rule for event in events}


REFUSED = {
    "suspended": Gate(devices={DEVICE: DeviceRule(DeviceState.SUSPENDED)}),
    "retired": Gate(devices={DEVICE: DeviceRule(DeviceState.RETIRED)}),
    "worn by another": Gate(devices={DEVICE: DeviceRule(bindings=(Binding("p2", 0, FOREVER),))}),
    "worn later": Gate(devices={DEVICE: DeviceRule(bindings=(Binding(WHO, T0 + 900 * S, FOREVER),))}),
    "unknown": Gate(strict=True),
    "not permitted": Gate(devices={DEVICE: DeviceRule(permitted=np.array([number_of("spo2")], np.int16))}),
    "no consent to vitals": Gate(people={WHO: consent(RetentionClass.SLEEP)}),
}


@pytest.mark.parametrize("gate", REFUSED.values(), ids=list(REFUSED))
def test_what_is_refused_raises_nothing(gate: Gate) -> None:
    assert "heart_rate_high" in rules(told(OPEN, FAST))
    assert told(gate, FAST) == []


def test_what_is_permitted_of_a_device_is_still_watched() -> None:
    only = Gate(devices={DEVICE: DeviceRule(permitted=np.array([number_of("body_temperature")], np.int16))})
    assert not [rule for rule in rules(told(only, FAST, HOT)) if rule.startswith("heart")]
    assert rules(told(only, FAST, HOT)) == rules(told(OPEN, HOT))
    assert rules(told(OPEN, HOT))


def test_nothing_refused_is_kept_in_the_state() -> None:
    engine = Engine(Everyone(PLAN, gate=REFUSED["no consent to vitals"]), strict=True)
    engine.see([HEADER], np.array([len(FAST)]), FAST, T0 + 40 * S)
    engine.finish(T0 + 60 * S)
    nobody = Engine(Everyone(PLAN), strict=True)
    nobody.see([HEADER], np.array([0]), FAST.take(np.arange(0)), T0 + 40 * S)
    assert len(engine.snapshot(WHO)) < 2_000
    assert b"190" not in engine.snapshot(WHO)


OTHER = replace(HEADER, device_id=device_id("d2"), patient_id=patient_id("p3"))


@given(st.sampled_from(sorted(REFUSED)), st.lists(st.sampled_from(["fast", "hot", "other"]), max_size=6))
def test_a_gate_is_as_if_what_it_refuses_had_never_come(name: str, order: list[str]) -> None:
    gate = REFUSED[name]
    closed, opened = Engine(Everyone(PLAN, gate=gate), strict=True), Engine(Everyone(PLAN), strict=True)
    batches = {"fast": (HEADER, FAST), "hot": (HEADER, HOT), "other": (OTHER, FAST)}
    now_us, seen = T0 + 41 * S, [list[AlertEvent](), list[AlertEvent]()]
    for one in order:
        header, batch = batches[one]
        codes = refused(gate, [header], np.array([len(batch)]), batch, reasons(batch))
        left = batch.take(codes == 0)
        seen[0] += closed.see([header], np.array([len(batch)]), batch, now_us)
        seen[1] += opened.see([header], np.array([len(left)]), left, now_us)
    seen[0] += closed.finish(now_us)
    seen[1] += opened.finish(now_us)
    assert seen[0] == seen[1]
