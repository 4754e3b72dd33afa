"""What must not be lost in the long run: devices that are in use, episodes that go on, and the end of all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.episode import fold_all
from alerts.event import AlertEvent, Audience, Kind, Priority, State
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.policy import ADULT, hastened
from stream.detectors.protocol import Person
from stream.watch.crowd import Everyone
from stream.watch.engine import Engine
from stream.watch.memory import MAX_ORIGINS
from stream.watch.plan import Plan, default_plan
from stream.watch.size import MAX_BYTES, array_bytes
from tests.stream.making import HEADER, T0, S, samples
from tests.stream.watch.toys import Broken, PatientToy, Toy, ToyState, overdue
from vitals.batch import BatchHeader, SampleColumns
from vitals.ids import device_id
from vitals.quality import Context

HOUR = 3_600
WHO = HEADER.patient_id
LIMITS = hastened(ADULT, 10, 10)
PLAN = Plan("ward", "3", replace(LIMITS, rules=()), (), (Toy(), PatientToy()))


def of(device: str) -> BatchHeader:
    return replace(HEADER, device_id=device_id(device))


def strict(plan: Plan = PLAN, **more: Any) -> Engine:
    return Engine(Everyone(plan), strict=True, **more)


def see(engine: Engine, batch: SampleColumns, now_s: float, header: BatchHeader = HEADER) -> list[AlertEvent]:
    now_us = T0 + int(now_s * S)
    events = engine.see([header], np.array([len(batch)]), batch, now_us)
    return events + [event for told in engine.settle(now_us) for event in told]


def stretch(first: int, last: int, value: float, **more: Any) -> SampleColumns:
    return samples("heart_rate", range(first, last), value, **more)


def told(events: Sequence[AlertEvent]) -> list[tuple[str, str, bool]]:
    return [(event.rule, event.state.value, event.retrospective) for event in events]


# --- Devices in use are not forgotten -----------------------------------------------------------------------------


def _worn(engine: Engine, devices: Sequence[str], seconds: int) -> int:
    """Everything at once, every 30 s; returns the most that the arrays of the patient took."""
    draw, most = np.random.default_rng(1), 0
    for at in range(0, seconds, 30):
        for device in devices:
            rr = np.full(33, 900.0) + draw.normal(0, 30, 33)
            parts = [
                samples("rr_interval", at + np.cumsum(rr[:32]) / 1_000, rr[:32]),
                samples("heart_rate", np.arange(at, at + 30, 5), 70 + draw.normal(0, 2, 6)),
                samples("spo2", np.arange(at, at + 30, 2), 96 + draw.normal(0, 1, 15)),
                samples("respiratory_rate", [at, at + 15], 14 + draw.normal(0, 1, 2)),
                samples("body_temperature", [at], 36.8),
                samples("enmo", np.arange(at, at + 30, 15), 20.0),
            ]
            see(engine, SampleColumns.concat(parts), at + 31, of(device))
        most = max(most, array_bytes(engine._roster.patients[WHO]))
    return most


def test_two_ordinary_devices_stay_within_the_bound_and_one_within_half_of_it() -> None:
    plan = default_plan()
    assert _worn(strict(plan), ["d1"], HOUR) <= MAX_BYTES / 2
    engine = strict(plan)
    assert _worn(engine, ["d1", "d2"], HOUR) <= MAX_BYTES
    assert engine.evicted == 0


def test_devices_in_use_are_never_forgotten_for_what_they_take() -> None:
    engine = strict(default_plan())
    devices = [f"d{number}" for number in range(MAX_ORIGINS)]
    assert _worn(engine, devices, 600) > MAX_BYTES
    kept = engine.snapshot(WHO)
    again = strict(default_plan())
    again.restore(WHO, kept)
    _worn(again, devices, 60)
    assert (engine.evicted, again.evicted) == (0, 0)
    assert {key[0] for key in again._roster.patients[WHO].origins} == set(devices)


def test_what_is_out_of_use_makes_room_for_a_new_device_unless_something_is_open() -> None:
    engine = strict(replace(default_plan(), technical=()))
    _worn(engine, ["d1", "d2", "d3", "d4", "d5"], 600)
    day = 25 * HOUR
    for device in ("d2", "d3", "d4", "d5"):
        see(engine, stretch(day, day + 40, 70), day + 40, of(device))
    assert engine.evicted == 0
    see(engine, stretch(day, day + 40, 70), day + 40, of("d6"))
    assert "d1" not in {key[0] for key in engine._roster.patients[WHO].origins}
    assert engine.evicted == 1


def test_of_too_many_devices_one_with_nothing_open_is_forgotten_first() -> None:
    engine = strict()
    raised = see(engine, stretch(0, 60, 120), 60, of("d0"))
    assert told(raised) == [("toy", "raised", False)]
    for number in range(1, MAX_ORIGINS + 4):
        assert see(engine, stretch(60 + number, 70 + number, 70), 80, of(f"d{number}")) == []
    assert list(engine.open_alerts(WHO)) == [raised[0].alert_id]
    assert engine.evicted == 4


def test_a_burst_does_not_wait_for_the_caller() -> None:
    engine = strict()
    burst = samples("heart_rate", np.arange(10_000) / 100, 70)
    engine.see([HEADER], np.array([len(burst)]), burst, T0 + 100 * S)
    (origin,) = engine._roster.patients[WHO].origins.values()
    assert origin.inbox.count <= PLAN.max_waiting
    assert engine.ignored == 0


# --- What was found late and still goes on ------------------------------------------------------------------------


def test_an_episode_of_a_backlog_is_told_once_as_live_when_it_goes_on() -> None:
    engine = strict()
    late = see(engine, stretch(0, 600, 120), 2 * HOUR)  # the watch was away: received in time, judged late
    late += see(engine, stretch(600, HOUR, 120), 2 * HOUR)
    assert told(late) == [("toy", "raised", True)]
    (live,) = see(engine, stretch(2 * HOUR - 60, 2 * HOUR, 120), 2 * HOUR)
    assert told([live]) == [("toy", "raised", False)]
    assert live.alert_id == late[0].alert_id
    assert live.priority is late[0].priority
    assert (2 * HOUR - 60) * S < live.measured_at.timestamp() * S - T0 <= 2 * HOUR * S
    assert "not over yet" in live.sentence
    for at in range(2 * HOUR, 3 * HOUR, 60):
        assert see(engine, stretch(at, at + 60, 120), at + 60) == []
    (over,) = see(engine, stretch(3 * HOUR, 3 * HOUR + 120, 70), 3 * HOUR + 120)
    assert told([over]) == [("toy", "cleared", False)]
    assert not fold_all([*late, live, over])[live.alert_id].is_open


def test_what_a_backlog_itself_ends_is_not_told_as_live() -> None:
    engine = strict()
    events = see(engine, stretch(0, 600, 120), 2 * HOUR)
    events += see(engine, stretch(600, 700, 70), 2 * HOUR)
    events += see(engine, stretch(2 * HOUR - 60, 2 * HOUR, 70), 2 * HOUR)
    assert told(events) == [("toy", "raised", True), ("toy", "cleared", True)]


@pytest.mark.parametrize("wrong", [{"quality": 0.1}, {"context": int(Context.NO_CONTACT)}], ids=["quality", "contact"])
def test_nothing_goes_on_by_samples_that_say_nothing(wrong: dict[str, float]) -> None:
    engine = strict(replace(PLAN, detectors=(Toy(limit=100.0),)))
    assert told(see(engine, stretch(0, 600, 120), 2 * HOUR)) == [("toy", "raised", True)]
    assert see(engine, stretch(2 * HOUR - 60, 2 * HOUR, 120, **wrong), 2 * HOUR) == []


def test_the_backfill_lane_tells_nothing_as_live() -> None:
    engine = strict(live=False)
    assert told(see(engine, stretch(0, 600, 120), 600)) == [("toy", "raised", True)]
    assert see(engine, stretch(600, 700, 120), 700) == []


@dataclass(frozen=True, slots=True)
class Worsening(Toy):
    """As the toy, and a finding of higher priority when a heart reaches 150."""

    def step(
        self, state: ToyState, seen: Observations, until_us: int, person: Person
    ) -> tuple[ToyState, list[Finding]]:
        after, found = Toy.step(self, state, seen, until_us, person)
        found = [replace(one, priority=Priority.LOW) for one in found]
        if after.held.raised_us is not None and after.held.opened_us is not None and (seen["value"] >= 150).any():
            at_us = int(seen["start_us"][-1])
            found.append(
                Finding(
                    "toy",
                    1,
                    "heart_rate",
                    Kind.PHYSIOLOGICAL,
                    Priority.MEDIUM,
                    State.ESCALATED,
                    after.held.opened_us,
                    after.held.raised_us,
                    at_us,
                    at_us,
                    at_us,
                    "heart rate of a worse toy",
                )
            )
        return after, found


def test_what_had_escalated_is_told_as_escalated() -> None:
    engine = strict(replace(PLAN, detectors=(Worsening(),)))
    late = see(engine, stretch(0, 300, 120), 2 * HOUR) + see(engine, stretch(300, 600, 150), 2 * HOUR)
    assert told(late) == [("toy", "raised", True), ("toy", "escalated", True)]
    kept = engine.snapshot(WHO)
    again = strict(replace(PLAN, detectors=(Worsening(),)))
    again.restore(WHO, kept)
    (live,) = see(again, stretch(2 * HOUR - 60, 2 * HOUR, 120), 2 * HOUR)
    assert told([live]) == [("toy", "escalated", False)]
    assert live.priority is Priority.MEDIUM


def test_a_review_list_is_not_told_again() -> None:
    plan = replace(PLAN, detectors=(Toy(audience=Audience.REVIEW),))
    engine = strict(plan)
    see(engine, stretch(0, 600, 120), 2 * HOUR)
    assert see(engine, stretch(2 * HOUR - 60, 2 * HOUR, 120), 2 * HOUR) == []


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from([70, 120]), st.integers(30, 400)), min_size=1, max_size=8),
    st.integers(0, 3 * HOUR),
    st.lists(st.booleans(), min_size=1, max_size=8),
)
def test_each_episode_is_raised_late_once_and_live_once_at_most_in_that_order(
    story: list[tuple[int, int]], delay_s: int, restarts: list[bool]
) -> None:
    engine = strict()
    values = [value for value, length in story for _ in range(length)]
    events: list[AlertEvent] = []
    for number, at in enumerate(range(0, len(values), 50)):
        part = samples("heart_rate", range(at, min(at + 50, len(values))), values[at : at + 50])
        now_s = max(at + 50, delay_s)
        if restarts[number % len(restarts)]:
            kept, engine = engine.snapshot(WHO), strict()
            if kept:
                engine.restore(WHO, kept)
        events += see(engine, part, now_s)
    by_alert: dict[str, list[tuple[str, bool]]] = {}
    for event in events:
        by_alert.setdefault(event.alert_id, []).append((event.state.value, event.retrospective))
    for changes in by_alert.values():
        raised = [late for state, late in changes if state == "raised"]
        assert raised in ([True], [False], [True, False])
        assert [state for state, _ in changes][len(raised) :] in ([], ["cleared"])


# --- What nobody can end any more ---------------------------------------------------------------------------------


def test_an_episode_of_a_device_that_is_gone_is_closed_and_its_return_told_anew() -> None:
    engine = strict()
    (raised,) = see(engine, stretch(0, 100, 120), 100)
    assert not any(engine.settle(T0 + 140 * S))  # silent for long enough: what waits is settled too
    assert overdue(engine, T0 + 25 * HOUR * S) == []
    (over,) = overdue(engine, T0 + 27 * HOUR * S)
    assert told([over]) == [("toy", "cleared", False)]
    assert over.alert_id == raised.alert_id
    assert "no longer watched" in over.sentence
    assert WHO in engine.dirty()
    assert overdue(engine, T0 + 28 * HOUR * S) == []
    (again,) = see(engine, stretch(30 * HOUR, 30 * HOUR + 100, 120), 30 * HOUR + 100)
    assert told([again]) == [("toy", "raised", False)]
    assert again.alert_id != raised.alert_id


def test_a_limit_of_a_device_that_is_gone_is_closed_too_and_judged_anew() -> None:
    engine = strict(replace(PLAN, limits=LIMITS, detectors=()))
    (raised,) = see(engine, stretch(0, 100, 150), 100)
    (over,) = overdue(engine, T0 + 27 * HOUR * S)
    assert (over.alert_id, over.state) == (raised.alert_id, State.CLEARED)
    (again,) = see(engine, stretch(30 * HOUR, 30 * HOUR + 100, 150), 30 * HOUR + 100)
    assert (again.rule, again.state) == ("heart_rate_high", State.RAISED)
    assert again.alert_id != raised.alert_id


def test_another_device_keeps_no_episode_of_this_one_open() -> None:
    engine = strict()
    see(engine, stretch(0, 100, 120), 100)
    see(engine, stretch(26 * HOUR, 27 * HOUR, 70), 27 * HOUR, of("d2"))
    assert told(overdue(engine, T0 + 27 * HOUR * S)) == [("toy", "cleared", False)]


@dataclass(frozen=True, slots=True)
class Breaking(Toy):
    """Breaks once, at a heart of 42."""

    name: ClassVar[str] = "toy"

    def step(
        self, state: ToyState, seen: Observations, until_us: int, person: Person
    ) -> tuple[ToyState, list[Finding]]:
        if (seen["value"] == 42).any():
            raise ZeroDivisionError
        return Toy.step(self, state, seen, until_us, person)


def test_the_episode_of_a_detector_that_breaks_ends_and_others_stay() -> None:
    engine = Engine(Everyone(replace(PLAN, detectors=(Breaking(), Broken()))))
    (raised,) = see(engine, stretch(0, 100, 120), 100)
    (other,) = see(engine, stretch(0, 100, 120), 100, of("d2"))
    (over,) = see(engine, stretch(100, 140, 42), 140)
    assert (over.alert_id, over.state) == (raised.alert_id, State.CLEARED)
    assert "no longer watched" in over.sentence
    assert list(engine.open_alerts(WHO)) == [other.alert_id]
    (again,) = [one for at in range(140, 300, 40) for one in see(engine, stretch(at, at + 40, 120), at + 40)]
    assert again.state is State.RAISED


# --- Measurements that say that they end in the future -----------------------------------------------------------


def test_a_measurement_from_the_future_blinds_nobody() -> None:
    engine = strict(replace(PLAN, limits=LIMITS))
    long = replace(stretch(0, 1, 80), duration_ms=np.array([240 * HOUR * 1_000]))
    see(engine, long, 10)
    events = see(engine, stretch(1, 100, 150), 100)
    assert {(event.rule, event.state.value) for event in events} == {("heart_rate_high", "raised"), ("toy", "raised")}
    assert engine.ignored == 0


def test_an_interval_that_is_not_over_waits_until_it_comes_again() -> None:
    engine = strict(default_plan())
    hour = replace(samples("steps", [0.0], 900), duration_ms=np.array([HOUR * 1_000]))
    see(engine, hour, 1)
    assert not engine._waiting
    over = replace(hour, received_us=hour.received_us + HOUR * S, written_us=hour.written_us + HOUR * S)
    see(engine, over, HOUR)
    (origin,) = engine._roster.patients[WHO].origins.values()
    assert (origin.inbox.count, origin.newest_us) == (1, T0 + HOUR * S)
