"""What befalls wearers does what it says, and the truth states it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.simulator import (
    LIMITS,
    SCENARIOS,
    AtrialFibrillation,
    BetaBlocker,
    Deterioration,
    Fever,
    Hypoglycaemia,
    Loss,
    NoSuchRecipe,
    Panic,
    SleepApnoea,
    Wearer,
    Withdrawal,
    cohort,
    news2,
    physiology,
    simulate,
    truth,
    wearer,
)
from devices.simulator.physiology import FALLING, Physiology
from devices.simulator.sleep import nights
from tests.devices.simulator.people import DAY, HOUR, MIN, NOON, S, of, rmssd, rr_ms, true


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), hour=st.integers(0, 23))
def test_a_deterioration_passes_its_limits_when_it_says(seed: int, hour: int) -> None:
    script = Deterioration(NOON + hour * HOUR)
    who = wearer(seed, scenarios=(script,))
    [told] = truth(who, script.start_us, script.end_us).episodes
    passed = {code: round(told.parameters[f"{code}_passed_us"]) for code in LIMITS}
    for code, at_us in passed.items():
        assert told.start_us <= at_us <= told.parameters["worst_us"]
        sign = -1 if code in FALLING else 1
        before, after = (getattr(physiology(who, np.array([t])), code)[0] for t in (at_us - S, at_us))
        assert sign * LIMITS[code] < sign * after
        # Whoever runs as it begins may be beyond the limit already.
        assert sign * before <= sign * LIMITS[code] or (code == "heart_rate" and at_us == told.start_us)
    worst = simulate(who, script.worst_us + 120 * S, script.relief_us)
    assert of(worst, "heart_rate").value.min() > 130
    assert of(worst, "respiratory_rate").value.min() > 25
    assert of(worst, "spo2").value.max() < 90
    assert of(worst, "body_temperature").value.min() > 38.5
    assert (of(worst, "steps").value == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_news2_of_a_slow_deterioration_is_passed_on_the_way(seed: int) -> None:
    script = Deterioration(NOON + 2 * HOUR, rise_s=6 * 3_600)
    who = wearer(seed, scenarios=(script,))
    [told] = truth(who, NOON, NOON + DAY).episodes
    five, seven = (round(told.parameters[f"news2_{points}_us"]) for points in (5, 7))
    assert script.start_us < five < seven < script.worst_us
    at = np.array([five - S, five, seven - S, seven, script.worst_us + MIN])
    score = news2(physiology(who, at)).tolist()
    assert score[0] < 5 <= score[1]
    assert score[2] < 7 <= score[3]
    assert score[4] >= 12


@pytest.mark.parametrize(
    ("observed", "points"),
    [
        ((16, 97, 120, 70, 37.0), 0),
        ((8, 97, 120, 70, 37.0), 3),
        ((9, 97, 120, 70, 37.0), 1),
        ((11, 95, 110, 50, 36.0), 5),
        ((12, 96, 111, 51, 36.1), 0),
        ((20, 96, 219, 90, 38.0), 0),
        ((21, 93, 100, 91, 38.1), 2 + 2 + 2 + 1 + 1),
        ((24, 92, 101, 110, 39.0), 2 + 2 + 1 + 1 + 1),
        ((25, 91, 90, 131, 39.1), 3 + 3 + 3 + 3 + 2),
        ((25, 91, 220, 130, 35.0), 3 + 3 + 3 + 2 + 3),
        ((16, 97, 120, 40, 35.1), 3 + 1),
        ((16, 97, 120, 41, 36.04), 1 + 1),
    ],
)
def test_news2_is_that_of_the_chart(observed: tuple[float, ...], points: int) -> None:
    """Royal College of Physicians 2017, chart 1: each band's edges."""
    names = ("respiratory_rate", "spo2", "bp_systolic", "heart_rate", "body_temperature")
    true_values = physiology(wearer(1), np.array([NOON]))
    chart = {name: np.array([float(value)]) for name, value in zip(names, observed, strict=True)}
    assert isinstance(true_values, Physiology)
    assert news2(replace(true_values, **chart)).tolist() == [points]


