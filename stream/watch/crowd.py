"""Who is watched by what: a snapshot that is swapped whole and never asked over a wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stream.detectors.protocol import NOBODY, Person
from stream.watch.plan import Plan


class Crowd(Protocol):
    """What is known of people; answers from memory, always the same."""

    def plan_of(self, patient_id: str) -> Plan:
        """Return what the patient is watched by; the same object for all who share it."""
        ...

    def person(self, patient_id: str, device_id: str) -> Person:
        """Return the care profile, and what priority the device may raise at most."""
        ...

    def withdrawn(self, patient_id: str) -> bool:
        """Tell whether the consent to care was withdrawn: then nobody is watched."""
        ...


@dataclass(frozen=True, slots=True)
class Everyone:
    """Watches all by one plan, as the same person."""

    plan: Plan
    person_: Person = NOBODY

    def plan_of(self, patient_id: str) -> Plan:  # noqa: ARG002
        """Return the one plan."""
        return self.plan

    def person(self, patient_id: str, device_id: str) -> Person:  # noqa: ARG002
        """Return the one person."""
        return self.person_

    def withdrawn(self, patient_id: str) -> bool:  # noqa: ARG002
        """Return False."""
        return False
