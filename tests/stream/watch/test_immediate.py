"""From batches to alert events: the same alerts however the stream is cut, doubled and mildly shuffled."""

import itertools
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.episode import fold_all
from alerts.event import AlertEvent, Kind, Priority, State
from stream.detectors.limits import SignalRule
from stream.detectors.policy import ADULT, WatchPolicy, hastened
from stream.detectors.sustain import Timing
from stream.watch.crowd import Everyone
from stream.watch.engine import Engine
from stream.watch.memory import MAX_ORIGINS
from stream.watch.plan import Plan
from stream.watch.snapshot import UnreadableSnapshot
from tests.stream.making import HEADER, T0, S, samples
from vitals.batch import BatchHeader, SampleColumns
from vitals.ids import device_id, patient_id
from vitals.quality import Context

QUICK = hastened(ADULT, 10, 10)


def engine_of(policy: WatchPolicy = QUICK, *, max_patients: int = 1_000) -> Engine:
    """An engine of limits alone."""
    return Engine(Everyone(Plan("limits", "1", policy)), max_patients=max_patients, strict=True)


def step(engine: Engine, header: BatchHeader, batch: SampleColumns, now_us: int) -> list[AlertEvent]:
    """One record, and then all that is due."""
    told = engine.see([header], np.array([len(batch)]), batch, now_us)
    return told + [event for events in engine.settle(now_us) for event in events]


def watch(
    *batches: SampleColumns, policy: WatchPolicy = QUICK, engine: Engine | None = None, now_s: float = 0
) -> list[AlertEvent]:
    engine = engine_of(policy) if engine is None else engine
    return [event for batch in batches for event in step(engine, HEADER, batch, T0 + int(now_s * S))]


def of(patient: str = "p1", device: str = "d1") -> BatchHeader:
    return replace(HEADER, patient_id=patient_id(patient), device_id=device_id(device))


def told(events: list[AlertEvent]) -> list[tuple[str, str]]:
    return [(event.rule, event.state.value) for event in events]


def one_story(metric: str = "heart_rate", high: float = 150, low: float = 70) -> SampleColumns:
    """A minute of calm, a minute beyond the limit, a minute of calm; 1 Hz."""
    return samples(metric, range(180), [low] * 60 + [high] * 60 + [low] * 60)


def test_an_alert_says_all_that_a_person_needs() -> None:
    story = samples("heart_rate", range(260), [70] * 60 + [150] * 100 + [70] * 100)
    raised, cleared = watch(story, policy=ADULT, now_s=260)
    assert (raised.state, cleared.state) == (State.RAISED, State.CLEARED) == ("raised", "cleared")
    assert raised.alert_id == cleared.alert_id
    assert raised.kind is Kind.PHYSIOLOGICAL
    assert raised.evidence.threshold == 130
    assert len(raised.evidence.readings) == 32
    assert raised.evidence.samples == 60 + 1
    assert raised.evidence.unit == "/min"
    assert "not individualised" in raised.sentence
    assert not raised.retrospective
    assert raised.sentence.startswith("Heart rate above 130 /min for 60 s; last value 150 /min, measured ")
    assert raised.sentence.count("UTC") == 1
    assert AlertEvent.model_validate_json(raised.to_bytes()) == raised
    assert cleared.cleared_at == cleared.changed_at
    assert cleared.raised_at == raised.raised_at


def test_off_the_wrist_is_technical_and_never_physiological() -> None:
    lost = samples("heart_rate", range(60), 220, context=Context.NO_CONTACT)
    worthless = samples("heart_rate", range(60), 220, quality=0)
    with_signal = replace(QUICK, rules=(*QUICK.rules, SignalRule("signal_lost", 1, "heart_rate", timing=Timing(10))))
    for batch in (lost, worthless):
        assert watch(batch) == []
        events = watch(batch, policy=with_signal)
        assert told(events) == [("signal_lost", "raised")]
        assert events[0].kind is Kind.TECHNICAL
        assert events[0].priority is Priority.LOW
        assert not events[0].evidence.readings
        assert "220" not in events[0].sentence
        assert "sensor" in events[0].sentence.lower()