def test_desaturations_reach_their_nadir_when_they_say() -> None:
    start = NOON
    who = wearer(6, scenarios=(SleepApnoea(start, events_per_h=20.0),), cadences_s={"spo2": 5.0}, beats=False)
    told = truth(who, start, start + 3 * DAY)
    dips = told.of("desaturation")
    asleep_h = sum((night.edges_us[-1] - night.edges_us[0]) / HOUR for night in told.nights)
    assert len(dips) / asleep_h == pytest.approx(20, rel=0.15)
    spo2 = of(simulate(who, start, start + 3 * DAY), "spo2")
    seen = 0
    for dip in dips:
        nadir = round(dip.parameters["nadir_us"])
        before, low, held, after = told.at(np.array([dip.start_us, nadir, nadir + 10 * S, dip.end_us])).spo2
        assert low == pytest.approx(min(low, held), abs=0.5)
        assert dip.parameters["spo2_min"] == pytest.approx(min(low, held), abs=0.25)
        assert before - low == pytest.approx(dip.parameters["depth"], abs=1.0)
        assert abs(after - before) < 1.2
        assert 4.0 <= dip.parameters["depth"] <= 10.0
        assert dip.start_us < nadir < dip.end_us
        inside = (spo2.start_us >= nadir) & (spo2.start_us <= nadir + 10 * S)
        seen += spo2.value[inside].min() <= round(dip.parameters["spo2_min"]) + 1
        assert any(night.bed_us < nadir < night.up_us for night in told.nights)
    assert seen / len(dips) > 0.97  # a sensor at 5 s catches the nadir, give or take its noise
    outside = true(who, "spo2", NOON, NOON + 8 * HOUR)
    assert outside.min() > 94


def test_the_heart_slows_in_an_apnoea_and_quickens_after_it() -> None:
    who = wearer(6, scenarios=(SleepApnoea(NOON),))
    dips = truth(who, NOON, NOON + DAY, []).of("desaturation")
    nadirs = np.array([round(dip.parameters["nadir_us"]) for dip in dips])
    during, after = (physiology(who, nadirs + lag * S).heart_rate.mean() for lag in (-5, 12))
    assert 6 < after - during < 25


@pytest.mark.parametrize("seed", range(4))
def test_fever_reaches_its_temperature_and_takes_the_heart_along(seed: int) -> None:
    fever = Fever(NOON, peak_c=39.4)
    who, well = wearer(seed, scenarios=(fever,)), wearer(seed)
    [told] = truth(who, NOON, NOON + 2 * DAY, []).episodes
    assert told.parameters["body_temperature_max"] == pytest.approx(39.4, abs=0.1)
    hold = (NOON + 5 * HOUR, NOON + 23 * HOUR)
    assert true(who, "body_temperature", *hold).min() > 39.3
    assert of(simulate(who, *hold), "body_temperature").value.mean() == pytest.approx(39.4, abs=0.1)
    faster = true(who, "heart_rate", *hold, MIN).mean() - true(well, "heart_rate", *hold, MIN).mean()
    assert 10 < faster < 26
    assert true(who, "body_temperature", fever.end_us, fever.end_us + HOUR).max() < 37.6


def test_a_panic_attack_is_a_surge_without_motion() -> None:
    panic = Panic(NOON + 2 * HOUR)
    who = wearer(3, scenarios=(panic,))
    peak = (panic.start_us + 2 * MIN, panic.start_us + 9 * MIN)
    before = true(wearer(3), "heart_rate", *peak).mean()
    assert 30 < true(who, "heart_rate", *peak).mean() - before < 60
    assert true(who, "moving", *peak).max() == 0.0
    assert of(simulate(who, *peak), "steps").value.sum() == 0
    assert true(who, "respiratory_rate", *peak).mean() > true(wearer(3), "respiratory_rate", *peak).mean() + 5


def test_withdrawal_takes_activity_and_moves_sleep_over_weeks() -> None:
    change = Withdrawal(NOON + 14 * DAY, onset_days=14, activity_left=0.35, later_h=2.0)
    who = wearer(5, scenarios=(change,), cadences_s={"steps": 60.0}, beats=False)

    def fortnight(first_day: int) -> tuple[float, float]:
        span = (NOON + first_day * DAY, NOON + (first_day + 14) * DAY)
        bed = [((night.edges_us[0] - NOON) / HOUR) % 24 for night in nights(who, *span)]
        return float(simulate(who, *span).value.sum()), float(np.mean(bed))

    (before, early), (during, _), (after, late) = fortnight(0), fortnight(14), fortnight(30)
    assert after < 0.5 * before
    assert after < during < before
    assert late - early == pytest.approx(2.0, abs=0.35)
    assert fortnight(64)[0] > 0.75 * before  # it lifts
    assert true(who, "heart_rate", NOON, NOON + DAY, MIN).mean() == pytest.approx(
        true(wearer(5), "heart_rate", NOON, NOON + DAY, MIN).mean()
    )


def test_a_beta_blocker_slows_the_heart_and_blunts_its_surges() -> None:
    drug = BetaBlocker(NOON, slower_bpm=9.0, surge_left=0.55)
    day = (NOON + 3 * HOUR, NOON + 27 * HOUR)
    for more in ((), (Panic(NOON + 6 * HOUR),)):
        without = true(wearer(4, scenarios=more), "heart_rate", *day)
        with_drug = true(wearer(4, scenarios=(drug, *more)), "heart_rate", *day)
        quiet = true(wearer(4), "moving", *day) == 0
        assert np.median((without - with_drug)[quiet]) == pytest.approx(9.0, abs=0.5)
        assert without.max() - with_drug.max() > 9.0 + 0.25 * 45.0


