"""The synthetic patient in the engine: each beat raises or clears at once, whatever policy, profile or consent says."""

import numpy as np
import pytest

from alerts.event import AlertEvent, Priority, State
from stream.policy_file.policies import Policies, built_in, policies_of
from stream.watch.engine import Engine
from stream.watch.people import CrowdSnapshot
from stream.watch.synthetic_plan import RULE
from tests.stream.watch.toys import overdue
from timeseries.people_reader import People
from vitals.batch import BatchHeader, sample_columns
from vitals.care_profile import CareProfile
from vitals.catalogue import number_of
from vitals.clock import from_datetime
from vitals.gate import Gate
from vitals.synthetic import CALM_BPM, DEVICE, HIGH_BPM, METRIC, PATIENT, SOURCE_APP

START_US = 1_795_251_660_000_000
MINUTE_US = 60_000_000
HEADER = BatchHeader(PATIENT, DEVICE, SOURCE_APP, "heartbeat")
OFF = policies_of(
    """
version = 3
label = "all off"
[limits.heart_rate_high.heart_rate]
enabled = false
[engine]
settle_every_s = 300.0
"""
)
LIMITED = CareProfile.model_validate({"version": 1, "limits": {"heart_rate": {"high": 290}}})


def crowd(policies: Policies, *, gone: bool = False, required: bool = False) -> CrowdSnapshot:
    people, nobody = People(profiles={PATIENT: LIMITED}), frozenset({PATIENT} if gone else ())
    return CrowdSnapshot(policies, people, Gate(require_consent=required), nobody)


def beats(engine: Engine, count: int, every_us: int = MINUTE_US) -> list[list[AlertEvent]]:
    found = []
    for number in range(count):
        at_us = START_US + number * every_us
        at = np.array([at_us], np.int64)
        value = np.array([CALM_BPM if number % 2 else HIGH_BPM])
        columns = sample_columns(at, np.array([number_of(METRIC)], np.int16), value, received_us=at)
        events = engine.see([HEADER], np.array([1]), columns, at_us + 100_000)
        later = [event for part in engine.settle(at_us + 200_000) for event in part]
        assert later == []
        assert overdue(engine, at_us + every_us - 1) == []
        found.append(events)
    return found


@pytest.mark.parametrize("every_us", [2_000_000, MINUTE_US, 3_600 * 1_000_000])
@pytest.mark.parametrize(
    "people",
    [crowd(built_in()), crowd(OFF), crowd(built_in(), gone=True), crowd(built_in(), required=True)],
    ids=["built in", "all off", "withdrawn", "consent required"],
)
def test_every_beat_is_one_event_at_once_and_nothing_else_is_told(people: CrowdSnapshot, every_us: int) -> None:
    engine = Engine(people, strict=True)
    found = beats(engine, 40, every_us)
    assert all(len(events) == 1 for events in found)
    told = [events[0] for events in found]
    assert [one.state for one in told] == [State.RAISED, State.CLEARED] * 20
    assert {(one.rule, one.metric, one.priority) for one in told} == {(RULE, METRIC, Priority.LOW)}
    assert {one.patient_id for one in told} == {PATIENT}
    assert [from_datetime(one.measured_at) for one in told] == [START_US + n * every_us for n in range(40)]
    assert len({one.alert_id for one in told}) == 20
    assert not any(one.retrospective for one in told)
    assert engine.finish(START_US + 41 * every_us) == []
    assert engine.failures == {}


def test_a_changed_crowd_leaves_its_open_alert_alone() -> None:
    engine = Engine(crowd(built_in()), strict=True)
    (raised,) = beats(engine, 1)[0]
    assert engine.adopt(crowd(OFF, gone=True, required=True), START_US + 1_000_000) == []
    assert list(engine.open_alerts(PATIENT)) == [raised.alert_id]
