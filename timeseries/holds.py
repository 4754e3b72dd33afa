"""Edge: legal holds. While one stands nothing of its patient is dropped or erased; who placed and lifted it is kept.

Whoever drops rows locks `legal_holds` first and reads `patients_on_hold` afterwards, so a hold that was placed holds:
placing one waits for the slice that is being dropped, and the next slice sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg

from timeseries.queries import load
from vitals.errors import VigilError
from vitals.ids import InvalidId, is_opaque, patient_id

_SQL: Final = load("holds")


class UnknownPatient(VigilError):
    """A hold was asked for a patient of whom nothing is stored: check the id; nothing was placed."""


class NoSuchHold(VigilError):
    """There is no hold of this number, or it was lifted before."""


class NoReason(VigilError):
    """A hold is placed and lifted with a reason: the number of the matter, never a name."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold. Times are aware; the last three are None while it stands."""

    hold_id: int
    patient_id: str
    reason: str
    placed_by: str
    placed_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None
    lift_reason: str | None


def place(url: str, patient: str, who: str, why: str, *, prepare_threshold: int | None = 5) -> Hold:
    """Place a hold on a patient (opaque id) by a person (opaque id); several may stand at once.

    Raises `UnknownPatient`, `InvalidId`, `NoReason`, and psycopg's errors.
    """
    values = {"patient": patient_id(patient), **_checked(who, why)}
    with psycopg.connect(url, autocommit=True, prepare_threshold=prepare_threshold) as connection:
        row = connection.execute(_SQL["place"], values).fetchone()
    if row is None:
        raise UnknownPatient(f"no patient {patient}: nothing is stored under this id, and nothing was placed")
    return Hold(*row)


def lift(url: str, hold_id: int, who: str, why: str, *, prepare_threshold: int | None = 5) -> Hold:
    """Lift one hold. What waited for it goes with the next run. Raises `NoSuchHold`, `InvalidId`, `NoReason`."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=prepare_threshold) as connection:
        row = connection.execute(_SQL["lift"], {"hold": hold_id, **_checked(who, why)}).fetchone()
        if row is None:
            known = connection.execute(_SQL["lifted_before"], {"hold": hold_id}).fetchone() == (True,)
            raise NoSuchHold(f"hold {hold_id} was lifted before" if known else f"there is no hold {hold_id}")
    return Hold(*row)


def holds(
    url: str, patient: str | None = None, *, lifted: bool = False, prepare_threshold: int | None = 5
) -> list[Hold]:
    """Return the holds that stand (with `lifted` all that ever were), the standing and the newest first."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=prepare_threshold) as connection:
        return [Hold(*row) for row in connection.execute(_SQL["holds"], {"patient": patient, "all": lifted})]


def _checked(who: str, why: str) -> dict[str, str]:
    if not is_opaque(who):
        raise InvalidId("who does this")
    if not why.strip():
        raise NoReason("say why: the number of the matter, never a name")
    return {"who": who, "why": why.strip()}
