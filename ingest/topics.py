"""The topics: names, partitions, retention. Keys are patient ids everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

SAMPLES: Final = "vigil.samples"
SAMPLES_BACKFILL: Final = "vigil.samples.backfill"
WAVEFORMS: Final = "vigil.waveforms"
QUARANTINE: Final = "vigil.quarantine"
WATCH_STATE: Final = "vigil.watch.state"
ALERTS: Final = "vigil.alerts"
NOTIFICATIONS: Final = "vigil.notifications"
NOTIFICATIONS_STATUS: Final = "vigil.notifications.status"
ANNOTATIONS: Final = "vigil.annotations"
DELETIONS: Final = "vigil.deletions"

_DAY_MS: Final = 86_400_000
MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""The largest Kafka record: what a consumer buffers is bounded by this times the records it buffers."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `partitions` None means: as many as the deployment's setting says for sample topics."""

    name: str
    retention_ms: int
    partitions: int | None = None
    compacted: bool = False
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def config(self) -> dict[str, str]:
        """Return the broker's topic configuration."""
        policy = {"cleanup.policy": "compact"} if self.compacted else {"retention.ms": str(self.retention_ms)}
        return {**policy, "max.message.bytes": str(MAX_MESSAGE_BYTES), **self.extra}


# All of it is read after each assignment, so old snapshots must go: a segment is closed after ten minutes or 16 MiB,
# and cleaned once a tenth is stale. A tombstone stays for an hour, longer than any reading takes. However little is
# stale, within three hours it goes: what stood of somebody who withdrew or was erased must not stay.
_STATE: Final = MappingProxyType(
    {
        "segment.ms": "600000",
        "segment.bytes": str(16 * 1024 * 1024),
        "min.cleanable.dirty.ratio": "0.1",
        "delete.retention.ms": "3600000",
        "max.compaction.lag.ms": "10800000",
    }
)

# The broker's copy must outlive the longest outage of the database that is to be survived; alerts must outlive a
# weekend without staff. Producers compress; `compression.type` stays the producer's.
TOPICS: Final[tuple[Topic, ...]] = (
    Topic(SAMPLES, 7 * _DAY_MS),
    Topic(SAMPLES_BACKFILL, 7 * _DAY_MS),
    Topic(WAVEFORMS, 3 * _DAY_MS),
    Topic(QUARANTINE, 30 * _DAY_MS),
    Topic(WATCH_STATE, -1, compacted=True, extra=_STATE),
    Topic(ALERTS, 30 * _DAY_MS, partitions=3),
    Topic(NOTIFICATIONS, 30 * _DAY_MS, partitions=3),
    Topic(NOTIFICATIONS_STATUS, 30 * _DAY_MS, partitions=3),
    Topic(ANNOTATIONS, 30 * _DAY_MS, partitions=3),
    Topic(DELETIONS, 30 * _DAY_MS),
)
