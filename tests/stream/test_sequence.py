"""Doubts about a sample in the light of the one before it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.sequence import Memory
from timeseries.rows import ROW, Rows
from vitals.catalogue import BY_CODE
from vitals.quality import Flag

HEART_RATE = BY_CODE["heart_rate"].number
STAGE = BY_CODE["sleep_stage"].number


def rows(*samples: tuple[float, float], metric: int = HEART_RATE, patient: int = 1, flags: int = 0) -> Rows:
    """Samples of one series as (second, value)."""
    made = np.zeros(len(samples), ROW)
    made["time"] = [round(second * 1_000_000) for second, _ in samples]
    made["value"] = [value for _, value in samples]
    made["patient_key"], made["metric_key"], made["origin_key"], made["flags"] = patient, metric, 1, flags
    return made


def test_a_jump_is_flagged_and_a_slow_rise_is_not() -> None:
    assert Memory().flags(rows((0, 60), (1, 75), (2, 130), (10, 190))).tolist() == [0, 0, Flag.RATE_OF_CHANGE, 0]


def test_the_first_sample_has_no_predecessor_and_the_next_batch_has() -> None:
    memory = Memory()
    assert memory.flags(rows((0, 60))).tolist() == [0]
    assert memory.flags(rows((1, 160))).tolist() == [Flag.RATE_OF_CHANGE]


def test_what_comes_late_is_flagged_and_not_remembered() -> None:
    memory = Memory()
    memory.flags(rows((100, 60)))
    assert memory.flags(rows((50, 61), (101, 62))).tolist() == [Flag.OUT_OF_ORDER, 0]
    assert memory.flags(rows((102, 63))).tolist() == [0]


def test_series_do_not_mix() -> None:
    both = np.concatenate([rows((0, 60), (1, 61)), rows((0, 160), (1, 161), patient=2)])
    assert Memory().flags(both).tolist() == [0, 0, 0, 0]


def test_straight_from_waking_into_deep_sleep_is_unlikely_and_waking_from_it_is_not() -> None:
    marks = Memory().flags(rows((0, 2), (30, 4), (60, 2), (90, 3), (120, 4), (200, 2), (500, 5), metric=STAGE))
    assert marks.tolist() == [0, Flag.UNLIKELY_SEQUENCE, 0, 0, 0, 0, 0]


def test_a_tombstone_raises_no_doubt_and_is_no_predecessor() -> None:
    memory = Memory()
    assert memory.flags(rows((0, 0), flags=Flag.TOMBSTONE)).tolist() == [0]
    assert memory.flags(rows((1, 180))).tolist() == [0]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(40, 200), st.integers(1, 3)), min_size=1, max_size=60))
def test_order_within_a_batch_does_not_matter(samples: list[tuple[int, int, int]]) -> None:
    unique = list({(second, patient): (second, value, patient) for second, value, patient in samples}.values())
    made = np.concatenate([rows((second, value), patient=patient) for second, value, patient in unique])
    turned = np.arange(len(made))[::-1]
    assert (Memory().flags(made)[turned] == Memory().flags(made[turned])).all()
