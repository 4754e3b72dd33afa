"""A healthy day against what is published of healthy adults: ranges, hours, sleep, steps, autocorrelation."""

import numpy as np
import pytest

from devices.simulator import ALL_CADENCES_S, cohort, news2, physiology, simulate, wearer
from devices.simulator.sleep import AWAKE, CORE, DEEP, REM, nights
from tests.devices.simulator.people import DAY, HOUR, MIN, NOON, S, of, true
from vitals.quality import Context
from vitals.validity import reasons

SEEDS = range(24)
MONDAY_NOON = NOON + 2 * DAY


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_day_is_within_what_healthy_people_have(seed: int) -> None:
    who = wearer(seed, zone_offset_min=120, cadences_s=ALL_CADENCES_S)
    day = simulate(who, NOON, NOON + DAY)
    assert not reasons(day).any()  # the recorder takes all of it
    rate = of(day, "heart_rate")
    assert len(rate) == 86_400
    assert 33 < rate.value.min() < rate.value.max() < 175
    assert of(day, "spo2").value.min() >= 93
    assert 8 <= of(day, "respiratory_rate").value.min() < of(day, "respiratory_rate").value.max() < 30
    assert 35.7 < of(day, "body_temperature").value.min() < of(day, "body_temperature").value.max() < 37.8
    assert 28 < of(day, "wrist_temperature").value.min() < of(day, "wrist_temperature").value.max() < 37
    assert 55 <= of(day, "glucose").value.min() < of(day, "glucose").value.max() < 200
    assert 80 < of(day, "bp_systolic").value.min() < of(day, "bp_systolic").value.max() < 170
    assert (of(day, "bp_diastolic").value < of(day, "bp_systolic").value).all()
    assert (of(day, "battery").value > 0).all()
    # Who is well scores next to nothing awake; asleep pulse, pressure and temperature of the fit are low.
    true_day = physiology(who, np.arange(NOON, NOON + DAY, MIN))
    score = news2(true_day)
    assert np.percentile(score[true_day.asleep < 0.5], 90) <= 1
    assert np.percentile(score, 99) <= 4
    assert score.max() < 7


def test_hours_of_the_day() -> None:
    people = [wearer(seed) for seed in SEEDS]
    start = MONDAY_NOON - 12 * HOUR
    by_hour = {
        code: np.mean([true(who, code, start, start + DAY, MIN).reshape(24, 60).mean(axis=1) for who in people], axis=0)
        for code in ("heart_rate", "body_temperature", "wrist_temperature", "hrv_rmssd", "moving")
    }
    night, day = slice(2, 6), slice(10, 21)
    assert 8 < by_hour["heart_rate"][day].mean() - by_hour["heart_rate"][night].mean() < 25
    # Core temperature is lowest in the small hours and highest in the late afternoon, about half a degree apart.
    assert by_hour["body_temperature"].argmin() in range(3, 8)
    assert by_hour["body_temperature"].argmax() in range(14, 20)
    assert 0.4 < np.ptp(by_hour["body_temperature"]) < 1.0
    # The skin is warmest when the core is coldest (heat is given off in sleep), and variability is highest.
    assert by_hour["wrist_temperature"][night].mean() > by_hour["wrist_temperature"][day].mean() + 1.0
    assert 1.15 < by_hour["hrv_rmssd"][night].mean() / by_hour["hrv_rmssd"][day].mean() < 2.5
    assert by_hour["moving"][night].mean() < 0.1 * by_hour["moving"][day].mean()


def test_steps_of_a_day_and_of_a_cohort() -> None:
    people = [wearer(seed, cadences_s={"steps": 60.0}, beats=False) for seed in SEEDS]
    steps = np.array([simulate(who, MONDAY_NOON, MONDAY_NOON + 3 * DAY).value.sum() / 3 for who in people])
    # Adults walk 4,000 to 18,000 steps a day (Tudor-Locke et al. 2011).
    assert 5_000 < np.median(steps) < 10_000
    assert steps.min() > 1_000
    assert steps.max() < 20_000


