"""Untrustworthy data may be left aside for a while, then somebody must know that nobody looks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Kind, Priority, State
from stream.detectors.monitoring import Monitoring, MonitoringPolicy
from stream.detectors.observation import Observations
from stream.detectors.protocol import NOBODY
from tests.stream.detectors.judging import Outcome, assert_cuts_do_not_matter, changes, hostile, judge, size
from tests.stream.detectors.running import T0, S, together, told
from vitals.quality import Context

RAISED, CLEARED = State.RAISED, State.CLEARED
MINUTE, HOUR = 60, 3_600
OFF = int(Context.NO_CONTACT)


def worn(heart: tuple[int, int] = (0, 0), oxygen: tuple[int, int] = (0, 0), context: int = 0) -> Observations:
    """Return three hours of three vital signs, untrustworthy from and to these seconds."""
    at = np.arange(0, 3 * HOUR, 1.0)
    five, fifteen = at[::5] + 0.2, at[::15] + 0.3
    lost, unclear = (at >= heart[0]) & (at < heart[1]), (five >= oxygen[0]) & (five < oxygen[1])
    return together(
        told("heart_rate", at, np.where(lost, 200, 72), quality=np.where(lost, 0, 1), context=lost * context),
        told("spo2", five, np.where(unclear, 60, 97), quality=np.where(unclear, 0.2, 1)),
        told("respiratory_rate", fifteen, 16),
    )


LEARNED = judge(Monitoring(), worn()).state


def later(seen: Observations, by_s: float = 3 * HOUR) -> Observations:
    """Return samples moved behind those that were learned from."""
    moved = seen.copy()
    for name in ("start_us", "written_us", "received_us"):
        moved[name] += round(by_s * S)
    return moved


def after(seen: Observations) -> Outcome:
    return judge(Monitoring(), later(seen), state=LEARNED)


def test_a_quarter_of_an_hour_without_a_trustworthy_pulse_is_told_with_the_last_one() -> None:
    found = after(worn(heart=(HOUR, 2 * HOUR))).findings
    assert changes(found) == [("heart_rate", RAISED, 4 * HOUR - 1 + 15 * MINUTE), ("heart_rate", CLEARED, 5 * HOUR)]
    raised = found[0]
    assert (raised.rule, raised.kind, raised.priority) == ("not_monitored", Kind.TECHNICAL, Priority.MEDIUM)
    assert raised.figures["last_heart_rate"] == 72.0
    assert raised.figures["last_heart_rate_at"] == "2025-06-15T19:06:39Z"
    assert raised.figures["last_spo2"] == 97.0
    assert raised.readings == ()
    assert found[1].opened_us == raised.opened_us


def test_less_than_that_is_not_told() -> None:
    assert after(worn(heart=(HOUR, HOUR + 14 * MINUTE))).findings == []


def test_oxygen_alone_is_told_for_itself_while_the_pulse_goes_on() -> None:
    found = after(worn(oxygen=(HOUR, 2 * HOUR))).findings
    assert [(one.metric, one.state) for one in found] == [("spo2", RAISED), ("spo2", CLEARED)]


def test_without_pulse_one_alert_speaks_for_all() -> None:
    found = after(worn(heart=(HOUR, 2 * HOUR), oxygen=(HOUR, 2 * HOUR))).findings
    assert [(one.metric, one.state) for one in found] == [("heart_rate", RAISED), ("heart_rate", CLEARED)]


def test_another_device_of_the_patient_goes_on_and_nothing_is_lost() -> None:
    watch = told("pulse_rate", np.arange(0, 3 * HOUR, 5.0) + 0.7, 72)
    assert after(together(worn(heart=(HOUR, 2 * HOUR)), watch)).findings == []


def test_charging_is_planned_and_takes_longer() -> None:
    assert after(worn(heart=(HOUR, 2 * HOUR), context=int(Context.CHARGING))).findings == []


def test_silence_is_told_by_the_clock_whenever_it_asks_and_once() -> None:
    detector, due_us = Monitoring(), T0 + (3 * HOUR - 1 + 15 * MINUTE) * S
    assert detector.overdue(LEARNED, due_us - 1, NOBODY)[1] == []
    state, told_ = detector.overdue(LEARNED, due_us, NOBODY)
    assert [(one.metric, one.state, one.opened_us) for one in told_] == [("heart_rate", RAISED, due_us)]
    assert detector.overdue(LEARNED, due_us + 40_000 * S, NOBODY)[1] == told_, "asked later it is the same alert"
    assert detector.overdue(state, due_us + 60 * S, NOBODY)[1] == []
    found = judge(detector, later(worn(), 5 * HOUR), state=state).findings
    assert changes(found) == [("heart_rate", CLEARED, 5 * HOUR)]


def test_what_is_uploaded_every_hour_is_not_missed_after_a_quarter_of_one() -> None:
    at = np.arange(60.0, 30 * HOUR + 1, 60.0)
    seen = told("heart_rate", at, 70)
    seen["received_us"] = T0 + np.round(np.ceil(at / HOUR) * HOUR * S).astype(np.int64)
    state = judge(Monitoring(), seen).state
    assert Monitoring().overdue(state, T0 + round(32.9 * HOUR * S), NOBODY)[1] == []
    assert len(Monitoring().overdue(state, T0 + round(33.1 * HOUR * S), NOBODY)[1]) == 1


def test_nothing_is_expected_of_a_single_measurement() -> None:
    state = judge(Monitoring(), told("spo2", [0.0, 60.0], [97, 96])).state
    assert Monitoring().overdue(state, T0 + 10**12, NOBODY)[1] == []


def test_what_another_device_measured_earlier_and_uploads_late_ends_nothing() -> None:
    """The same silence would be found again, under an id that everybody has seen the end of."""
    detector, asked_us = Monitoring(), T0 + 4 * HOUR * S
    state, raised = detector.overdue(LEARNED, asked_us, NOBODY)
    late = told("heart_rate", [2.9 * HOUR], 66)
    late["received_us"] = asked_us + 5 * S
    judged = detector.step(state, late, asked_us, NOBODY)
    assert judged.findings == []
    assert detector.overdue(judged.state, asked_us + 8 * HOUR * S, NOBODY)[1] == []
    found = judge(detector, told("heart_rate", [4.1 * HOUR], 71), state=judged.state)
    assert changes(found.findings) == [("heart_rate", CLEARED, round(4.1 * HOUR))]
    again = detector.overdue(found.state, asked_us + 8 * HOUR * S, NOBODY)[1]
    assert (again[0].metric, again[0].state) == ("heart_rate", RAISED)
    assert again[0].opened_us > raised[0].opened_us, "a new silence is a new episode"


def test_a_late_upload_of_another_device_leaves_the_last_value_as_it_is() -> None:
    late = told("heart_rate", [2.5 * HOUR], 190)
    state = Monitoring().step(LEARNED, late, T0 + 3 * HOUR * S, NOBODY).state
    raised = Monitoring().overdue(state, T0 + 9 * HOUR * S, NOBODY)[1]
    assert raised[0].figures["last_heart_rate"] == 72.0


def of_no_use(
    hours: float = 2.0, good_s: float = 0.0, every_s: float = 15.0, quality: float = 0.3, context: int = 0
) -> Observations:
    """Return a heart rate that moves and an oxygen saturation, trustworthy only in the first seconds."""
    at = np.arange(0, hours * HOUR, every_s)
    grade, how = np.where(at < good_s, 1.0, quality), np.where(at < good_s, 0, context)
    return together(
        told("heart_rate", at, 168 + np.arange(len(at)) % 5, quality=grade, context=how),
        told("spo2", at + 1, 78, quality=grade, context=how),
    )


@pytest.mark.parametrize("how", [{"quality": 0.3}, {"quality": 0.0}, {"quality": 1.0, "context": OFF}])
@settings(deadline=None, max_examples=15)
@given(cuts=st.lists(st.integers(1, 960), max_size=40), good_s=st.sampled_from([0.0, 120.0]))
def test_what_is_of_no_use_from_the_first_sample_on_is_told(
    how: dict[str, Any], cuts: list[int], good_s: float
) -> None:
    found = assert_cuts_do_not_matter(Monitoring(), of_no_use(good_s=good_s, **how), cuts).findings
    assert changes(found) == [("heart_rate", RAISED, good_s + 900), ("spo2", RAISED, good_s + 901)]
    raised = found[1]
    assert raised.figures.get("trustworthy") == (None if good_s else "never")
    assert raised.figures["doubted_spo2"] == 78.0, "what it says all the time is quoted"
    assert "spo2 exactly 78 %" in raised.says
    assert "doubted_heart_rate" not in found[0].figures, "that one moves"
    assert ("last_heart_rate" in raised.figures) is (good_s > 0)


def test_of_an_hourly_device_more_than_one_bad_sample_is_asked_for() -> None:
    found = judge(Monitoring(), of_no_use(10.0, every_s=3_600.0)).findings
    assert [one for one in changes(found) if one[0] == "heart_rate"] == [("heart_rate", RAISED, 3 * HOUR)]
    assert judge(Monitoring(), of_no_use(10.0, every_s=5 * HOUR)).findings == []


def test_a_bad_quarter_of_an_hour_with_a_good_sample_in_it_or_on_the_charger_is_none() -> None:
    good = told("heart_rate", [600.5], 70)
    bad = of_no_use(0.4)
    found = judge(Monitoring(), together(bad, good)).findings
    assert [one.metric for one in found] == ["spo2"]
    assert judge(Monitoring(), of_no_use(context=int(Context.CHARGING))).findings == []


def test_the_first_trustworthy_sample_ends_it() -> None:
    found = judge(Monitoring(), together(of_no_use(), told("heart_rate", [2 * HOUR + 5.0], 70))).findings
    assert changes(found)[-1] == ("heart_rate", CLEARED, 2 * HOUR + 5)


def test_a_value_that_is_not_believed_is_quoted() -> None:
    seen = worn(heart=(HOUR, 2 * HOUR))
    raised = after(seen).findings[0]
    assert (raised.figures["doubted_heart_rate"], raised.figures["doubted_heart_rate_s"]) == (200.0, 15 * MINUTE - 1)
    assert raised.says.endswith("heart rate exactly 200 /min for 15 min, which is not believed")


@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(1, 13_600), max_size=60))
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    lost = later(worn(heart=(HOUR, 2 * HOUR), oxygen=(HOUR // 2, 5 * HOUR // 2)))
    whole = judge(Monitoring(), lost, state=LEARNED).findings
    cut = judge(Monitoring(), lost, state=LEARNED, cuts=cuts, repack=True).findings
    assert [(one.metric, one.state) for one in whole] == [
        ("spo2", RAISED), ("heart_rate", RAISED), ("heart_rate", CLEARED), ("spo2", CLEARED),
    ]  # fmt: skip
    assert cut == whole


def test_hostile_input_leaves_it_small() -> None:
    for seed in range(3):
        found = judge(Monitoring(), hostile(seed), cuts=range(0, 10_000, 61))
        assert size(found.state) <= Monitoring.max_bytes


@pytest.mark.parametrize("wrong", [{"after_s": 10.0}, {"planned_s": -1.0}, {"min_gaps": 0}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="|".join(wrong)):
        MonitoringPolicy(**wrong)  # type: ignore[arg-type]
