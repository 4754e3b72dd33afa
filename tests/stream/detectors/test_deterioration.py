"""Limits and NEWS2 on simulated people: raised before the full score reaches 7, and quiet otherwise."""

from dataclasses import replace

import pytest

from devices.simulator.fault import Fault
from devices.simulator.faults import ALWAYS, Duplicate, Glitch, OffWrist
from devices.simulator.recipes import cohort
from devices.simulator.scenarios import Deterioration
from devices.simulator.truth import passed
from devices.simulator.wearer import ALL_CADENCES_S, wearer
from tests.accuracy.deterioration import DAY_US, START_US, WRIST_S, healthy, leads, raised
from vitals.clock import US_PER_S


@pytest.mark.parametrize("cadences_s", [ALL_CADENCES_S, WRIST_S], ids=["all", "wrist"])
def test_getting_worse_over_hours_is_raised_before_the_full_score_reaches_seven(cadences_s: dict[str, float]) -> None:
    told = leads(6, 3 * 3_600.0, cadences_s)
    assert (told["missed"], told["raised_before_share"]) == (0, 1.0)
    assert told["median_lead_min"] > 10


def test_getting_worse_is_found_without_a_past_as_well() -> None:
    script = Deterioration(START_US + 1_200 * US_PER_S, 1_800.0, 3_600.0)
    who = wearer(31, scenarios=(script,), cadences_s=ALL_CADENCES_S, beats=False)
    found = raised(who, START_US, script.relief_us)
    assert {"news2", "spo2_low", "heart_rate_high"} <= {one.rule for one in found}
    late_s = (found[0].at_us - passed(who, script)["news2_7_us"]) / US_PER_S
    assert late_s < 600


def test_healthy_people_with_odd_readings_are_left_alone() -> None:
    assert healthy(8)["by_rule_per_patient_day"] == {}


@pytest.mark.parametrize(
    "fault",
    [
        OffWrist(START_US + DAY_US // 4, START_US + DAY_US // 2),
        OffWrist(START_US + DAY_US // 4, START_US + DAY_US // 2, honest=True),
        Glitch(*ALWAYS, every=50),
        Duplicate(START_US, START_US + DAY_US, share=1.0, later_s=60.0),
    ],
    ids=["off_wrist", "no_contact", "glitch", "resend"],
)
def test_what_goes_wrong_with_a_device_is_no_patient_getting_worse(fault: Fault) -> None:
    [who] = cohort(1, 5, START_US, START_US + DAY_US, cadences_s=WRIST_S, beats=False)
    assert raised(replace(who, faults=(fault,)), START_US, START_US + 3 * DAY_US // 4) == []
