"""Reduction of fast scalars: each window's extremes are stored as they were, and a record always comes to the same."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.reduce import DEFAULT_REDUCTION, ReductionPolicy, left_out
from tests.stream.making import T0, S, samples
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE, METRICS, RetentionClass

HEART_RATE, RR, SPO2, STEPS = (BY_CODE[code].number for code in ("heart_rate", "rr_interval", "spo2", "steps"))
SHORT = ReductionPolicy({SPO2: 1_000, HEART_RATE: 400})
WINDOW_US = {SPO2: 1_000_000, HEART_RATE: 400_000}


def dropped(records: list[SampleColumns], policy: ReductionPolicy = DEFAULT_REDUCTION) -> list[int]:
    """The positions, over all records, of what is not stored; everything is accepted."""
    joined = SampleColumns.concat(records)
    counts = np.array([len(record) for record in records])
    return list(left_out(policy, counts, joined, np.ones(len(joined), np.bool_)).tolist())


def oracle(record: SampleColumns, accepted: list[bool]) -> set[int]:
    """What one record leaves out, sample by sample in plain Python, by the policy `SHORT`."""
    told = [at for at in range(len(record)) if accepted[at]]
    groups: dict[tuple[int, int, int], list[int]] = {}
    for at in sorted(told, key=lambda at: int(record.start_us[at])):
        metric, start, received = int(record.metric[at]), int(record.start_us[at]), int(record.received_us[at])
        twins = [o for o in told if (record.metric[o], record.start_us[o]) == (metric, start)]
        alone = sum(record.duration_ms[other] == 0 for other in twins) == 1
        plain = not record.deleted[at] and record.duration_ms[at] == 0 and not record.context[at] & 32
        if metric in WINDOW_US and alone and plain and start <= received + 5_000_000:
            trust = 0 if record.quality[at] == 0 else 1 if record.quality[at] < 0.5 else 2
            groups.setdefault((metric, start // WINDOW_US[metric], trust), []).append(at)
    out: set[int] = set()
    for group in groups.values():
        if len(group) > 4:
            value = record.value
            lowest = min(group, key=lambda at: (value[at], record.start_us[at]))
            highest = min(group, key=lambda at: (-value[at], record.start_us[at]))
            out |= set(group) - {group[0], group[-1], lowest, highest}
    return out


one = st.tuples(
    st.sampled_from([SPO2, SPO2, SPO2, HEART_RATE, RR]),
    st.integers(0, 100).map(lambda step: T0 + step * 40_000),
    st.integers(80, 99),
    st.sampled_from([1.0, 1.0, 1.0, 1.0, 0.4, 0.0]),
    st.sampled_from([0, 0, 0, 0, 0, 1, 32]),
    st.sampled_from([0] * 9 + [500]),
    st.sampled_from([False] * 9 + [True]),
    st.sampled_from([0] * 9 + [-20 * S]),
    st.sampled_from([True] * 9 + [False]),
)


def columns_of(told: list[tuple[int, int, int, float, int, int, bool, int, bool]]) -> tuple[SampleColumns, list[bool]]:
    metric, start, value, quality, context, duration, deleted, received, accepted = zip(*told, strict=True)
    start_us = np.array(start, np.int64)
    return sample_columns(
        start_us, np.array(metric, np.int16), np.array(value, np.float64), received_us=start_us + np.array(received),
        quality=np.array(quality, np.float32), context=np.array(context, np.int16), duration_ms=np.array(duration),
        deleted=np.array(deleted),
    ), list(accepted)  # fmt: skip


records = st.lists(st.lists(one, min_size=30, max_size=100).map(columns_of), min_size=1, max_size=3)


@given(records)
def test_what_is_left_out_is_what_plain_python_says_of_each_record_alone(
    told: list[tuple[SampleColumns, list[bool]]],
) -> None:
    counts = np.array([len(columns) for columns, _ in told])
    joined = SampleColumns.concat([columns for columns, _ in told])
    found = left_out(SHORT, counts, joined, np.concatenate([accepted for _, accepted in told]))
    expected: list[int] = []
    for (columns, accepted), before in zip(told, np.cumsum(counts) - counts, strict=True):
        expected += [int(before) + at for at in sorted(oracle(columns, accepted))]
    assert found.tolist() == expected


@given(records)
def test_what_is_stored_of_a_record_is_stored_again(told: list[tuple[SampleColumns, list[bool]]]) -> None:
    for columns, accepted in told:
        given_ = np.array(accepted)
        out = left_out(SHORT, np.array([len(columns)]), columns, given_)
        stays = np.setdiff1d(np.flatnonzero(given_), out)
        again = columns.take(stays)
        assert not len(left_out(SHORT, np.array([len(again)]), again, np.ones(len(again), np.bool_)))


def test_a_desaturation_of_two_seconds_stays_as_deep_and_as_long_as_it_was() -> None:
    """SpO2 at 25 Hz: 97 %, two seconds at 81 %, the deepest, one sample, at 74 %."""
    seconds = np.arange(25 * 20) / 25
    value = np.where((seconds >= 7.4) & (seconds < 9.4), 81.0, 97.0)
    value[25 * 8 + 3] = 74
    record = samples("spo2", seconds, value)
    kept = record.take(np.setdiff1d(np.arange(len(record)), dropped([record])))
    assert 20 * 2 <= len(kept) <= 20 * 4
    low = kept.start_us[kept.value < 90] - T0
    assert (low.min(), kept.value.min()) == (7_400_000, 74), "it begins when it began"
    assert low.max() >= 9 * S - 40_000, "and ends within a window of when it did"
    assert kept.start_us[kept.value == 74].tolist() == [T0 + 8_120_000]


def test_slow_signals_are_left_alone() -> None:
    at_1_hz = SampleColumns.concat([samples(code, range(40), 60) for code in ("heart_rate", "spo2", "pulse_rate")])
    at_4_hz = samples("spo2", np.arange(400) / 4, 97)
    a_sample_a_record = [samples("spo2", [step / 25], 97) for step in range(100)]
    assert dropped([at_1_hz, at_4_hz, *a_sample_a_record]) == []


def test_each_record_is_reduced_by_itself_whatever_it_is_with() -> None:
    fast = samples("spo2", np.arange(75) / 25, 97 - np.arange(75) % 7)
    slow = samples("spo2", np.arange(30), 97)
    alone = dropped([fast])
    assert alone == sorted(oracle(fast, [True] * 75))
    assert len(alone) > 60
    assert dropped([slow, fast, slow, fast]) == [30 + at for at in alone] + [30 + 75 + 30 + at for at in alone]


@pytest.mark.parametrize("many", [1, 400, 2_000])
def test_a_window_too_full_is_found_among_many_records(many: int) -> None:
    slow = [samples("heart_rate", np.arange(100) + 100 * number, 60) for number in range(many)]
    fast = samples("heart_rate", [0, 0.1, 0.2, 0.3, 0.4], [60, 61, 62, 61, 60])
    assert dropped([*slow, fast]) == [100 * many + 1, 100 * many + 3]


def test_an_artefact_does_not_stand_in_for_a_measurement() -> None:
    quality = np.where(np.arange(25) % 5 == 0, 0.0, np.where(np.arange(25) % 5 == 1, 0.3, 1.0))
    value = np.where(quality == 0, 40.0, np.where(quality < 0.5, 60.0, 90.0 + np.arange(25) % 7))
    record = samples("spo2", np.arange(25) / 25, value, quality=quality)
    kept = np.setdiff1d(np.arange(25), dropped([record]))
    good = record.quality == 1
    assert record.value[kept][good[kept]].min() == record.value[good].min()
    assert {0.0, np.float32(0.3), 1.0} == set(record.quality[kept].tolist())


@pytest.mark.parametrize("special", ["deleted", "duration_ms", "context", "received_us"])
def test_special_samples_are_never_left_out(special: str) -> None:
    value = {"deleted": True, "duration_ms": 40, "context": 32, "received_us": T0 - 10 * S}[special]
    record = samples("spo2", np.arange(25) / 25, 97)
    column = getattr(record, special)
    assert len(dropped([record])) == 23
    assert dropped([replace(record, **{special: np.full(25, value, column.dtype)})]) == []


def test_versions_of_one_sample_in_one_record_are_left_to_the_table() -> None:
    """The lowest is withdrawn in the same record: were the others gone, its window would have no lowest any more."""
    record = samples("spo2", np.arange(25) / 25, [97, *[90] * 11, 70, *[91] * 11, 96])
    gone = replace(samples("spo2", [12 / 25], 0), deleted=np.array([True]))
    told = SampleColumns.concat([record, gone])
    kept = told.take(np.setdiff1d(np.arange(26), dropped([told])))
    assert sorted(kept.value.tolist()) == [0, 70, 90, 96, 97], "91 is neither first, last, lowest nor highest"


def test_by_default_continuous_vitals_have_a_second_and_nothing_else_has() -> None:
    reduced = {metric.code for metric in METRICS if DEFAULT_REDUCTION.window_ms.get(metric.number)}
    assert reduced == {
        "heart_rate", "pulse_rate", "spo2", "respiratory_rate", "body_temperature", "wrist_temperature", "glucose",
    }  # fmt: skip
    assert set(DEFAULT_REDUCTION.window_ms.values()) == {1_000}
    assert all(m.retention is RetentionClass.VITAL and not m.categories for m in METRICS if m.code in reduced)


def test_a_policy_of_zero_never_reduces() -> None:
    record = samples("spo2", np.arange(100) / 25, 97)
    assert dropped([record], ReductionPolicy({SPO2: 0})) == dropped([record], ReductionPolicy({})) == []
    assert len(dropped([record], ReductionPolicy({SPO2: 4_000}))) == 98


@pytest.mark.parametrize("window_ms", [{0: 1_000}, {999: 1_000}, {SPO2: -1}])
def test_an_impossible_policy_is_refused(window_ms: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="no reduction policy"):
        ReductionPolicy(window_ms)


def test_nothing_gives_nothing() -> None:
    none = samples("spo2", [], [])
    assert dropped([none]) == []
    assert left_out(DEFAULT_REDUCTION, np.empty(0, np.int64), none, np.empty(0, np.bool_)).tolist() == []


def test_samples_of_unknown_metrics_and_mad_times_do_no_harm() -> None:
    record = samples("spo2", np.arange(50) / 25, 97)
    mad = replace(
        record, metric=np.zeros(50, np.int16), start_us=np.full(50, np.iinfo(np.int64).min), value=np.full(50, np.nan)
    )
    assert len(left_out(DEFAULT_REDUCTION, np.array([100]), SampleColumns.concat([mad, record]), np.arange(100) >= 50))
