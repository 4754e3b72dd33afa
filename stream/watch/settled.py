"""The settled tier: one stretch of one origin through every detector, in the order in which one needs another.

Technical detectors see what the device told; what any of them distrusts has quality 0 for all after them. Then those of
the whole patient, then the person track, which lends motion and sleep to whatever lacks them, then the physiological.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.event import Origin as AlertOrigin
from alerts.event import Priority
from stream.detectors.by_metric import by_metric
from stream.detectors.finding import Finding
from stream.detectors.observation import Observations, copied, pick
from stream.detectors.protocol import Detector, Person, Technical
from stream.detectors.track import enrich, take
from stream.watch.events import PATIENT_ORIGIN
from stream.watch.inbox import Stretch, ends, in_order
from stream.watch.memory import Origin, Patient
from vitals.ids import DeviceId
from vitals.quality import TRUSTWORTHY, Context

_NO_CONTACT: Final = int(Context.NO_CONTACT)


class Told(NamedTuple):
    """A finding, whose it is, by which detector, and what is known of the person and the device."""

    finding: Finding
    origin: AlertOrigin
    source: str
    person: Person


@dataclass(slots=True)
class Failures:
    """How often a detector broke, by name. It then begins afresh: one person's data must not end everybody's watch."""

    counts: Counter[str] = field(default_factory=Counter)
    strict: bool = False  # tests want the error itself
    _new: Counter[str] = field(default_factory=Counter)

    def of(self, name: str) -> None:
        """Count one; call it while the exception is handled."""
        if self.strict:
            raise  # noqa: PLE0704 - the exception that is being handled
        self.counts[name] += 1
        self._new[name] += 1

    def taken(self) -> dict[str, int]:
        """Return what was counted since this was last asked."""
        new, self._new = dict(self._new), Counter()
        return new


def origin_of(origin: Origin) -> AlertOrigin:
    """Return an origin as alerts name it."""
    device, app = origin.key
    return AlertOrigin(device_id=DeviceId(device), source_app=app)


def take_in(patient: Patient, origin: Origin, rows: Observations, until_us: int, failures: Failures) -> list[Told]:
    """Give every detector `rows` (ordered by end, not empty) and return what they find."""
    stretch = _Stretch(patient, origin, until_us, failures)
    if not patient.plan.tracks:
        return []
    technical = patient.plan.technical
    distrust = np.zeros(len(rows), np.bool_)
    for one in technical:
        if not one.per_patient:
            distrust |= stretch.technical(one, rows)
    if distrust.any():
        rows = copied(rows)
        rows["quality"][distrust] = 0.0
    for one in technical:
        if one.per_patient:
            stretch.technical(one, rows)
    patient.track = take(patient.track, rows)
    cut = by_metric(rows)
    metric, ends_us = rows["metric"], cut.ends_us
    if not cut.all_well:
        sound = (rows["quality"] >= TRUSTWORTHY) & ((rows["context"] & _NO_CONTACT) == 0)
        metric, ends_us = metric[sound], ends_us[sound]
    origin.sound_us[metric] = ends_us  # where a metric stands several times the last counts
    stretch.physiological(enrich(patient.track, rows))
    origin.distrusted = distrusted(patient, origin, failures)
    return stretch.told


def repeated(patient: Patient, origin: Origin, stretch: Stretch, failures: Failures) -> list[Told]:
    """Let the storm detector count what of a stretch had come before, and return what it finds."""
    storm = patient.plan.storm
    if storm is None or not (stretch.ignored or len(stretch.rows)):
        return []
    samples = stretch.ignored + len(stretch.rows)
    try:
        state = origin.states.get(storm.name) or storm.fresh()
        origin.states[storm.name], findings = storm.take(state, stretch.ignored, samples, stretch.received_us)
    except Exception:  # noqa: BLE001 - see Failures
        failures.of(storm.name)
        _begin_afresh(patient, origin.states, storm.name, origin_of(origin))
        return []
    return [Told(finding, origin_of(origin), storm.name, origin.person) for finding in findings]


def distrusted(patient: Patient, origin: Origin, failures: Failures) -> frozenset[int]:
    """Return the metrics of an origin that are not to be trusted as of now."""
    found: frozenset[int] = frozenset()
    for one in patient.plan.technical:
        state = None if one.per_patient else origin.states.get(one.name)
        if state is not None:
            try:
                found |= one.distrusted(state)
            except Exception:  # noqa: BLE001 - see Failures
                failures.of(one.name)
    return found


def foreseen(patient: Patient, origin: Origin, failures: Failures) -> frozenset[int]:
    """Return the metrics that would not be trusted if what waits were settled now; nothing is remembered of it.

    A flat line is known from its samples, and the newest of those still wait when a limit has been passed for a minute.
    """
    rows = in_order(origin.inbox.rows())[0]
    rows = pick(rows, (ends(rows) > origin.done_us[rows["metric"]]) & ~rows["deleted"])
    found = origin.distrusted
    for one in patient.plan.technical if len(rows) else ():
        if not one.per_patient:
            state = origin.states.get(one.name)
            try:
                judged = one.step(one.fresh() if state is None else state, rows, int(ends(rows)[-1]), origin.person)
                found |= one.distrusted(judged.state)
            except Exception:  # noqa: BLE001 - see Failures
                failures.of(one.name)
    return found


def overdue(patient: Patient, now_us: int, failures: Failures) -> list[Told]:
    """Return what the clock alone says of a patient. Of an origin with samples that wait, the clock stands where its
    settled samples end: what came since may be what is missed."""
    told: list[Told] = []
    known_us = now_us
    for origin in patient.origins.values():
        own_us = min(now_us, origin.until_us) if origin.inbox.count else now_us
        known_us = min(known_us, own_us)
        for one in patient.plan.technical:
            if not one.per_patient and one.name in origin.states:
                told += _overdue(patient, one, origin, own_us, failures)
    last = next(reversed(patient.origins.values()), None)
    for one in patient.plan.technical:
        if one.per_patient and last is not None and one.name in patient.states:
            told += _overdue(patient, one, last, known_us, failures)
    return told


@lru_cache(maxsize=256)
def _bits(metrics: frozenset[int]) -> int:
    return sum(1 << number for number in metrics)


def _begin_afresh(patient: Patient, states: dict[str, Any], name: str, whose: AlertOrigin) -> None:
    """Forget what a detector that broke knew; nobody would ever end its episodes."""
    states.pop(name, None)
    patient.book.orphan_of(name, whose)


def _overdue(patient: Patient, one: Technical[Any], origin: Origin, now_us: int, failures: Failures) -> list[Told]:
    states = patient.states if one.per_patient else origin.states
    whose = PATIENT_ORIGIN if one.per_patient else origin_of(origin)
    try:
        states[one.name], findings = one.overdue(states[one.name], now_us, origin.person)
    except Exception:  # noqa: BLE001 - see Failures
        failures.of(one.name)
        _begin_afresh(patient, states, one.name, whose)
        return []
    return [Told(finding, whose, one.name, origin.person) for finding in findings]


@dataclass(slots=True)
class _Stretch:
    """One stretch on its way through the detectors."""

    patient: Patient
    origin: Origin
    until_us: int
    failures: Failures
    told: list[Told] = field(default_factory=list)

    def technical(self, one: Technical[Any], rows: Observations) -> NDArray[np.bool_]:
        """Let a technical detector see all rows; return what it distrusts."""
        states = self.patient.states if one.per_patient else self.origin.states
        if one.name not in states and self._says_nothing_to(one, rows):
            return by_metric(rows).none
        try:
            state = states.get(one.name)
            judged = one.step(one.fresh() if state is None else state, rows, self.until_us, self.origin.person)
        except Exception:  # noqa: BLE001 - see Failures
            self.failures.of(one.name)
            _begin_afresh(self.patient, states, one.name, self._whose(one))
            return by_metric(rows).none
        states[one.name] = judged.state
        self._tell(one, judged.findings, self.origin.person)
        return judged.distrust

    def _says_nothing_to(self, one: Technical[Any], rows: Observations) -> bool:
        """Tell whether rows hold none of a detector's metrics, and nothing wrong either: then it needs no state."""
        stretch = by_metric(rows)
        return stretch.all_well and not _bits(one.metrics) & stretch.bits

    def physiological(self, rows: Observations) -> None:
        """Let each detector see the stretch, if it holds any of its metrics."""
        present = by_metric(rows).bits
        for one, bits in zip(self.patient.plan.detectors, self.patient.plan.bits, strict=True):
            if bits & present:
                self._step(one, rows)

    def _step(self, one: Detector[Any], rows: Observations) -> None:
        states = self.patient.states if one.per_patient else self.origin.states
        try:
            state = states.get(one.name)
            if state is None:
                state = one.fresh()
            states[one.name], findings = one.step(state, rows, self.until_us, self.origin.person)
        except Exception:  # noqa: BLE001 - see Failures
            self.failures.of(one.name)
            _begin_afresh(self.patient, states, one.name, self._whose(one))
        else:
            if findings:
                person = self.origin.person
                # Of a patient as a whole the detector itself knows what each device may say, not only who spoke last.
                self._tell(one, findings, replace(person, ceiling=Priority.HIGH) if one.per_patient else person)

    def _whose(self, one: Detector[Any] | Technical[Any]) -> AlertOrigin:
        return PATIENT_ORIGIN if one.per_patient else origin_of(self.origin)

    def _tell(self, one: Detector[Any] | Technical[Any], findings: list[Finding], person: Person) -> None:
        if findings:
            whose = self._whose(one)
            self.told += [Told(finding, whose, one.name, person) for finding in findings]
