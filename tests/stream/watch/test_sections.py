"""What every settled detector owes the engine, asked of all that are registered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from alerts.event import AlertEvent
from devices.simulator.recipes import cohort
from devices.simulator.simulate import simulate
from devices.simulator.wearer import ALL_CADENCES_S
from stream.detectors.observation import OBSERVATION, Observations
from stream.detectors.packing import pack, unpack
from stream.detectors.protocol import NOBODY
from stream.detectors.registry import SECTIONS, Section
from stream.watch.crowd import Everyone
from stream.watch.engine import Engine
from stream.watch.plan import Plan, default_plan, shape_of
from stream.watch.size import MAX_BYTES, array_bytes, bytes_of
from tests.stream.making import T0, S
from vitals.batch import BatchHeader, SampleColumns
from vitals.catalogue import BY_NUMBER

PLAN = default_plan()
each = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)


def _built(section: Section) -> Any:
    return section.make(section.policy())


@each
def test_a_section_builds_with_its_defaults(section: Section) -> None:
    detector = _built(section)
    assert detector.name == section.name
    assert detector.metrics
    assert detector.metrics <= set(BY_NUMBER)
    assert 0 < detector.max_bytes <= 30_000
    assert detector.per_patient in (True, False)
    assert hasattr(detector, "distrusted") == section.technical
    state = detector.fresh()
    assert shape_of(state) == shape_of(_built(section).fresh())
    packed = json.loads(json.dumps(pack(state), allow_nan=False))
    assert json.dumps(pack(unpack(type(state), packed))) == json.dumps(pack(state))


def hostile(detector: Any, seed: int, stretches: int = 12, size: int = 2_000) -> list[Observations]:
    """Anything that validation lets pass, as fast as can be, with quality and context at random."""
    draw = np.random.default_rng(seed)
    metrics = np.array(sorted(detector.metrics), np.int16)
    low, high = (np.array([getattr(BY_NUMBER[int(one)], side) for one in metrics]) for side in ("low", "high"))
    made = []
    for stretch in range(stretches):
        rows = np.zeros(size, OBSERVATION)
        step_us = int(draw.choice([1, 1_000, 1_000_000, 60_000_000, 3_600_000_000]))
        rows["start_us"] = T0 + stretch * 86_400 * S * 90 + np.arange(size) * step_us
        rows["written_us"] = rows["received_us"] = rows["start_us"]
        which = draw.integers(0, len(metrics), size)
        rows["metric"] = metrics[which]
        share = draw.random(size)
        rows["value"] = low[which] + np.round(share * (high - low)[which])
        rows["quality"], rows["context"] = draw.choice([0, 0.4, 1, 1], size), draw.integers(0, 256, size)
        rows["zone_offset_min"] = draw.choice([-32_768, 0, 120])
        made.append(rows)
    return made


@each
@pytest.mark.parametrize("seed", range(3))
def test_a_state_stays_within_its_bound_whatever_comes(section: Section, seed: int) -> None:
    detector = _built(section)
    state = detector.fresh()
    for rows in hostile(detector, seed):
        until_us = int(rows["start_us"][-1])
        judged = detector.step(state, rows, until_us, NOBODY)
        state = judged.state if section.technical else judged[0]
        if section.technical:
            assert len(judged.distrust) == len(rows)
        assert array_bytes(state) <= detector.max_bytes
        packed = json.loads(json.dumps(pack(state), allow_nan=False))
        state = unpack(type(state), packed)


# --- All of them together -----------------------------------------------------------------------------------------

CADENCES_S = {**ALL_CADENCES_S, "pulse_rate": 2.0}
START = T0 // S * S
LENGTH_S = 3_600


def _lived(scenario: str, seed: int) -> tuple[BatchHeader, SampleColumns]:
    end_us = START + LENGTH_S * S
    (who,) = cohort(1, seed, START, end_us, scenarios=(scenario,), cadences_s=CADENCES_S)
    return BatchHeader(who.patient_id, who.device_id, "app", "sim"), simulate(who, START, end_us)


def _run(
    header: BatchHeader, whole: SampleColumns, size: int, *, restart_every: int = 0, plan: Plan = PLAN
) -> list[AlertEvent]:
    engine = Engine(Everyone(plan), strict=True)
    events: list[AlertEvent] = []
    for number, at in enumerate(range(0, len(whole), size)):
        part = whole.take(np.arange(at, min(at + size, len(whole))))
        now_us = int(part.received_us[-1])
        events += engine.see([header], np.array([len(part)]), part, now_us)
        events += [event for told in engine.settle(now_us) for event in told]
        if restart_every and number % restart_every == 0:
            kept = engine.snapshot(header.patient_id)
            assert len(kept) < 262_144
            engine = Engine(Everyone(plan), strict=True)
            engine.restore(header.patient_id, kept)
            assert engine.snapshot(header.patient_id) == kept
    events += engine.finish(START + (LENGTH_S + 1) * S)
    assert engine.failures == {}
    assert bytes_of(engine._roster.patients[header.patient_id]) <= MAX_BYTES
    return events


def _settled(events: Sequence[AlertEvent]) -> list[tuple[str, str, str]]:
    """What the settled tier tells: it does not depend on when a record came."""
    limits = {rule.name for rule in PLAN.limits.rules}
    return sorted((one.rule, one.alert_id, one.state.value) for one in events if one.rule not in limits)


SEEN = {"af": "irregular_rhythm", "panic": "heart_rate_surge", "deterioration": "news2", "well": None}


@pytest.mark.parametrize(("scenario", "rule"), SEEN.items())
def test_a_mixed_stream_survives_cuts_and_restarts(scenario: str, rule: str | None) -> None:
    header, whole = _lived(scenario, 11)
    told = _run(header, whole, 50)
    assert (rule in {one.rule for one in told}) if rule else not told
    assert _settled(_run(header, whole, 333)) == _settled(told)
    again = _run(header, whole, 50, restart_every=7)
    assert [(one.alert_id, one.state) for one in again] == [(one.alert_id, one.state) for one in told]
    assert len({(one.alert_id, one.state, one.retrospective, one.priority) for one in told}) == len(told)
