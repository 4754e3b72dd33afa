"""Wear time, expected samples and valid days."""

from typing import Any

import numpy as np
import pytest

from tests.timeseries.daily.making import Sample, day_number, ints, local, samples, stretches, wanted
from timeseries.daily.series import Stretches
from timeseries.daily.wear import expected, wear_measures, worn
from timeseries.daily.zones import DAY_US, HOUR_US, MINUTE_US, QUARTER_US

FIRST = day_number(1)
AT = FIRST * DAY_US


def quarters(first: int, count: int, **more: Any) -> Stretches:
    return stretches(AT + np.arange(first, first + count) * QUARTER_US, **more)


def day_of(
    rows: Stretches, states: list[Sample] | None = None, devices: dict[int, int] | None = None
) -> dict[str, float]:
    of = wanted(FIRST)
    _, pieces, day = samples(states or []).cut()
    at = of.index(pieces.patient, day)
    kept = np.flatnonzero(at >= 0)
    pieces, at = pieces.take(kept), at[kept]
    row_day = np.zeros(len(rows), np.int64)

    def device(origin: Any) -> Any:
        return np.array([(devices or {}).get(one, one) for one in origin.tolist()], np.int64)

    runs = worn(rows, row_day, np.zeros(len(rows), np.int64), device(rows.origin), pieces, at, device(pieces.origin))
    known = np.array([len(rows) + len(pieces) > 0])
    found = wear_measures(runs, known, expected(rows, row_day, runs, 1), np.array([DAY_US]))
    return {name: values.tolist()[0] for name, values in found.items()}


def state(origin: int, start: float, end: float, on: int) -> Sample:
    return ("wear_state", origin, local(1, start), local(1, end), on)


def test_quarters_with_a_body_signal_are_worn_and_ten_hours_make_a_day() -> None:
    found = day_of(quarters(32, 40, n=180))
    assert (found["wear_min"], found["valid_day"]) == (600, 1)
    assert (found["samples_expected"], found["samples_received"], found["completeness"]) == (7_200, 7_200, 1)
    assert found["quality_score"] == pytest.approx(600 / 1_440)
    assert day_of(quarters(32, 39, n=180))["valid_day"] == 0


def test_another_metric_says_nothing_about_wear() -> None:
    rows = quarters(0, 96, metric="respiratory_rate")
    found = day_of(rows.take(np.flatnonzero(rows.metric == -1)))
    assert np.isnan(found["wear_min"])
    assert found["valid_day"] == 0


def test_unworn_is_unknown_unless_it_was_told() -> None:
    assert np.isnan(day_of(stretches(ints()))["wear_min"])
    told = day_of(stretches(ints()), [state(1, 0, 24, 0)])
    assert (told["wear_min"], told["quality_score"], told["valid_day"]) == (0, 0, 0)


def test_a_device_off_the_body_takes_back_its_own_signals_only() -> None:
    """Heart rate all day; the watch says it was off from 10 to 12, the strap (another device) was on from 10 to 11."""
    watch = quarters(0, 96, origin=1, n=60)
    strap = quarters(40, 4, origin=2, n=900)
    assert day_of(watch, [state(1, 10, 12, 0)])["wear_min"] == 1_320
    assert day_of(watch.joined(strap), [state(1, 10, 12, 0)])["wear_min"] == 1_380
    assert day_of(watch, [state(3, 10, 12, 0)], {1: 7, 3: 7})["wear_min"] == 1_320, "another application, same device"
    assert day_of(quarters(0, 4), [state(1, 6, 8, 1)])["wear_min"] == 180


def test_expected_is_the_usual_rate_of_the_origin_but_no_more_than_the_catalogues() -> None:
    sparse = quarters(0, 96, n=3, minutes=3)  # an optical sensor that looks every five minutes
    assert day_of(sparse)["completeness"] == 1
    assert day_of(sparse)["samples_expected"] == 288
    fast = quarters(0, 96, n=900)  # 1 Hz, where the catalogue asks for one in five seconds
    assert day_of(fast)["samples_expected"] == 96 * 180


def test_what_is_missing_while_something_is_worn_is_missed() -> None:
    """SpO2 goes on, heart rate is away for a quarter of its time; half of the samples away makes the day invalid."""
    heart = quarters(0, 36, n=180).joined(quarters(48, 12, n=180))
    spo2 = quarters(0, 96, metric="spo2", n=180)
    found = day_of(heart.joined(spo2))
    assert found["wear_min"] == 1_440
    assert found["completeness"] == pytest.approx((48 + 96) / (60 + 96))
    worse = day_of(quarters(0, 1, n=180).joined(quarters(95, 1, n=180)).joined(quarters(0, 96, metric="spo2", n=2)))
    assert worse["completeness"] < 0.5
    assert (worse["wear_min"], worse["valid_day"]) == (1_440, 0)


def test_more_in_one_quarter_makes_up_for_no_other() -> None:
    n = [10, 10, 10, 10, 1_000, 1]
    found = day_of(stretches(AT + np.arange(6) * QUARTER_US, n=n, minutes=5))
    assert (found["samples_expected"], found["samples_received"]) == (60, 51)


def test_a_quarter_that_local_midnight_divides_is_worn_on_both_days_for_its_part() -> None:
    rows = stretches(ints(AT - 10 * MINUTE_US, AT - 7 * MINUTE_US), width_min=1)
    day, offset = ints(0, 1), ints(7, 7) * MINUTE_US  # midnight is seven minutes before that of UTC
    states = samples([])
    runs = worn(rows, day, offset, rows.origin, states, ints(), ints())
    assert (runs.group.tolist(), (runs.end - runs.start).tolist()) == ([0, 1], [8 * MINUTE_US, 7 * MINUTE_US])


def test_the_score_is_of_the_day_as_long_as_it_was() -> None:
    rows = quarters(0, 92, n=180)
    runs = worn(rows, np.zeros(92, np.int64), np.zeros(92, np.int64), rows.origin, samples([]), ints(), ints())
    found = wear_measures(runs, np.array([True]), expected(rows, np.zeros(92, np.int64), runs, 1), ints(23 * HOUR_US))
    assert found["quality_score"].tolist() == [1]
