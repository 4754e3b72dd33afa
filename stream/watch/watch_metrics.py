"""What the watch tells Prometheus: how much, how fast, how far behind. Never who."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

RECORDS: Final = Counter("vigil_watch_records", "Records watched", ["outcome"])
SAMPLES: Final = Counter("vigil_watch_samples", "Samples watched", ["lane"])
IGNORED: Final = Counter("vigil_watch_ignored_samples", "Samples that came twice, or too late to be judged", ["lane"])
EVENTS: Final = Counter("vigil_watch_alert_events", "Alert events emitted", ["kind", "state"])
REPEATS: Final = Counter("vigil_watch_repeated_events", "Alert events found again that stood on the topic already")
LATENCY: Final = Histogram(
    "vigil_watch_latency_seconds",
    "From the timestamp of a fetch's newest record to its alert events being acknowledged",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
SETTLE: Final = Histogram(
    "vigil_watch_settle_seconds",
    "One patient's settled detectors, one step",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
)
RESTORE: Final = Histogram(
    "vigil_watch_restore_seconds",
    "From an assignment to knowing its partitions' states",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
SNAPSHOTS: Final = Counter("vigil_watch_snapshots", "Records written to the state topic", ["what"])
SNAPSHOT_BYTES: Final = Counter("vigil_watch_snapshot_bytes", "Bytes written to the state topic")
UNREADABLE: Final = Counter("vigil_watch_unreadable_snapshots", "Snapshots that could not be used", ["why"])
MARKER_AGE: Final = Gauge("vigil_watch_marker_age_seconds", "Age of the oldest marker among the partitions watched")
STATE: Final = Gauge("vigil_watch_state_bytes", "State of all patients watched, as their last snapshots have it")
PATIENTS: Final = Gauge("vigil_watch_patients", "Patients with a snapshot on the partitions watched")
BEHIND: Final = Gauge("vigil_watch_behind_partitions", "Partitions watched that are not caught up")
GAPS: Final = Counter("vigil_watch_gaps", "Gaps in the offsets that were read again")
CROWD_AGE: Final = Gauge("vigil_watch_crowd_age_seconds", "Since profiles, policies and consents were last read")
CROWD_FAILURES: Final = Counter("vigil_watch_crowd_failures", "Attempts to read them that found the database away")
WAITING: Final = Gauge("vigil_watch_waiting_events", "Alert events that the broker has not acknowledged")
BROKEN: Final = Counter(
    "vigil_watch_detectors_broken", "Detectors that failed on somebody's data and began afresh", ["detector"]
)