def test_proportions_of_sleep() -> None:
    shares, efficiency, wakings = [], [], []
    for seed in SEEDS:
        for night in nights(wearer(seed), NOON, NOON + 5 * DAY):
            lasts = np.diff(night.edges_us)
            minutes = {kind: lasts[night.stages == kind].sum() / MIN for kind in (AWAKE, CORE, DEEP, REM)}
            asleep = minutes[CORE] + minutes[DEEP] + minutes[REM]
            shares.append([minutes[kind] / asleep for kind in (CORE, DEEP, REM)])
            efficiency.append(asleep * MIN / (night.up_us - night.bed_us))
            wakings.append(minutes[AWAKE])
            assert 4 * HOUR < night.edges_us[-1] - night.edges_us[0] < 11 * HOUR
            assert (night.edges_us % (30 * S) == 0).all()
            assert (np.diff(night.stages) != 0).all()
    core, deep, rem = np.mean(shares, axis=0)
    # Boulos et al. 2019, healthy adults: N1 and N2 about 60 %, N3 20 %, REM 19 %; Ohayon et al. 2004 alike.
    assert 0.50 < core < 0.65
    assert 0.14 < deep < 0.25
    assert 0.17 < rem < 0.26
    assert 0.82 < np.mean(efficiency) < 0.95
    assert 10 < np.mean(wakings) < 60


def test_deep_sleep_is_early_and_rem_is_late() -> None:
    early, late = [], []
    for seed in SEEDS:
        [night] = nights(wearer(seed), MONDAY_NOON, MONDAY_NOON + DAY)
        middle = (night.edges_us[:-1] + night.edges_us[1:]) / 2
        first = middle < (night.edges_us[0] + night.edges_us[-1]) / 2
        lasts = np.diff(night.edges_us)
        early.append(lasts[first & (night.stages == DEEP)].sum() / lasts[night.stages == DEEP].sum())
        late.append(lasts[~first & (night.stages == REM)].sum() / lasts[night.stages == REM].sum())
    assert np.mean(early) > 0.7
    assert np.mean(late) > 0.6


def test_sleep_samples_tell_the_night() -> None:
    who = wearer(4)
    [night] = nights(who, MONDAY_NOON, MONDAY_NOON + DAY)
    columns = simulate(who, MONDAY_NOON, MONDAY_NOON + DAY)
    stages, bed = of(columns, "sleep_stage"), of(columns, "in_bed")
    assert np.array_equal(stages.start_us, night.edges_us[:-1])
    assert np.array_equal(stages.duration_ms * 1_000, np.diff(night.edges_us))
    assert np.array_equal(stages.value, night.stages)
    assert (bed.start_us[0], bed.duration_ms[0] * 1_000) == (night.bed_us, night.up_us - night.bed_us)
    heart = of(columns, "heart_rate")
    asleep = heart.context & int(Context.ASLEEP) != 0
    within = (heart.start_us > night.edges_us[0]) & (heart.start_us < night.edges_us[-1])
    assert (asleep == within).mean() > 0.99


def test_weekends_are_later() -> None:
    def up_h(first_noon: int) -> float:
        ups = [nights(wearer(seed), first_noon + 6 * HOUR, first_noon + DAY)[0].up_us for seed in SEEDS]
        return float(np.mean([(up - first_noon) / HOUR for up in ups]))

    assert 0.4 < up_h(NOON - DAY) - up_h(NOON + 3 * DAY) < 1.2  # Friday night, and Tuesday's


@pytest.mark.parametrize(("code", "near", "far"), [("heart_rate", 0.8, 0.75), ("respiratory_rate", 0.3, 0.9)])
def test_neighbours_are_alike_and_hours_are_not(code: str, near: float, far: float) -> None:
    """Autocorrelation at one sample and at one hour, awake."""
    first, hour = [], []
    for seed in range(6):
        columns = of(simulate(wearer(seed), MONDAY_NOON, MONDAY_NOON + 8 * HOUR), code)
        value = columns.value - columns.value.mean()
        step = 3_600 // {"heart_rate": 1, "respiratory_rate": 15}[code]
        first.append((value[1:] * value[:-1]).mean() / value.var())
        hour.append((value[step:] * value[:-step]).mean() / value.var())
    assert np.mean(first) > near
    assert abs(np.mean(hour)) < far
    assert np.mean(hour) < np.mean(first)


def test_a_cohort_differs_and_each_is_one_person() -> None:
    people = cohort(200, 1, NOON, NOON + DAY)
    resting = np.array([who.resting_heart_rate for who in people])
    assert 60 < resting.mean() < 64
    assert 3.5 < resting.std() < 6
    assert len({who.patient_id for who in people}) == len({who.device_id for who in people}) == 200
    assert cohort(3, 1, NOON, NOON + DAY) == people[:3]
