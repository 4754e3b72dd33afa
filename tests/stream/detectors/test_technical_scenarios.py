"""Devices that go wrong, through the engine: technical alerts, and nothing physiological at all."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from alerts.event import AlertEvent, Kind, State
from devices.simulator import FAULTS, cohort, simulate
from stream.watch.crowd import Everyone
from stream.watch.engine import Engine
from stream.watch.replay import replay
from tests.accuracy.technical import START_US, alerts_of, technical_plan
from vitals.batch import BatchHeader, SampleColumns
from vitals.catalogue import number_of
from vitals.clock import US_PER_S
from vitals.ids import device_id, patient_id
from vitals.quality import Context

HOURS = 4
END_US = START_US + HOURS * 3_600 * US_PER_S
BAD_US = (START_US + 2 * 3_600 * US_PER_S, START_US + 3 * 3_600 * US_PER_S)
HEADER = BatchHeader(patient_id("p-1"), device_id("d-1"), "app", "test")


def worn(seed: int = 5) -> SampleColumns:
    told = simulate(cohort(1, seed, START_US, END_US)[0], START_US, END_US)
    return SampleColumns(**{one.name: getattr(told, one.name).copy() for one in fields(SampleColumns)})


def bad(samples: SampleColumns, *codes: str) -> NDArray[np.bool_]:
    """Return which samples of these metrics lie in the hour that goes wrong."""
    inside = (samples.start_us >= BAD_US[0]) & (samples.start_us < BAD_US[1])
    return inside & np.isin(samples.metric, [number_of(code) for code in codes])


def events(*told: SampleColumns, settle_every_s: float | None = None) -> list[AlertEvent]:
    plan = technical_plan()
    engine = Engine(Everyone(plan if settle_every_s is None else replace(plan, settle_every_s=settle_every_s)))
    return list(replay(engine, [(HEADER, SampleColumns.concat(list(told)))], step_s=15.0))


def kinds(found: list[AlertEvent]) -> tuple[Counter[str], Counter[str]]:
    """Return what was raised: technical, and physiological."""
    raised = [one for one in found if one.state is State.RAISED]
    technical, other = (
        [one.rule for one in raised if one.kind is kind] for kind in (Kind.TECHNICAL, Kind.PHYSIOLOGICAL)
    )
    return Counter(technical), Counter(other)


@pytest.mark.parametrize("settle_every_s", [10.0, 30.0, 120.0])
@pytest.mark.parametrize(("metric", "value"), [("heart_rate", 140.0), ("heart_rate", 35.0), ("spo2", 85.0)])
def test_a_flat_line_that_looks_alarming_is_a_sensor(metric: str, value: float, settle_every_s: float) -> None:
    samples = worn()
    samples.value[bad(samples, metric)] = value
    found = events(samples, settle_every_s=settle_every_s)
    technical, other = kinds(found)
    assert not other
    assert technical["stuck_value"] == 1
    assert [one.metric for one in found if one.rule == "stuck_value"] == [metric] * 2


def test_alarming_values_of_quality_0_are_one_lost_signal_and_no_patient() -> None:
    samples = worn()
    vital = bad(samples, "heart_rate", "spo2", "respiratory_rate", "body_temperature", "rr_interval", "hrv_rmssd")
    heart = bad(samples, "heart_rate")
    samples.value[heart] = np.random.default_rng(1).uniform(150, 250, heart.sum())
    samples.value[bad(samples, "spo2")] = 62.0
    samples.value[bad(samples, "rr_interval")] = 255.0
    samples.quality[vital] = 0.0
    technical, other = kinds(events(samples))
    assert not other
    assert technical == {"signal_lost": 1, "not_monitored": 1}


def test_a_strap_without_contact_that_tells_good_quality_is_believed_on_contact_alone() -> None:
    samples = worn()
    vital = bad(samples, "heart_rate", "spo2", "respiratory_rate", "body_temperature", "rr_interval", "hrv_rmssd")
    samples.context[vital] |= int(Context.NO_CONTACT)
    samples.value[bad(samples, "heart_rate")] = 190.0
    samples.value[bad(samples, "spo2")] = 70.0
    found = events(samples)
    technical, other = kinds(found)
    assert not other
    assert technical == {"signal_lost": 1, "not_monitored": 1}
    assert [one.state for one in found if one.rule == "signal_lost"] == [State.RAISED, State.CLEARED]
    assert [one.state for one in found if one.rule == "not_monitored"] == [State.RAISED, State.CLEARED]


def test_history_with_an_old_tachycardia_that_is_sent_again_is_no_news() -> None:
    samples = worn()
    old = (samples.start_us < START_US + 1_800 * US_PER_S) & (samples.metric == number_of("heart_rate"))
    fast = samples.take(np.flatnonzero(old))
    fast.value[:] = 170.0
    fast.received_us[:] = BAD_US[0] + np.arange(len(fast))
    fast.written_us[:] -= 3_600 * US_PER_S
    _, other = kinds(events(samples, fast))
    assert not other


def test_a_heart_that_is_fast_and_varies_is_a_patient_all_the_same() -> None:
    samples = worn()
    heart = bad(samples, "heart_rate")
    samples.value[heart] += 150.0 - np.round(samples.value[heart].mean())
    samples.context[heart] = 0
    technical, other = kinds(events(samples))
    assert other["heart_rate_high"] >= 1
    assert "stuck_value" not in technical


@pytest.mark.slow
def test_no_fault_of_a_device_looks_like_a_patient() -> None:
    expected = {"off_wrist": "stuck_value", "no_contact": "signal_lost", "gap": "gap", "burst": "gap"}
    for fault in FAULTS:
        people = cohort(1, 11, START_US, START_US + 8 * 3_600 * US_PER_S, faults=(fault,), beats=False)
        told = alerts_of(people, 8)
        assert not told.physiological, fault
        assert fault not in expected or told.technical[expected[fault]] == 1, fault
        assert told.technical.total() <= 4, fault