@pytest.mark.parametrize("nadir", [45.0, 60.0])
def test_glucose_reaches_its_nadir(nadir: float) -> None:
    low = Hypoglycaemia(NOON + HOUR, nadir_mg_dl=nadir)
    who = wearer(2, scenarios=(low,), cadences_s={"glucose": 300.0}, beats=False)
    [told] = truth(who, NOON, NOON + DAY, []).episodes
    assert told.parameters["glucose_min"] == pytest.approx(nadir, abs=0.01)
    sensor = of(simulate(who, low.start_us + 42 * MIN, low.start_us + 62 * MIN), "glucose").value
    assert abs(sensor - nadir).max() < 12
    rate = np.abs(np.diff(true(who, "glucose", low.start_us, low.end_us, MIN)))
    assert rate.max() < 5  # mg/dL a minute: what a sensor still follows


def test_scenarios_compose() -> None:
    fever, af = Fever(NOON, rise_s=HOUR / S), AtrialFibrillation(NOON + 4 * HOUR, 1_800, faster_bpm=30.0)
    both = wearer(7, scenarios=(fever, af))
    span = (af.start_us + MIN, af.end_us - MIN)
    assert true(both, "body_temperature", *span).min() > 39.0
    only = true(wearer(7, scenarios=(fever,)), "heart_rate", *span)
    assert (true(both, "heart_rate", *span) - only) == pytest.approx(30.0)
    rr = rr_ms(both, *span)
    assert rmssd(rr) / rr.mean() > 0.25
    assert {one.kind for one in truth(both, NOON, NOON + DAY, []).episodes} == {"fever", "atrial_fibrillation"}


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in {"well", "athlete"}])
def test_every_named_scenario_lies_within_its_time_and_is_in_the_truth(name: str) -> None:
    for days in (0.25, 3.0):
        end = NOON + round(days * DAY)
        [who] = cohort(1, 4, NOON, end, scenarios=[name])
        assert who.scenarios[0].start_us % (5 * S) == 0
        episodes = truth(who, NOON, end, []).episodes
        assert episodes or (name, days) == ("apnoea", 0.25)  # a noon has no sleep
        assert all(one.start_us < end and one.end_us > NOON for one in episodes)


def test_an_athlete_is_slow_and_variable() -> None:
    [well], [fit] = (cohort(1, 2, NOON, NOON + DAY, scenarios=[name]) for name in ("well", "athlete"))
    assert fit.resting_heart_rate == well.resting_heart_rate - 14
    assert fit.rmssd_ms > 1.5 * well.rmssd_ms
    assert true(fit, "heart_rate", NOON, NOON + DAY, MIN).max() > 90  # and at work like anybody


def test_a_name_that_there_is_not_says_which_there_are() -> None:
    with pytest.raises(NoSuchRecipe, match="no such scenario: choose of well, deterioration"):
        cohort(1, 1, NOON, NOON + DAY, scenarios=["plague"])
    with pytest.raises(NoSuchRecipe, match="no such fault: choose of loss"):
        cohort(1, 1, NOON, NOON + DAY, faults=["plague"])


def _ill() -> Wearer:
    return wearer(
        1,
        patient="sim-x",
        scenarios=(Panic(NOON + HOUR), Deterioration(NOON + 3 * HOUR)),
        faults=(Loss(NOON, NOON + DAY),),
    )


def test_the_truth_as_json_lines() -> None:
    told = truth(_ill(), NOON, NOON + DAY)
    lines = [json.loads(line) for line in told.json_lines()]
    assert [one["type"] for one in lines] == ["wearer", "episode", "episode", "night", "fault"]
    assert {one["patient_id"] for one in lines} == {"sim-x"}
    assert [one["kind"] for one in lines[1:3]] == ["panic_attack", "deterioration"]
    assert lines[1]["start"] == "2024-06-01T13:00:00+00:00"
    assert lines[2]["worst_us"] == NOON + 3 * HOUR + 600 * S
    assert lines[4]["counts"] == {"lost": told.faults[0].counts["lost"]}
    assert sum(lines[3][f"{stage}_min"] for stage in ("awake", "core", "deep", "rem")) == pytest.approx(
        (lines[3]["awake_us"] - lines[3]["asleep_us"]) / MIN
    )


def test_the_truth_is_true_at_any_moment() -> None:
    told = truth(_ill(), NOON, NOON + DAY, [])
    at = np.array([NOON - 5 * DAY, NOON + HOUR + 5 * MIN, NOON + 40 * DAY])
    assert np.array_equal(told.at(at).heart_rate, physiology(_ill(), at).heart_rate)
