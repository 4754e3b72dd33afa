"""Somebody against their own nights and hours: what changed is found, what is only theirs is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Kind, Priority, State
from devices.simulator import wearer
from devices.simulator.beats import rr_intervals
from stream.detectors.below_baseline import Own, OwnBaseline
from stream.detectors.below_baseline_nights import KEPT_NIGHTS, MOST_ROWS, rebuilt, usual
from stream.detectors.below_baseline_policy import OwnBaselinePolicy
from stream.detectors.below_baseline_slots import COLUMNS, HEART_RATE, MOST_BEATS, RMSSD
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations
from stream.detectors.packing import pack, unpack
from stream.detectors.protocol import Person
from tests.stream.detectors.running import T0, S, assert_cuts_do_not_matter, run, together, told
from vitals.batch import NO_ZONE
from vitals.care_profile import AgeBand, CareProfile
from vitals.quality import Context

ASLEEP, ACTIVE = int(Context.ASLEEP), int(Context.MOTION_ACTIVE)
DAY_S = 86_400
MIDNIGHT_S = DAY_S - (T0 // S) % DAY_S
NIGHT_S = 7_200
DETECTOR = OwnBaseline()
HEART, HRV = "night_heart_rate_above_baseline", "hrv_below_baseline"


def varied(day: int) -> float:
    """Return how a night differs from others, of SD 1."""
    return float(np.random.default_rng(day).normal())


def night(
    day: int, bpm: float = 55.0, *, metric: str = "heart_rate", every_s: float = 60.0, sd: float = 1.0, **how: Any
) -> Observations:
    """Return two hours asleep after midnight of `day`: a value around `bpm`, the same level all night."""
    at_s = MIDNIGHT_S + day * DAY_S + np.arange(0, NIGHT_S, every_s)
    noise = np.random.default_rng(day + 1_000).normal(0, 1, len(at_s))
    how = {"context": ASLEEP, **how}
    return told(metric, at_s, bpm + sd * varied(day) + sd * noise, **how)


def noon(day: int, **how: Any) -> Observations:
    """Return one value that ends the night before."""
    return told("heart_rate", MIDNIGHT_S + day * DAY_S + np.array([11.5, 11.6]) * 3_600, 70.0, **how)


def nights(levels: Sequence[float], first: int = 0, **how: Any) -> Observations:
    return together(*(part for k, bpm in enumerate(levels, first) for part in (night(k, bpm, **how), noon(k))))


def beats(day: int, rmssd_ms: float, minutes: int = 40) -> Observations:
    """Return RR intervals of a night from the simulator."""
    start_us = T0 + (MIDNIGHT_S + day * DAY_S) * S
    who = replace(wearer(3), rmssd_ms=rmssd_ms)
    ends, ticks = rr_intervals(who, start_us, start_us + minutes * 60 * S)
    rr = ticks / 1.024
    return told("rr_interval", (ends - T0) / S - rr / 1_000, rr, context=ASLEEP)


def raised(found: Sequence[Finding]) -> list[str]:
    return [one.rule for one in found if one.state is State.RAISED]


def day_of(time_us: int) -> float:
    return ((time_us - T0) / S - MIDNIGHT_S) / DAY_S


def test_a_rise_over_two_nights_is_found_and_ends() -> None:
    found = run(DETECTOR, nights([55] * 20 + [64] * 3 + [55] * 4))[1]
    assert [(one.rule, one.metric, one.state) for one in found] == [
        (HEART, "heart_rate", State.RAISED),
        (HEART, "heart_rate", State.CLEARED),
    ]
    first, last = found
    assert int(day_of(first.opened_us)) == 20
    assert int(day_of(first.raised_us)) == 21
    assert int(day_of(last.changed_us)) == 24
    assert last.opened_us == first.opened_us
    assert first.kind is Kind.PHYSIOLOGICAL
    assert first.priority is Priority.LOW
    assert first.individualised
    assert first.says.startswith("heart rate at rest at night above own baseline for 2 nights: last 6")
    assert first.figures["reference_bpm"] == pytest.approx(55, abs=1)
    assert first.figures["clock"] == "wearer's"
    assert first.threshold is not None
    assert all(value > first.threshold for _, value, _ in first.readings)
    assert len(first.readings) == 2


def test_one_night_is_none() -> None:
    assert run(DETECTOR, nights([55] * 20 + [70] + [55] * 5))[1] == []


def test_nothing_is_judged_before_seven_nights() -> None:
    assert run(DETECTOR, nights([55] * 5 + [80] * 2))[1] == []
    assert raised(run(DETECTOR, nights([55] * 8 + [80] * 3))[1]) == [HEART]


def test_slow_deterioration_does_not_become_normal() -> None:
    """Half a beat a day for 40 days: the last weeks call it usual, the first do not."""
    levels = [55.0] * 15 + [55 + 0.5 * day for day in range(40)]
    state, found = run(DETECTOR, nights(levels))
    assert raised(found) == [HEART]
    assert 15 + 8 < day_of(found[0].raised_us) < 15 + 18
    assert "in the first 14 nights" in found[0].says
    seen = rebuilt(np.arange(len(levels)), np.array([[bpm] + [np.nan] * 6 for bpm in levels]))
    forgetting = usual(seen, HEART_RATE)
    assert levels[-1] - forgetting.location < 2.5 * forgetting.sd
    assert levels[-1] - seen.reference[0, HEART_RATE] > 2.5 * seen.reference[1, HEART_RATE]
    assert state.by_night[3].raised_us is not None


def test_an_open_episode_is_not_learned() -> None:
    state, found = run(DETECTOR, nights([55] * 16 + [70] * 20))
    assert raised(found) == [HEART]
    assert len(state.nights.numbers) == 16
    assert state.nights.values[:, HEART_RATE].max() < 60
    hour = state.hourly.location[0, 1]
    assert abs(hour - 55) < 2


def test_hrv_below_baseline_over_three_nights() -> None:
    levels = [45.0] * 16 + [27.0] * 3 + [45.0] * 2
    parts = [part for day, ms in enumerate(levels) for part in (beats(day, ms), noon(day))]
    found = run(DETECTOR, together(*parts))[1]
    assert [(one.rule, one.metric, one.state) for one in found] == [
        (HRV, "rr_interval", State.RAISED),
        (HRV, "rr_interval", State.CLEARED),
    ]
    assert int(day_of(found[0].raised_us)) == 18
    assert float(found[0].figures["rmssd_ms"]) < 0.75 * float(found[0].figures["reference_ms"])
    assert found[0].unit == "ms"
    assert "HRV (5-min RMSSD at rest at night) below own baseline for 3 nights" in found[0].says


def test_hrv_that_a_device_tells_is_another_measure() -> None:
    levels = [45.0] * 16 + [25.0] * 3
    parts = [
        part
        for day, ms in enumerate(levels)
        for part in (night(day, ms, metric="hrv_sdnn", every_s=3_600, sd=2.0), noon(day))
    ]
    state, found = run(DETECTOR, together(*parts))
    assert [(one.rule, one.metric) for one in found] == [(HRV, "hrv_sdnn")]
    assert "as the device tells it" in found[0].says
    assert np.isnan(state.nights.values[:, RMSSD]).all()


def test_one_value_of_a_whole_night_is_a_night() -> None:
    def told_at_waking(day: int, ms: float) -> Observations:
        start_s = MIDNIGHT_S + day * DAY_S - 3_600
        return told("hrv_rmssd", [start_s], ms + varied(day), duration_ms=8 * 3_600_000, context=ACTIVE)

    levels = [45.0] * 16 + [25.0] * 3
    parts = [part for day, ms in enumerate(levels) for part in (told_at_waking(day, ms), noon(day))]
    assert raised(run(DETECTOR, together(*parts))[1]) == [HRV]


def test_our_own_hrv_silences_the_same_told_by_the_device() -> None:
    levels = [45.0] * 16 + [27.0] * 3
    parts = [
        part
        for day, ms in enumerate(levels)
        for part in (beats(day, ms), night(day, ms, metric="hrv_rmssd", every_s=300, sd=0.5), noon(day))
    ]
    assert [one.metric for one in run(DETECTOR, together(*parts))[1]] == ["rr_interval"]


@pytest.mark.parametrize("profile", [CareProfile(version=1, pacemaker=True), CareProfile(version=1, known_af=True)])
def test_no_hrv_where_it_means_nothing(profile: CareProfile) -> None:
    parts = [
        part
        for day, ms in enumerate([45.0] * 16 + [20.0] * 4)
        for part in (beats(day, ms), night(day, ms, metric="hrv_sdnn", every_s=3_600), noon(day))
    ]
    state, found = run(DETECTOR, together(*parts), person=Person(profile))
    assert found == []
    assert np.isnan(state.nights.values[:, RMSSD]).all()


def test_nothing_of_a_child() -> None:
    person = Person(CareProfile(version=1, age_band=AgeBand.CHILD))
    state, found = run(DETECTOR, nights([55] * 20 + [80] * 4), person=person)
    assert found == []
    assert not len(state.nights.numbers)


def test_in_pregnancy_only_the_last_weeks_count() -> None:
    seen = nights([55.0] * 15 + [55 + 0.25 * day for day in range(45)])
    assert raised(run(DETECTOR, seen)[1]) == [HEART]
    assert run(DETECTOR, seen, person=Person(CareProfile(version=1, pregnant=True)))[1] == []


def test_breathing_at_night() -> None:
    parts = [
        part
        for day, rate in enumerate([14.0] * 15 + [18.0] * 2)
        for part in (night(day, rate, metric="respiratory_rate", sd=0.3), noon(day))
    ]
    assert raised(run(DETECTOR, together(*parts))[1]) == ["night_respiratory_rate_above_baseline"]


def test_a_drug_in_the_profile_is_a_break() -> None:
    before = nights([55] * 16 + [70] * 3)
    state, found = run(DETECTOR, before)
    assert raised(found) == [HEART]
    person = Person(CareProfile(version=2, rate_limiting_drug=True))
    state, found = run(DETECTOR, nights([70] * 3, first=19), state=state, person=person)
    assert [(one.rule, one.state) for one in found] == [(HEART, State.CLEARED)]
    assert "begun anew" in found[0].says
    assert found[0].raised_us <= found[0].changed_us
    assert len(state.nights.numbers) == 3
    assert np.isnan(state.nights.reference).all()


def test_a_medication_after_weeks_of_none_is_a_break_and_one_every_day_is_none() -> None:
    def taken(day: int) -> Observations:
        return told("medication_event", [MIDNIGHT_S + day * DAY_S + 8 * 3_600], 1.0)

    daily = together(nights([55] * 20), *(taken(day) for day in range(20)))
    assert len(run(DETECTOR, daily)[0].nights.numbers) == 20
    anew = together(nights([55] * 20), taken(0), taken(17))
    assert len(run(DETECTOR, anew)[0].nights.numbers) == 2  # the night that ended when it was taken is of neither


def test_a_break_forgets_and_ends_what_is_open() -> None:
    state, _ = run(DETECTOR, nights([55] * 16 + [70] * 3))
    anew, found = DETECTOR.begin_anew(state, T0 + 40 * DAY_S * S)
    assert [one.state for one in found] == [State.CLEARED]
    assert found[0].opened_us == state.by_night[3].opened_us
    assert not len(anew.nights.numbers)
    assert DETECTOR.begin_anew(anew, 0)[1] == []


def test_stored_nights_are_as_good_as_seen_ones() -> None:
    first = int((T0 // S + MIDNIGHT_S) // DAY_S)
    values = np.full((20, COLUMNS), np.nan)
    values[:, HEART_RATE] = [55 + varied(day) for day in range(20)]
    state = DETECTOR.remembering(np.arange(first, first + 20), values)
    assert raised(run(DETECTOR, nights([66] * 2, first=20), state=state)[1]) == [HEART]


def test_nights_are_those_of_the_wearers_clock() -> None:
    """Nine hours east: their midnight is 15 h UTC, and nobody says that they sleep."""

    def tokyo(day: int, bpm: float, zone: int) -> Observations:
        at_s = MIDNIGHT_S + (day - 1) * DAY_S + 15 * 3_600 + np.arange(0, NIGHT_S, 60.0)
        return told("heart_rate", at_s, bpm + varied(day), zone_offset_min=zone, context=0)

    def all_of(zone: int) -> Observations:
        levels = [55.0] * 16 + [66.0] * 3
        ends = [noon(day, zone_offset_min=zone, context=0) for day in range(19)]
        return together(*(tokyo(day, bpm, zone) for day, bpm in enumerate(levels)), *ends)

    assert raised(run(DETECTOR, all_of(540))[1]) == [HEART]
    assert run(DETECTOR, all_of(NO_ZONE))[1] == []


def test_without_a_zone_it_is_utc_and_says_so() -> None:
    found = run(DETECTOR, nights([55] * 16 + [66] * 2, zone_offset_min=NO_ZONE)[0:])[1]
    seen = nights([55] * 16 + [66] * 2)
    seen["zone_offset_min"] = NO_ZONE
    found = run(DETECTOR, seen)[1]
    assert raised(found) == [HEART]
    assert found[0].figures["clock"] == "UTC, zone unknown"


def test_motion_and_poor_samples_are_no_rest() -> None:
    for how in ({"context": ACTIVE}, {"context": int(Context.WORKOUT)}, {"quality": 0.3}, {"duration_ms": 3_600_000},
                {"context": ASLEEP | int(Context.NO_CONTACT)}):  # fmt: skip
        seen = together(nights([55] * 16), nights([90] * 3, first=16, **how))
        assert run(DETECTOR, seen)[1] == [], how


def test_minutes_after_motion_are_no_rest() -> None:
    """Somebody who moves every nine minutes is never at rest."""
    moves = np.arange(0, NIGHT_S, 540.0)
    parts = [nights([55] * 16)]
    for day in (16, 17, 18):
        still = MIDNIGHT_S + day * DAY_S + moves
        parts += [night(day, 75), told("heart_rate", still + 1, 100.0, context=ACTIVE), noon(day)]
    assert run(DETECTOR, together(*parts))[1] == []


def hour_of_day(days: Sequence[float], hour: int = 15) -> Observations:
    """Return an hour before and four after `hour` o'clock of each day, still and awake, around these rates."""
    at_s = MIDNIGHT_S + hour * 3_600 + np.arange(0, 4 * 3_600, 60.0)
    return together(
        *(told("heart_rate", at_s + day * DAY_S, bpm + np.random.default_rng(day).normal(0, 2, len(at_s)), context=1)
          for day, bpm in enumerate(days))
    )  # fmt: skip