def test_contact_lost_while_pending_raises_nothing_physiological() -> None:
    context = [0] * 8 + [int(Context.NO_CONTACT)] * 5 + [0] * 8
    assert watch(samples("heart_rate", range(21), 150, context=context)) == []


def test_exercise_suppresses_the_resting_limit_but_not_oxygen() -> None:
    assert watch(samples("heart_rate", range(60), 160, context=Context.WORKOUT)) == []
    assert told(watch(samples("spo2", range(60), 85, context=Context.WORKOUT))) == [("spo2_low", "raised")]


@pytest.mark.parametrize("values", [[70] * 120, [70] * 60 + [250] + [70] * 60, [60, 65, 250, 30, 70] * 30])
def test_flat_and_glitches_raise_nothing(values: list[float]) -> None:
    assert watch(samples("heart_rate", range(len(values)), values)) == []


def test_low_quality_raises_nothing() -> None:
    assert watch(samples("spo2", range(300), 80, quality=0.4)) == []


def test_a_wellness_stream_never_raises_high() -> None:
    rules = tuple(replace(rule, priority=Priority.HIGH) for rule in QUICK.rules)
    assert [event.priority for event in watch(one_story(), policy=replace(QUICK, rules=rules))] == ["medium"] * 2


def test_old_findings_are_retrospective_and_a_going_on_one_becomes_live() -> None:
    old = watch(one_story(), now_s=10_000)
    assert [event.retrospective for event in old] == [True, True]
    assert "arrived late" in old[0].sentence
    going_on = samples("heart_rate", range(0, 3_600, 5), 150)
    events = watch(going_on, now_s=3_600)
    assert [(event.state, event.retrospective) for event in events] == [("raised", True), ("raised", False)]
    assert len({event.alert_id for event in events}) == 1
    assert fold_all(events)[events[0].alert_id].event == events[1]


def test_each_origin_and_metric_has_its_own_episode() -> None:
    engine = engine_of()
    for device in ("d1", "d2"):
        for metric, value in (("heart_rate", 150), ("spo2", 80)):
            header = of(device=device)
            step(engine, header, samples(metric, range(5), value), T0)
    events = [
        event
        for device in ("d1", "d2")
        for metric, value in (("heart_rate", 150), ("spo2", 80))
        for event in step(engine, of(device=device), samples(metric, range(5, 15), value), T0)
    ]
    assert len({event.alert_id for event in events}) == len(events) == 4


def test_a_redelivered_record_raises_nothing_twice() -> None:
    engine = engine_of()
    pieces = [one_story().take(np.arange(at, at + 20)) for at in range(0, 180, 20)]
    first = watch(*pieces, engine=engine)
    assert told(first) == [("heart_rate_high", "raised"), ("heart_rate_high", "cleared")]
    assert watch(*pieces, engine=engine) == []
    engine.finish(T0)
    assert engine.ignored == 180


def test_a_late_sample_within_the_bound_takes_its_place() -> None:
    story = samples("heart_rate", range(12), 150)
    calm = samples("heart_rate", [5.5], 70)
    early, late = story.take(np.arange(9)), story.take(np.arange(9, 12))
    assert watch(early, calm, late) == []  # it was not sustained after all
    assert told(watch(early, late)) == [("heart_rate_high", "raised")]


def test_a_deleted_sample_is_none() -> None:
    wrong = samples("heart_rate", range(9), 150)
    gone = replace(wrong, deleted=np.ones(9, np.bool_), written_us=wrong.written_us + 1)
    assert watch(wrong, gone, samples("heart_rate", range(9, 15), 150)) == []


STORY = st.lists(
    st.tuples(st.sampled_from([70, 125, 150, 35]), st.integers(1, 25), st.sampled_from([0, 0, 0, 32, 2])),
    min_size=1,
    max_size=8,
)


def tell(story: list[tuple[int, int, int]]) -> SampleColumns:
    """Stretches of (value, seconds, context), and a calm end so that nothing is left to settle."""
    values = [value for value, length, _ in story for _ in range(length)] + [70] * 40
    context = [context for _, length, context in story for _ in range(length)] + [0] * 40
    return samples("heart_rate", range(len(values)), values, context=context)


