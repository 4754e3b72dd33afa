"""The engine: what it settles, what becomes of findings, and that no cut, delay or restart changes what is found."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import AlertEvent, Audience, Priority, State
from stream.detectors.policy import ADULT, hastened
from stream.detectors.protocol import Person
from stream.watch.crowd import Crowd, Everyone
from stream.watch.engine import Engine
from stream.watch.plan import Plan
from tests.stream.making import HEADER, T0, S, samples
from tests.stream.watch.toys import Broken, Doubter, PatientToy, Toy, overdue
from vitals.batch import BatchHeader, SampleColumns
from vitals.care_profile import CareProfile
from vitals.ids import device_id, patient_id

LIMITS = hastened(ADULT, 10, 10)
PLAN = Plan("ward", "3", replace(LIMITS, rules=()), (Doubter(),), (Toy(), PatientToy()))
WHO = HEADER.patient_id
Record = tuple[BatchHeader, SampleColumns]


def see(engine: Engine, records: Sequence[Record], now_us: int) -> list[AlertEvent]:
    """One fetch."""
    headers = [header for header, _ in records]
    columns = SampleColumns.concat([one for _, one in records])
    events = engine.see(headers, np.array([len(one) for _, one in records]), columns, now_us)
    return events + [event for told in engine.settle(now_us) for event in told]


def watch(
    engine: Engine, *batches: SampleColumns, now_s: float | None = None, header: BatchHeader = HEADER
) -> list[AlertEvent]:
    """Each batch as a fetch of one record, seen when its newest sample was received, or at `now_s`."""
    events = []
    for batch in batches:
        now_us = int(batch.received_us.max()) if now_s is None else T0 + int(now_s * S)
        events += see(engine, [(header, batch)], now_us)
    return events


def told(events: Sequence[AlertEvent]) -> list[tuple[str, str]]:
    return [(event.rule, event.state.value) for event in events]


def story(seconds: int = 240) -> SampleColumns:
    """80 /min, a minute of 120 from 60 s on, and 80 again; 1 Hz."""
    values = [120.0 if 60 <= at < 120 else 80.0 for at in range(seconds)]
    return samples("heart_rate", range(seconds), values)


def pieces(whole: SampleColumns, size: int) -> list[SampleColumns]:
    return [whole.take(np.arange(at, min(at + size, len(whole)))) for at in range(0, len(whole), size)]


def strict(plan: Plan = PLAN, **more: Any) -> Engine:
    return Engine(Everyone(plan, **more), strict=True)


def test_a_settled_finding_becomes_an_alert() -> None:
    raised, cleared = watch(strict(), *pieces(story(), 5))
    assert told([raised, cleared]) == [("toy", "raised"), ("toy", "cleared")]
    assert raised.alert_id == cleared.alert_id
    assert raised.priority is Priority.MEDIUM  # high, capped by the device's intended use
    assert raised.policy == "ward 3"
    assert raised.evidence.figures == {"worst_bpm": 1.0}
    assert raised.sentence.startswith("Heart rate of a toy, measured 20")
    assert raised.sentence.endswith("UTC; limits not individualised.")
    assert not raised.retrospective
    assert raised.opened_at < raised.raised_at < raised.measured_at or raised.raised_at == raised.measured_at


def test_what_waits_is_told_once_it_is_quiet() -> None:
    engine = strict()
    assert watch(engine, *pieces(story(83), 10)) == []  # 20 s above the limit are there, but not yet settled
    assert engine.open_alerts(WHO) == {}
    soon = T0 + 100 * S
    assert [event for events in engine.settle(soon) for event in events] == []
    events = [event for events in engine.settle(T0 + 113 * S) for event in events]
    assert told(events) == [("toy", "raised")]
    assert [one.rule for one in engine.open_alerts(WHO).values()] == ["toy"]
    assert list(engine.settle(T0 + 500 * S)) == []


def test_what_a_technical_detector_distrusts_takes_no_part() -> None:
    values = np.where(story().value > 100, 111.0, 80.0)
    assert watch(strict(), *pieces(replace(story(), value=values), 5)) == []
    judged = replace(PLAN, limits=replace(LIMITS, rules=tuple(one for one in ADULT.rules if one.name != "signal_lost")))
    quick = replace(judged, limits=hastened(judged.limits, 10, 10))
    trusted = samples("heart_rate", range(300), [80] * 60 + [150] * 240)
    assert told(watch(strict(quick), *pieces(trusted, 5)))[0] == ("heart_rate_high", "raised")
    first = samples("heart_rate", range(300), [80] * 20 + [111] + [80] * 39 + [150] * 240)
    assert told(watch(strict(quick), *pieces(first, 5))) == [("toy", "raised")]


def test_a_finding_of_old_data_is_retrospective_and_backfill_always_is() -> None:
    old = watch(strict(), *pieces(story(), 5), now_s=2_000)
    assert [event.retrospective for event in old] == [True, True]
    assert "found in data that arrived late" in old[0].sentence
    backfill = Engine(Everyone(PLAN), live=False, strict=True)
    assert [event.retrospective for event in watch(backfill, *pieces(story(), 5))] == [True, True]
    ancient = Engine(Everyone(replace(PLAN, backfill_horizon_s=86_400)), live=False, strict=True)
    assert watch(ancient, *pieces(story(), 5), now_s=90_000) == []


def test_behaviour_is_only_looked_for_where_somebody_reviews_it() -> None:
    plan = replace(PLAN, detectors=(Toy(audience=Audience.REVIEW),))
    assert watch(strict(plan), *pieces(story(), 5)) == []
    reviewed = strict(plan, person_=Person(CareProfile(version=1, review_by="dr-1"), Priority.HIGH))
    raised, cleared = watch(reviewed, *pieces(story(), 5))
    assert raised.review_by == cleared.review_by == "dr-1"
    assert raised.priority is Priority.HIGH


def test_a_spanning_sample_is_not_late_and_a_night_at_unlock_still_counts() -> None:
    engine = strict()
    steps = replace(samples("steps", [0.0], 20), duration_ms=np.array([60_000]))
    night = replace(samples("steps", [-400.0], 20), duration_ms=np.array([300_000]))
    watch(engine, story(70), steps, samples("heart_rate", range(70, 200), 80), night)
    engine.finish(T0 + 300 * S)
    assert engine.ignored == 1  # after the later steps, those of before are too late
    again = strict()
    watch(again, story(70), samples("heart_rate", range(70, 200), 80), night, steps)
    again.finish(T0 + 300 * S)
    assert again.ignored == 0


def test_a_correction_replaces_and_a_deletion_removes() -> None:
    engine = strict()
    wrong = samples("heart_rate", range(60, 100), 120)
    right = replace(wrong, value=np.full(40, 80.0), written_us=wrong.written_us + 5)
    calm = samples("heart_rate", range(60), 80)
    assert (
        watch(engine, calm, wrong.take(np.arange(10)), right.take(np.arange(10)), story(180).take(np.arange(120, 180)))
        == []
    )
    engine.finish(T0 + 900 * S)
    assert engine.ignored == 10


def test_a_detector_that_breaks_is_counted_and_the_others_go_on() -> None:
    engine = Engine(Everyone(replace(PLAN, detectors=(Broken(), *PLAN.detectors))))
    assert told(watch(engine, *pieces(story(), 5))) == [("toy", "raised"), ("toy", "cleared")]
    assert set(engine.failures) == {"broken"}


def test_silence_is_counted_from_what_is_settled() -> None:
    engine = strict()
    watch(engine, samples("heart_rate", range(100), 80))
    assert overdue(engine, T0 + 101 * S) == []
    engine.finish(T0 + 101 * S)
    assert overdue(engine, T0 + 200 * S) == []


@dataclass(frozen=True)
class Some(Everyone):
    """One plan for all but who has withdrawn."""

    gone: frozenset[str] = frozenset()

    def withdrawn(self, patient_id: str) -> bool:
        return patient_id in self.gone


def test_withdrawal_ends_the_watch_and_says_so_once() -> None:
    engine = strict()
    raised = watch(engine, story(110))
    raised += engine.finish(T0 + 110 * S)
    assert told(raised) == [("toy", "raised")]
    gone = Some(PLAN, gone=frozenset({WHO}))
    cleared, unwatched = engine.adopt(gone, T0 + 120 * S)
    assert (cleared.alert_id, cleared.state) == (raised[0].alert_id, State.CLEARED)
    assert "consent withdrawn" in cleared.sentence
    assert (unwatched.rule, unwatched.kind.value, unwatched.state) == ("not_monitored", "technical", State.RAISED)
    assert unwatched.evidence.figures == {"reason": "consent withdrawn"}
    assert engine.adopt(gone, T0 + 130 * S) == []
    assert watch(engine, samples("heart_rate", range(110, 400), 120)) == []
    kept = engine.snapshot(WHO)
    again = Engine(gone, strict=True)
    again.restore(WHO, kept)
    assert again.adopt(gone, T0 + 140 * S) == []
    (back,) = again.adopt(Everyone(PLAN), T0 + 150 * S)
    assert (back.alert_id, back.state) == (unwatched.alert_id, State.CLEARED)
    assert told(watch(again, *pieces(samples("heart_rate", range(400, 500), 120), 5))) == [("toy", "raised")]


def test_who_withdrew_while_nobody_watched_is_let_go_after_the_restart() -> None:
    engine = strict()
    watch(engine, story(110))
    engine.finish(T0 + 110 * S)
    kept = engine.snapshot(WHO)
    again = Engine(Some(PLAN, gone=frozenset({WHO})), strict=True)
    again.restore(WHO, kept)
    assert told([event for events in again.settle(T0 + 500 * S) for event in events]) == [
        ("toy", "cleared"),
        ("not_monitored", "raised"),
    ]


def test_another_plan_keeps_what_it_can_and_closes_the_rest() -> None:
    engine = strict()
    watch(engine, story(110))
    (raised,) = engine.open_alerts(WHO) or [event.alert_id for event in engine.finish(T0 + 110 * S)]
    moved = replace(PLAN, version="4", detectors=(Toy(limit=105.0), PatientToy()))
    assert engine.adopt(Everyone(moved), T0 + 111 * S) == []
    assert list(engine.open_alerts(WHO)) == [raised]
    without = replace(PLAN, detectors=(PatientToy(),))
    (over,) = engine.adopt(Everyone(without), T0 + 112 * S)
    assert (over.alert_id, over.state) == (raised, State.CLEARED)
    assert "no longer watched" in over.sentence


def test_a_rule_that_is_gone_after_a_restart_closes_its_episode() -> None:
    engine = strict()
    watch(engine, story(110))
    engine.finish(T0 + 110 * S)
    again = strict(replace(PLAN, detectors=()))
    again.restore(WHO, engine.snapshot(WHO))
    assert told([event for events in again.settle(T0 + 120 * S) for event in events]) == [("toy", "cleared")]


def test_one_patients_plan_is_not_anothers() -> None:
    @dataclass(frozen=True)
    class Wards(Everyone):
        def plan_of(self, patient_id: str) -> Plan:
            return without if patient_id == "p2" else PLAN

    without = replace(PLAN, label="other", detectors=(Toy(limit=130.0),))
    engine = Engine(Wards(PLAN), strict=True)
    other = replace(HEADER, patient_id=patient_id("p2"))
    events = []
    for part in pieces(story(), 10):
        events += see(engine, [(HEADER, part), (other, part)], int(part.received_us[-1]))
    assert {event.patient_id for event in events} == {"p1"}


def test_records_without_samples_or_header_are_left_aside() -> None:
    engine = strict()
    whole = story()
    assert engine.see([None, HEADER, None], np.array([0, len(whole), 0]), whole, T0 + 240 * S) == []
    assert told(engine.finish(T0 + 240 * S)) == [("toy", "raised"), ("toy", "cleared")]
    assert engine.see([None], np.array([0]), whole.take(np.arange(0)), T0) == []


def test_waiting_is_bounded_at_any_rate() -> None:
    engine = strict()
    for at in range(200):
        watch(engine, samples("spo2", at * 0.1 + np.arange(100) / 1_000, 97))
        assert len(engine.snapshot(WHO)) < 600 * 64 + 20_000
    engine.finish(T0 + 30 * S)
    assert engine.ignored == 0


# --- No cut, delay or restart changes what is found ---------------------------------------------------------------


def known(events: Sequence[AlertEvent]) -> list[tuple[str, str]]:
    return sorted((event.alert_id, event.state.value) for event in events)


STORY = st.lists(st.tuples(st.sampled_from([70, 125, 150, 111, 35]), st.integers(1, 40)), min_size=1, max_size=8)


def records_of(stretches: list[tuple[int, int]]) -> list[Record]:
    """One-second records of two devices, and a calm end long enough that everything has settled."""
    values = [value for value, length in stretches for _ in range(length)] + [70] * 90
    strap = replace(HEADER, device_id=device_id("d2"))
    made: list[Record] = []
    for at, value in enumerate(values):
        made.append((HEADER, samples("heart_rate", [at], value)))
        if at % 5 == 0:
            made.append((strap, samples("spo2", [at], 97 if value < 150 else 80)))
    return made


def run(
    records: list[Record], cuts: Sequence[int], *, restarts: Sequence[int] = (), plan: Plan = PLAN
) -> list[AlertEvent]:
    """Feed fetches cut before these positions, with a restart through the snapshot before some of them."""
    crowd: Crowd = Everyone(plan)
    engine = Engine(crowd, strict=True)
    edges = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    events: list[AlertEvent] = []
    for first, last in itertools.pairwise(edges):
        if first in restarts:
            kept = engine.snapshot(WHO)
            engine = Engine(crowd, strict=True)
            if kept:
                engine.restore(WHO, kept)
                assert engine.snapshot(WHO) == kept
        part = records[first:last]
        events += see(engine, part, max(int(one.received_us.max()) for _, one in part))
    return events + engine.finish(T0 + 10_000 * S)


FULL = replace(PLAN, limits=replace(LIMITS, settle_s=10))


@settings(max_examples=30, deadline=None)
@given(STORY, st.lists(st.integers(1, 500), max_size=12), st.lists(st.integers(0, 11), max_size=4))
def test_no_cut_and_no_restart_changes_what_is_found(
    stretches: list[tuple[int, int]], cuts: list[int], restarts: list[int]
) -> None:
    records = records_of(stretches)
    whole = run(records, [], plan=FULL)
    at = [sorted(set(cuts))[one] for one in restarts if one < len(set(cuts))]
    assert known(run(records, cuts, restarts=at, plan=FULL)) == known(whole)
    assert known(run(records, range(len(records)), plan=FULL)) == known(whole)


@settings(max_examples=30, deadline=None)
@given(STORY, st.randoms(use_true_random=False))
def test_records_that_overtake_or_repeat_change_nothing(stretches: list[tuple[int, int]], random: Random) -> None:
    # What limits distrust is what is settled by the time they judge: that does depend on the order of arrival.
    records = records_of([(122 if value == 111 else value, length) for value, length in stretches])
    end = len(records) - 60
    places = {at: at + (random.choice([0, 7.5]) if at < end else 0) for at in range(len(records))}
    shuffled = [records[at] for at in sorted(places, key=places.__getitem__)]
    doubled = [one for one in shuffled for _ in range(random.choice([1, 1, 2]))]
    cuts = sorted(random.sample(range(len(doubled)), 10))
    assert known(run(doubled, cuts, plan=FULL)) == known(run(records, range(len(records)), plan=FULL))