def test_two_hours_far_above_that_hour_of_the_day() -> None:
    rule = "heart_rate_above_hour_baseline"
    found = run(DETECTOR, hour_of_day([70.0] * 16 + [95.0, 70.0]))[1]
    assert [(one.rule, one.state) for one in found] == [(rule, State.RAISED), (rule, State.CLEARED)]
    assert found[0].raised_us - found[0].opened_us >= 7_200 * S
    assert "usual at rest at this hour" in found[0].says
    assert run(DETECTOR, hour_of_day([70.0] * 16 + [80.0]))[1] == []
    assert run(DETECTOR, hour_of_day([70.0] * 5 + [110.0]))[1] == []


def mixed() -> Observations:
    parts = [nights([55] * 17 + [68] * 3 + [55] * 3), hour_of_day([75.0] * 17 + [100.0, 75.0], hour=13)]
    parts += [beats(day, ms, 32) for day, ms in enumerate([45.0] * 15 + [25.0] * 4)]
    parts.append(told("medication_event", [MIDNIGHT_S + 3_600 * 9, MIDNIGHT_S + 21 * DAY_S + 9 * 3_600], 1.0))
    parts.append(told("hrv_sdnn", MIDNIGHT_S + np.arange(22) * DAY_S + 4_000, 40.0, duration_ms=60_000, context=1))
    seen = together(*parts)
    seen["context"][::4_999] |= ACTIVE
    seen["quality"][::199] = 0.2
    return seen


