"""Silence against the origin's own cadence, raised by the clock, opened by the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Kind, State
from stream.detectors.gap import Gap, GapPolicy, GapState
from stream.detectors.observation import Observations
from stream.detectors.protocol import NOBODY
from tests.stream.detectors.judging import assert_cuts_do_not_matter, hostile, judge, size
from tests.stream.detectors.running import T0, S, told
from vitals.quality import Context

RAISED, CLEARED = State.RAISED, State.CLEARED
HOUR = 3_600


def opened_s(state: GapState, now_s: float) -> float | None:
    """Return when (s after T0) the silence is told to have opened, asked so late; None where it is not."""
    found = Gap().overdue(state, T0 + round(now_s * S), NOBODY)[1]
    return (found[0].opened_us - T0) / S if found else None


def uploaded(every_s: float, times: int, from_s: float = 0.0) -> Observations:
    """Return a sample a minute, received in uploads."""
    at = from_s + np.arange(60.0, every_s * times + 1, 60.0)
    seen = told("heart_rate", at, 70)
    seen["received_us"] = T0 + np.round((from_s + np.ceil((at - from_s) / every_s) * every_s) * S).astype(np.int64)
    return seen


def test_a_strap_that_falls_silent_is_told_after_five_minutes_whenever_the_clock_asks() -> None:
    state = judge(Gap(), told("heart_rate", np.arange(2_000), 70)).state
    assert opened_s(state, 1_999 + 299) is None
    assert {opened_s(state, 1_999 + late) for late in (300, 301, 5_000, 90_000)} == {1_999 + 300}


def test_it_is_told_once_and_cleared_when_anything_comes() -> None:
    state = judge(Gap(), told("heart_rate", np.arange(2_000), 70)).state
    state, raised = Gap().overdue(state, T0 + 3_000 * S, NOBODY)
    state, again = Gap().overdue(state, T0 + 4_000 * S, NOBODY)
    found = judge(Gap(), told("battery", [5_000.0], [50]), state=state)
    assert again == []
    assert [(one.kind, one.state, one.opened_us) for one in (*raised, *found.findings)] == [
        (Kind.TECHNICAL, RAISED, T0 + 2_299 * S),
        (Kind.TECHNICAL, CLEARED, T0 + 2_299 * S),
    ]
    assert raised[0].opened_us <= raised[0].raised_us <= raised[0].changed_us
    assert found.findings[0].changed_us == T0 + 5_000 * S


def test_what_was_hardly_heard_is_not_missed() -> None:
    assert opened_s(judge(Gap(), told("heart_rate", np.arange(5), 70)).state, 90_000) is None
    assert opened_s(judge(Gap(), told("heart_rate", np.arange(500), 70)).state, 90_000) is None


@pytest.mark.parametrize(("cadence_s", "allowed_s"), [(1, 300), (15, 300), (60, 600), (300, 3_000)])
def test_ten_of_the_usual_gaps_are_allowed(cadence_s: float, allowed_s: float) -> None:
    state = judge(Gap(), told("heart_rate", cadence_s * np.arange(100), 70)).state
    last_s = cadence_s * 99
    if last_s < 600:
        state = judge(Gap(), told("heart_rate", cadence_s * np.arange(100, 900), 70), state=state).state
        last_s = cadence_s * 899
    assert opened_s(state, last_s + allowed_s - 1) is None
    assert opened_s(state, last_s + allowed_s + 1) == last_s + allowed_s


def test_a_phone_that_uploads_every_hour_is_not_missed_between_uploads() -> None:
    state = judge(Gap(), uploaded(HOUR, 30)).state
    assert opened_s(state, 30 * HOUR + 2.9 * HOUR) is None
    assert opened_s(state, 30 * HOUR + 3.1 * HOUR) == pytest.approx(33 * HOUR)


def test_ten_uploads_in_a_minute_do_not_make_a_phone_fast() -> None:
    seen = uploaded(2 * HOUR, 24)
    several = np.unique(seen["received_us"])
    seen["received_us"] += (np.arange(len(seen)) % 10 * S) * np.isin(seen["received_us"], several)
    assert opened_s(judge(Gap(), seen).state, 48 * HOUR + 5 * HOUR) is None


def test_a_watch_that_is_off_every_night_is_not_missed_at_night_and_is_by_day() -> None:
    # T0 is 15:06:40 UTC; worn from 07:00 to 23:00.
    day = np.arange(0, 6 * 86_400, 60.0)
    hour = ((day + 15 * HOUR + 400) % 86_400) / HOUR
    worn = day[(hour >= 7) & (hour < 23)]
    state = judge(Gap(), told("heart_rate", worn[worn < 5 * 86_400 + 7 * HOUR], 70)).state  # until 22:06:40
    evening = 5 * 86_400 + 7.5 * HOUR
    assert opened_s(state, evening) is not None, "silence before the usual hour is one"
    state = judge(Gap(), told("heart_rate", worn[worn < 5 * 86_400 + 7.92 * HOUR], 70)).state  # until 23:00
    assert opened_s(state, 5 * 86_400 + 15 * HOUR) is None
    assert opened_s(state, 5 * 86_400 + 17 * HOUR) is not None, "and in the morning it is missed"


@pytest.mark.parametrize("context", [Context.CHARGING, Context.NO_CONTACT])
def test_a_planned_silence_may_be_longer(context: Context) -> None:
    seen = told("heart_rate", np.arange(2_000), 70)
    seen["context"][-1] = int(context)
    state = judge(Gap(), seen).state
    assert opened_s(state, 1_999 + 4 * HOUR - 1) is None
    assert opened_s(state, 1_999 + 4 * HOUR + 1) == 1_999 + 4 * HOUR


@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(1, 1_800), max_size=40))
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    seen = uploaded(HOUR, 30)
    assert_cuts_do_not_matter(Gap(), seen, cuts)
    states = [judge(Gap(), seen, cuts=some, repack=True).state for some in ((), cuts)]
    assert opened_s(states[0], 1e6) == opened_s(states[1], 1e6)


def test_hostile_input_leaves_it_small() -> None:
    for seed in range(3):
        found = judge(Gap(), hostile(seed))
        assert size(found.state) <= Gap.max_bytes
        Gap().overdue(found.state, T0 + 10**13, NOBODY)


@pytest.mark.parametrize("wrong", [{"least_s": 0}, {"planned_s": -1}, {"min_gaps": 0}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="|".join(wrong)):
        GapPolicy(**wrong)  # type: ignore[arg-type]
