"""The simulated wearers: one series however it is cut, plausible, and true to their script."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.gatt import heart_rate
from devices.simulator import LIMITS, Deterioration, heart_rate_frames, physiology, simulate, truth, wearer
from vitals.batch import SampleColumns, metric_codes, to_arrow
from vitals.catalogue import HIGH, LOW

S = 1_000_000
HOUR = 3_600 * S
NOON = 1_717_243_200_000_000  # 2024-06-01 12:00 UTC


def _of(columns: SampleColumns, code: str) -> SampleColumns:
    return columns.take(np.array(metric_codes(columns)) == code)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    start=st.integers(NOON - 1_000 * HOUR, NOON),
    cuts=st.lists(st.integers(0, 900 * S), max_size=4),
)
def test_pieces_are_the_same_as_the_whole(seed: int, start: int, cuts: list[int]) -> None:
    who = wearer(seed, deteriorations=(Deterioration(start + 60 * S, rise_s=120),))
    edges = [start, *(start + cut for cut in sorted(cuts)), start + 900 * S]
    whole = simulate(who, start, edges[-1])
    pieces = SampleColumns.concat([simulate(who, a, b) for a, b in pairwise(edges)])
    assert to_arrow(pieces).equals(to_arrow(whole))


def test_live_second_by_second_is_the_same_as_history() -> None:
    who = wearer(3)
    live = SampleColumns.concat([simulate(who, NOON + k * S, NOON + (k + 1) * S) for k in range(130)])
    assert to_arrow(live).equals(to_arrow(simulate(who, NOON, NOON + 130 * S)))
    frames = [frame for k in range(70) for frame in heart_rate_frames(who, NOON + k * S, NOON + (k + 1) * S)]
    assert frames == heart_rate_frames(who, NOON, NOON + 70 * S)


def test_the_seed_is_everything() -> None:
    day = (NOON, NOON + HOUR)
    assert to_arrow(simulate(wearer(5), *day)).equals(to_arrow(simulate(wearer(5), *day)))
    assert not to_arrow(simulate(wearer(5), *day)).equals(to_arrow(simulate(wearer(6), *day)))


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_day_is_plausible(seed: int) -> None:
    who = wearer(seed, zone_offset_min=120)
    day = simulate(who, NOON, NOON + 24 * HOUR)
    assert ((day.value >= LOW[day.metric]) & (day.value <= HIGH[day.metric])).all()
    assert (np.diff(day.received_us) >= 0).all()
    assert (day.zone_offset_min == 120).all()
    rate = _of(day, "heart_rate")
    assert len(rate) == 86_400
    assert 35 < rate.value.min() < rate.value.max() < 175
    night = rate.take((rate.start_us > NOON + 13 * HOUR) & (rate.start_us < NOON + 16 * HOUR))  # 03:00-06:00 local
    waking = rate.take(rate.start_us < NOON + 8 * HOUR)
    assert night.value.mean() + 8 < waking.value.mean()
    assert _of(day, "spo2").value.min() >= 93
    assert 100 < _of(day, "steps").value.sum() < 40_000
    assert (_of(day, "steps").duration_ms == 60_000).all()


def test_beats_agree_with_the_heart_rate_and_its_variability() -> None:
    day = simulate(wearer(11), NOON, NOON + 12 * HOUR)
    rr, rmssd = _of(day, "rr_interval"), _of(day, "hrv_rmssd")
    assert 60_000 / rr.value.mean() == pytest.approx(_of(day, "heart_rate").value.mean(), rel=0.03)
    assert np.sqrt(np.mean(np.diff(rr.value) ** 2)) == pytest.approx(rmssd.value.mean(), rel=0.25)
    ends = rr.start_us + rr.value * 1_000
    assert np.abs(rr.start_us[1:] - ends[:-1]).max() < 1_000  # no beat is missing; ticks round by half a millisecond


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), hour=st.integers(0, 23))
def test_a_deterioration_passes_its_limits_when_it_says(seed: int, hour: int) -> None:
    script = Deterioration(NOON + hour * HOUR)
    who = wearer(seed, deteriorations=(script,))
    told = truth(who, script)
    assert set(told.passed_us) == set(LIMITS)
    for code, at_us in told.passed_us.items():
        assert told.onset_us < at_us <= told.worst_us
        sign = -1 if code == "spo2" else 1
        before, after = (getattr(physiology(who, np.array([t])), code)[0] for t in (at_us - S, at_us))
        assert sign * before <= sign * LIMITS[code] < sign * after
    worst = simulate(who, script.worst_us + 120 * S, script.relief_us)
    assert _of(worst, "heart_rate").value.min() > 130
    assert _of(worst, "respiratory_rate").value.min() > 25
    assert _of(worst, "spo2").value.max() < 90
    assert _of(worst, "body_temperature").value.min() > 38.5
    assert (_of(worst, "steps").value == 0).all()


def test_a_script_changes_nothing_before_it_begins() -> None:
    script = Deterioration(NOON + HOUR)
    ill = simulate(wearer(2, deteriorations=(script,)), NOON, NOON + HOUR - 120 * S)
    assert to_arrow(ill).equals(to_arrow(simulate(wearer(2), NOON, NOON + HOUR - 120 * S)))


def test_strap_frames_carry_every_beat_once() -> None:
    who = wearer(9)
    frames = heart_rate_frames(who, NOON, NOON + 600 * S)
    assert [at for at, _ in frames] == list(range(NOON, NOON + 600 * S, S))
    decoded = [heart_rate.decode(frame) for _, frame in frames]
    rr = _of(simulate(who, NOON - S, NOON + 599 * S), "rr_interval")
    assert [ms for one in decoded for ms in one.rr_intervals_ms] == rr.value.tolist()
    assert all(one.contact for one in decoded)
    assert np.mean([one.heart_rate_bpm for one in decoded]) == pytest.approx(60_000 / rr.value.mean(), rel=0.05)


def test_a_strap_on_a_table_has_no_contact() -> None:
    frames = heart_rate_frames(wearer(9), NOON, NOON + 3 * S, contact=False)
    assert [heart_rate.decode(frame).contact for _, frame in frames] == [False] * 3


def test_empty_time_and_unknown_channels() -> None:
    assert len(simulate(wearer(1), NOON, NOON)) == 0
    assert heart_rate_frames(wearer(1), NOON, NOON) == []
    with pytest.raises(ValueError, match="no channel weight"):
        simulate(wearer(1, cadences_s={"weight": 1.0}), NOON, NOON + S)
