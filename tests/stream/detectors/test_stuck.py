"""A flat line where there never was one; what is constant by nature never is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.event import Kind, Priority, State
from stream.detectors.protocol import Person
from stream.detectors.stuck import Stuck, StuckPolicy
from tests.stream.detectors.judging import assert_cuts_do_not_matter, changes, hostile, judge, size
from tests.stream.detectors.running import T0, S, together, told
from vitals.care_profile import CareProfile
from vitals.catalogue import number_of

RAISED, CLEARED = State.RAISED, State.CLEARED
FROM, TO = 1_500, 2_100


def beating(seed: int, seconds: int = 3_000, sd: float = 0.8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.round(72 + 6 * np.sin(np.arange(seconds) / 300) + rng.normal(0, sd, seconds))


def flat(seed: int, value: float = 140.0) -> object:
    """Heart rate that is flat for ten minutes, and other vital signs that go on."""
    at, rng = np.arange(0, 3_000.0), np.random.default_rng(seed + 1_000)
    heart = beating(seed)
    heart[FROM:TO] = value
    return together(
        told("heart_rate", at, heart),
        told("spo2", at[::5] + 0.2, np.clip(np.round(97.2 + rng.normal(0, 0.35, 600)), 0, 100)),
        told("rr_interval", at + 0.5, np.round(800 + rng.normal(0, 30, 3_000))),
        told("respiratory_rate", at[::15] + 0.3, np.round(15 + rng.normal(0, 0.5, 200))),
    )


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 20), cuts=st.lists(st.integers(1, 6_700), max_size=40))
def test_a_flat_line_is_distrusted_within_a_minute_told_after_two_and_cleared_when_it_ends(
    seed: int, cuts: list[int]
) -> None:
    seen = flat(seed)
    found = assert_cuts_do_not_matter(Stuck(), seen, cuts)  # type: ignore[arg-type]
    assert changes(found.findings) == [("heart_rate", RAISED, FROM + 120.0), ("heart_rate", CLEARED, float(TO))]
    raised = found.findings[0]
    assert (raised.kind, raised.priority, raised.opened_us) == (Kind.TECHNICAL, Priority.LOW, T0 + FROM * S)
    assert raised.figures["value"] == 140.0
    heart = found.distrust & (seen["metric"] == number_of("heart_rate"))  # type: ignore[index]
    doubted = (seen["start_us"][heart] - T0) / S  # type: ignore[index]
    assert FROM + 4 < doubted[doubted >= FROM].min() < FROM + 30
    assert (~found.distrust).sum() > 5_500


def test_what_varies_at_a_third_of_its_samples_is_distrusted_before_limits_would_raise() -> None:
    found_after = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        values = 70 + np.cumsum((rng.random(1_800) < 0.3) * rng.choice([-1, 1], 1_800))
        values[1_200:] = values[1_199]
        doubted = np.flatnonzero(judge(Stuck(), told("heart_rate", np.arange(1_800), values)).distrust)
        found_after.append(doubted[doubted >= 1_200].min() - 1_200)
    assert np.mean(np.array(found_after) < 60) >= 0.95


def test_the_limits_are_told_while_it_lasts_and_no_longer() -> None:
    seen = flat(3)
    at = seen["start_us"]  # type: ignore[index]
    during = judge(Stuck(), seen[at < T0 + 1_600 * S])  # type: ignore[index]
    assert Stuck().distrusted(during.state) == {number_of("heart_rate")}
    after = judge(Stuck(), seen[at < T0 + 2_200 * S])  # type: ignore[index]
    assert Stuck().distrusted(after.state) == frozenset()


@pytest.mark.parametrize("value", [60.0, 85.0, 140.0])
def test_what_never_varied_is_never_suspicious(value: float) -> None:
    found = judge(Stuck(), told("heart_rate", np.arange(10_000), value))
    assert not found.findings
    assert not found.distrust.any()


def test_a_step_in_a_constant_is_not_suspicious() -> None:
    values = np.where(np.arange(4_000) < 2_000, 70, 140)
    found = judge(Stuck(), told("heart_rate", np.arange(4_000), values))
    assert not found.findings
    assert not found.distrust.any()


def test_a_paced_heart_is_never_stuck() -> None:
    paced = Person(CareProfile(version=1, pacemaker=True))
    found = judge(Stuck(), flat(1), person=paced)  # type: ignore[arg-type]
    assert not found.findings
    assert not found.distrust.any()


def test_full_saturation_saturates() -> None:
    rng = np.random.default_rng(4)
    values = np.where(np.arange(3_000) < 1_000, np.round(97 + rng.normal(0, 0.8, 3_000)), 100)
    found = judge(Stuck(), told("spo2", 5.0 * np.arange(3_000), values))
    assert not found.findings
    assert not found.distrust.any()
    flat_low = judge(Stuck(), told("spo2", 5.0 * np.arange(3_000), np.where(values == 100, 85, values)))
    assert changes(flat_low.findings)[0][:2] == ("spo2", RAISED)
    assert flat_low.distrust[1_050:].all()


def test_coarser_steps_of_a_new_firmware_become_usual() -> None:
    values = beating(6, 20_000)
    values[5_000:] = np.round(values[5_000:] / 5) * 5
    found = judge(Stuck(), told("heart_rate", np.arange(20_000), values))
    assert not found.distrust[12_000:].any()


def test_a_sensor_of_no_quality_is_neither_flat_nor_varied() -> None:
    seen = flat(2)
    seen["quality"][seen["value"] == 140] = 0  # type: ignore[index]
    found = judge(Stuck(), seen)  # type: ignore[arg-type]
    assert not found.findings
    assert not found.distrust.any()


def test_a_hole_begins_anew_and_does_not_clear() -> None:
    at = np.arange(0, 1_700.0)
    values = beating(1)[:1_700]
    values[FROM:] = 140
    later = together(told("heart_rate", at, values), told("heart_rate", [9_000, 9_001, 9_002], [140, 140, 141]))
    found = judge(Stuck(), later)
    assert changes(found.findings) == [("heart_rate", RAISED, FROM + 120.0), ("heart_rate", CLEARED, 9_002.0)]
    quiet = together(told("heart_rate", at[:1_505], values[:1_505]), told("heart_rate", 9_000 + np.arange(9), 140))
    assert not judge(Stuck(), quiet).distrust.any()


def test_ordinary_people_are_hardly_ever_doubted() -> None:
    doubted, findings = 0, 0
    for seed in range(20):
        found = judge(Stuck(), told("heart_rate", np.arange(20_000), beating(seed, 20_000)))
        doubted, findings = doubted + int(found.distrust.sum()), findings + len(found.findings)
    assert doubted <= 400
    assert findings == 0


def test_hostile_input_leaves_it_small_and_cuts_do_not_matter() -> None:
    for seed in range(3):
        found = assert_cuts_do_not_matter(Stuck(), hostile(seed), range(0, 10_000, 61))
        assert size(found.state) <= Stuck.max_bytes


@pytest.mark.parametrize("wrong", [{"stuck_odds": 0.1}, {"min_repeats": 1}, {"max_gap_s": 0}, {"suspicious_odds": 1}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="|".join(wrong)):
        StuckPolicy(**wrong)  # type: ignore[arg-type]
