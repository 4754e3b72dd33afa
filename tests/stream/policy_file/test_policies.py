"""Layers over one another, what comes of them, and that the default file says what the program does."""

from datetime import UTC, datetime

import pytest

from alerts.event import Priority
from stream.detectors.limits import LimitRule
from stream.detectors.policy import ADULT, for_profile, hastened
from stream.detectors.sustain import Timing
from stream.policy_file.faults import FileRefused
from stream.policy_file.policies import Policies, built_in, compiled, default_stack, policies_of
from stream.policy_file.reading import read
from stream.policy_file.shape import made, plain
from stream.policy_file.writing import default_text, differences
from stream.watch.people import CrowdSnapshot
from stream.watch.plan import Plan, default_plan
from tests.stream.policy_file.making import HEAD, SECTIONS, TiredPolicy
from timeseries.people_reader import People
from vitals.care_profile import CareProfile
from vitals.clock import US_PER_S

LAYERED = f"""{HEAD}
[engine]
lateness_s = 8
[limits.heart_rate_high.heart_rate]
threshold = 140
[detectors.tired]
window_s = 100
[ward.a]
members = ["p1", "p2"]
[ward.a.limits.heart_rate_high.heart_rate]
threshold = 150
timing.delay_s = 90
[ward.a.detectors.tired]
bands_per_min = [5]
[ward.b]
members = ["p3"]
detectors.tired.enabled = false
limits.spo2_low.spo2.enabled = false
[patient.p2.limits.heart_rate_high.heart_rate]
threshold = 160
[patient.p4.engine]
settle_every_s = 5
"""


def policies(text: str = LAYERED) -> Policies:
    return policies_of(text, "f.toml", SECTIONS)


def rule(plan: Plan, name: str = "heart_rate_high") -> LimitRule:
    (found,) = [one for one in plan.limits.rules if one.name == name]
    assert isinstance(found, LimitRule)
    return found


def test_without_a_file_the_plan_is_the_program_s() -> None:
    assert built_in().plan_of("p1") == default_plan()
    assert built_in().plan_of("p1").limits == ADULT


def test_the_default_file_alone_says_all_that_the_program_does() -> None:
    """Compiled over nothing: every value comes from the file. tests/vigil/test_policy.py: the committed one is this."""
    document = read(default_text(default_stack(), version=1, label="adult defaults"), "default.toml")
    plan = compiled(document, base={}).plan_of("p1")
    program = default_plan()
    assert plan.technical == program.technical
    assert plan.detectors == program.detectors
    for one, other in zip(plan.limits.rules, program.limits.rules, strict=True):
        told = plain(other) | {"version": 1}  # a rule's version is the program's, no file states it
        assert plain(one) == told
    assert plan.limits.lateness_s == program.limits.lateness_s
    assert plan.settle_every_s == program.settle_every_s
    over_defaults = compiled(document).plan_of("p1")
    assert over_defaults.limits.rules == program.limits.rules


def test_the_nearer_layer_wins_field_by_field() -> None:
    held = policies()
    thresholds = {one: rule(held.plan_of(one)).threshold for one in ("p0", "p1", "p2", "p3", "p4")}
    assert thresholds == {"p0": 140, "p1": 150, "p2": 160, "p3": 140, "p4": 140}
    assert rule(held.plan_of("p2")).timing.delay_s == 90
    assert rule(held.plan_of("p2")).clear == 120
    assert rule(held.plan_of("p2")).version == rule(default_plan()).version
    assert [one.policy.window_s for one in held.plan_of("p1").detectors] == [100]  # type: ignore[attr-defined]
    assert held.plan_of("p1").detectors[0].policy.bands_per_min == (5.0,)  # type: ignore[attr-defined]
    assert held.plan_of("p3").detectors == ()
    assert len(held.plan_of("p3").limits.rules) == len(ADULT.rules) - 1
    assert {held.plan_of(one).settle_every_s for one in ("p0", "p1", "p3")} == {built_in().plan_of("p0").settle_every_s}
    assert held.plan_of("p4").settle_every_s == 5
    assert (held.plan_of("p4").lateness_s, held.plan_of("p4").limits.lateness_s) == (8, 8)


def test_who_shares_a_layer_shares_the_plan() -> None:
    held = policies()
    assert held.plan_of("p0") is held.plan_of("p9")
    assert held.plan_of("p1") is held.plan_of("p1")
    assert held.plan_of("p1") is not held.plan_of("p2")
    assert held.plan_of("p1").detectors[0] is held.plan_of("p2").detectors[0]
    ready = policies().prepared()
    assert ready.plan_of("p2") == held.plan_of("p2")
    assert ready.plan_of("p2") is ready.plan_of("p2")


def test_a_plan_says_which_policy_it_is() -> None:
    held = policies()
    assert held.told == held.plan_of("p1").policy
    assert held.told.startswith("ward 4 v3 sha256:")
    assert len(held.told.rpartition(":")[2]) == 12
    assert held.told != policies(LAYERED + "# a comment\n").told
    longest = policies(f'version = 999999\nlabel = "{"x" * 40}"\n')
    assert longest.plan_of("p1").policy == longest.told


def test_a_new_rule_has_all_that_it_says() -> None:
    text = f'{HEAD}[limits.mine.glucose]\nside = "above"\nthreshold = 300\nclear = 250\npriority = "high"\n'
    found = rule(policies(text).plan_of("p1"), "mine")
    assert found == LimitRule("mine", 1, "glucose", found.side, 300.0, 250.0, Priority.HIGH, Timing())


