"""The engine of the watch, pure: whole decoded fetches in, alert events out. One engine a Kafka partition.

Two tiers. Limits are judged as a record comes (`stream.watch.immediate`); a record without a suspicious value, of an
origin where nothing is pending or raised, costs an append. Everything else is settled (`stream.watch.settled`): each
origin's samples once, in event order, some seconds behind its newest. Where a stretch ends follows from event time
alone, and whoever is judged at once is settled first as far as that goes: so the same records find the same, however
they were cut into fetches, and a restart repeats and never adds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alerts.event import AlertEvent
from stream.detectors.observation import Observations
from stream.detectors.protocol import NOBODY, Person
from stream.detectors.sustain import NEVER
from stream.watch import settled
from stream.watch.adoption import close_lost, let_go, swap, taken_back
from stream.watch.book import ENGINE, LIMITS, NO_LONGER, Circumstances, Episode
from stream.watch.crowd import Crowd
from stream.watch.events import PATIENT_ORIGIN
from stream.watch.fetch import NOT_WATCHED, Fetch, accepted, observed
from stream.watch.immediate import judge
from stream.watch.lasting import going_on, lapsed
from stream.watch.memory import MAX_PATIENTS, Origin, Patient
from stream.watch.roster import Roster
from stream.watch.settled import Failures, Told
from stream.watch.snapshot import pack_patient, unpack_patient
from vitals.batch import BatchHeader, SampleColumns
from vitals.clock import US_PER_S

_HASTE: Final = 4
"""So many times a plan's `max_waiting` samples do not even wait for the caller to settle."""


