"""Sleep and activity over weeks: what changed is found against the person's own pattern, what only varies is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.event import Audience, Kind, Priority, State
from stream.detectors.behaviour import ChangePolicy, Direction, changes, learn, recent, weekday
from stream.detectors.behaviour_review import DAY_US, WITHDRAWN, PersonDays, review
from stream.detectors.finding import Finding
from tests.accuracy.behaviour import changed, ordinary

POLICY = ChangePolicy()
FIRST = 20_000


def noise(seed: int, days: int = 180, echo: float = 0.2) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Days that resemble the day before a little, standard deviation about 1, on a weekday pattern of one's own."""
    draw = np.random.default_rng(seed)
    told = draw.normal(size=days)
    for at in range(1, days):
        told[at] += echo * told[at - 1]
    return told + draw.normal(0, 0.5, 7)[weekday(np.arange(FIRST, FIRST + days))]


def day(days: int = 180) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(FIRST, FIRST + days, dtype=np.int64)


def test_weekdays_begin_on_monday() -> None:
    assert weekday(np.array([0, 4, 20_000])).tolist() == [3, 0, 4]  # 1970-01-01, 1970-01-05, 2024-10-04


def test_a_weekday_pattern_is_usual() -> None:
    value = np.where(weekday(day(70)) >= 5, 4.0, 0.0) + np.random.default_rng(1).normal(0, 0.3, 70)
    usual = learn(day(70)[:28], value[:28], 0.1)
    assert np.abs(usual.z(day(70)[28:], value[28:])).max() < 5
    assert changes(day(70), value, 0.1, POLICY)[1] == []


def test_nothing_is_said_before_the_reference_is_full() -> None:
    value = noise(2, 28)
    value[14:] -= 50
    assert changes(day(28), value, 0.1, POLICY) == (None, [])


def test_what_only_varies_is_called_changed_once_in_some_hundred_days() -> None:
    found = sum(len(changes(day(), noise(seed), 0.1, POLICY)[1]) for seed in range(200))
    assert found / (200 * (180 - 28)) < 0.003


def test_a_shift_of_two_standard_deviations_is_found_within_two_weeks() -> None:
    delays = []
    for seed in range(100):
        value = noise(seed)
        value[100:] -= 2
        told = [one for one in changes(day(), value, 0.1, POLICY)[1] if one.raised >= 100]
        delays += [told[0].raised - 100] if told and told[0].direction is Direction.DOWN else []
    assert len(delays) >= 90
    assert np.median(delays) <= 8
    assert np.percentile(delays, 90) <= 21


def test_a_slow_decline_does_not_become_normal() -> None:
    """Over half a year a tenth of a standard deviation every three days: the last weeks never look odd."""
    value = noise(3, 200, echo=0.0) - np.maximum(np.arange(200) - 28, 0) / 30
    told = changes(day(200), value, 0.1, POLICY)[1]
    assert [one.direction for one in told] == [Direction.DOWN]
    assert told[0].cleared is None
    lately = recent(day(200), value, 199, 0.1, POLICY)
    assert lately is not None
    assert abs(lately) < 2


def test_one_odd_day_raises_nothing() -> None:
    value = noise(4)
    value[100] -= 40
    assert changes(day(), value, 0.1, POLICY)[1] == []


def test_a_change_that_passes_is_cleared_once() -> None:
    value = noise(5)
    value[80:100] += 4
    told = changes(day(), value, 0.1, POLICY)[1]
    assert [(one.direction, one.opened) for one in told] == [(Direction.UP, 80)]
    assert told[0].cleared is not None
    assert 100 < told[0].cleared < 112


@given(st.integers(0, 50), st.integers(60, 180), st.lists(st.integers(0, 179), max_size=40, unique=True))
def test_days_to_come_change_nothing_that_was_told(seed: int, until: int, missing: list[int]) -> None:
    value = noise(seed)
    value[90:130] -= 3
    value[missing] = np.nan
    early = changes(day()[:until], value[:until], 0.1, POLICY)[1]
    late = changes(day(), value, 0.1, POLICY)[1]
    for one, other in zip(early, late, strict=False):
        assert (one.direction, one.opened, one.raised) == (other.direction, other.opened, other.raised)
        assert one.cleared in (None, other.cleared)


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=120))
def test_any_days_are_borne(values: list[float]) -> None:
    _, told = changes(day(len(values)), np.array(values), 0.1, POLICY)
    for one in told:
        assert one.opened <= one.raised
        assert one.cleared is None or one.cleared > one.raised


