"""Who is watched at the moment: patients and their origins, made as they come and forgotten when there are too many."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from stream.detectors.policy import WatchPolicy
from stream.watch.crowd import Crowd
from stream.watch.fetch import Tables
from stream.watch.memory import MAX_ORIGINS, Origin, OriginKey, Patient, patient_of
from stream.watch.plan import Fitted, Plan
from stream.watch.size import MAX_BYTES, array_bytes
from vitals.batch import BatchHeader
from vitals.care_profile import CareProfile
from vitals.clock import US_PER_S

_IN_USE_US: Final = 24 * 3_600 * US_PER_S
"""Who was heard more recently is not forgotten for others' memory."""


class Roster:
    """The patients of one engine, those seen least recently first.

    `evicted` counts forgotten patients and origins; `gone` holds patients whose episodes are still to be closed.
    """

    def __init__(self, crowd: Crowd, max_patients: int) -> None:
        self.patients: OrderedDict[str, Patient] = OrderedDict()
        self.gone: list[Patient] = []
        self.evicted = 0
        self._max_patients = max_patients
        self.adopt(crowd)

    def adopt(self, crowd: Crowd) -> None:
        """Ask this crowd from now on; whoever is known already has to be `refitted`."""
        self.crowd, self.tables, self._fitted = crowd, Tables(), Fitted()

    def find(self, header: BatchHeader) -> tuple[Patient, Origin] | None:
        """Return whose record it is, made where there is nobody yet; None where nobody may watch them."""
        patient_id = header.patient_id
        patient = self.patients.get(patient_id)
        if patient is None:
            patient = self.stranger(patient_id)
            self.add(patient)
        else:
            self.patients.move_to_end(patient_id)
        if patient.withdrawn:
            return None
        key = (header.device_id, header.source_app)
        origin = patient.origins.get(key)
        if origin is None:
            origin = patient.origins[key] = self.new_origin(patient, key)
            self._make_room(patient)
        elif len(patient.origins) > 1:
            patient.origins.move_to_end(key)
        return patient, origin

    def stranger(self, patient_id: str) -> Patient:
        """Return the memory of somebody never seen."""
        withdrawn = self.crowd.withdrawn(patient_id)
        return patient_of(patient_id, self.crowd.plan_of(patient_id), withdrawn=withdrawn)

    def add(self, patient: Patient) -> None:
        """Take a patient in, as the one seen last."""
        self.patients[patient.patient_id] = patient
        self.patients.move_to_end(patient.patient_id)
        while len(self.patients) > self._max_patients:
            self.gone.append(self.patients.popitem(last=False)[1])
            self.evicted += 1

    def new_origin(self, patient: Patient, key: OriginKey) -> Origin:
        """Return the memory of a device never seen."""
        person = self.crowd.person(patient.patient_id, key[0])
        return Origin(key, person, self._table(patient.plan, person.profile))

    def refit(self, patient: Patient) -> None:
        """Let what is known of a patient's devices be as crowd and plan have it now."""
        for key, origin in patient.origins.items():
            origin.person = self.crowd.person(patient.patient_id, key[0])
            origin.table = self._table(patient.plan, origin.person.profile)

    def limits_of(self, patient: Patient, origin: Origin) -> WatchPolicy:
        """Return the limits that hold for an origin."""
        return self.tables.limits[origin.table] or patient.plan.limits

    def _make_room(self, patient: Patient) -> None:
        """Forget origins for a new one (the last): where there are too many, and such as are out of use where all
        together take too much. Their episodes end with the next settling."""
        origins = patient.origins
        while len(origins) > MAX_ORIGINS:
            keys = list(origins)[:-1]
            busy = patient.book.origins()
            self._evict(patient, next((key for key in keys if key not in busy), keys[0]))
        if len(origins) > 2 and array_bytes(patient) > MAX_BYTES:
            newest_us = max(one.heard_us for one in origins.values())
            idle = {key for key, one in origins.items() if one.heard_us < newest_us - _IN_USE_US}
            for key in [key for key in list(origins)[:-1] if key in idle - patient.book.origins()]:
                self._evict(patient, key)
                if array_bytes(patient) <= MAX_BYTES:
                    break

    def _evict(self, patient: Patient, key: OriginKey) -> None:
        del patient.origins[key]
        patient.book.orphan_origin(key)
        self.evicted += 1

    def _table(self, plan: Plan, profile: CareProfile) -> int:
        return self.tables.number_of(plan, self._fitted.limits(plan.limits, profile))
