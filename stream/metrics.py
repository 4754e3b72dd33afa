"""What the recorder tells Prometheus: how much, how late, how often it had to wait. Never who."""

from __future__ import annotations

from typing import Final

import numpy as np
from prometheus_client import Counter

from timeseries.model import WriteBatch, WriteOutcome

SAMPLES: Final = Counter("vigil_recorder_samples", "Samples by what became of them", ["outcome"])
QUARANTINED: Final = Counter("vigil_recorder_quarantined", "Samples and records put into quarantine", ["reason"])
REDELIVERED: Final = Counter("vigil_recorder_redelivered_records", "Records that Kafka delivered again")
GAPS: Final = Counter("vigil_recorder_gaps", "Gaps in the offsets that were read again")
EPOCHS: Final = Counter("vigil_recorder_epochs", "Logs found recreated or cut off")
FENCED: Final = Counter("vigil_recorder_fenced", "Batches given up because another worker has the partition")
STORE_RETRIES: Final = Counter("vigil_recorder_store_retries", "Attempts that found the database away")


LATENESS: Final = Counter(
    "vigil_recorder_lateness_samples", "Stored samples by how long after the measurement they were received", ["upto"]
)
_UPTO_S: Final = np.array([10, 60, 600, 3_600, 86_400, 7 * 86_400])
_UPTO: Final = ("10s", "1m", "10m", "1h", "1d", "7d", "older")


def count(outcome: WriteOutcome, batch: WriteBatch) -> None:
    """Count one committed batch."""
    for name in ("inserted", "replaced", "revisions", "duplicates", "conflicts", "reduced", "not_consented"):
        SAMPLES.labels(name).inc(getattr(outcome, name))
    for one in batch.rejected:
        QUARANTINED.labels(one.reason).inc()
    late_s = (batch.rows["received_at"] - batch.rows["time"]) / 1e6
    for upto, samples in zip(_UPTO, np.bincount(np.searchsorted(_UPTO_S, late_s), minlength=len(_UPTO)), strict=True):
        LATENESS.labels(upto).inc(int(samples))
