"""Runs of fast beats: with an abrupt onset, regular, not in motion; a gradual rise is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.detectors.observation import Observations
from stream.detectors.packing import pack
from stream.detectors.protocol import NOBODY, Person
from stream.detectors.rhythm_runs import FastRun, FastRunPolicy
from tests.stream.detectors.rhythm_helpers import annotated, at_s, ltafdb_74, samples, short
from tests.stream.detectors.rhythms import REGULAR, Rr, fibrillation, sinus
from tests.stream.detectors.running import S, assert_cuts_do_not_matter, run, told
from vitals.care_profile import AgeBand, CareProfile
from vitals.quality import Context

RAISED, ESCALATED = ("fast_run", "raised", "low"), ("fast_run", "escalated", "medium")


def calm(beats: int = 100, seed: int = 1) -> Rr:
    return sinus(np.random.default_rng(seed), beats, 850)


def fast(beats: int, ms: float = 350.0, seed: int = 2) -> Rr:
    return ms + np.random.default_rng(seed).normal(0, 6, beats)


def found_in(seen: Observations, person: Person = NOBODY) -> list[Any]:
    return run(FastRun(), seen, person=person)[1]


def around(run_of: Rr, after: int = 100) -> Rr:
    return np.concatenate((calm(), run_of, calm(after, 3)))


@pytest.mark.parametrize(("beats", "expected"), [(3, []), (7, []), (8, [RAISED]), (40, [RAISED])])
def test_eight_fast_beats_that_begin_at_once_are_a_run(beats: int, expected: list[Any]) -> None:
    assert short(found_in(samples(around(fast(beats))))) == expected


def test_thirty_seconds_of_it_page() -> None:
    rr = around(fast(120))
    found = found_in(samples(rr))
    assert short(found) == [RAISED, ESCALATED]
    began_s = rr[:100].sum() / 1_000
    assert at_s(found[0].opened_us) == pytest.approx(began_s, abs=0.01)
    assert 28 <= at_s(found[1].changed_us) - began_s <= 31
    assert found[1].figures["fastest_run_bpm"] == pytest.approx(171, abs=3)
    assert found[1].opened_us == found[0].opened_us


def test_a_gradual_rise_is_left_to_the_limits() -> None:
    climb = np.linspace(850, 380, 300) + np.random.default_rng(3).normal(0, 5, 300)
    assert found_in(samples(np.concatenate((calm(), climb, fast(600, 380), climb[::-1])))) == []


@pytest.mark.parametrize("bit", [Context.MOTION_ACTIVE, Context.WORKOUT])
def test_not_in_motion(bit: Context) -> None:
    assert found_in(samples(around(fast(120)), context=int(bit))) == []


def test_fibrillation_is_no_run() -> None:
    assert found_in(samples(fibrillation(np.random.default_rng(5), 5_000, 480, 0.2))) == []


@pytest.mark.parametrize(
    "name", ["pvc_20", "bigeminy", "pac_15", "missed_extra", "rsa_young", "tachycardia", "optical"]
)
def test_other_rhythms_have_none(name: str) -> None:
    assert found_in(samples(REGULAR[name](np.random.default_rng(6), 5_000))) == []


def test_what_began_before_the_first_beat_is_not_known_to_have_begun_at_once() -> None:
    assert found_in(samples(np.concatenate((fast(200), calm())))) == []


def test_a_run_after_a_hole_is_not_known_to_have_begun_at_once() -> None:
    seen = samples(around(fast(200)))
    seen["start_us"][100:] += 20 * S
    assert found_in(seen) == []


def test_runs_of_ten_minutes_are_one_episode_which_then_ends() -> None:
    rr = np.concatenate([around(fast(10 + seed, seed=seed)) for seed in range(4)])
    found = found_in(samples(np.concatenate((rr, calm(1_200, 9)))))
    assert short(found) == [RAISED, ("fast_run", "cleared", "low")]
    assert found[1].figures["runs"] == 4
    assert found[1].figures["longest_run_beats"] == 13
    assert found[1].changed_us - found[1].measured_us == 600 * S


def test_adult_rules_leave_children_alone_and_watch_pacemakers() -> None:
    seen = samples(around(fast(20)))
    assert found_in(seen, Person(CareProfile(version=1, age_band=AgeBand.CHILD))) == []
    assert short(found_in(seen, Person(CareProfile(version=1, pacemaker=True)))) == [RAISED]


@pytest.mark.realdata
def test_real_recordings_have_none() -> None:
    for seen in (annotated("mitdb100/100.atr", 360.0), annotated("af/nsr001.ecg", 128.0), ltafdb_74(0)):
        assert run(FastRun(), seen, cuts=range(0, len(seen), 1_000))[1] == []


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 1_500), max_size=12), seed=st.integers(0, 30))
def test_cuts_do_not_matter(cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [part for n in rng.integers(4, 130, 6) for part in (calm(int(rng.integers(5, 200)), seed), fast(int(n)))]
    rr = np.concatenate((*parts, calm(900, seed)))
    context = np.where(rng.uniform(size=len(rr)) < 0.005, int(Context.MOTION_ACTIVE), 0)
    assert_cuts_do_not_matter(FastRun, samples(rr, context=context), cuts)


@pytest.mark.parametrize("apart_us", [1, S])
def test_hostile_input_is_bounded(apart_us: int) -> None:
    seen = told("rr_interval", np.zeros(10_000), np.random.default_rng(1).choice([300.0, 310.0, 1_000.0], 10_000))
    seen["start_us"] += np.arange(10_000) * apart_us
    state, _ = run(FastRun(), seen)
    assert len(repr(pack(state))) <= FastRun.max_bytes


@pytest.mark.parametrize(
    "wrong",
    [{"limit_bpm": 20.0}, {"min_beats": 2}, {"near": 0.0}, {"clear_s": 0.0}],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(FastRunPolicy(), **wrong)
