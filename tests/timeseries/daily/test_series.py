"""Days from rollups: as if every minute had been put into its own day, also where hours and quarters stand for them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.timeseries.daily.making import ints, wanted
from timeseries.daily.series import Stretches, by_day, by_quarter, doubtful, merged
from timeseries.daily.zones import DAY_US, HOUR_US, MINUTE_US, QUARTER_US, local_day, offsets_us

DAY = 20_600
METRICS = (1, 5)


def minutes_of(timeline: list[tuple[int, int]], gaps: list[tuple[int, int]], seed: int) -> Stretches:
    """Three days of minutes of two series; the offset changes by `timeline` (hour, minutes), `gaps` have no data."""
    random = np.random.default_rng(seed)
    minute = np.arange(-14 * 60, 3 * 1_440)
    for first, size in gaps:
        minute = minute[(minute < first) | (minute >= first + size)]
    change = dict([(-100, timeline[0][1]), *((hour, offset) for hour, offset in timeline[1:])])
    zone = np.array([change[max(hour for hour in change if hour * 60 + 20 <= at)] for at in minute.tolist()], np.int64)
    count = len(minute)
    columns = {name: np.concatenate([random.integers(1, 100, count).astype(float) for _ in METRICS])
               for name in ("sum", "min", "max", "first", "last", "sum_sq", "minute_mean_sum")}  # fmt: skip
    return Stretches(
        width_us=np.full(2 * count, MINUTE_US), patient=np.zeros(2 * count, np.int64),
        metric=np.repeat(METRICS, count), origin=np.ones(2 * count, np.int64),
        bucket=np.tile(DAY * DAY_US + minute * MINUTE_US, 2), n=np.ones(2 * count, np.int64),
        minutes=np.ones(2 * count, np.int64), zone_offset_min=np.tile(zone, 2), **columns,
    )  # fmt: skip


def coarser(rows: Stretches, width_us: int) -> Stretches:
    """As the rollup makes it: one row a bucket, with the zone of its last minute."""
    bucket = rows.bucket // width_us * width_us
    starts = np.flatnonzero(np.append(True, (bucket[1:] != bucket[:-1]) | (rows.metric[1:] != rows.metric[:-1])))
    made = merged(rows, starts)
    made.bucket[:] = bucket[starts]
    made.width_us[:] = width_us
    return made


def refined(rows: Stretches, finer: Stretches) -> Stretches:
    offset = offsets_us(rows.bucket, rows.zone_offset_min, rows.patient, [None])
    unsure = doubtful(rows, offset, np.zeros(len(rows), np.bool_))
    doubts, width = rows.take(np.flatnonzero(unsure)), int(finer.width_us[0])
    wanted_us = {
        (metric, bucket + within)
        for metric, bucket, size in zip(
            *(c.tolist() for c in (doubts.metric, doubts.bucket, doubts.width_us)), strict=True
        )
        for within in range(0, size, width)
    }
    chosen = [
        at for at, key in enumerate(zip(finer.metric.tolist(), finer.bucket.tolist(), strict=True)) if key in wanted_us
    ]
    return rows.take(np.flatnonzero(~unsure)).joined(finer.take(np.array(chosen, np.intp)))


OFFSET = st.sampled_from([-600, -210, 0, 60, 120, 330, 345, 600, 840])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-10, 70), OFFSET), min_size=1, max_size=4, unique_by=lambda change: change[0] // 2),
    st.lists(st.tuples(st.integers(-600, 4_000), st.integers(1, 600)), max_size=4),
    st.integers(0, 2**32),
)
def test_hours_and_quarters_with_doubt_replaced_come_to_what_minutes_come_to(
    timeline: list[tuple[int, int]], gaps: list[tuple[int, int]], seed: int
) -> None:
    minutes = minutes_of(timeline, gaps, seed)
    quarters, hours = coarser(minutes, QUARTER_US), coarser(minutes, HOUR_US)
    by_hour = hours.metric == METRICS[0]
    rows = hours.take(np.flatnonzero(by_hour)).joined(quarters.take(np.flatnonzero(quarters.metric == METRICS[1])))
    rows = refined(rows.take(np.flatnonzero(rows.width_us == HOUR_US)), quarters).joined(
        rows.take(np.flatnonzero(rows.width_us == QUARTER_US))
    )
    rows = refined(rows, minutes)
    days = wanted(DAY, DAY + 1)

    def days_of(some: Stretches) -> Stretches:
        offset = offsets_us(some.bucket, some.zone_offset_min, some.patient, [None])
        return by_day(some, days.index(some.patient, local_day(some.bucket, offset)))[0]

    got, want = days_of(rows), days_of(minutes)
    for name in ("metric", "n", "sum", "min", "max", "first", "last", "sum_sq", "minutes", "zone_offset_min"):
        assert getattr(got, name).tolist() == getattr(want, name).tolist(), name


def test_a_quarter_through_which_midnight_runs_stays_in_two() -> None:
    rows = minutes_of([(0, 345)], [], 1)  # Nepal: midnight is at 18:15 UTC
    rows = rows.take(np.flatnonzero(rows.metric == 1))
    rows.zone_offset_min[:] = 337
    days = wanted(DAY, DAY + 1)
    day = days.index(rows.patient, local_day(rows.bucket, rows.zone_offset_min * MINUTE_US))
    quarters, of = by_quarter(rows, day)
    assert np.bincount(of).tolist() == [97, 97]
    assert np.bincount(of, weights=quarters.minutes).tolist() == [1_440, 1_440]


def test_minutes_that_stand_alone_are_never_in_doubt() -> None:
    rows = minutes_of([(0, 0)], [], 1).take(np.arange(0, 300, 60))
    rows.width_us[:] = HOUR_US
    assert not doubtful(rows, np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)).any()


def test_joining_sorts_whatever_comes() -> None:
    rows = minutes_of([(0, 0)], [], 1)
    shuffled = rows.take(np.random.default_rng(3).permutation(len(rows)))
    assert not shuffled.in_order()
    assert shuffled.joined().bucket.tolist() == rows.bucket.tolist()
    assert shuffled.joined().sum.tolist() == rows.sum.tolist()
    assert len(by_day(rows.take(ints()), ints())[0]) == 0
