"""Validation: every reason at its very edge, as a scalar model says, and of each sample alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stream.validate import flags
from vitals.batch import SampleColumns, sample_columns
from vitals.catalogue import BY_CODE, BY_NUMBER, METRICS, UNKNOWN_METRIC, Kind, Metric
from vitals.quality import Flag, Reason
from vitals.validity import EARLIEST_US, FUTURE_TOLERANCE_US, LATEST_US, REASONS, reasons

NOW = 1_717_243_200_000_000
_UP, _DOWN = np.inf, -np.inf


def one(metric: str | int = "heart_rate", value: float = 60.0, **more: Any) -> SampleColumns:
    number = metric if isinstance(metric, int) else BY_CODE[metric].number
    duration = more.pop("duration_ms", 1 if BY_NUMBER.get(number, METRICS[0]).kind is Kind.INTERVAL else 0)
    start = np.array([more.pop("start_us", NOW)])
    received = more.pop("received_us", NOW)
    return sample_columns(
        start, np.array([number], np.int16), np.array([value]), received_us=received, duration_ms=duration, **more
    )


def verdict(columns: SampleColumns) -> Reason | None:
    return REASONS[int(reasons(columns)[0])]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.code)
def test_the_bounds_belong_to_the_range(metric: Metric) -> None:
    inside, outside = [metric.low, metric.high], [np.nextafter(metric.low, _DOWN), np.nextafter(metric.high, _UP)]
    if metric.kind is Kind.CATEGORY:
        inside = [float(value) for value in metric.categories]
        outside += [metric.low - 1, metric.high + 1, inside[0] + 0.5, np.nextafter(inside[-1], _DOWN), -0.5]
        outside += [float(v) for v in range(int(metric.low), int(metric.high)) if v not in metric.categories]
    for value in inside:
        assert verdict(one(metric.code, value)) is None, value
    for value in outside:
        assert verdict(one(metric.code, value)) is Reason.OUT_OF_RANGE, value


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.code)
def test_durations(metric: Metric) -> None:
    value = float(min(metric.categories, default=metric.low))
    longest = int(metric.max_duration_s * 1_000)
    assert verdict(one(metric.code, value, duration_ms=longest)) is None
    assert verdict(one(metric.code, value, duration_ms=longest + 1)) is Reason.DURATION
    assert verdict(one(metric.code, value, duration_ms=-1)) is Reason.DURATION
    without = verdict(one(metric.code, value, duration_ms=0))
    assert without is (Reason.DURATION if metric.kind is Kind.INTERVAL else None)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (one(), None),
        (one(UNKNOWN_METRIC), Reason.UNKNOWN_METRIC),
        (one(value=np.nan), Reason.NOT_FINITE),
        (one(value=np.inf), Reason.NOT_FINITE),
        (one(value=-np.inf), Reason.NOT_FINITE),
        (one(value=250), None),  # abnormal, not invalid
        (one(value=300.5), Reason.OUT_OF_RANGE),
        (one(quality=0.0), None),
        (one(quality=-0.0), None),
        (one(quality=1.0), None),
        (one(quality=np.nextafter(np.float32(1), np.float32(2))), Reason.QUALITY),
        (one(quality=-1e-30), Reason.QUALITY),
        (one(quality=np.nan), Reason.QUALITY),
        (one(start_us=EARLIEST_US), None),
        (one(start_us=EARLIEST_US - 1), Reason.TOO_OLD),
        (one(start_us=0), Reason.TOO_OLD),
        (one(start_us=-(2**63)), Reason.TOO_OLD),
        (one(written_us=EARLIEST_US - 1), Reason.TOO_OLD),
        (one(received_us=EARLIEST_US - 1, start_us=EARLIEST_US), Reason.TOO_OLD),
        (one(start_us=NOW + FUTURE_TOLERANCE_US), None),
        (one(start_us=NOW + FUTURE_TOLERANCE_US + 1), Reason.FUTURE),
        (one(start_us=2**63 - 1), Reason.FUTURE),
        (one(written_us=LATEST_US), None),
        (one(written_us=LATEST_US + 1), Reason.FUTURE),
        (one(received_us=LATEST_US + 1), Reason.FUTURE),
        (one(received_us=2**63 - 1, start_us=2**63 - 1), Reason.FUTURE),
        (one(start_us=LATEST_US, received_us=LATEST_US), None),
        (one(start_us=LATEST_US + 1, received_us=LATEST_US), Reason.FUTURE),
        (one("steps", 10, duration_ms=0), Reason.DURATION),
        # a deletion names a sample: what its value says does not matter, whom it names does
        (one(value=np.nan, quality=np.nan, deleted=True), None),
        (one("sleep_stage", 2.5, deleted=True), None),
        (one(UNKNOWN_METRIC, deleted=True), Reason.UNKNOWN_METRIC),
        (one(start_us=0, deleted=True), Reason.TOO_OLD),
        # of several faults the first in the order of REASONS is told
        (one(UNKNOWN_METRIC, np.nan, start_us=0, quality=2), Reason.UNKNOWN_METRIC),
        (one(value=np.nan, quality=2, start_us=0), Reason.NOT_FINITE),
        (one(value=999, quality=2), Reason.QUALITY),
        (one(value=999, start_us=0), Reason.OUT_OF_RANGE),
    ],
)
def test_boundaries(columns: SampleColumns, expected: Reason | None) -> None:
    assert verdict(columns) is expected


def model(sample: dict[str, Any]) -> Reason | None:
    """One sample, one line of Python a rule."""
    metric = BY_NUMBER.get(sample["metric"])
    value, quality, deleted = sample["value"], sample["quality"], sample["deleted"]
    start, written, received = sample["start_us"], sample["written_us"], sample["received_us"]
    if metric is None:
        return Reason.UNKNOWN_METRIC
    if not deleted:
        if value != value or value in (np.inf, -np.inf):
            return Reason.NOT_FINITE
        if not 0 <= quality <= 1:
            return Reason.QUALITY
        if not metric.low <= value <= metric.high or (metric.categories and value not in metric.categories):
            return Reason.OUT_OF_RANGE
    if min(start, written, received) < EARLIEST_US:
        return Reason.TOO_OLD
    if max(start, written, received) > LATEST_US or start > received + FUTURE_TOLERANCE_US:
        return Reason.FUTURE
    shortest = 1 if metric.kind is Kind.INTERVAL else 0
    if not shortest <= sample["duration_ms"] <= metric.max_duration_s * 1_000:
        return Reason.DURATION
    return None


_EDGES = [EARLIEST_US, LATEST_US, NOW, NOW + FUTURE_TOLERANCE_US, 0, -(2**63), 2**63 - 1]
_times = st.sampled_from(_EDGES).flatmap(
    lambda edge: st.integers(-1, 1).map(lambda d: min(max(edge + d, -(2**63)), 2**63 - 1))
) | st.integers(-(2**63), 2**63 - 1)
_limits = sorted({limit for m in METRICS for limit in (m.low, m.high)} | {2.5, 14.0, -0.0})


@st.composite
def _samples(draw: st.DrawFn, max_size: int = 20) -> SampleColumns:
    n = draw(st.integers(0, max_size))

    def column(dtype: type, elements: st.SearchStrategy[Any]) -> Any:
        return draw(hnp.arrays(dtype, n, elements=elements, fill=st.nothing()))

    return SampleColumns(
        start_us=column(np.int64, _times),
        duration_ms=column(
            np.int64, st.sampled_from([0, 1, -1, 86_400_000, 86_400_001]) | st.integers(-(2**62), 2**62)
        ),
        zone_offset_min=column(np.int16, st.just(0)),
        metric=column(np.int16, st.sampled_from([UNKNOWN_METRIC, *BY_NUMBER])),
        value=column(np.float64, st.sampled_from(_limits) | st.floats()),
        quality=column(np.float32, st.sampled_from([0.0, 0.5, 1.0]) | st.floats(width=32)),
        context=column(np.int16, st.integers(-(2**15), 2**15 - 1)),
        written_us=column(np.int64, _times),
        received_us=column(np.int64, _times),
        sample_id=np.zeros((n, 16), np.uint8),
        deleted=column(np.bool_, st.booleans()),
    )


def _one_by_one(columns: SampleColumns) -> list[dict[str, Any]]:
    names = ("metric", "value", "quality", "deleted", "start_us", "written_us", "received_us", "duration_ms")
    return [{name: getattr(columns, name)[at].item() for name in names} for at in range(len(columns))]


@given(_samples())
def test_many_at_once_are_judged_as_each_alone(columns: SampleColumns) -> None:
    assert [REASONS[code] for code in reasons(columns)] == [model(sample) for sample in _one_by_one(columns)]


@given(st.lists(_samples(8), min_size=1, max_size=4))
def test_neighbours_change_nothing(parts: list[SampleColumns]) -> None:
    joined = SampleColumns.concat(parts)
    assert reasons(joined).tolist() == [code for part in parts for code in reasons(part)]
    assert flags(joined).tolist() == [mark for part in parts for mark in flags(part)]


@given(columns=_samples(), seed=st.integers(0, 2**32))
def test_nor_does_the_order(columns: SampleColumns, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(columns))
    assert reasons(columns.take(order)).tolist() == reasons(columns)[order].tolist()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (one(), Flag(0)),
        (one(quality=0.5), Flag(0)),
        (one(quality=np.nextafter(np.float32(0.5), np.float32(0))), Flag.LOW_QUALITY),
        (one(context=32), Flag.NO_CONTACT),
        (one(context=31), Flag(0)),
        (one(start_us=NOW + 5_000_000), Flag(0)),
        (one(start_us=NOW + 5_000_001), Flag.CLOCK_AHEAD),
        (one(quality=0, context=32, start_us=NOW + 6_000_000), Flag.LOW_QUALITY | Flag.NO_CONTACT | Flag.CLOCK_AHEAD),
        (one(quality=0, context=32, deleted=True), Flag.TOMBSTONE),
    ],
)
def test_doubts_are_flags(columns: SampleColumns, expected: Flag) -> None:
    assert verdict(columns) is None
    assert Flag(int(flags(columns)[0])) == expected


def test_codes_and_reasons_have_the_same_length_whatever_the_batch() -> None:
    nothing = one().take(np.empty(0, np.intp))
    assert len(reasons(nothing)) == len(flags(nothing)) == 0
    assert len(set(REASONS)) == len(REASONS)
