"""Ectopy burden: counted by the hour, for the digest, void in fibrillation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Priority
from stream.detectors.observation import Observations
from stream.detectors.packing import pack
from stream.detectors.protocol import NOBODY, Person
from stream.detectors.rhythm_ectopy import Ectopy, EctopyPolicy
from tests.stream.detectors.rhythm_helpers import annotated, ltafdb_74, samples, short
from tests.stream.detectors.rhythms import IRREGULAR, REGULAR, ectopic, sinus
from tests.stream.detectors.running import S, assert_cuts_do_not_matter, run, told
from vitals.care_profile import AgeBand, CareProfile
from vitals.quality import Context

RAISED = ("ectopy_burden", "raised", "low")


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def found_in(seen: Observations, person: Person = NOBODY) -> list[Any]:
    return run(Ectopy(), seen, person=person)[1]


@pytest.mark.parametrize(
    ("name", "percent"),
    [("pvc_20", 16.5), ("bigeminy", 50.0), ("trigeminy", 33.3), ("quadrigeminy", 25.0), ("pac_15", 13.0)],
)
def test_a_tenth_and_more_is_told_at_the_end_of_the_hour(name: str, percent: float) -> None:
    found = found_in(samples(REGULAR[name](rng(3), 12_000)))
    assert short(found)[0] == RAISED
    assert len(found) == 1
    assert found[0].figures["early_percent"] == pytest.approx(percent, rel=0.15)
    assert found[0].changed_us % (3_600 * S) == 0


@pytest.mark.parametrize("name", ["sinus", "pvc_3", "pac_5", "rsa_young", "rsa_athlete", "missed_extra", "flutter"])
def test_little_is_not_told(name: str) -> None:
    assert found_in(samples(REGULAR[name](rng(4), 12_000))) == []


@pytest.mark.parametrize("name", IRREGULAR)
def test_it_is_void_in_fibrillation(name: str) -> None:
    assert found_in(samples(IRREGULAR[name](rng(5), 16_000))) == []


def test_the_share_is_right() -> None:
    rr = ectopic(rng(6), 20_000, 0.12, rsa_ms=15)
    hour = found_in(samples(rr))[0]
    short_ones = (rr[1:] >= 1.25 * rr[:-1]) & (rr[:-1] < 0.85 * 850)
    assert hour.figures["early_percent"] == pytest.approx(100 * short_ones.mean(), abs=1)


def test_it_ends_with_an_hour_that_has_few() -> None:
    rr = np.concatenate((ectopic(rng(7), 9_000, 0.2), sinus(rng(8), 12_000)))
    found = found_in(samples(rr))
    assert short(found) == [RAISED, ("ectopy_burden", "cleared", "low")]
    assert found[0].opened_us == found[1].opened_us
    assert {one.priority for one in found} == {Priority.LOW}


def test_nine_minutes_are_not_enough() -> None:
    seen = samples(REGULAR["bigeminy"](rng(9), 500))
    later = samples(sinus(rng(9), 500), start_s=7_200)
    assert found_in(np.concatenate((seen, later))) == []


def test_not_in_motion_nor_of_children_nor_pacemakers() -> None:
    rr = REGULAR["bigeminy"](rng(3), 12_000)
    assert found_in(samples(rr, context=int(Context.MOTION_ACTIVE))) == []
    assert found_in(samples(rr), Person(CareProfile(version=1, pacemaker=True))) == []
    assert found_in(samples(rr), Person(CareProfile(version=1, age_band=AgeBand.CHILD))) == []


@pytest.mark.realdata
def test_real_recordings_have_none() -> None:
    for seen in (annotated("mitdb100/100.atr", 360.0), annotated("af/nsr001.ecg", 128.0), ltafdb_74(1)):
        assert run(Ectopy(), seen, cuts=range(0, len(seen), 1_000))[1] == []


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 14_000), max_size=12), seed=st.integers(0, 30))
def test_cuts_do_not_matter(cuts: list[int], seed: int) -> None:
    at, parts = 0.0, []
    for number in range(6):
        rr = REGULAR[rng(seed + number).choice(["pvc_20", "sinus", "trigeminy"])](rng(seed), 2_400)
        context = np.where(rng(seed).uniform(size=2_400) < 0.05, int(Context.WORKOUT), 0)
        parts.append(samples(rr, start_s=at, context=context))
        at += rr.sum() / 1_000 + (200 if number == 3 else 0)
    assert_cuts_do_not_matter(Ectopy, np.concatenate(parts), cuts)


@pytest.mark.parametrize("apart_us", [1, S, 3_600 * S])
def test_hostile_input_is_bounded(apart_us: int) -> None:
    seen = told("rr_interval", np.zeros(10_000), rng().uniform(200, 4_000, 10_000))
    seen["start_us"] += np.arange(10_000) * apart_us
    state, _ = run(Ectopy(), seen)
    assert len(repr(pack(state))) <= Ectopy.max_bytes


@pytest.mark.parametrize("wrong", [{"clear_share": 0.5}, {"early": 1.2}, {"low_ms": 5_000.0}, {"min_analysed_s": 0.0}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(EctopyPolicy(), **wrong)