@settings(deadline=None)
@given(STORY, st.lists(st.integers(1, 220), max_size=8), st.lists(st.booleans(), max_size=9))
def test_cutting_and_doubling_batches_changes_nothing(
    story: list[tuple[int, int, int]], cuts: list[int], twice: list[bool]
) -> None:
    whole = tell(story)
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole.take(np.arange(first, last)) for first, last in itertools.pairwise(edges)]
    doubled = [
        piece for piece, again in itertools.zip_longest(pieces, twice[: len(pieces)]) for _ in range(2 if again else 1)
    ]
    assert watch(*doubled) == watch(whole)


@settings(deadline=None)
@given(STORY, st.randoms(use_true_random=False))
def test_batches_that_overtake_each_other_change_nothing_once_settled(
    story: list[tuple[int, int, int]], random: Random
) -> None:
    whole = tell(story)
    policy = replace(QUICK, settle_s=10)
    pieces = [whole.take(np.arange(at, min(at + 3, len(whole)))) for at in range(0, len(whole), 3)]
    # At most two places: no sample comes more than 3 * 3 s late.
    places = {at: at + random.choice([0, 2.5]) for at in range(len(pieces))}
    shuffled = [pieces[at] for at in sorted(places, key=places.__getitem__)]
    end = samples("heart_rate", range(len(whole), len(whole) + 30), 70)
    assert watch(*shuffled, end, policy=policy) == watch(whole, end, policy=policy)


@settings(deadline=None)
@given(STORY, st.randoms(use_true_random=False))
def test_however_they_come_each_key_has_one_open_episode(story: list[tuple[int, int, int]], random: Random) -> None:
    whole = tell(story)
    pieces = [whole.take(np.arange(at, min(at + 5, len(whole)))) for at in range(0, len(whole), 5)]
    random.shuffle(pieces)
    open_now: dict[str, str] = {}
    raised: list[str] = []
    for event in watch(*pieces):
        if event.state is State.RAISED:
            assert event.rule not in open_now
            open_now[event.rule] = event.alert_id
            raised.append(event.alert_id)
        else:
            assert open_now.pop(event.rule) == event.alert_id
    assert len(set(raised)) == len(raised)


@settings(deadline=None)
@given(STORY, st.integers(1, 100))
def test_a_state_that_was_written_down_goes_on_where_it_was(story: list[tuple[int, int, int]], cut: int) -> None:
    whole = tell(story)
    cut = min(cut, len(whole) - 1)
    first, second = whole.take(np.arange(cut)), whole.take(np.arange(cut, len(whole)))
    engine, again = engine_of(), engine_of()
    before = watch(first, engine=engine)
    assert engine.dirty() == [HEADER.patient_id]
    kept = engine.snapshot(HEADER.patient_id)
    assert engine.dirty() == []
    again.restore(HEADER.patient_id, kept)
    assert again.snapshot(HEADER.patient_id) == kept
    assert before + watch(second, engine=again) == watch(whole)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"version":0}', b"\xff"])
def test_a_damaged_snapshot_is_named(data: bytes) -> None:
    with pytest.raises(UnreadableSnapshot):
        engine_of().restore("p1", data)


def test_state_is_bounded() -> None:
    engine = engine_of(max_patients=10)
    for patient, device in itertools.product(range(30), range(20)):
        header = of(f"p{patient}", f"d{device}")
        step(engine, header, samples("heart_rate", np.arange(200) / 100, 150), T0)
    assert len(engine) == 10
    assert engine.snapshot("p0") == b""
    one = len(engine.snapshot("p29"))
    assert one / MAX_ORIGINS < 32_768
    assert engine.evicted == 20 + 30 * (20 - MAX_ORIGINS)


def test_high_rates_and_big_batches_raise_the_same() -> None:
    seconds = np.arange(0, 180, 0.02)
    values = np.where((seconds >= 60) & (seconds < 120), 150.0, 70.0)
    whole = samples("heart_rate", seconds, values)
    pieces = [whole.take(np.arange(at, at + 50)) for at in range(0, len(whole), 50)]
    assert watch(*pieces) == watch(whole)
    assert told(watch(whole)) == [("heart_rate_high", "raised"), ("heart_rate_high", "cleared")]