class Engine:
    """Watches the patients of one partition.

    `live` False is the backfill lane: what it finds is retrospective. `ignored` counts samples that came twice or too
    late.
    """

    def __init__(
        self, crowd: Crowd, *, live: bool = True, max_patients: int = MAX_PATIENTS, strict: bool = False
    ) -> None:
        self.ignored = 0
        self._live = live
        self._roster = Roster(crowd, max_patients)
        self._failures = Failures(strict=strict)
        self._waiting: OrderedDict[str, Patient] = OrderedDict()  # with samples in an inbox; longest silent first
        self._due: dict[str, Patient] = {}
        self._dirty: set[str] = set()
        # As a snapshot left them, until the first settling: consent may have changed since.
        self._restored: set[str] = set()
        # As a snapshot left them, until the first crowd that is adopted: what they had open is still to be compared.
        self._unfitted: set[str] = set()

    @property
    def evicted(self) -> int:
        """How many patients and origins were forgotten because there were too many."""
        return self._roster.evicted

    @property
    def failures(self) -> dict[str, int]:
        """How often a detector broke and began afresh, by its name."""
        return dict(self._failures.counts)

    def take_failures(self) -> dict[str, int]:
        """Return how often detectors broke since this was last asked."""
        return self._failures.taken()

    def see(
        self,
        headers: Sequence[BatchHeader | None],
        counts: NDArray[np.int64],
        columns: SampleColumns,
        now_us: int,
    ) -> list[AlertEvent]:
        """Take in a fetch (`ingest.record.Decoded`) and return what limits raise and clear, record by record.

        `now_us` (microseconds UTC) decides what is too old to be called live, and when silence began. Samples that
        validation rejects, or whose device or class the crowd's gate refuses, take no part, as they are not stored.
        """
        if not len(columns):
            return []
        well, heard = accepted(self._roster.crowd.gate, headers, counts, columns)
        found = [None if header is None else self._roster.find(header) for header in heard]
        numbers = [NOT_WATCHED if one is None else one[1].table for one in found]
        fetch = observed(counts, columns, well, self._roster.tables, numbers)
        events: list[AlertEvent] = []
        first = fetch.edges[0]
        for record, one in enumerate(found):
            last = fetch.edges[record + 1]
            if last > first and one is not None:
                try:  # not `_safely`: one more call a record is a sixth of what a quiet one costs here
                    events += self._take(one[0], one[1], fetch.rows[first:last], fetch, record, now_us)
                except Exception:  # noqa: BLE001 - see `_begin_afresh`
                    events += self._begin_afresh(one[0])
            first = last
        return events

    def settle(self, now_us: int, *, all_due: bool = False) -> Iterator[list[AlertEvent]]:
        """Settle who is due, a patient a step, so that the caller can do something else between.

        Due is whose newest sample has reached the next stretch's end, who has too much waiting, and who has told
        nothing for the plan's `silence_s`; with `all_due` everybody, and everything that waits.
        """
        while self._roster.gone:
            yield self._forget(self._roster.gone.pop(), "too many patients")
        for patient_id in list(self._due):
            patient = self._due.pop(patient_id, None)
            if patient is not None:
                yield self._safely(partial(self._settle, everything=all_due), patient, now_us)
        while self._waiting:
            patient_id, patient = next(iter(self._waiting.items()))
            if not all_due and now_us - patient.seen_us < patient.plan.silence_us:
                break
            del self._waiting[patient_id]
            yield self._safely(partial(self._settle, everything=True), patient, now_us)

    def finish(self, now_us: int) -> list[AlertEvent]:
        """Settle everything up to the newest: at a replay's end."""
        return [event for events in self.settle(now_us, all_due=True) for event in events]

    def end(self, now_us: int) -> list[AlertEvent]:
        """Close every open episode: this engine is not asked again."""
        events: list[AlertEvent] = []
        for patient in self._roster.patients.values():
            events += patient.book.close(self._circumstances(patient, NOBODY, now_us), NO_LONGER)
        return events

    def overdue(self, now_us: int) -> Iterator[list[AlertEvent]]:
        """Return, a patient a step, what the clock alone raises and ends (nothing came for too long); to be asked while
        the log is caught up."""
        for patient in list(self._roster.patients.values()):
            if not patient.withdrawn and self._roster.patients.get(patient.patient_id) is patient:
                yield self._safely(self._overdue, patient, now_us)

    def adopt(self, crowd: Crowd, now_us: int) -> list[AlertEvent]:
        """Watch by another crowd from now on.

        Whose consent was withdrawn is forgotten: open episodes are closed, and one technical alert says that they are
        not monitored (cleared once they are again). Where a detector went, its episodes are closed.
        """
        self._roster.adopt(crowd)
        events: list[AlertEvent] = []
        for patient in list(self._roster.patients.values()):
            if told := self._safely(self._adopt, patient, now_us):
                self._dirty.add(patient.patient_id)
                events += told
        return events

    def dirty(self) -> list[str]:
        """Return the patients whose state changed since their last snapshot."""
        return list(self._dirty)

    def snapshot(self, patient_id: str) -> bytes:
        """Return a patient's state (empty where nothing is known), from now on clean."""
        self._dirty.discard(patient_id)
        patient = self._roster.patients.get(patient_id)
        return b"" if patient is None else pack_patient(patient)

    def restore(self, patient_id: str, data: bytes) -> None:
        """Go on where a snapshot was taken. Raises `UnreadableSnapshot`.

        A detector whose state is of another version begins afresh; its episodes end with the next settling.
        """
        patient = unpack_patient(data, self._roster.stranger(patient_id), self._roster.new_origin)
        self._roster.add(patient)
        for origin in patient.origins.values():
            origin.distrusted = settled.distrusted(patient, origin, self._failures)
            if origin.inbox.count:
                self._waiting[patient_id] = patient
        self._due[patient_id] = patient
        self._restored.add(patient_id)
        self._unfitted.add(patient_id)

    def open_alerts(self, patient_id: str) -> dict[str, Episode]:
        """Return a patient's open episodes by alert id."""
        patient = self._roster.patients.get(patient_id)
        return {} if patient is None else dict(patient.book.episodes)

    def __len__(self) -> int:
        return len(self._roster.patients)

    def _safely(
        self, work: Callable[[Patient, int], list[AlertEvent]], patient: Patient, now_us: int
    ) -> list[AlertEvent]:
        """Return what `work` finds of a patient, who begins afresh where it breaks."""
        try:
            return work(patient, now_us)
        except Exception:  # noqa: BLE001 - see `_begin_afresh`
            return self._begin_afresh(patient)

    def _begin_afresh(self, patient: Patient) -> list[AlertEvent]:
        """Forget a patient at whose data the engine itself broke: one person's must not end everybody's watch, and the
        same record would end it again after each start. Call it while the exception is handled."""
        self._failures.of(ENGINE)
        self._roster.patients.pop(patient.patient_id, None)
        return self._forget(patient, "the watch of this person broke and begins afresh")

    def _forget(self, patient: Patient, why: str) -> list[AlertEvent]:
        """End the episodes of a patient who is forgotten."""
        for held in (self._waiting, self._due):
            held.pop(patient.patient_id, None)
        for noted in (self._dirty, self._restored, self._unfitted):
            noted.discard(patient.patient_id)
        at = self._circumstances(patient, NOBODY, max(patient.seen_us, 0))
        return patient.book.close(at, f"{NO_LONGER}: {why}")

    def _take(
        self, patient: Patient, origin: Origin, rows: Observations, fetch: Fetch, record: int, now_us: int
    ) -> list[AlertEvent]:
        """Take in one record's rows."""
        plan, inbox, newest_us = patient.plan, origin.inbox, origin.newest_us
        events: list[AlertEvent] = []
        looks = bool(origin.awake) or fetch.alarms[record]
        if looks or (newest_us != NEVER and fetch.oldest_us[record] <= newest_us - plan.lateness_us):
            # What was due before this record is settled before it, whenever the caller would have done so.
            if self._due.pop(patient.patient_id, None) is not None:
                events += self._settle(patient, now_us)
            if origin.awake or fetch.alarms[record]:
                events += self._judge(patient, origin, rows, now_us)
        inbox.put(rows)
        patient.seen_us = now_us
        origin.heard_us = max(origin.heard_us, min(fetch.heard_us[record], now_us))
        origin.newest_us = newest_us = max(newest_us, fetch.newest_us[record])
        patient_id = patient.patient_id
        if newest_us >= origin.due_us or inbox.count >= plan.max_waiting or patient.book.orphans:
            self._due[patient_id] = patient
        self._waiting[patient_id] = patient
        self._waiting.move_to_end(patient_id)
        self._dirty.add(patient_id)
        if inbox.count > _HASTE * plan.max_waiting:
            del self._due[patient_id]
            events += self._settle(patient, now_us)
        return events

    def _judge(self, patient: Patient, origin: Origin, rows: Observations, now_us: int) -> list[AlertEvent]:
        """Judge one record's rows by the limits."""
        limits = self._roster.limits_of(patient, origin)
        doubted = partial(settled.foreseen, patient, origin, self._failures)
        found = list(judge(origin, patient.track, limits, rows, now_us, doubted))
        if not found and not patient.book.orphans:
            return []
        whose = settled.origin_of(origin)
        return self._events(patient, [Told(one, whose, LIMITS, origin.person) for one in found], now_us)

    def _overdue(self, patient: Patient, now_us: int) -> list[AlertEvent]:
        events = self._events(patient, settled.overdue(patient, now_us, self._failures), now_us)
        if patient.book.episodes and (ended := lapsed(patient, self._circumstances(patient, NOBODY, now_us))):
            self._dirty.add(patient.patient_id)
            events += ended
        return events

    def _settle(self, patient: Patient, now_us: int, *, everything: bool = False) -> list[AlertEvent]:
        """Settle every origin of a patient as far as event time says, or all that waits."""
        if patient.patient_id in self._restored:
            self._restored.discard(patient.patient_id)
            if patient.withdrawn != self._roster.crowd.withdrawn(patient.patient_id):
                return self._adopt(patient, now_us)
        events: list[AlertEvent] = []
        for origin in list(patient.origins.values()):
            # One by one: what a detector of the patient told by one origin is known when it breaks at the next.
            told = self._settle_origin(patient, origin, everything=everything) if origin.inbox.count else []
            if told or patient.book.has_orphans:
                events += self._events(patient, told, now_us)
        if patient.book.has_orphans:
            events += self._events(patient, (), now_us)
        return events + self._going_on(patient, now_us) if patient.book.episodes else events

    def _going_on(self, patient: Patient, now_us: int) -> list[AlertEvent]:
        """Tell as live, once, what was found in old data and has not ended."""
        at = self._circumstances(patient, NOBODY, now_us)
        events = [patient.book.go_on(told, measured_us, at) for told, measured_us in going_on(patient, at)]
        if events:
            self._dirty.add(patient.patient_id)
        return events

    def _settle_origin(self, patient: Patient, origin: Origin, *, everything: bool) -> list[Told]:
        plan = patient.plan
        until_us = origin.newest_us if everything else _edge(origin.newest_us - plan.lateness_us, patient)
        crowded = origin.inbox.count >= plan.max_waiting
        if until_us <= origin.until_us and not crowded and not everything:
            return []
        stretch = origin.inbox.take(
            until_us, origin.done_us, origin.begun_us, plan.max_waiting // 2 if crowded else None
        )
        origin.until_us = max(origin.until_us, until_us)
        origin.due_us = _edge(origin.until_us, patient) + plan.grid_us + plan.lateness_us
        self.ignored += stretch.ignored
        told = settled.repeated(patient, origin, stretch, self._failures)
        if not len(stretch.rows):
            return told
        last_us = int(stretch.rows["start_us"][-1]) + int(stretch.rows["duration_ms"][-1]) * 1_000
        self._dirty.add(patient.patient_id)
        told += settled.take_in(patient, origin, stretch.rows, max(until_us, last_us), self._failures)
        return told

    def _events(self, patient: Patient, told: Sequence[Told], now_us: int) -> list[AlertEvent]:
        events: list[AlertEvent] = []
        for finding, origin, source, person in told:
            try:
                events += patient.book.take(finding, origin, source, self._circumstances(patient, person, now_us))
            except ValueError:  # pydantic's: the detector broke the rules of an alert
                self._failures.of(source)
        if patient.book.has_orphans:
            events += patient.book.close_orphans(self._circumstances(patient, NOBODY, now_us))
        if told or events:
            self._dirty.add(patient.patient_id)
        return events

    def _circumstances(self, patient: Patient, person: Person, now_us: int) -> Circumstances:
        plan = patient.plan
        horizon_us = round(plan.backfill_horizon_s * US_PER_S)
        return Circumstances(patient.patient_id, person, now_us, plan.policy, self._live, horizon_us)

    def _adopt(self, patient: Patient, now_us: int) -> list[AlertEvent]:
        crowd, patient_id = self._roster.crowd, patient.patient_id
        at = self._circumstances(patient, crowd.person(patient_id, PATIENT_ORIGIN.device_id), now_us)
        if crowd.withdrawn(patient_id):
            self._waiting.pop(patient_id, None)
            self._due.pop(patient_id, None)
            return let_go(patient, at)
        if self._is_as_before(patient):
            return []
        events = taken_back(patient, at)
        swap(patient, crowd.plan_of(patient_id))
        self._roster.refit(patient)
        limits = [self._roster.limits_of(patient, origin) for origin in patient.origins.values()]
        events += close_lost(patient, limits, at)
        for origin in patient.origins.values():
            origin.distrusted = settled.distrusted(patient, origin, self._failures)
        return events

    def _is_as_before(self, patient: Patient) -> bool:
        """Fit a patient's devices to the crowd; tell whether plan and people are as they were, as for most they are."""
        unfitted = patient.patient_id in self._unfitted
        self._unfitted.discard(patient.patient_id)
        if unfitted or patient.withdrawn or self._roster.crowd.plan_of(patient.patient_id) is not patient.plan:
            return False
        before = [origin.person for origin in patient.origins.values()]
        self._roster.refit(patient)
        return before == [origin.person for origin in patient.origins.values()]


def _edge(time_us: int, patient: Patient) -> int:
    """Return the last end of a stretch by `time_us`."""
    grid_us = patient.plan.grid_us
    return (time_us - patient.phase_us) // grid_us * grid_us + patient.phase_us
