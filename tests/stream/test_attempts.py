"""How often a write is tried: a database that is away for ever, one that breaks off only so often in a row."""

from stream.attempts import GIVEN_UP_MOST, TRIES, Attempts, tries_for
from timeseries.model import StoreRefused, StoreStrained, StoreUnavailable

AWAY, STRAINED = StoreUnavailable("away"), StoreStrained("57014")


def test_a_database_that_is_away_is_waited_for_without_end() -> None:
    attempts = Attempts(TRIES)
    assert not any(attempts.is_last(AWAY) for _ in range(10_000))


def test_strained_attempts_count_in_a_row() -> None:
    attempts = Attempts(TRIES)
    assert [attempts.is_last(STRAINED) for _ in range(TRIES)] == [False] * (TRIES - 1) + [True]
    attempts = Attempts(2)
    told = [STRAINED, AWAY, STRAINED, AWAY, AWAY, STRAINED, STRAINED]
    assert [attempts.is_last(error) for error in told] == [False] * 6 + [True]


def test_without_a_number_only_a_refusal_ends_it() -> None:
    attempts = Attempts()
    assert not any(attempts.is_last(STRAINED) for _ in range(1_000))
    assert attempts.is_last(StoreRefused("no"))


def test_waits_of_a_strained_database_grow_faster() -> None:
    away, strained = Attempts(), Attempts()
    waits = []
    for _ in range(3):
        away.is_last(AWAY)
        strained.is_last(STRAINED)
        waits.append((away.waits, strained.waits))
    assert waits == [(1, 1), (2, 5), (3, 9)]


def test_a_batch_is_tried_some_times_its_parts_once_and_a_single_record_some_times_again() -> None:
    assert tries_for(500, halved=False, given_up=0) == TRIES
    assert tries_for(250, halved=True, given_up=0) == 1
    assert tries_for(1, halved=True, given_up=GIVEN_UP_MOST - 1) == TRIES
    assert tries_for(1, halved=False, given_up=0) == TRIES


def test_after_many_given_up_in_a_row_a_single_record_is_waited_for() -> None:
    assert tries_for(1, halved=True, given_up=GIVEN_UP_MOST) is None
    assert tries_for(8, halved=True, given_up=GIVEN_UP_MOST) == 1, "smaller parts may pass all the same"
