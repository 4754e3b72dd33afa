"""The short run of `python -m tests.chaos.watch`, and that its ledger is able to fail."""

import asyncio
from pathlib import Path

import pytest

from tests.chaos.watch import Plan, batch, crowd_of, expected, policy_in, reconcile, run
from vitals.clock import US_PER_S

BEGUN_US = 1_800_000_000 * US_PER_S


def test_the_ledger_knows_what_is_missing_and_what_stands_twice(tmp_path: Path) -> None:
    plan = Plan(patients=5, seconds=90.0)
    crowd = asyncio.run(crowd_of(policy_in(tmp_path)))
    wanted = expected((batch(n, second, BEGUN_US, plan) for second in range(135) for n in range(5)), crowd)
    told = list(wanted.values())
    assert {event.rule for event in told} >= {"heart_rate_high", "spo2_low", "fast_run"}
    assert reconcile(wanted, told, [])["ok"]
    assert not reconcile({}, [], [])["ok"], "nothing to be found proves nothing"
    assert reconcile(wanted, told[1:], [])["missing"] == {told[0].rule: 1}
    assert reconcile(wanted, [*told, told[0]], [])["twice"] == {told[0].rule: 1}
    del wanted[told[0].alert_id, told[0].state.value]
    assert reconcile(wanted, told, [])["unexpected"] == {told[0].rule: 1}


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_each_change_is_told_once_while_the_watch_is_killed(kafka: object) -> None:
    found = run(Plan(patients=10, seconds=50.0, kills=4, settle_s=60.0, seed=3))
    assert found["ok"], found
    assert found["kills"] == 4
    assert found["state_records"] > 0, "there was something to be restored from"  # type: ignore[operator]
