"""Desaturations: what is one, how many in an hour, and what cannot be said."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alerts.event import Priority, State
from devices.simulator import SleepApnoea, wearer
from stream.detectors.desaturation import Desaturation, DesaturationPolicy
from stream.detectors.desaturation_events import Event, Recent, events_in
from stream.detectors.observation import Observations
from stream.detectors.packing import pack
from stream.detectors.protocol import Person
from tests.accuracy.events import DAY_US, START_US, found_by, observed
from tests.stream.detectors.running import T0, S, assert_cuts_do_not_matter, run, told
from vitals.care_profile import AgeBand, CareProfile
from vitals.quality import Context

HOUR = 3_600
Floats = NDArray[np.float64]


def dip(depth: float, fall_s: int = 20, hold_s: int = 10, back_s: int = 10, level: float = 97.0) -> Floats:
    """Two minutes of a level with a dip at their end, a value a second, whole per cent."""
    rest = np.full(120 - fall_s - hold_s - back_s, level)
    down = np.linspace(level, level - depth, fall_s)
    return np.round(np.concatenate((rest, down, np.full(hold_s, level - depth), down[::-1][:back_s])))


def row(dips: int, depth: float = 6.0, **shape: int) -> Floats:
    """Two quiet minutes, then so many dips two minutes apart, then two quiet minutes."""
    quiet = np.full(120, 97.0)
    return np.concatenate((quiet, *[dip(depth, **shape)] * dips, quiet))


def events(values: Floats, every_s: float = 1.0) -> list[Event]:
    """The events in a series."""
    at = T0 + np.round(np.arange(len(values)) * every_s * S).astype(np.int64)
    return events_in(Recent.none(), None, at, np.rint(np.asarray(values) * 10).astype(np.int64), 12 * S)[2]


def night(values: Floats, every_s: float = 1.0, **columns: Any) -> Observations:
    """The series as samples."""
    return told("spo2", np.arange(len(values)) * every_s, values, **columns)


def test_depth_nadir_and_length_of_an_event() -> None:
    found = events(row(3))
    assert len(found) == 3
    assert [(one.depth, one.nadir) for one in found] == [(60, 910)] * 3
    assert all(20 * S <= one.end_us - one.start_us <= 40 * S for one in found)


@pytest.mark.parametrize(("depth", "counted"), [(2.0, 0), (3.0, 1), (4.0, 1), (12.0, 1)])
def test_from_three_per_cent_it_is_one(depth: float, counted: int) -> None:
    assert len(events(row(1, depth))) == counted


def test_one_wrong_sample_is_none() -> None:
    values = np.full(600, 97.0)
    values[300] = 80
    assert events(values) == []
    assert events(values[::5], 5.0) == []


def test_shorter_than_ten_seconds_is_none() -> None:
    values = np.full(600, 97.0)
    values[300:307] = 90
    assert events(values) == []
    values[300:312] = 90
    assert len(events(values)) == 1


def test_a_fall_that_stays_is_no_event() -> None:
    assert events(np.concatenate((np.full(300, 97.0), np.full(600, 90.0), np.full(300, 97.0)))) == []


def test_the_level_before_must_be_known() -> None:
    assert events(np.concatenate((np.full(30, 97.0), dip(6)[80:]))) == []


def test_at_five_seconds_it_is_counted_and_read_too_high_at_worst() -> None:
    sparse = events(row(10, hold_s=4)[::5], 5.0)
    assert len(sparse) == 10
    assert all(one.nadir >= 910 for one in sparse)


def test_sparser_than_twelve_seconds_says_nothing() -> None:
    values = np.tile(dip(8), 200)
    assert events(values[::15], 15.0) == []
    state, found = run(Desaturation(), night(values[::15], 15.0))
    assert found == []
    assert state.tallies.sums[:, 0].sum() == 0


def test_twenty_an_hour_is_told_with_its_figures_and_ends_with_them() -> None:
    quiet = np.full(HOUR, 97.0)
    values = np.concatenate((quiet, np.tile(np.concatenate((dip(6), np.full(60, 97.0))), 80), np.tile(quiet, 3)))
    found = run(Desaturation(), night(values, context=int(Context.ASLEEP)))[1]
    assert [one.state for one in found] == [State.RAISED, State.CLEARED]
    assert found[0].rule == "desaturation_index"
    assert found[0].priority is Priority.LOW
    figures = found[1].figures
    assert figures["events_4"] == 80
    assert figures["events_3"] == 80
    assert figures["odi4_per_h"] == pytest.approx(20, abs=0.7)
    assert figures["lowest_nadir_pct"] == 91
    assert figures["known_asleep_share"] == 1
    assert figures["mean_cadence_s"] == 1
    assert figures["below_90_share"] == 0
    assert (found[0].opened_us - T0) / S == pytest.approx(HOUR, abs=300)
    assert found[1].opened_us == found[0].opened_us
    assert "apnoea" not in found[0].says


def test_three_per_cent_falls_count_apart() -> None:
    values = np.tile(np.concatenate((dip(6), dip(3))), 60)
    figures = run(Desaturation(), night(values))[1][0].figures
    assert figures["events_3"] == pytest.approx(2 * float(figures["events_4"]), abs=1)


def test_ten_an_hour_are_not_told() -> None:
    assert run(Desaturation(), night(np.tile(np.concatenate((dip(6), np.full(240, 97.0))), 40)))[1] == []


def test_motion_and_poor_quality_are_left_out() -> None:
    values = np.tile(dip(8), 120)
    assert run(Desaturation(), night(values, context=int(Context.MOTION_ACTIVE)))[1] == []
    assert run(Desaturation(), night(values, quality=0.4))[1] == []
    assert len(run(Desaturation(), night(values))[1]) == 1


def test_an_episode_ends_with_its_recording() -> None:
    values = np.tile(dip(8), 120)
    state, found = run(Desaturation(), night(values))
    assert [one.state for one in found] == [State.RAISED]
    evening = night(np.full(60, 97.0))
    evening["start_us"] += 16 * HOUR * S
    found = run(Desaturation(), evening, state=state)[1]
    assert [one.state for one in found] == [State.CLEARED]
    assert found[0].says.endswith("the recording has ended")
    assert 4 * HOUR < (found[0].changed_us - T0) / S < 6 * HOUR
    assert found[0].figures["events_4"] == 119  # the last had not recovered when it ended


def test_children_have_none() -> None:
    child = Person(CareProfile(age_band=AgeBand.CHILD))
    assert run(Desaturation(), night(np.tile(dip(8), 120)), person=child)[1] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("clears_per_h", 15.0), ("window_h", 13), ("min_analysable_h", 3.0), ("max_gap_s", 60.0)],
)
def test_a_policy_names_what_is_wrong(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        DesaturationPolicy(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("per_h", "told_of"), [(25.0, True), (4.0, False)])
def test_the_simulated_sleeper(per_h: float, told_of: bool) -> None:
    who = wearer(11, scenarios=(SleepApnoea(START_US, 86_400.0, per_h),))
    found = found_by(Desaturation(), observed(who, START_US, START_US + DAY_US, {"spo2": 1.0}))
    assert bool(found) == told_of
    if told_of:
        assert [one.state for one in found] == [State.RAISED, State.CLEARED]
        assert float(found[1].figures["odi4_per_h"]) == pytest.approx(per_h, rel=0.2)


def restless(seed: int) -> Observations:
    """Dips of all kinds, holes, motion and doubtful samples."""
    noise = np.random.default_rng(seed)
    parts = [
        dip(depth, hold_s=hold)
        for depth, hold in zip(noise.uniform(1, 14, 120), noise.integers(1, 40, 120), strict=True)
    ]
    values = np.round(np.concatenate(parts) + noise.normal(0, 0.5, 14_400))
    at = np.cumsum(noise.choice([0.4, 1.0, 2.0, 15.0, 9_000.0], 14_400, p=[0.1, 0.8, 0.0978, 0.002, 0.0002]))
    context = np.repeat(
        noise.choice([0, int(Context.ASLEEP), int(Context.MOTION_ACTIVE)], 144, p=[0.5, 0.48, 0.02]), 100
    )
    return told(
        "spo2", at, np.clip(values, 40, 100), context=context, quality=noise.choice([0.3, 1.0], 14_400, p=[0.02, 0.98])
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 14_400), max_size=12))
def test_cuts_do_not_matter(seed: int, cuts: list[int]) -> None:
    assert_cuts_do_not_matter(Desaturation, restless(seed), cuts)


def test_the_property_sees_episodes() -> None:
    found = [one.state for seed in range(10) for one in run(Desaturation(), restless(seed))[1]]
    assert found.count(State.RAISED) > 5
    assert found.count(State.CLEARED) > 2


@pytest.mark.parametrize("apart_s", [1e-6, 1.0, 11.0, 3_600.0])
def test_state_is_bounded(apart_s: float) -> None:
    seen = told("spo2", np.arange(10_000) * apart_s, np.tile(np.repeat([98.0, 80.0], 12), 417)[:10_000])
    state, _ = run(Desaturation(), seen)
    assert len(json.dumps(pack(state))) <= Desaturation.max_bytes
