"""Ages, staleness, numbers: small words that a decision may hang on."""

import re
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from console.chart_view import RANGES
from console.words import age, clock_time, metric_name, resolution, said_value, stale_after_s, unit_of
from tests.console.conftest import NOW
from vitals.catalogue import BY_CODE, METRICS


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "just now"), (0, "0 s ago"), (12.4, "12 s ago"), (99, "99 s ago"), (100, "2 min ago"), (5_999, "100 min ago"),
     (6_000, "2 h ago"), (47 * 3_600, "47 h ago"), (48 * 3_600, "2 days ago")],
)  # fmt: skip
def test_ages(seconds: float, said: str) -> None:
    assert age(seconds) == said


def test_the_browser_counts_in_the_same_steps() -> None:
    script = (Path(__file__).parents[2] / "console" / "static" / "console.js").read_text("utf-8")
    steps = re.search(r"const age = .*?;", script, re.DOTALL)
    assert steps is not None
    assert [int(number) for number in re.findall(r"s < (\d+)", steps[0])] == [0, 100, 6_000, 172_800]


@pytest.mark.parametrize(
    ("metric", "seconds"),
    [("heart_rate", 60), ("rr_interval", 60), ("respiratory_rate", 300), ("glucose", 900), ("bp_systolic", 900),
     ("body_temperature", 900), ("resting_heart_rate", 172_800)],
)  # fmt: skip
def test_when_a_value_is_old(metric: str, seconds: float) -> None:
    assert stale_after_s(BY_CODE[metric]) == seconds


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [("heart_rate", 84.4, "84"), ("body_temperature", 37.25, "37.2"), ("sleep_stage", 4, "deep"),
     ("workout", 12_345, "other"), ("wear_state", 0, "no"), ("state_of_mind_valence", -0.25, "-0.25")],
)  # fmt: skip
def test_values(metric: str, value: float, said: str) -> None:
    assert said_value(value, metric) == said


def test_every_metric_has_a_name_and_no_raw_unit() -> None:
    for metric in METRICS:
        assert metric_name(metric.code)[0].isupper()
        assert "_" not in metric_name(metric.code)
        assert not set(unit_of(metric.code)) & set("[]{}")


def test_times_name_their_zone_and_an_earlier_day() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert clock_time(NOW, berlin, NOW) == "05:12:44 CEST"
    assert clock_time(NOW - timedelta(hours=6), berlin, NOW) == "2026-07-23 23:12:44 CEST"


@pytest.mark.parametrize(
    ("step_s", "said"),
    [(15, "15 seconds, made from single samples"), (60, "1 minute, made from 1-minute values"),
     (300, "5 minutes, made from 1-minute values"), (900, "15 minutes, made from 15-minute values"),
     (3_600, "1 hour, made from hourly values"), (21_600, "6 hours, made from hourly values"),
     (86_400, "1 day, made from hourly values"), (90, "90 seconds, made from single samples")],
)  # fmt: skip
def test_a_chart_says_what_a_point_is(step_s: int, said: str) -> None:
    assert resolution(step_s) == f"One point is the mean of {said}; bands span lowest to highest."


def test_no_range_asks_for_more_points_than_a_chart_can_show() -> None:
    for shown in RANGES.values():
        assert shown.length.total_seconds() / shown.step_s <= 1_500, shown.word