@pytest.mark.parametrize(
    "wrong",
    [
        {"reference_days": 7}, {"slack_sd": 4.0}, {"slack_sd": -1.0}, {"clear_days": 0}, {"clear_sd": 0.0},
        {"decision_sd": 2.0}, {"recent_days": 3}, {"drawn": -1.0}, {"reference_days": 10**6},
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ChangePolicy(**wrong)  # type: ignore[arg-type]


def person(*, less: bool = False, later: bool = False, until: int = 180, zone_min: int = 120) -> PersonDays:
    """Somebody's half year; from day 90 on they walk less, or sleep later."""
    steps, middle = 8_000 * np.exp(0.25 * noise(6)), 210 + 25 * noise(7)
    if less:
        steps[90:] *= 0.3
    if later:
        middle[90:] += 110
    values = {
        "steps": steps, "sleep_midpoint_local_min": middle, "sleep_total_min": 430 + 35 * noise(8),
        "sleep_awake_min": 25 + 9 * np.abs(noise(9)),
    }  # fmt: skip
    return PersonDays(day(until), np.full(until, zone_min), {name: value[:until] for name, value in values.items()})


def rules(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.rule, one.state.value) for one in findings]


def test_ordinary_weeks_give_nothing_to_review() -> None:
    assert review(person()) == []


def test_less_activity_is_told_in_plain_words_with_its_figures() -> None:
    (told,) = review(person(less=True))
    assert rules([told]) == [("activity_changed", "raised")]
    assert (told.audience, told.priority, told.kind) == (Audience.REVIEW, Priority.LOW, Kind.PHYSIOLOGICAL)
    assert told.says.startswith("fewer steps than usual: ")
    assert 1_500 < float(told.figures["since_then"]) < 3_500 < 6_000 < float(told.figures["usual"]) < 10_000
    assert len(told.readings) == 14
    assert told.opened_us == (FIRST + 90) * DAY_US - 120 * 60_000_000
    for word in ("relapse", "mood", "depress", "suicid", "violen"):
        assert word not in told.says


def test_less_activity_and_later_sleep_are_one_finding() -> None:
    (told,) = review(person(less=True, later=True))
    assert rules([told]) == [(WITHDRAWN, "raised")]
    assert "later sleep than usual" in told.says
    assert {"steps_usual", "sleep_midpoint_min_usual"} <= set(told.figures)


def test_one_spell_lasts_until_both_are_as_usual_again() -> None:
    """Later sleep from day 80 to 170; fewer steps from 90 to 110 and again from 130 to 150."""
    days = person()
    for begin in (90, 130):
        days.values["steps"][begin : begin + 20] *= 0.2
    days.values["sleep_midpoint_local_min"][80:170] += 120
    after = {until: review(cut(days, until)) for until in (100, 125, 145, 165, 180)}
    assert [rules(told) for told in after.values()] == [[(WITHDRAWN, "raised")]] * 4 + [[(WITHDRAWN, "cleared")]]
    assert len({told[0].opened_us for told in after.values()}) == 1
    assert after[125][0].says.startswith("later sleep than usual: ")
    assert after[125][0].says.endswith("; as usual again, after fewer steps than usual")
    assert after[180][0].says == "as usual again, after less activity and later sleep than usual"


def cut(days: PersonDays, until: int) -> PersonDays:
    values = {name: one[:until] for name, one in days.values.items()}
    return PersonDays(days.day[:until], days.zone_offset_min[:until], values)


def test_an_episode_keeps_its_beginning_from_day_to_day() -> None:
    opened = {one.opened_us for until in range(110, 180) for one in review(person(less=True, until=until))}
    assert len(opened) == 1


def test_a_change_that_is_over_says_so() -> None:
    days = person()
    days.values["steps"][80:100] *= 0.2
    (told,) = review(days)
    assert told.state is State.CLEARED
    assert told.says == "as usual again, after fewer steps than usual"


def test_nights_that_nobody_told_are_stepped_over() -> None:
    days = person()
    for value in days.values.values():
        value[40:] = np.nan
    assert review(days) == []


def test_simulated_people_who_withdraw_are_found_within_four_weeks_and_others_hardly_ever() -> None:
    """The scenario takes 14 days to its depth. With more people: `make accuracy`."""
    delays = [changed(number) for number in range(8)]
    assert all(one is not None and one <= 28 for one in delays), delays
    assert sum(ordinary(number).total() for number in range(8)) <= 4, "over 1,216 days"