def test_each_value_says_where_it_comes_from() -> None:
    profile = CareProfile.model_validate(
        {"version": 4, "pacemaker": True, "limits": {"heart_rate": {"high": 111.0}, "bp_diastolic": {"high": 100.0}}}
    )
    held = policies()
    found = {".".join(one.path): (one.value, one.source) for one in held.effective("p2", profile)}
    high = "limits.heart_rate_high.heart_rate"
    assert found[f"{high}.threshold"] == (111.0, "profile version 4")
    assert found[f"{high}.timing.delay_s"] == (90, "ward a")
    assert found[f"{high}.timing.min_samples"] == (3, "default")
    assert found["engine.lateness_s"] == (8, "deployment")
    assert found["detectors.tired.bands_per_min"] == ([5], "ward a")
    assert found["limits.bp_diastolic_high.bp_diastolic.threshold"] == (100.0, "profile version 4")
    assert "limits.heart_rate_low.heart_rate.asleep_threshold" not in found
    unfitted = {".".join(one.path): (one.value, one.source) for one in held.effective("p2")}
    assert unfitted[f"{high}.threshold"] == (160, "patient p2")
    child = {
        ".".join(one.path): one.value for one in held.effective("p2", CareProfile.model_validate({"age_band": "child"}))
    }
    assert child["limits.spo2_low.spo2.enabled"] is False


def test_the_profile_is_laid_over_once_and_by_the_engine() -> None:
    """What a profile moves, it moves from where the policy has it: twice would be too far."""
    drug = CareProfile(version=1, rate_limiting_drug=True)
    snapshot = CrowdSnapshot(policies(), People({"p0": drug}))
    assert snapshot.plan_of("p0") is snapshot.plan_of("p9")
    assert snapshot.person("p0", "d1").profile is drug
    fitted = for_profile(snapshot.plan_of("p0").limits, drug)
    assert fitted.rules != snapshot.plan_of("p0").limits.rules


def test_a_hastened_policy_has_no_long_delays() -> None:
    hurried = built_in().hastened(3, 6)
    assert hurried.plan_of("p1").limits.rules == hastened(ADULT, 3, 6).rules
    assert max(one.timing.delay_s for one in policies().hastened(3, 6).plan_of("p1").limits.rules) == 3


def test_staffed_hours_have_layers_too() -> None:
    text = f"""{HEAD}
[staffed]
zone = "Europe/Berlin"
days = ["mon", "fri"]
start = 07:00:00
end = 19:00:00
[patient.p1.staffed]
start = 22:00:00
end = 06:00:00
"""
    held = policies(text)

    def us(text: str) -> int:
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * US_PER_S)

    day, night = held.staffed_of("p0"), held.staffed_of("p1")
    moments = ("05T05:59", "05T06:00", "05T17:59", "05T18:00", "06T12:00")
    assert [day.is_staffed(us(f"2026-01-{at}")) for at in moments] == [False, True, True, False, False]
    moments = ("05T20:59", "05T21:00", "06T04:59", "06T05:00", "07T03:00")
    assert [night.is_staffed(us(f"2026-01-{at}")) for at in moments] == [False, True, True, False, False]
    assert not built_in().staffed_of("p1").is_staffed(us("2026-01-05T12:00"))


def test_what_differs_between_two_files() -> None:
    before = read(LAYERED, "a", SECTIONS)
    text = LAYERED.replace("threshold = 150", "threshold = 155").replace('"p1", "p2"', '"p1"')
    after = read(text.replace("version = 3", "version = 4"), "b", SECTIONS)
    assert differences(before, after) == [
        ("version", "3", "4"),
        ("ward.a.limits.heart_rate_high.heart_rate.threshold", "150", "155"),
        ("ward.a.members.p2", "true", None),
    ]
    assert differences(after, after) == []
    assert ("version", None, "3") in differences(None, before)


def test_a_policy_s_own_values_survive_the_file() -> None:
    held = TiredPolicy(window_s=20, bands_per_min=(1.0,), pair=(2, 0.25), ceiling_per_min=9.0, timing=Timing(delay_s=1))
    assert made(TiredPolicy, plain(held)) == held


def test_many_people_have_overrides() -> None:
    people = "".join(f"[patient.p{n}.limits.spo2_low.spo2]\nthreshold = {80 + n % 10}\n" for n in range(1_000))
    held = policies(HEAD + people)
    assert rule(held.plan_of("p7"), "spo2_low").threshold == 87
    assert len(held.named()) == 1_000


def test_a_wrong_ward_does_not_hide_a_wrong_patient() -> None:
    with pytest.raises(FileRefused) as refused:
        policies(f"""{HEAD}[ward.a]
members = ["p1"]
[ward.a.limits.spo2_low.spo2]
threshold = 95
[patient.p1.limits.spo2_low.spo2]
max_age_s = "x"
clear = 10
""")
    assert [fault.line for fault in refused.value.faults] == [6, 8, 9]


def test_what_is_taken_out_is_told_by_whom_it_concerns() -> None:
    policies = policies_of("""version = 1
label = "x"
[limits.spo2_low.spo2]
enabled = false
[ward.home]
members = ["p1"]
detectors.monitoring.enabled = false
[ward.rehab]
members = ["p2"]
limits.spo2_low.spo2.enabled = true
""")
    assert policies.taken_out() == {
        "deployment": [("limits", "spo2_low", "spo2")], "ward home": [("detectors", "monitoring")],
    }  # fmt: skip
    assert not policies.is_blind()
    assert built_in().taken_out() == {}


def test_a_policy_that_takes_out_everything_is_told() -> None:
    units = [unit for unit in default_stack() if unit[0] in {"limits", "signals", "detectors"}]
    text = 'version = 1\nlabel = "x"\n' + "".join(f"[{'.'.join(unit)}]\nenabled = false\n" for unit in units)
    policies = policies_of(text)
    assert policies.is_blind()
    assert policies.taken_out() == {"deployment": units}
