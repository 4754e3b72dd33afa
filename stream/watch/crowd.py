"""Who is watched by what: a snapshot that is swapped whole and never asked over a wire."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Protocol

from stream.detectors.protocol import NOBODY, Person
from stream.watch.plan import Plan
from vitals.gate import OPEN, Gate


class Crowd(Protocol):
    """What is known of people; answers from memory, always the same."""

    @property
    def gate(self) -> Gate:
        """Who may tell what about whom: what it refuses nobody watches, as nobody stores it."""
        ...

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
    gate: Gate = OPEN

    def plan_of(self, patient_id: str) -> Plan:  # noqa: ARG002
        """Return the one plan."""
        return self.plan

    def person(self, patient_id: str, device_id: str) -> Person:  # noqa: ARG002
        """Return the one person."""
        return self.person_

    def withdrawn(self, patient_id: str) -> bool:  # noqa: ARG002
        """Return False."""
        return False


@dataclass(frozen=True, slots=True)
class StillWithdrawn:
    """Another crowd that does not know of consents yet; `gone` are those of whom it was known before that none stands.

    Without it a start while the database is away would watch them again, and say that there is consent.
    """

    crowd: Crowd
    gone: frozenset[str]

    @property
    def gate(self) -> Gate:
        """Return what the other says."""
        return self.crowd.gate

    def plan_of(self, patient_id: str) -> Plan:
        """Return what the other says."""
        return self.crowd.plan_of(patient_id)

    def person(self, patient_id: str, device_id: str) -> Person:
        """Return what the other says."""
        return self.crowd.person(patient_id, device_id)

    def withdrawn(self, patient_id: str) -> bool:
        """Return True for those who were gone."""
        return patient_id in self.gone or self.crowd.withdrawn(patient_id)


def remembering(crowd: Crowd, gone: Set[str]) -> Crowd:
    """Return `crowd`, or, where it says of itself that it knows no consents, what keeps those who are `gone` so."""
    if not gone or getattr(crowd, "knows_consents", False):
        return crowd
    return StillWithdrawn(crowd, frozenset(gone))
