"""What one device knows of motion and sleep, lent to the samples of another."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.detectors.packing import pack, unpack
from stream.detectors.track import KEPT, MAX_BYTES, Track, enrich, now, take
from tests.stream.detectors.judging import hostile, size
from tests.stream.detectors.running import T0, S, together, told
from vitals.quality import Context

MOVING, WORKOUT, ASLEEP = int(Context.MOTION_ACTIVE), int(Context.WORKOUT), int(Context.ASLEEP)


def bits(track: Track, at_s: list[float]) -> list[int]:
    return enrich(track, told("heart_rate", at_s, 150.0))["context"].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("metric", "value", "bit"),
    [
        ("enmo", 120, MOVING),
        ("steps", 80, MOVING),
        ("cadence", 90, MOVING),
        ("activity_intensity", 2, MOVING),
        ("activity_class", 3, MOVING),
        ("workout", 37, WORKOUT),
        ("sleep_stage", 4, ASLEEP),
        ("enmo", 30, 0),
        ("steps", 5, 0),
        ("activity_class", 5, 0),  # in a vehicle one sits
        ("activity_intensity", 1, 0),
        ("sleep_stage", 2, 0),  # awake
        ("in_bed", 1, 0),
    ],
)
def test_what_one_device_tells_of_a_minute_holds_for_the_heart_rate_of_another(
    metric: str, value: float, bit: int
) -> None:
    track = take(Track(), told(metric, [0.0], [value], duration_ms=60_000))
    assert bits(track, [-30, 0, 30, 60, 90]) == [0, bit, bit, bit, 0]
    assert int(now(track, T0 + 30 * S)) == bit
    assert int(now(track, T0 + 90 * S)) == 0


def test_a_days_total_of_steps_says_nothing_about_when() -> None:
    assert bits(take(Track(), told("steps", [0.0], [40_000], duration_ms=86_400_000)), [60]) == [0]


def test_context_bits_of_a_stretch_reach_a_sample_between_them() -> None:
    track = take(Track(), told("spo2", np.arange(0, 300, 30), 97, context=MOVING))
    assert bits(track, [100.5, 400]) == [MOVING, 0]


def test_a_device_off_the_body_or_of_no_quality_says_nothing_of_its_wearer() -> None:
    table = told("enmo", [0.0], [500.0], duration_ms=60_000, context=int(Context.NO_CONTACT))
    doubted = told("enmo", [0.0], [500.0], duration_ms=60_000, quality=0)
    assert bits(take(take(Track(), table), doubted), [30]) == [0]


def test_nothing_to_lend_gives_the_very_samples_back() -> None:
    track = take(Track(), told("enmo", [0.0], [500.0], duration_ms=60_000))
    far = told("heart_rate", [5_000.0], [70])
    assert enrich(track, far) is far
    known = told("heart_rate", [10.0], [70], context=MOVING)
    assert enrich(track, known) is known


def test_what_came_is_not_changed() -> None:
    track = take(Track(), told("workout", [0.0], [37], duration_ms=600_000))
    seen = told("heart_rate", [30.0], [150])
    assert enrich(track, seen)["context"].tolist() == [WORKOUT]
    assert seen["context"].tolist() == [0]


@settings(deadline=None, max_examples=50)
@given(
    starts=st.lists(st.integers(0, 50_000), min_size=1, max_size=40),
    lengths=st.lists(st.integers(1, 900), min_size=40, max_size=40),
    order=st.randoms(use_true_random=False),
)
def test_the_order_in_which_devices_tell_does_not_matter(starts: list[int], lengths: list[int], order: object) -> None:
    pieces = [told("workout", [at], [37], duration_ms=1_000 * long) for at, long in zip(starts, lengths, strict=False)]
    one, other = Track(), Track()
    for piece in pieces:
        one = take(one, piece)
    order.shuffle(pieces)  # type: ignore[attr-defined]
    for piece in pieces:
        other = unpack(Track, pack(take(other, piece)))
    probe = told("heart_rate", np.arange(0, 52_000, 37.0), 70)
    assert (enrich(one, probe) == enrich(other, probe)).all()
    at_once = take(Track(), together(*pieces))
    assert (enrich(at_once, probe) == enrich(one, probe)).all()


@settings(deadline=None)
@given(st.lists(st.integers(0, 900), min_size=1, max_size=20, unique=True), st.randoms(use_true_random=False))
def test_samples_in_any_order_are_lent_the_same(at_s: list[int], order: Random) -> None:
    track = take(Track(), told("enmo", [300.0], [120.0], duration_ms=60_000))
    rows = told("heart_rate", sorted(map(float, at_s)), 150.0)
    mixed = list(range(len(rows)))
    order.shuffle(mixed)
    assert (enrich(track, rows.take(mixed)) == enrich(track, rows).take(mixed)).all()


def test_the_moment_and_the_stretch_agree() -> None:
    track = take(Track(), told("workout", np.arange(0, 20_000, 1_000), 37, duration_ms=300_000))
    at_s = np.arange(-100, 21_000, 13.0)
    lent = enrich(track, told("heart_rate", at_s, 70))["context"].tolist()
    assert lent == [int(now(track, T0 + int(one) * S)) for one in at_s]


def test_it_stays_small() -> None:
    track = Track()
    for seed in range(3):
        track = take(track, hostile(seed))
    for n in range(200):
        track = take(track, told("workout", [1e6 + 1_000 * n], [37], duration_ms=1_000))
    assert [len(one) <= KEPT for one in track.stretches()] == [True] * 3
    assert size(track) <= 2 * MAX_BYTES
    assert bits(track, [1e6 + 199_000]) == [WORKOUT]
