"""Whoever a rule no longer applies to has no episode of it left open: told once, as the end of what was raised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alerts.event import Priority, State
from stream.detectors.below_baseline import OwnBaseline
from stream.detectors.desaturation import Desaturation
from stream.detectors.fever import Fever
from stream.detectors.glucose import Glucose
from stream.detectors.news2 import News2
from stream.detectors.observation import Observations
from stream.detectors.protocol import NOBODY, Detector, Person
from stream.detectors.surge import Surge
from stream.detectors.sustain import Sustained
from stream.detectors.temperature_trend import TemperatureTrend
from stream.detectors.wrist_temperature import WristTemperature
from tests.stream.detectors.running import S, run, together, told
from vitals.care_profile import AgeBand, CareProfile
from vitals.quality import Context

CHILD = Person(CareProfile(version=2, age_band=AgeBand.CHILD))
PREGNANT = Person(CareProfile(version=2, pregnant=True))
_STILL, _ASLEEP = int(Context.MOTION_SEDENTARY), int(Context.ASLEEP)


def _ill(values: dict[str, float], from_s: float, to_s: float) -> Observations:
    at = np.arange(from_s, to_s, 15.0)
    noise = np.random.default_rng(1).normal(0, 0.2, len(at))
    return together(*(told(metric, at, value + noise) for metric, value in values.items()))


def _news2() -> Observations:
    well = {"heart_rate": 70.0, "respiratory_rate": 14.0, "spo2": 97.0}
    ill = {"heart_rate": 125.0, "respiratory_rate": 26.0, "spo2": 90.5}
    return together(_ill(well, 0, 7_200), _ill(ill, 7_200, 9_000))


def _fever() -> Observations:
    return told("body_temperature", np.arange(20) * 600.0, 39.0)


def _rising() -> Observations:
    at = np.arange(0, 8 * 3_600, 600.0)
    return told("body_temperature", at, 36.5 + at / 3_600 * 0.4)


def _warm_nights() -> Observations:
    nights = [34.0, 34.1, 33.9, 34.0, 34.1, 34.0, 36.5]
    at = np.arange(0, 8 * 3_600, 300.0) + 6 * 3_600
    parts = [told("wrist_temperature", at + n * 86_400, value, context=_ASLEEP) for n, value in enumerate(nights)]
    return together(*parts, told("wrist_temperature", [8 * 86_400.0], 34.0))


def _glucose() -> Observations:
    return told("glucose", np.arange(10) * 300.0, 50.0)


def _falls() -> Observations:
    at = np.arange(0, 3 * 3_600, 1.0)
    phase = at % 90
    return told("spo2", at, np.round(np.where(phase < 35, 97 - 7 * np.sin(np.pi * phase / 35), 97)))


def _surge() -> Observations:
    at = np.arange(0, 1_600.0)
    noise = np.random.default_rng(7).normal(0, 1.5, len(at))
    return told("heart_rate", at, np.round(np.where(at < 1_200, 70, 115) + noise), context=_STILL)


_CASES: list[tuple[Detector[Any], Observations, Person, str, int]] = [
    (News2(), _news2(), CHILD, "heart_rate", 2),
    (News2(), _news2(), PREGNANT, "heart_rate", 2),
    (Fever(), _fever(), CHILD, "body_temperature", 1),
    (TemperatureTrend(), _rising(), CHILD, "body_temperature", 1),
    (WristTemperature(), _warm_nights(), CHILD, "wrist_temperature", 1),
    (Glucose(), _glucose(), CHILD, "glucose", 2),
    (Desaturation(), _falls(), CHILD, "spo2", 1),
    (Surge(), _surge(), CHILD, "heart_rate", 1),
]

_WELL = {"heart_rate": 70.0, "body_temperature": 36.8, "wrist_temperature": 34.0, "glucose": 100.0, "spo2": 97.0}


@pytest.mark.parametrize(
    ("detector", "seen", "person", "metric", "episodes"),
    _CASES,
    ids=[f"{one[0].name}-{at}" for at, one in enumerate(_CASES)],
)
def test_what_is_open_ends_with_the_profile_and_once(
    detector: Detector[Any], seen: Observations, person: Person, metric: str, episodes: int
) -> None:
    state, before = run(detector, seen)
    open_ones = {(one.rule, one.opened_us): one for one in before if one.state is not State.CLEARED}
    for one in before:
        if one.state is State.CLEARED:
            del open_ones[one.rule, one.opened_us]
    assert len(open_ones) == episodes
    last_s = (int(seen["start_us"][-1]) - int(seen["start_us"][0])) / S
    more = told(metric, last_s + 86_400 + np.arange(5) * 60.0, _WELL[metric])
    state, ended = run(detector, more, person=person, state=state)
    assert {(one.rule, one.opened_us) for one in ended} == set(open_ones)
    for end in ended:
        raised = open_ones[end.rule, end.opened_us]
        assert (end.state, end.metric, end.unit) == (State.CLEARED, raised.metric, raised.unit)
        assert end.priority is raised.priority
        assert end.raised_us == raised.raised_us
        assert end.changed_us >= raised.changed_us
        assert "for this person" in end.says
    assert run(detector, more, person=person, state=state)[1] == []
    assert run(detector, more, person=NOBODY, state=state, cuts=(2,))[1] == []  # nothing is left of it


def test_an_escalated_score_ends_as_high() -> None:
    medical = Person(ceiling=Priority.HIGH)
    state, before = run(News2(), _news2(), person=medical)
    assert before[-1].priority is Priority.HIGH or before[0].priority is Priority.HIGH
    ended = run(News2(), told("heart_rate", [10_000.0], 70), person=CHILD, state=state)[1]
    assert {one.rule: one.priority for one in ended}["news2"] is Priority.HIGH


def test_own_baseline_learns_nothing_of_a_child_and_ends_what_is_open() -> None:
    detector = OwnBaseline()
    open_one = Sustained(at_us=30, opened_us=10, raised_us=20)
    held = (open_one, *detector.fresh().by_night[1:])
    state, found = run(
        detector, told("heart_rate", [0.0], 70), person=CHILD, state=replace(detector.fresh(), by_night=held)
    )
    assert [(one.state, one.opened_us) for one in found] == [(State.CLEARED, 10)]
    assert all(one.is_quiet for one in state.by_night)
