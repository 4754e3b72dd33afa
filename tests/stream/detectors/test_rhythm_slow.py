"""Slow rhythm: for five minutes, by what the person may have, and beside the heart rate's own limit."""

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
from stream.detectors.rhythm_slow import SlowRhythm, SlowRhythmPolicy
from tests.stream.detectors.rhythm_helpers import annotated, at_s, ltafdb_74, samples, short
from tests.stream.detectors.rhythms import misdetected, sinus
from tests.stream.detectors.running import S, assert_cuts_do_not_matter, run, together, told
from vitals.care_profile import AgeBand, Band, CareProfile
from vitals.quality import Context

LOW, PAGES = ("slow_rhythm", "raised", "low"), ("slow_rhythm", "raised", "medium")


def at_rate(bpm: float, beats: int, seed: int = 1) -> Any:
    return sinus(np.random.default_rng(seed), beats, 60_000 / bpm, 20, wander=0.0)


def found_in(seen: Observations, person: Person = NOBODY) -> list[Any]:
    return run(SlowRhythm(), seen, person=person)[1]


def of(**profile: Any) -> Person:
    return Person(CareProfile(version=1, **profile))


def heart_rates(seconds: int, bpm: float) -> Observations:
    return told("heart_rate", np.arange(seconds), np.full(seconds, bpm))


def test_five_minutes_below_the_limit_are_found_and_end() -> None:
    rr = np.concatenate((at_rate(60, 100), at_rate(36, 200), at_rate(60, 400)))
    found = found_in(samples(rr))
    assert short(found) == [PAGES, ("slow_rhythm", "cleared", "medium")]
    assert 300 <= at_s(found[0].changed_us) - rr[:100].sum() / 1_000 <= 315
    assert found[0].unit == "/min"
    assert found[0].threshold == 40


def test_where_the_origin_tells_heart_rate_its_limit_pages_and_this_is_recorded() -> None:
    seen = together(samples(at_rate(36, 200)), heart_rates(340, 36.0))
    assert short(found_in(seen)) == [LOW]


def test_four_minutes_are_too_short_and_begin_anew() -> None:
    assert found_in(samples(np.concatenate([at_rate(60, 100), at_rate(36, 144)] * 5))) == []


def test_what_dips_again_and_again_is_one_episode() -> None:
    dips = [
        at_rate(36, 200),
        *[part for _ in range(6) for part in (at_rate(44, 100), at_rate(60, 200), at_rate(36, 30))],
    ]
    assert short(found_in(samples(np.concatenate(dips)))) == [PAGES]


def test_who_gets_up_and_is_fast_enough_is_no_longer_slow() -> None:
    rr = np.concatenate((at_rate(36, 200), at_rate(80, 500)))
    context = np.where(np.arange(len(rr)) < 200, 0, int(Context.MOTION_ACTIVE))
    assert short(found_in(samples(rr, context=context))) == [PAGES, ("slow_rhythm", "cleared", "medium")]


@pytest.mark.parametrize(
    ("bpm", "context", "profile", "expected"),
    [
        (37.0, 0, {}, [PAGES]),
        (33.0, int(Context.ASLEEP), {}, []),
        (28.0, int(Context.ASLEEP), {}, [PAGES]),
        (37.0, 0, {"trained": True}, []),
        (37.0, 0, {"rate_limiting_drug": True}, []),
        (28.0, int(Context.ASLEEP), {"trained": True}, []),
        (23.0, int(Context.ASLEEP), {"trained": True}, [PAGES]),
        (47.0, 0, {"limits": {"heart_rate": Band(low=50)}}, [PAGES]),
        (37.0, 0, {"limits": {"heart_rate": Band(low=30)}}, []),
        (37.0, int(Context.MOTION_ACTIVE), {}, []),
        (37.0, 0, {"pacemaker": True}, []),
        (37.0, 0, {"age_band": AgeBand.CHILD}, []),
    ],
)
def test_the_limit_is_the_persons(bpm: float, context: int, profile: dict[str, Any], expected: list[Any]) -> None:
    assert short(found_in(samples(at_rate(bpm, 300), context=context), of(**profile))) == expected


def test_missed_beats_do_not_make_a_rhythm_slow() -> None:
    rr = misdetected(at_rate(62, 3_000), np.random.default_rng(3), 0.15, 0.0)
    assert found_in(samples(rr[rr < 4_000])) == []


def test_a_pacemaker_that_becomes_known_ends_the_episode() -> None:
    seen = samples(at_rate(36, 300))
    state, _ = run(SlowRhythm(), seen[:250])
    _, found = SlowRhythm().step(state, seen[250:], int(seen["start_us"][-1]), of(pacemaker=True))
    assert short(found) == [("slow_rhythm", "cleared", "medium")]


@pytest.mark.realdata
def test_real_recordings_have_none() -> None:
    for seen in (annotated("mitdb100/100.atr", 360.0), annotated("af/nsr001.ecg", 128.0), ltafdb_74(1)):
        assert run(SlowRhythm(), seen, cuts=range(0, len(seen), 1_000))[1] == []


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 2_800), max_size=12), seed=st.integers(0, 30))
def test_cuts_do_not_matter(cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rr = np.concatenate(
        [at_rate(rng.choice([28.0, 38.0, 41.0, 60.0]), int(rng.integers(5, 350)), seed) for _ in range(8)]
    )
    context = np.where(rng.uniform(size=len(rr)) < 0.3, int(Context.ASLEEP), 0)
    seen = samples(rr, context=context, quality=np.where(rng.uniform(size=len(rr)) < 0.02, 0.2, 1.0))
    rates = heart_rates(400, 60.0)[:: int(rng.integers(1, 50))]
    assert_cuts_do_not_matter(SlowRhythm, together(seen, rates), cuts)


@pytest.mark.parametrize("apart_us", [1, S])
def test_hostile_input_is_bounded(apart_us: int) -> None:
    seen = told("rr_interval", np.zeros(10_000), np.random.default_rng(1).uniform(1_000, 4_000, 10_000))
    seen["start_us"] += np.arange(10_000) * apart_us
    state, _ = run(SlowRhythm(), seen)
    assert len(repr(pack(state))) <= SlowRhythm.max_bytes


@pytest.mark.parametrize("wrong", [{"asleep_bpm": 60.0}, {"lower_by": 50.0}, {"heard_s": 0.0}, {"low_ms": 5_000.0}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(SlowRhythmPolicy(), **wrong)
