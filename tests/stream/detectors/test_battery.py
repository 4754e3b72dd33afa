"""A battery that is soon empty is told once a discharge."""

import numpy as np
import pytest

from alerts.event import Kind, Priority, State
from stream.detectors.battery import Battery, BatteryPolicy
from stream.detectors.observation import Observations
from tests.stream.detectors.judging import assert_cuts_do_not_matter, changes, hostile, size
from tests.stream.detectors.running import told
from vitals.quality import Context

RAISED, CLEARED = State.RAISED, State.CLEARED
HOUR = 3_600.0


def falling(per_hour: float, start: float = 100.0, hours: float = 24.0) -> Observations:
    """Return levels every ten minutes, rounded up as devices do."""
    at = np.arange(0, hours * HOUR, 600)
    return told("battery", at, np.maximum(np.ceil(start - per_hour * at / HOUR), 0))


def found(seen: Observations) -> list[tuple[str, State, float]]:
    """Return what is told, however the levels are cut."""
    outcome = assert_cuts_do_not_matter(Battery(), seen, range(1, len(seen)))
    assert not outcome.distrust.any()
    assert {(one.kind, one.priority) for one in outcome.findings} <= {(Kind.TECHNICAL, Priority.LOW)}
    return changes(outcome.findings)


def test_a_watch_is_low_when_it_is_empty_within_hours_and_only_once() -> None:
    told_ = found(falling(5.0))
    assert [one[:2] for one in told_] == [("battery", RAISED)]
    assert 16.8 * HOUR <= told_[0][2] <= 17.2 * HOUR, "15 % after 17 hours: three hours are left"


def test_a_strap_whose_15_percent_last_for_days_is_not_low() -> None:
    assert found(falling(0.3, start=16.0)) == []
    assert [one[1] for one in found(falling(0.9, start=16.0))] == [RAISED]


def test_at_5_percent_it_is_low_at_any_rate() -> None:
    told_ = found(falling(0.2, start=12.0, hours=40))
    assert [one[1] for one in told_] == [RAISED]
    assert told_[0][2] == pytest.approx(35 * HOUR, abs=1_200)


def test_a_device_that_comes_with_a_low_battery_is_low_from_10_percent() -> None:
    assert found(told("battery", [0.0], [12])) == []
    assert found(told("battery", [0.0], [9])) == [("battery", RAISED, 0.0)]


def test_it_clears_when_charged_and_may_be_told_again_of_the_next_discharge() -> None:
    days = np.concatenate((falling(5.0, hours=19)["value"], [40, 80, 100], falling(5.0, hours=19)["value"]))
    told_ = found(told("battery", 600.0 * np.arange(len(days)), days))
    assert [one[1] for one in told_] == [RAISED, CLEARED, RAISED]


def test_a_level_that_flickers_is_one_alert() -> None:
    levels = [16, 15, 9, 10, 9, 11, 10, 9, 12, 9]
    assert [one[1] for one in found(told("battery", 600.0 * np.arange(10), levels))] == [RAISED]


def test_nothing_is_raised_while_it_charges() -> None:
    seen = told("battery", 600.0 * np.arange(5), [4, 5, 6, 7, 8], context=int(Context.CHARGING))
    assert found(seen) == []


def test_hostile_input_leaves_it_small_and_cuts_do_not_matter() -> None:
    for seed in range(3):
        outcome = assert_cuts_do_not_matter(Battery(), hostile(seed), range(0, 10_000, 61))
        assert size(outcome.state) <= Battery.max_bytes


@pytest.mark.parametrize("wrong", [{"empty_percent": 50.0}, {"left_s": -1.0}, {"recharged_percent": 0.0}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="|".join(wrong)):
        BatteryPolicy(**wrong)  # type: ignore[arg-type]
