"""A stretch cut by metric: the same samples as masks would pick, and no detector minds what else is in its stretch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.detectors.by_metric import Stretch, by_metric
from stream.detectors.observation import OBSERVATION, Observations, pick
from stream.detectors.packing import pack
from stream.detectors.protocol import NOBODY
from stream.detectors.registry import SECTIONS, Section
from tests.stream.detectors.running import T0, S, together, told
from vitals.catalogue import BY_NUMBER, number_of
from vitals.quality import TRUSTWORTHY, Context

METRICS = [number_of(code) for code in ("heart_rate", "rr_interval", "spo2", "steps")]


def anything(seed: int, size: int) -> Observations:
    """Samples of four metrics in event order, of any quality, context and duration."""
    draw = np.random.default_rng(seed)
    rows = np.zeros(size, OBSERVATION)
    rows["start_us"] = T0 + np.sort(draw.integers(0, 30 * S, size))
    rows["received_us"] = rows["start_us"] + draw.integers(0, 5 * S, size)
    rows["metric"], rows["value"] = draw.choice(METRICS, size), draw.integers(40, 100, size)
    rows["quality"], rows["context"] = draw.choice([0, 0.4, 1], size), draw.integers(0, 256, size)
    rows["duration_ms"] = draw.choice([0, 0, 5_000], size)
    ends = rows["start_us"] + rows["duration_ms"].astype(np.int64) * 1_000
    return rows.take(np.lexsort((rows["metric"], ends)))


@given(st.integers(0, 1_000), st.integers(1, 60))
def test_each_metric_is_what_a_mask_picks(seed: int, size: int) -> None:
    seen = anything(seed, size)
    stretch = Stretch(seen)
    ends = seen["start_us"] + seen["duration_ms"].astype(np.int64) * 1_000
    well = (seen["quality"] >= TRUSTWORTHY) & ((seen["context"] & int(Context.NO_CONTACT)) == 0)
    assert stretch.all_well == well.all()
    assert (stretch.ends_us == ends).all()
    assert (stretch.received[1] == seen["received_us"] // S).all()
    for metric in METRICS:
        mine, good = seen["metric"] == metric, (seen["metric"] == metric) & well
        assert bool(stretch.bits >> metric & 1) == mine.any()
        for found, which in ((stretch.of(metric), mine), (stretch.trusted(metric), good)):
            assert (found is None) == (not which.any())
            if found is not None:
                assert found.place.tolist() == np.flatnonzero(which).tolist()
                assert (found.end_us == ends[which]).all()
                for name in ("start_us", "value", "quality", "context", "duration_ms"):
                    assert (getattr(found, name) == seen[name][which]).all()
        if mine.any():
            assert stretch.extremes(metric) == (seen["value"][mine].min(), seen["value"][mine].max())
            assert stretch.longest_of(metric) == seen["duration_ms"][mine].max()


@given(st.integers(0, 1_000), st.integers(1, 60))
def test_several_metrics_stand_in_the_order_of_the_stretch(seed: int, size: int) -> None:
    seen = anything(seed, size)
    table = np.zeros(max(BY_NUMBER) + 1, np.bool_)
    table[METRICS[:2]] = True
    found, metric = Stretch(seen).several(table)
    assert found.place.tolist() == np.flatnonzero(table[seen["metric"]]).tolist()
    assert (metric == seen["metric"][found.place]).all()
    assert (found.value == seen["value"][found.place]).all()


def test_the_context_is_told_where_all_agree() -> None:
    still, asleep = int(Context.MOTION_SEDENTARY), int(Context.ASLEEP)
    same = told("spo2", [1, 2], 97, context=still)
    assert Stretch(same).context == still
    assert Stretch(together(same, told("spo2", [3], 97, context=asleep))).context == -1


def test_the_newest_stretch_is_cut_once() -> None:
    one, other = told("spo2", [1, 2], 97), told("spo2", [1, 2], 97)
    first = by_metric(one)
    assert by_metric(one) is first
    assert by_metric(other) is not first
    assert by_metric(one).seen is one


@pytest.mark.parametrize(
    "section", [one for one in SECTIONS if not one.technical], ids=lambda section: section.name
)  # fmt: skip
def test_a_detector_looks_at_its_own_metrics_alone(section: Section) -> None:
    detector: Any = section.make(section.policy())
    table = np.zeros(max(BY_NUMBER) + 1, np.bool_)
    table[list(detector.metrics)] = True
    whole, own = detector.fresh(), detector.fresh()
    for number in range(40):
        rows = _minute(number)
        until_us = T0 + (number + 1) * 60 * S
        whole, found = detector.step(whole, rows, until_us, NOBODY)
        mine = pick(rows, table[rows["metric"]])
        if len(mine):
            own, same = detector.step(own, mine, until_us, NOBODY)
            assert found == same
        assert pack(whole) == pack(own)


def _minute(number: int) -> Observations:
    """A minute of every metric of a kind that lasts a moment, still or moving, of poor quality now and then."""
    draw = np.random.default_rng(number)
    metrics = np.array([one for one in BY_NUMBER if one != number_of("medication_event")], np.int16)
    rows = np.zeros(200, OBSERVATION)
    rows["start_us"] = T0 + number * 60 * S + np.arange(200) * (S // 4)
    rows["received_us"] = rows["start_us"] + S
    rows["metric"] = np.where(draw.random(200) < 0.5, draw.choice(METRICS[:3], 200), draw.choice(metrics, 200))
    low = np.array([BY_NUMBER[int(one)].low for one in rows["metric"]])
    high = np.array([BY_NUMBER[int(one)].high for one in rows["metric"]])
    rows["value"] = np.round(np.clip(low + 0.3 * draw.random(200) * (high - low), low, high))
    rows["quality"] = 1 if number % 3 else draw.choice([0, 0.4, 1], 200)
    rows["context"] = draw.choice([1, 1, 1, 2, 8, 9], 200 if number % 4 == 0 else None)
    return rows
