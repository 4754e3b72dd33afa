"""What the recorder tells Prometheus: how much, how late, how often it had to wait. Never who."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter

from timeseries.model import Rejected, WriteOutcome

SAMPLES: Final = Counter("vigil_recorder_samples", "Samples by what became of them", ["outcome"])
QUARANTINED: Final = Counter("vigil_recorder_quarantined", "Samples and records put into quarantine", ["reason"])
REDELIVERED: Final = Counter("vigil_recorder_redelivered_records", "Records that Kafka delivered again")
GAPS: Final = Counter("vigil_recorder_gaps", "Gaps in the offsets that were read again")
EPOCHS: Final = Counter("vigil_recorder_epochs", "Logs found recreated or cut off")
FENCED: Final = Counter("vigil_recorder_fenced", "Batches given up because another worker has the partition")
STORE_RETRIES: Final = Counter("vigil_recorder_store_retries", "Attempts that found the database away")


def count(outcome: WriteOutcome, rejected: Sequence[Rejected]) -> None:
    """Count one committed batch."""
    for name in ("inserted", "replaced", "revisions", "duplicates", "conflicts"):
        SAMPLES.labels(name).inc(getattr(outcome, name))
    for one in rejected:
        QUARANTINED.labels(one.reason).inc()
