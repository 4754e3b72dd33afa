"""No detector breaks on ordinary data whose metrics do not keep time with one another.

Samples of an origin are settled in order metric by metric: steps of a minute may come five minutes after the heart
rates of that minute, or before them. Values here are ordinary ones or anything the catalogue allows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Priority
from stream.detectors.observation import OBSERVATION, Observations
from stream.detectors.packing import pack, unpack
from stream.detectors.protocol import Person
from stream.detectors.registry import SECTIONS, Section
from tests.stream.detectors.running import T0, S
from vitals.care_profile import AgeBand, CareProfile
from vitals.catalogue import HIGH, LOW, number_of
from vitals.quality import Context

_ORDINARY = {
    "heart_rate": (5, 72), "respiratory_rate": (15, 15), "spo2": (15, 97), "rr_interval": (1, 830), "steps": (60, 80),
    "cadence": (60, 100), "enmo": (60, 80), "activity_class": (60, 2), "body_temperature": (600, 38.2),
    "wrist_temperature": (60, 33), "glucose": (300, 100), "wear_state": (300, 1), "battery": (600, 50),
    "clock_offset": (900, 0), "hrv_rmssd": (300, 40), "bp_systolic": (1_800, 120), "sleep_stage": (1_800, 2),
    "consciousness": (3_600, 0), "medication_event": (3_600, 1),
}  # fmt: skip
"""By metric: every how many seconds, and about what."""
_LONG = {"steps", "cadence", "enmo", "activity_class", "sleep_stage"}
_PERSONS = (
    Person(),
    Person(ceiling=Priority.HIGH),
    Person(CareProfile(version=1, age_band=AgeBand.CHILD)),
    Person(CareProfile(version=1, known_af=True, rate_limiting_drug=True)),
    Person(CareProfile(version=1, pregnant=True, pacemaker=True)),
)


def _of_metric(metric: str, hours: float, late_s: float, random: np.random.Generator, *, wild: bool) -> Observations:
    """One metric with a shift in its arrival (`received_us`), walking for five minutes in every twenty-five."""
    every_s, usual = _ORDINARY[metric]
    at_s = np.arange(0.0, hours * 3_600, every_s)
    seen = np.zeros(len(at_s), OBSERVATION)
    walking = at_s % 1_500 < 300
    number = number_of(metric)
    low, high = float(LOW[number]), float(HIGH[number])
    spread = random.uniform(low, high, len(at_s)) if wild else usual * (1 + 0.02 * random.standard_normal(len(at_s)))
    value = np.where(walking & (metric == "heart_rate"), 120.0, spread)
    seen["start_us"] = T0 + np.round(at_s * S).astype(np.int64)
    seen["duration_ms"] = every_s * 1_000 if metric in _LONG else 0
    seen["metric"], seen["value"] = number, np.clip(value, low, high)
    seen["quality"] = np.where(random.random(len(at_s)) < 0.02, 0.2, 1.0)
    seen["context"] = np.where(walking, int(Context.MOTION_ACTIVE), int(Context.MOTION_SEDENTARY))
    seen["zone_offset_min"] = np.where(random.random(len(at_s)) < 0.1, -32_768, 120)
    end_us = seen["start_us"] + seen["duration_ms"].astype(np.int64) * 1_000
    seen["written_us"] = seen["received_us"] = end_us + round(late_s * S)
    return seen


def _stretches(seed: int, hours: float, *, wild: bool) -> list[Observations]:
    """Return stretches as settled: by arrival, each in event order, each metric in its own order throughout."""
    random = np.random.default_rng(seed)
    parts = [
        _of_metric(one, hours, float(random.choice([0, random.uniform(0, 300)])), random, wild=wild)
        for one in _ORDINARY
    ]
    seen: Any = np.concatenate(parts)
    seen = seen[np.argsort(seen["received_us"], kind="stable")]
    cuts = np.searchsorted(seen["received_us"], T0 + S * np.cumsum(random.choice([15, 20, 60], 2_000)))
    stretches = []
    for part in np.split(seen, np.unique(cuts)):
        ends = part["start_us"] + part["duration_ms"].astype(np.int64) * 1_000
        stretches.append(part[np.lexsort((part["metric"], ends))])
    return [one for one in stretches if len(one)]


def _go(section: Section, stretches: list[Observations], persons: tuple[Person, ...]) -> None:
    detector = section.make(section.policy())
    wanted, state = list(detector.metrics), detector.fresh()
    for at, part in enumerate(stretches):
        person = persons[at * len(persons) // len(stretches)]
        if not section.technical and not np.isin(part["metric"], wanted).any():
            continue
        until_us = int((part["start_us"] + part["duration_ms"].astype(np.int64) * 1_000).max())
        result = detector.step(state, part, until_us, person)
        if section.technical:
            state = detector.overdue(result.state, until_us + 60 * S, person)[0]  # type: ignore[union-attr]
            detector.distrusted(state)  # type: ignore[union-attr]
        else:
            state = result[0]  # type: ignore[index]
        if at % 50 == 0:
            state = unpack(type(state), pack(state))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda one: one.name)
@given(seed=st.integers(0, 10_000), wild=st.booleans(), person=st.sampled_from(range(len(_PERSONS))))
@settings(max_examples=6, deadline=None)
def test_metrics_may_be_five_minutes_late_against_each_other(
    section: Section, seed: int, wild: bool, person: int
) -> None:
    _go(section, _stretches(seed, 1.5, wild=wild), (_PERSONS[person],))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda one: one.name)
def test_profiles_may_change_meanwhile(section: Section) -> None:
    _go(section, _stretches(7, 6, wild=True), (*_PERSONS, *_PERSONS[::-1]))
