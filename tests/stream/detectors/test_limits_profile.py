"""A care profile's limits: their own awake and asleep, what the body moves, and children."""

from dataclasses import replace

import pytest

from stream.detectors.limits import LimitRule, Side, SignalRule
from stream.detectors.policy import ADULT, WatchPolicy, for_profile
from vitals.care_profile import UNKNOWN, AgeBand, Band, CareProfile


def limits(policy: WatchPolicy) -> dict[str, LimitRule]:
    return {rule.name: rule for rule in policy.rules if isinstance(rule, LimitRule)}


def fitted(**profile: object) -> dict[str, LimitRule]:
    return limits(for_profile(ADULT, CareProfile(**{"version": 1, **profile})))


def test_nobodys_profile_changes_nothing() -> None:
    assert for_profile(ADULT, UNKNOWN) is ADULT
    assert for_profile(ADULT, CareProfile(version=4)) is ADULT


def test_own_limits_replace_the_rules_and_hysteresis_keeps_its_distance() -> None:
    rules = fitted(limits={"heart_rate": Band(low=45, high=110), "spo2": Band(low=85)})
    assert rules["heart_rate_high"].waking == rules["heart_rate_high"].sleeping == (110, 100)
    assert rules["heart_rate_low"].waking == rules["heart_rate_low"].sleeping == (45, 50)
    assert rules["spo2_low"].waking == (85, 87)
    assert {name for name, rule in rules.items() if rule.individualised} == {
        "heart_rate_high", "heart_rate_low", "spo2_low",
    }  # fmt: skip
    assert rules["pulse_rate_high"] == limits(ADULT)["pulse_rate_high"]


def test_sleeping_limits_override_asleep_only() -> None:
    rules = fitted(limits={"heart_rate": Band(low=50)}, sleeping_limits={"heart_rate": Band(low=42, high=100)})
    assert (rules["heart_rate_low"].waking, rules["heart_rate_low"].sleeping) == ((50, 55), (42, 47))
    assert (rules["heart_rate_high"].waking, rules["heart_rate_high"].sleeping) == ((130, 120), (100, 90))


def test_hysteresis_of_a_narrow_band_stays_within_it() -> None:
    rules = fitted(limits={"heart_rate": Band(low=60, high=66)})
    assert rules["heart_rate_high"].clear == rules["heart_rate_low"].clear == 63


def test_a_limit_that_no_rule_watches_makes_one() -> None:
    rules = fitted(limits={"bp_diastolic": Band(high=110), "glucose": Band(low=80), "steps": Band(low=10)})
    made = rules["bp_diastolic_high"]
    assert (made.side, made.threshold, made.individualised, made.timing.min_samples) == (Side.ABOVE, 110, True, 2)
    assert "glucose_low" not in rules  # its own detector reads the profile
    assert "steps_low" not in rules  # a total is no level


def test_an_unsigned_profile_is_not_individualised() -> None:
    policy = for_profile(ADULT, CareProfile(limits={"spo2": Band(low=85)}, trained=True))
    assert not any(rule.individualised for rule in limits(policy).values())
    assert policy.label == ADULT.label
    signed = for_profile(ADULT, CareProfile(version=7, trained=True))
    assert signed.label == "adult defaults, care profile version 7"
    assert len(signed.label) <= 80


def test_trained_drug_and_pacemaker_move_the_low_limits_only() -> None:
    adult = limits(ADULT)
    trained = fitted(trained=True)
    assert (trained["heart_rate_low"].waking, trained["pulse_rate_low"].sleeping) == ((35, 40), (30, 35))
    drug = fitted(rate_limiting_drug=True)["heart_rate_low"]
    assert drug.waking == adult["heart_rate_low"].waking
    assert drug.timing.delay_s == 2 * adult["heart_rate_low"].timing.delay_s
    paced = fitted(pacemaker=True)["heart_rate_low"]
    assert paced.waking == paced.sleeping == (40, 45)
    for rules in (trained, fitted(rate_limiting_drug=True), fitted(pacemaker=True)):
        changed = {name for name, rule in rules.items() if rule != adult[name]}
        assert changed == {"heart_rate_low", "pulse_rate_low"}
        assert all(rules[name].individualised for name in changed)


def test_oxygen_target_and_pregnancy() -> None:
    assert fitted(spo2_scale=2)["spo2_low"].waking == (84, 86)
    assert fitted(spo2_scale=2, limits={"spo2": Band(low=88)})["spo2_low"].waking == (88, 90)
    assert fitted(pregnant=True)["bp_systolic_high"].waking == (160, 150)


def test_adult_rules_refuse_children_unless_the_profile_sets_limits() -> None:
    signals = replace(ADULT, rules=(*ADULT.rules, SignalRule("signal_lost", 1, "heart_rate")))
    child = for_profile(signals, CareProfile(version=1, age_band=AgeBand.CHILD))
    assert limits(child) == {}
    assert all(isinstance(rule, SignalRule) for rule in child.rules)
    assert child.rules
    own = fitted(age_band=AgeBand.CHILD, limits={"heart_rate": Band(high=160)}, trained=True, spo2_scale=2)
    assert list(own) == ["heart_rate_high"]
    assert own["heart_rate_high"].waking == (160, 150)
    nightly = fitted(age_band=AgeBand.CHILD, sleeping_limits={"heart_rate": Band(high=120)})["heart_rate_high"]
    assert nightly.sleeping == (120, 110)
    assert nightly.threshold == 300  # awake the child has no limit: beyond what the channel can mean


@pytest.mark.parametrize("rule", limits(ADULT).values(), ids=lambda rule: rule.name)
def test_every_default_says_by_its_version_that_it_changed(rule: LimitRule) -> None:
    changed = {
        "heart_rate_high",
        "heart_rate_low",
        "pulse_rate_high",
        "pulse_rate_low",
        "spo2_low",
        "respiratory_rate_high",
    }
    assert rule.version == (2 if rule.name in changed else 1)
