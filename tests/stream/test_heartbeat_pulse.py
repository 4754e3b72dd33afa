"""How far beats come, and what operations are told: over any outages, with time advanced by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.heartbeat_pulse import BadPatience, Patience, Pulse, Stage, Told, late, look, passed

S = 1_000_000
START_US = 1_795_251_660 * S
PATIENCE = Patience()
WITHOUT_DATABASE = Patience(is_stored_seen=False)
WAY = (Stage.SENT, Stage.NOTIFIED, Stage.DELIVERED)
Broken = frozenset[Stage]
ALL_WELL: Broken = frozenset()


def lived(minutes: Sequence[Broken], patience: Patience = PATIENCE) -> tuple[Pulse, list[Told]]:
    """What is told over minutes in which nothing passes the stages that are broken, looked at every second."""
    pulse, told = Pulse(START_US), []
    for minute, broken in enumerate(minutes):
        beat_us = START_US + minute * 60 * S
        for stage in _reached(broken):
            pulse = passed(pulse, stage, beat_us)
        for second in range(60):
            pulse, one = look(pulse, patience, beat_us + second * S + 300_000)
            told += [] if one is None else [one]
    return pulse, told


def _reached(broken: Broken) -> list[Stage]:
    found = []
    for stage in WAY:
        if stage in broken:
            break
        found.append(stage)
    return [*found, *([Stage.STORED] if not broken & {Stage.SENT, Stage.STORED} else [])]


def test_nothing_is_told_while_beats_come_through() -> None:
    assert lived([ALL_WELL] * 30)[1] == []


@pytest.mark.parametrize(
    ("broken", "reached"),
    [(Stage.SENT, None), (Stage.NOTIFIED, Stage.SENT), (Stage.DELIVERED, Stage.NOTIFIED), (Stage.STORED, Stage.SENT)],
)
def test_what_is_missing_is_told_once_by_the_stage_that_it_does_not_pass_and_taken_back_once(
    broken: Stage, reached: Stage | None
) -> None:
    _, told = lived([ALL_WELL] * 5 + [frozenset({broken})] * 30 + [ALL_WELL] * 5)
    last_us = START_US + 4 * 60 * S
    gone, back = told
    assert (gone.is_back, gone.stage, gone.reached, gone.since_us, gone.is_worse) == (
        False, broken, reached, last_us, False
    )  # fmt: skip
    limit_s = 240 if broken is Stage.STORED else 180
    assert limit_s < (gone.at_us - last_us) / S <= limit_s + 1
    assert (back.is_back, back.stage, back.since_us) == (True, broken, last_us)
    assert (back.at_us - START_US) // (60 * S) == 35


def test_two_beats_may_be_lost_and_nothing_is_told() -> None:
    """A watch that was killed between two beats may have nothing new to say of the next one."""
    lost = frozenset({Stage.NOTIFIED})
    assert lived(([ALL_WELL] + [lost] * 2) * 10 + [ALL_WELL])[1] == []


def test_the_alerts_way_is_told_though_the_database_was_told_already() -> None:
    no_database, neither = frozenset({Stage.STORED}), frozenset({Stage.STORED, Stage.NOTIFIED})
    told = lived([ALL_WELL] * 3 + [no_database] * 20 + [neither] * 20 + [no_database] * 5 + [ALL_WELL] * 3)[1]
    assert [(one.is_back, one.stage, one.is_worse) for one in told] == [
        (False, Stage.STORED, False), (False, Stage.NOTIFIED, True), (True, Stage.NOTIFIED, False)
    ]  # fmt: skip
    assert len({one.since_us for one in told}) == 1


def test_where_both_ways_break_at_once_the_alerts_is_told() -> None:
    for broken in ({Stage.SENT}, {Stage.NOTIFIED, Stage.STORED}, {Stage.DELIVERED, Stage.STORED}):
        told = lived([ALL_WELL] * 3 + [frozenset(broken)] * 30)[1]
        assert [one.stage for one in told] == [min(broken - {Stage.STORED}, key=WAY.index)]


def test_a_beat_that_was_sent_before_the_broker_went_does_not_hide_what_is_missing() -> None:
    """It was the newest to be sent, the one before it the newest to be delivered; then nothing more gets in."""
    told = lived([ALL_WELL] * 3 + [frozenset({Stage.NOTIFIED})] + [frozenset({Stage.SENT})] * 9)[1]
    assert [(one.stage, one.reached) for one in told] == [(Stage.SENT, None)]


def test_from_the_beginning_nothing_ever_came() -> None:
    (told,) = lived([frozenset({Stage.SENT})] * 10)[1]
    assert (told.stage, told.since_us) == (Stage.SENT, START_US)


def test_a_backlog_that_comes_at_last_proves_nothing_about_now() -> None:
    pulse = Pulse(START_US, dict.fromkeys(Stage, START_US))
    now_us = START_US + 3_600 * S
    pulse, told = look(pulse, PATIENCE, now_us)
    assert told is not None
    for ago_s in (3_000, 1_000, 300):
        for stage in Stage:
            pulse = passed(pulse, stage, now_us - ago_s * S)
    assert look(pulse, PATIENCE, now_us)[1] is None
    assert late(pulse, PATIENCE, now_us) == frozenset(Stage)
    assert passed(pulse, Stage.SENT, START_US) is pulse


def test_the_database_is_not_missed_where_nobody_looks_into_it() -> None:
    assert lived([ALL_WELL] * 3 + [frozenset({Stage.STORED})] * 30, WITHOUT_DATABASE)[1] == []


def test_less_than_three_beats_are_no_patience() -> None:
    with pytest.raises(BadPatience, match="three times"):
        Patience(missing_s=119, period_s=40)


@given(st.lists(st.tuples(st.sets(st.sampled_from(list(Stage))), st.integers(1, 9)), min_size=1, max_size=8))
def test_an_outage_is_told_once_and_its_end_once(spells: list[tuple[set[Stage], int]]) -> None:
    for patience in (PATIENCE, WITHOUT_DATABASE):
        minutes = [frozenset(broken) for broken, length in spells for _ in range(length)] + [ALL_WELL] * 2
        pulse, told = lived(minutes, patience)
        assert pulse.missing is None
        assert not told or told[-1].is_back
        open_as: Stage | None = None
        for one in told:
            if one.is_back:
                assert open_as is not None
                assert one.stage is open_as
                open_as = None
            elif open_as is None:
                assert not one.is_worse
                open_as = one.stage
            else:  # only from the database to what matters more
                assert one.is_worse
                assert open_as is Stage.STORED
                assert one.stage in WAY
                open_as = one.stage