MIXED = mixed()


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, len(MIXED)), max_size=60))
def test_how_it_was_cut_does_not_matter(cuts: list[int]) -> None:
    found = assert_cuts_do_not_matter(OwnBaseline, MIXED, cuts)
    assert {HEART, HRV, "heart_rate_above_hour_baseline"} <= set(raised(found))


def test_every_sample_by_itself_is_the_same() -> None:
    seen = MIXED[-3_000:]
    assert_cuts_do_not_matter(OwnBaseline, seen, range(len(seen)))


def size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if is_dataclass(value):
        return sum(size(getattr(value, one.name)) for one in fields(value))
    return sum(map(size, value)) if isinstance(value, tuple) else 8


class TestBounds:
    most: ClassVar[int] = 0

    @staticmethod
    def hostile(seed: int) -> Observations:
        """Return ten thousand samples of every metric, some an instant apart, some a minute, all asleep."""
        rng = np.random.default_rng(seed)
        metrics = ("heart_rate", "rr_interval", "respiratory_rate", "spo2", "hrv_rmssd", "hrv_sdnn")
        step = rng.choice([1e-6, 1e-3, 0.2, 60.0])
        start = seed * 700_000 + np.arange(10_000) * step
        parts = [told(one, start[k :: len(metrics)], rng.uniform(50, 300), context=ASLEEP)
                 for k, one in enumerate(metrics)]  # fmt: skip
        seen = together(*parts)
        seen["value"] = rng.uniform(200, 4_000, len(seen))
        return seen

    def test_it_stays_as_small_as_it_says(self) -> None:
        state = DETECTOR.fresh()
        for seed in range(12):
            seen = self.hostile(seed)
            state, found = DETECTOR.step(state, seen, int(seen["start_us"][-1]), Person())
            assert size(state) <= OwnBaseline.max_bytes
            assert state.slot.beats.shape[1] <= MOST_BEATS
            assert len(state.night.rows) <= MOST_ROWS
            assert len(found) < 100
        assert len(state.nights.numbers) <= KEPT_NIGHTS

    def test_the_largest_it_can_be(self) -> None:
        state, _ = run(DETECTOR, nights([55] * 30 + [70] * 3))
        night_ = replace(
            state.night, rows=np.zeros((MOST_ROWS, COLUMNS), np.float16),
            asleep=np.ones(MOST_ROWS, np.bool_), small_hours=np.ones(MOST_ROWS, np.bool_),
        )  # fmt: skip
        run_ = next(one for one in state.by_night if one.raised_us is not None)
        run_of = replace(run_, run=replace(run_.run or _run(), readings=((1, 2.0, 0.5),) * 8))
        full = replace(
            state, night=night_, slot=replace(state.slot, beats=np.zeros((2, MOST_BEATS), np.uint16)),
            rows=np.zeros((12, COLUMNS), np.float32), by_night=(run_of,) * 5, by_hour=(run_of,) * 2,
        )  # fmt: skip
        assert size(full) <= OwnBaseline.max_bytes

    def test_it_comes_back_from_a_snapshot(self) -> None:
        state, _ = run(DETECTOR, nights([55] * 16 + [70] * 2))
        back = unpack(Own, json.loads(json.dumps(pack(state), allow_nan=False)))
        seen = nights([70, 55, 55, 55], first=18)
        assert run(DETECTOR, seen, state=back)[1] == run(DETECTOR, seen, state=state)[1] != []


def _run() -> Any:
    from stream.detectors.sustain import Run

    return Run(0, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("min_nights", 2), ("reference_nights", 40), ("hrv_nights", 0), ("hrv_drop_share", 1.0), ("hour_sd", 0.0),
     ("after_motion_s", -1.0), ("hrv_max_irregularity", 0.0), ("hour_half_life_days", 2.0), ("hour_min_days", 0)],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        OwnBaselinePolicy(**{field: value})  # type: ignore[arg-type]
