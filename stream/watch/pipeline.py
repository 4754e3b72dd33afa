"""One alert about the pipeline where partitions are not watched live: not one a patient. Pure; time is given.

While a partition is behind nobody's silence means anything, so the gap timer rests; but that nobody is watched must be
known. The episode is the worker's, and carries the partition that it began with (its home) as origin: whoever is given
that partition after a crash or a rebalance finds it there, and clears it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from alerts.event import AlertEvent, Evidence, Kind, Origin, Priority, State, alert_id
from vitals.clock import US_PER_S, from_datetime, to_datetime

PATIENT: Final = "vigil-pipeline"
RULE: Final = "pipeline_behind"
METRIC: Final = "pipeline"
SOURCE: Final = "vigil"
VERSION: Final = 1


def origin_of(home: int) -> Origin:
    """Return the origin of an episode that began with this partition."""
    return Origin(device_id=f"partition-{home}", source_app=SOURCE)


def open_among(events: Iterable[AlertEvent], before: Iterable[AlertEvent] = ()) -> dict[int, AlertEvent]:
    """Return the episodes that are open after `before` and then `events`, by home."""
    found: dict[int, AlertEvent] = {}
    over: set[str] = set()
    for event in (*before, *events):
        if event.patient_id != PATIENT or event.rule != RULE:
            continue
        home = int(event.origin.device_id.removeprefix("partition-"))
        if event.state is State.CLEARED:
            over.add(event.alert_id)
            if home in found and found[home].alert_id == event.alert_id:
                del found[home]
        elif event.alert_id not in over:
            found[home] = event
    return found


@dataclass(slots=True)
class Pipeline:
    """What one worker has told of itself: at most one open episode of its own, and those that it took over."""

    after_s: float
    own: AlertEvent | None = None
    _taken: dict[str, AlertEvent] = field(default_factory=dict)

    @property
    def open(self) -> list[AlertEvent]:
        """The episodes that are open."""
        return [*([self.own] if self.own else []), *self._taken.values()]

    def open_at(self, home: int) -> AlertEvent | None:
        """Return the open episode that this partition is the home of."""
        origin = origin_of(home)
        return next((event for event in self.open if event.origin == origin), None)

    def take_over(self, event: AlertEvent) -> None:
        """Another worker, or this one before it ended, raised it, and this one has its home now."""
        if self.own is None or self.own.alert_id != event.alert_id:
            self._taken[event.alert_id] = event

    def hand_over(self) -> None:
        """Whoever has their homes will find them on the topic: forget them."""
        self.own = None
        self._taken.clear()

    def judge(self, behind_s: Mapping[int, float], now_us: int) -> list[AlertEvent]:
        """Return what changes, given for how long each partition has been behind (0: it is not)."""
        if not any(behind_s.values()):
            events = [_cleared(event, now_us) for event in self.open]
            self.hand_over()
            return events
        longest_s = max(behind_s.values())
        if self.open or longest_s < self.after_s:
            return []
        home = min(partition for partition, seconds in behind_s.items() if seconds)
        self.own = _raised(home, now_us - round(longest_s * US_PER_S), len(behind_s), now_us)
        return [self.own]


def _raised(home: int, since_us: int, partitions: int, now_us: int) -> AlertEvent:
    origin, opened, now = origin_of(home), to_datetime(since_us), to_datetime(now_us)
    seconds = (now_us - since_us) / US_PER_S
    return AlertEvent(
        alert_id=alert_id(PATIENT, RULE, METRIC, origin, since_us),
        patient_id=PATIENT,
        kind=Kind.TECHNICAL,
        priority=Priority.MEDIUM,
        rule=RULE,
        rule_version=VERSION,
        metric=METRIC,
        origin=origin,
        state=State.RAISED,
        opened_at=opened,
        raised_at=now,
        changed_at=now,
        measured_at=now,
        evidence=Evidence(
            window_start=opened, window_end=now, samples=0, unit="",
            figures={"behind_s": round(seconds, 1), "partitions_of_worker": partitions},
        ),
        sentence=f"The watch has been behind for {seconds:.0f} s: what devices tell meanwhile raises no alert in time.",
    )  # fmt: skip


def _cleared(event: AlertEvent, now_us: int) -> AlertEvent:
    now = to_datetime(max(now_us, from_datetime(event.changed_at)))
    return event.model_copy(
        update={
            "state": State.CLEARED,
            "changed_at": now,
            "cleared_at": now,
            "measured_at": now,
            "evidence": event.evidence.model_copy(update={"window_end": now}),
            "sentence": "The watch is caught up: alerts are raised in time again.",
        }
    )
