"""An engine of one rule, for tests of what is around it: above 100 /min is raised at once, anything else clears it."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from alerts.event import AlertEvent, Evidence, Kind, Origin, Priority, State, alert_id
from stream.watch.crowd import Crowd
from vitals.batch import BatchHeader, SampleColumns
from vitals.clock import to_datetime
from vitals.errors import VigilError

LIMIT = 100.0


def event(patient: str, opened_us: int, state: State, at_us: int, *, retrospective: bool = False) -> AlertEvent:
    origin = Origin(device_id="d1", source_app="app")
    opened, at = to_datetime(opened_us), to_datetime(at_us)
    return AlertEvent(
        alert_id=alert_id(patient, "fake", "heart_rate", origin, opened_us), patient_id=patient,
        kind=Kind.PHYSIOLOGICAL, priority=Priority.MEDIUM, rule="fake", rule_version=1, metric="heart_rate",
        origin=origin, state=state, opened_at=opened, raised_at=opened, changed_at=at,
        cleared_at=at if state is State.CLEARED else None, measured_at=at, retrospective=retrospective,
        evidence=Evidence(window_start=opened, window_end=at, samples=1, unit="/min"), sentence="a fake alert",
    )  # fmt: skip


class FakeEngine:
    """Remembers of each patient how many samples it saw, and since when an alert is open."""

    def __init__(self) -> None:
        self.patients: dict[str, dict[str, Any]] = {}
        self.changed: dict[str, None] = {}
        self.silent: list[AlertEvent] = []
        self.crowd: Crowd | None = None
        self.ignored = 0

    def see(
        self, headers: Sequence[BatchHeader | None], counts: Any, columns: SampleColumns, now_us: int
    ) -> list[AlertEvent]:
        events: list[AlertEvent] = []
        at = 0
        for header, count in zip(headers, counts.tolist(), strict=True):
            if header is not None:
                events += self._one(header.patient_id, columns, at, at + count)
            at += count
        return events

    def _one(self, patient: str, columns: SampleColumns, first: int, last: int) -> list[AlertEvent]:
        held = self.patients.setdefault(patient, {"open": None, "seen": 0})
        self.changed[patient] = None
        events = []
        for start, value in zip(columns.start_us[first:last].tolist(), columns.value[first:last].tolist(), strict=True):
            held["seen"] += 1
            if value > LIMIT and held["open"] is None:
                held["open"] = start
                events.append(event(patient, start, State.RAISED, start))
            elif value <= LIMIT and held["open"] is not None:
                events.append(event(patient, held["open"], State.CLEARED, start))
                held["open"] = None
        return events

    def settle(self, now_us: int, *, all_due: bool = False) -> Iterator[list[AlertEvent]]:
        yield []

    def finish(self, now_us: int) -> list[AlertEvent]:
        return []

    def end(self, now_us: int) -> list[AlertEvent]:
        ended = []
        for patient, held in self.patients.items():
            if held["open"] is not None:
                ended.append(event(patient, held["open"], State.CLEARED, max(held["open"], now_us)))
                held["open"] = None
        return ended

    def take_failures(self) -> dict[str, int]:
        return {}

    def overdue(self, now_us: int) -> Iterator[list[AlertEvent]]:
        told, self.silent = self.silent, []
        yield told

    def open_alerts(self, patient_id: str) -> dict[str, object]:
        opened = self.patients.get(patient_id, {}).get("open")
        if opened is None:
            return {}
        return {event(patient_id, opened, State.RAISED, opened).alert_id: opened}

    def adopt(self, crowd: Crowd, now_us: int) -> list[AlertEvent]:
        self.crowd = crowd
        return []

    def dirty(self) -> list[str]:
        return list(self.changed)

    def snapshot(self, patient_id: str) -> bytes:
        self.changed.pop(patient_id, None)
        held = self.patients.get(patient_id)
        return b"" if held is None else json.dumps(held).encode()

    def restore(self, patient_id: str, data: bytes) -> None:
        try:
            self.patients[patient_id] = json.loads(data)
        except ValueError as error:
            raise VigilError("no snapshot") from error
