"""The short run of `make chaos`, and that its ledger is able to fail."""

import numpy as np
import pytest

from tests.chaos.plan import SENT, expected, make, stored_of
from tests.chaos.run import Plan, run
from tests.services.kafka import ApacheKafka


def test_the_plan_holds_every_kind_of_trouble() -> None:
    batches = make(60_000, 20, seed=3, start_s=1_790_000_000)
    ledger = expected(batches)
    told = np.concatenate([batch.samples for batch in batches if batch.samples is not None])
    valid = told[told["valid"]]
    identities = np.unique(valid[["patient", "metric", "ms"]])
    whole = [(one["ms"] % 1_000 == 0).sum() for one in (identities, ledger.winners)]
    assert whole[0] == whole[1] < len(valid), "every second's first sample stands, however fast its record"
    assert ledger.sent == len(told) + sum(batch.samples is None for batch in batches)
    assert 0 < ledger.winners["deleted"].sum() < len(identities)
    assert 0 < len(identities) - len(ledger.winners) <= ledger.reduced < 0.05 * ledger.sent
    assert ledger.quarantined_at_least > 0
    assert 0.9 < ledger.sent / 60_000 < 1.1
    assert any(batch.backfill for batch in batches)


def test_the_ledger_knows_what_is_reduced() -> None:
    """Two seconds of one metric and one sample of another: by hand."""
    record = np.zeros(13, SENT)
    record["metric"], record["valid"] = [5] * 12 + [7], True
    record["ms"] = [0, 40, 80, 120, 160, 160, 200, 1_000, 1_040, 1_080, 1_120, 1_160, 40]
    record["value"] = [97, 90, 91, 98, 60, 61, 96, 97, 97, 97, 97, 97, 14]
    record["valid"][[8]] = False
    assert np.flatnonzero(~stored_of(record)).tolist() == [2], "160 has two versions, and four of a second are few"
    record["deleted"][[5]] = True
    record["value"][2] = 89.9
    assert np.flatnonzero(~stored_of(record)).tolist() == [1]
    record["valid"][[8]] = True
    assert np.flatnonzero(~stored_of(record)).tolist() == [1, 8, 9, 10]


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_nothing_is_lost_and_nothing_is_twice_while_everything_is_killed(kafka: ApacheKafka) -> None:
    found = run(Plan(samples=300_000, patients=100, kills=5, send_s=40.0, settle_s=90.0, seed=7))
    assert found["ok"], found
    assert found["sent"] == found["accounted"]
