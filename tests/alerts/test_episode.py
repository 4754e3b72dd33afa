import itertools

from hypothesis import given
from hypothesis import strategies as st

from alerts.episode import EpisodeState, acknowledge, fold, fold_all, is_news
from alerts.event import Priority, State
from tests.alerts.making import an_event, at

RAISED, CLEARED = an_event(), an_event(State.CLEARED, 120)
HIGHER = an_event(State.ESCALATED, 90, priority=Priority.HIGH)
EVENTS = [
    RAISED, HIGHER, CLEARED, an_event(retrospective=True), an_event(sentence="Other evidence."),
    an_event(State.CLEARED, 121), an_event(patient="p2"), an_event(opened_s=500),
]  # fmt: skip


def test_the_same_event_twice_changes_nothing() -> None:
    once = fold(None, RAISED)
    assert fold(once, RAISED) is once
    assert is_news(None, RAISED)
    assert not is_news(once, RAISED)


def test_a_clearance_that_overtook_its_raising_is_not_undone() -> None:
    episode = fold(fold(None, CLEARED), RAISED)
    assert episode.state is EpisodeState.CLEARED
    assert not episode.is_open
    assert is_news(fold(None, CLEARED), RAISED)  # the raising itself was never told


def test_of_one_time_the_clearance_is_later() -> None:
    together = an_event(State.CLEARED, 60)
    assert fold_all([RAISED, together]) == fold_all([together, RAISED])
    assert not fold_all([together, RAISED])[RAISED.alert_id].is_open


@given(
    st.lists(st.sampled_from(EVENTS), max_size=12).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some)))
)
def test_any_order_and_any_repetition_come_to_the_same(given_twice: tuple[list[object], list[object]]) -> None:
    some, shuffled = given_twice
    assert fold_all(some) == fold_all(shuffled) == fold_all([*shuffled, *some])  # type: ignore[arg-type, list-item]


def test_every_order_of_three() -> None:
    states = [fold_all(order) for order in itertools.permutations([RAISED, HIGHER, CLEARED])]
    assert all(one == states[0] for one in states)


def test_acknowledging_has_an_actor_and_a_time_and_the_first_stays() -> None:
    episode = acknowledge(fold(None, RAISED), "nurse-7", at(70))
    assert (episode.state, episode.acknowledged_by, episode.acknowledged_at) == ("acknowledged", "nurse-7", at(70))
    assert acknowledge(episode, "nurse-8", at(80)) is episode
    cleared = fold(episode, CLEARED)
    assert (cleared.state, cleared.acknowledged_by) == ("cleared", "nurse-7")


def test_a_higher_priority_waits_for_a_person_again_and_the_same_does_not() -> None:
    episode = acknowledge(fold(None, RAISED), "nurse-7", at(70))
    assert fold(episode, an_event(sentence="Other evidence.")).state is EpisodeState.ACKNOWLEDGED
    assert fold(episode, HIGHER).state is EpisodeState.RAISED
    assert fold(episode, HIGHER).acknowledged_by is None


def test_what_was_seen_as_an_old_finding_and_goes_on_now_waits_for_a_person_again() -> None:
    old = acknowledge(fold(None, an_event(retrospective=True)), "nurse-7", at(70))
    assert fold(old, an_event(changed_s=80, retrospective=True)).state is EpisodeState.ACKNOWLEDGED
    now = fold(old, an_event(changed_s=90))
    assert (now.state, now.acknowledged_by) == (EpisodeState.RAISED, None)
    assert fold(old, an_event(State.CLEARED, 120)).acknowledged_by == "nurse-7"


def test_what_was_told_live_is_no_news_in_retrospect_and_the_other_way_round_it_is() -> None:
    old = an_event(retrospective=True)
    assert not is_news(fold(None, RAISED), old)
    assert is_news(fold(None, old), RAISED)
