"""The short run of `make chaos`, and that its ledger is able to fail."""

import numpy as np
import pytest

from tests.chaos.plan import expected, make
from tests.chaos.run import Plan, run
from tests.services.kafka import ApacheKafka


def test_the_plan_holds_every_kind_of_trouble() -> None:
    batches = make(60_000, 20, seed=3, start_s=1_790_000_000)
    ledger = expected(batches)
    told = np.concatenate([batch.samples for batch in batches if batch.samples is not None])
    identities = len(np.unique(told[["patient", "metric", "second"]][told["valid"]]))
    assert len(ledger.winners) == identities < told["valid"].sum()
    assert ledger.sent == len(told) + sum(batch.samples is None for batch in batches)
    assert 0 < ledger.winners["deleted"].sum() < identities
    assert ledger.quarantined_at_least > 0
    assert 0.9 < ledger.sent / 60_000 < 1.1
    assert any(batch.backfill for batch in batches)


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_nothing_is_lost_and_nothing_is_twice_while_everything_is_killed(kafka: ApacheKafka) -> None:
    found = run(Plan(samples=300_000, patients=100, kills=5, send_s=40.0, settle_s=90.0, seed=7))
    assert found["ok"], found
    assert found["sent"] == found["accounted"]
