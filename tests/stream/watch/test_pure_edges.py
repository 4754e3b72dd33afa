"""The pure parts at the watch's edge: records of its state, what was told, rounds, lag, the pipeline's own alert."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.episode import fold_all
from alerts.event import AlertEvent, Audience, State
from ingest.record import encode
from stream.assemble import RawRecord
from stream.recorder import crc_of
from stream.watch.held import Held
from stream.watch.lag import Lag
from stream.watch.partition import PartitionWatch, newest_by_epoch
from stream.watch.pipeline import PATIENT, Pipeline, open_among
from stream.watch.rounds import SOON_S, Rounds
from stream.watch.standing import Standing
from stream.watch.state_record import MARKER, MAX_BODY_BYTES, Kept, Place, UnreadableState, pack, unpack
from stream.watch.strays import over, strays_among
from stream.watch.told import Told
from tests.stream.making import HEADER, T0, S, samples
from tests.stream.watch.fake_engine import FakeEngine, event
from vitals.ids import is_opaque


@given(st.binary(max_size=5_000), st.integers(0, 2**62), st.none() | st.integers(0, 2**32 - 1))
def test_a_record_of_the_state_is_read_as_it_was_written(body: bytes, offset: int, crc: int | None) -> None:
    kept = Kept(Place("e1", offset, None if crc is None else 5, crc), offset + 3, 1_800_000_000_000, body)
    assert unpack(pack(kept)) == kept


@given(st.binary(max_size=400))
def test_bytes_from_anywhere_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(UnreadableState):
        unpack(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1', b'"v":2'),
        (b'"size":3', b'"size":2'),
        (b'"size":3', b'"size":-1'),
        (b'"size":3', b'"size":%d' % (MAX_BODY_BYTES + 1)),
        (b'"below"', b'"blow"'),
        (b'"below":7', b'"below":-7'),
        (b'"below":7', b'"below":Infinity'),
        (b'"offset":7', b'"offset":9223372036854775808'),
        (b'"epoch":"e1"', b'"epoch":' + b"[" * 100_000),
    ],
)
def test_a_record_of_another_version_or_size_is_refused(old: bytes, new: bytes) -> None:
    value = pack(Kept(Place("e1", 7), 7, 0, b"abc"))
    assert old in value
    with pytest.raises(UnreadableState):
        unpack(value.replace(old, new))


def test_the_marker_is_no_patients_key() -> None:
    assert not is_opaque(MARKER.decode())


def test_what_stands_on_the_topic_is_not_told_again() -> None:
    told = Told()
    raised = event("p1", T0, State.RAISED, T0)
    assert told.fresh([raised, raised]) == [raised]
    assert told.fresh([event("p1", T0, State.RAISED, T0, retrospective=True)]) == [], "it was told as live"
    cleared = event("p1", T0, State.CLEARED, T0 + S)
    assert told.fresh([raised, cleared]) == [cleared]
    other = event("p1", T0 + S, State.RAISED, T0 + S, retrospective=True)
    assert told.fresh([other]) == [other]
    live = other.model_copy(update={"retrospective": False})
    assert told.fresh([live]) == [live], "that it goes on now is news"


def test_what_was_told_is_bounded() -> None:
    told = Told(limit=10)
    told.remember(event("p1", T0 + at, State.RAISED, T0 + at) for at in range(50))
    assert len(told) == 10
    assert told.fresh([event("p1", T0 + 49, State.RAISED, T0 + 49)]) == []


def test_caught_up_is_having_seen_what_stood_there_two_seconds_ago() -> None:
    lag = Lag(0.0)
    assert not lag.look(0.0, 0, None, None)
    assert not lag.look(1.0, 90, 100, 1.0)
    assert lag.look(2.0, 100, 200, 2.0), "all that was there a second ago"
    assert lag.behind_s(2.0) == 0
    assert not lag.look(4.5, 100, 300, 4.5)
    assert not lag.look(5.0, 100, 300, 5.0)
    assert lag.behind_s(6.5) == 2.0


def test_nobody_is_caught_up_with_a_broker_that_is_away() -> None:
    lag = Lag(0.0)
    assert lag.look(1.0, 100, 100, 1.0)
    assert lag.look(3.0, 100, 100, 1.0)
    assert not lag.look(3.1, 100, 100, 1.0)
    assert lag.look(9.0, 100, 100, 8.9)


def test_a_round_is_spread_over_its_period_and_ends_with_everybody() -> None:
    rounds = Rounds(60.0)
    assert rounds.is_due(0.0)
    rounds.begin(0.0, Place("e", 7), 1, [f"p{n}" for n in range(90)])
    assert not rounds.is_due(0.0)
    taken = [len(rounds.take(float(at), 1_000)) for at in range(61)]
    assert sum(taken) == 90
    assert max(taken) <= 3
    ended = rounds.ended()
    assert ended is not None
    assert ended.place.offset == 7
    assert not rounds.is_due(59.0)
    assert rounds.is_due(60.0)


def test_who_was_written_out_of_turn_since_the_round_began_is_not_written_again_in_it() -> None:
    rounds = Rounds(60.0)
    rounds.hasten(["before"], 9.8)
    assert rounds.take(9.8, 10) == ["before"]
    rounds.begin(10.0, Place("e", 7), 1, ["before", "after", "other"])
    rounds.hasten(["after"], 10.1)
    assert rounds.take(10.1, 10) == ["after", "before"]
    assert rounds.take(70.0, 10) == ["other"]
    assert rounds.ended() is not None


def test_a_round_does_not_end_before_everybody_had_a_turn() -> None:
    rounds = Rounds(60.0)
    rounds.begin(0.0, Place("e", 7), 1, ["p1", "p2"])
    rounds.take(30.0, 1)
    assert rounds.ended() is None
    rounds.take(60.0, 9)
    assert rounds.ended() is not None


def test_who_was_told_of_is_written_down_soon_and_once_for_all_that_was_told() -> None:
    rounds = Rounds(60.0)
    rounds.hasten(["p1"], SOON_S)
    rounds.hasten(["p1"], SOON_S * 1.5)
    assert rounds.take(SOON_S - 0.1, 10) == []
    assert rounds.take(SOON_S, 10) == ["p1"]
    assert rounds.take(2 * SOON_S, 10) == []


def test_who_had_a_turn_is_not_written_again_for_what_was_told_before() -> None:
    rounds = Rounds(60.0)
    rounds.begin(0.0, Place("e", 7), 1, ["p1"])
    rounds.hasten(["p1"], SOON_S)
    assert rounds.take(1.0, 10) == ["p1"]
    assert rounds.take(SOON_S, 10) == []


def test_one_alert_for_all_that_is_behind_and_one_end() -> None:
    pipeline = Pipeline(after_s=30.0)
    assert pipeline.judge({0: 29.0, 1: 0.0}, T0) == []
    (raised,) = pipeline.judge({0: 31.0, 1: 5.0, 2: 0.0}, T0)
    assert (raised.patient_id, raised.state, raised.origin.device_id) == (PATIENT, State.RAISED, "partition-0")
    assert pipeline.judge({0: 60.0, 1: 35.0, 2: 31.0}, T0 + S) == []
    assert pipeline.judge({0: 0.0, 1: 35.0, 2: 0.0}, T0 + S) == []
    (cleared,) = pipeline.judge({0: 0.0, 1: 0.0, 2: 0.0}, T0 + 2 * S)
    assert (cleared.alert_id, cleared.state) == (raised.alert_id, State.CLEARED)
    assert pipeline.judge({0: 0.0}, T0 + 3 * S) == []


def test_whoever_gets_the_partition_ends_its_alert() -> None:
    before, after = Pipeline(30.0), Pipeline(30.0)
    (raised,) = before.judge({3: 31.0}, T0)
    found = open_among([event("p1", T0, State.RAISED, T0)], [raised])
    assert found == {3: raised}
    after.take_over(found[3])
    assert after.open_at(3) == raised
    assert after.judge({3: 40.0}, T0 + S) == [], "it is told already"
    (cleared,) = after.judge({3: 0.0}, T0 + 2 * S)
    assert open_among([cleared], [raised]) == {}
    assert open_among([cleared, raised]) == {}, "in whatever order they come"


def _record(offset: int, values: list[float], *, patient: str = "p1") -> RawRecord:
    columns = samples("heart_rate", range(offset * 10, offset * 10 + len(values)), values)
    good = encode(HEADER, columns)
    return RawRecord("vigil.samples", 0, offset, 1_800_000_000_000 + offset, patient.encode(), good.value, good.headers)


def _watched(**more: object) -> PartitionWatch:
    return PartitionWatch(("vigil.samples", 0), FakeEngine(), "e1", 0, **more)  # type: ignore[arg-type]


def test_a_partition_counts_on_and_its_place_is_recognised_by_the_last_record() -> None:
    watched = _watched()
    broken = RawRecord("vigil.samples", 0, 1, 5, b"p1", b"nonsense", ())
    seen = watched.see([_record(0, [70, 120]), broken], T0)
    assert (seen.records, seen.samples, seen.unreadable, seen.skipped) == (1, 2, 1, 0)
    assert [one.state for one in seen.events] == [State.RAISED]
    assert watched.place() == Place("e1", 2, 5, crc_of(b"p1", b"nonsense", 5))
    assert watched.begins_after([_record(3, [1])])
    assert not watched.begins_after([_record(2, [1])])


def test_a_fetch_that_comes_again_changes_nothing() -> None:
    watched = _watched()
    watched.see([_record(0, [70, 120]), _record(1, [130])], T0)
    again = watched.see([_record(0, [70, 120]), _record(1, [130])], T0)
    assert (again.skipped, again.events, watched.position) == (2, [], 2)
    assert watched.engine.patients["p1"]["seen"] == 3  # type: ignore[attr-defined]


def test_what_a_snapshot_holds_is_not_seen_again_and_the_next_one_goes_no_less_far() -> None:
    watched = _watched(below={b"p1": 2}, floor=1)
    assert watched.is_seen_anew
    seen = watched.see([_record(0, [120]), _record(0, [120], patient="p2")], T0)
    assert [one.patient_id for one in seen.events] == ["p2"]
    assert not watched.is_seen_anew
    watched.engine.restore("p1", b'{"open": null, "seen": 9}')
    kept = watched.snapshot("p1", 4)
    assert kept is not None
    assert (kept.place.offset, kept.below, kept.taken_ms) == (1, 2, 4)
    watched.see([_record(1, [120]), _record(2, [120])], T0)
    assert watched.engine.patients["p1"]["seen"] == 10
    kept = watched.snapshot("p1", 4)
    assert kept is not None
    assert kept.below == 3
    assert watched.snapshot("nobody", 4) is None


def _kept(offset: int, epoch: str = "e1", crc: int | None = 1) -> Kept:
    return Kept(Place(epoch, offset, 5, crc), offset, 0, b"{}")


def test_the_farthest_place_of_each_epoch_is_asked_for() -> None:
    kept = {"p1": _kept(3), "p2": _kept(9), "p3": _kept(12, crc=None), "p4": _kept(1, "e2")}
    assert {epoch: place.offset for epoch, place in newest_by_epoch(kept).items()} == {"e1": 9, "e2": 1}


def test_a_snapshot_of_a_worker_that_had_lost_the_partition_is_not_believed() -> None:
    standing = Standing()
    for key, one in ((b"p1", _kept(5)), (b"p2", _kept(6)), (MARKER, _kept(8)), (b"p1", _kept(7)), (b"p2", _kept(8))):
        standing.take(key, pack(one))
    assert standing.unreadable == {"p1"}
    assert standing.kept.keys() == {"p2"}
    standing.take(b"p1", pack(_kept(9)))
    assert not standing.unreadable


def test_a_newer_snapshot_does_not_give_way_to_one_that_goes_less_far_unless_the_log_is_another() -> None:
    standing = Standing()
    for one in (_kept(9), _kept(7)):
        standing.take(b"p1", pack(one))
    assert standing.kept["p1"].below == 9
    standing.take(b"p1", pack(_kept(2, "e2")))
    assert standing.kept["p1"].below == 2
    standing.take(b"p1", None)
    assert not standing.kept
    standing.take(b"p2", b"damaged")
    assert standing.unreadable == {"p2"}


def test_the_pipelines_alert_is_an_alert_as_others_are() -> None:
    (raised,) = Pipeline(1.0).judge({0: 31.0}, T0)
    assert AlertEvent.model_validate_json(raised.to_bytes()) == raised


def test_what_was_open_of_a_lost_state_is_closed_unless_the_engine_found_it_again() -> None:
    lost, found, ended = (event("p1", T0 + at * S, State.RAISED, T0 + at * S) for at in (0, 1, 2))
    told = [lost, found, ended, event("p1", T0 + 2 * S, State.CLEARED, T0 + 3 * S), event("p2", T0, State.RAISED, T0)]
    review = lost.model_copy(update={"audience": Audience.REVIEW, "alert_id": "0" * 32})
    strays = strays_among([*told, review], {"p1"})
    assert strays == [lost, found]
    now_us = T0 + 600 * S
    (closed,) = over(strays, lambda _, told: told == found.alert_id, now_us)
    assert (closed.alert_id, closed.state, closed.priority) == (lost.alert_id, State.CLEARED, lost.priority)
    assert "no longer watched" in closed.sentence
    assert AlertEvent.model_validate_json(closed.to_bytes()) == closed
    assert not fold_all([*told, closed])[lost.alert_id].is_open
    assert over(strays, lambda _, told: False, T0 + 200 * S) == [], "it may still be found"


def test_strays_are_closed_once_and_not_at_once() -> None:
    strays = [event("p1", T0, State.RAISED, T0)]
    held = Held(_watched(), Lag(0.0), strays=strays, lost=frozenset({"p1"}), taken_us=T0 + 600 * S)
    assert held.watched.withheld == {"p1"}, "until then the topic says that p1's state cannot be read"
    assert held.take_strays(T0 + 700 * S) == []
    assert [one.state for one in held.take_strays(T0 + 901 * S)] == [State.CLEARED]
    assert held.take_strays(T0 + 902 * S) == []
    assert not held.watched.withheld


def test_where_all_is_lost_only_those_are_closed_who_were_heard_here() -> None:
    strays = [event(patient, T0, State.RAISED, T0) for patient in ("p1", "p2")]
    held = Held(_watched(), Lag(0.0), strays=strays, taken_us=T0 + 600 * S)
    assert held.watched.withheld == {MARKER.decode()}, "else nothing would say that the state was lost"
    held.watched.kept.add("p1")
    assert [one.patient_id for one in held.take_strays(T0 + 901 * S)] == ["p1"]
    assert not held.watched.withheld
    held.watched.kept.add("p2")
    assert [one.patient_id for one in held.take_strays(T0 + 906 * S)] == ["p2"]
    assert held.strays == []
