"""Edge: consents: granted, withdrawn, shown; by whom, by which document, and what became of stored data.

A withdrawal counts from its commit on: recorders and gateway look every two seconds. What is to be erased with it is
noted in the same transaction (table `erasures`), so that an erasure which was broken off, or waits for a hold, is owed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from timeseries.queries import load
from vitals.errors import VigilError
from vitals.gate import CATEGORIES
from vitals.ids import InvalidId, is_opaque, patient_id

_SQL: Final = load("consent")


class Purpose(StrEnum):
    """What a consent is for."""

    CARE = "care"  # Vigil may store and watch
    RESEARCH = "research"  # readers with that purpose may see what is stored


class Stored(StrEnum):
    """What becomes of stored data on withdrawal."""

    KEEP = "keep"
    ERASE = "erase"


class ConsentRefused(VigilError):
    """What was asked is not done, and why; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent; times are aware, the last four None while it stands."""

    consent_id: int
    category: str
    purpose: str
    valid_from: datetime
    valid_until: datetime | None
    on_withdrawal: str
    document: str
    recorded_by: str
    recorded_at: datetime
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    withdrawn_for: str | None
    withdrawn_stored: str | None


@dataclass(frozen=True, slots=True)
class Person:
    """Of whom any consent was noted, the categories that stand, when that last changed, and whether data are to go."""

    patient_id: str
    care: list[str]
    research: list[str]
    changed_at: datetime
    is_owed_erasure: bool


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What was withdrawn: categories by purpose, and the classes of which stored data are to be erased now."""

    withdrawn: dict[Purpose, tuple[str, ...]]
    erased: tuple[str, ...]
    refused: bool = False


class Consents:
    """Consents over one connection, a context manager; each call is one transaction. Raises psycopg's errors."""

    def __init__(self, connection: psycopg.Connection[Any], who: str) -> None:
        """Work as `who`, an opaque id. Raises `InvalidId`."""
        if not is_opaque(who):
            raise InvalidId("who does this")
        self._connection = connection
        self._who = who

    def grant(
        self,
        patient: str,
        categories: Iterable[str],
        purpose: Purpose,
        *,
        document: str,
        stored: Stored = Stored.KEEP,
        start: datetime | None = None,
        until: datetime | None = None,
    ) -> datetime:
        """Note that a patient (opaque id) consents, from `start` (now) on, and return that time.

        Raises `ConsentRefused` for a category that is none, an end before the start, or an erasure agreed for research;
        `InvalidId`.
        """
        if purpose is Purpose.RESEARCH and stored is Stored.ERASE:
            raise ConsentRefused("research is not what data are stored for: its end only ends who may see them")
        which: dict[str, Any] = {
            "patient": patient_id(patient), "categories": ordered(categories), "purpose": purpose.value, "from": start,
            "until": until, "stored": stored.value, "document": _checked(document), "who": self._who,
        }  # fmt: skip
        try:
            with self._connection.transaction():
                self._connection.execute(_SQL["add_patient"], which)
                which["key"] = self._key_of(patient)
                rows = self._connection.execute(_SQL["grant"], which).fetchall()
                began: datetime = rows[0][0]
                told = {"from": began.isoformat(), "until": until and until.isoformat(), "stored": stored.value}
                self._note(which, "granted", purpose, which["categories"], told)
        except psycopg.errors.CheckViolation:
            raise ConsentRefused("a consent ends after it begins") from None
        return began

    def withdraw(
        self,
        patient: str,
        categories: Iterable[str] | None = None,
        purposes: Sequence[Purpose] = tuple(Purpose),
        *,
        document: str,
        stored: Stored | None = None,
        owed: bool = True,
    ) -> Withdrawal:
        """Withdraw whatever stands of these categories (None: all) and purposes.

        `stored` says what becomes of stored data, None: what was agreed. An erasure is owed from then on, unless
        whoever asks is about to erase all there is (`owed` False). A patient of whom no consent to care was ever noted
        may say no to all: then they are judged like one who withdrew. Raises `ConsentRefused` where nothing stands, the
        patient is unknown, or data were agreed to be erased and are to be kept; `InvalidId`.
        """
        asked = ordered(categories or CATEGORIES)
        which: dict[str, Any] = {
            "patient": patient_id(patient), "categories": asked, "purposes": [one.value for one in purposes],
            "document": _checked(document), "who": self._who,
        }  # fmt: skip
        with self._connection.transaction():
            which["key"] = self._key_of(patient)
            refused = Purpose.CARE in purposes and self._refuse(which, stored)
            standing = self._connection.execute(_SQL["standing"], which).fetchall()
            if not standing and not refused:
                raise ConsentRefused("no such consent stands, and nothing was changed (vigil consent show)")
            care = {category for purpose, category, _ in standing if purpose == "care"}
            agreed = {category for purpose, category, on in standing if purpose == "care" and on == "erase"}
            if stored is Stored.KEEP and agreed:
                raise ConsentRefused(f"erasure was agreed for {', '.join(_sorted(agreed))}: it cannot be kept")
            erased = _sorted(asked if refused else care) if stored is Stored.ERASE else _sorted(agreed)
            self._connection.execute(_SQL["withdraw"], which | {"erased": erased})
            withdrawn = {one: _sorted({c for p, c, _ in standing if p == one.value}) for one in purposes}
            for purpose, told in withdrawn.items():
                if told:
                    detail = {"erase": erased if purpose is Purpose.CARE else []}
                    self._note(which, "withdrawn", purpose, told, detail)
            if erased and owed:
                self._connection.execute(_SQL["owe"], which | {"classes": erased})
        if refused:
            withdrawn[Purpose.CARE] = asked
        return Withdrawal({one: tuple(told) for one, told in withdrawn.items() if told}, tuple(erased), refused)

    def owed(self, patient: str) -> list[tuple[str, ...]]:
        """Return the classes of each erasure that a withdrawal promised and that is not finished."""
        return [tuple(row[0]) for row in self._connection.execute(_SQL["owed"], {"patient": patient})]

    def consents(self, patient: str) -> list[Consent]:
        """Return all that was ever noted of a patient, what stands first."""
        return [Consent(*row) for row in self._connection.execute(_SQL["consents"], {"patient": patient})]

    def events(self, patient: str) -> list[tuple[Any, ...]]:
        """Return (at, what, purpose, categories, who, document, detail), oldest first."""
        return self._connection.execute(_SQL["events"], {"patient": patient}).fetchall()

    def people(self) -> list[Person]:
        """Return everybody of whom a consent was noted."""
        return [Person(*row) for row in self._connection.execute(_SQL["people"])]

    def counts(self, days: int = 30) -> list[tuple[str, str, int, Any]]:
        """Return (adapter, metric, samples, newest day) of what was not let in, of all patients, in the last days."""
        return [(row[0], row[1], row[2], row[3]) for row in self._connection.execute(_SQL["counts"], {"days": days})]

    def _refuse(self, which: dict[str, Any], stored: Stored | None) -> bool:
        """Where nothing was noted of somebody, note that they say no. A part of it would leave the rest undecided."""
        if self._connection.execute(_SQL["is_noted"], which).fetchone() == (True,):
            return False
        if len(which["categories"]) < len(CATEGORIES):
            raise ConsentRefused("no consent to care is noted of that patient: grant what stays, or withdraw all")
        kept = stored or Stored.KEEP
        self._connection.execute(_SQL["refuse"], which | {"stored": kept.value})
        detail = {"erase": which["categories"] if kept is Stored.ERASE else []}
        self._note(which, "refused", Purpose.CARE, which["categories"], detail)
        return True

    def _key_of(self, patient: str) -> int:
        row = self._connection.execute(_SQL["lock_patient"], {"patient": patient}).fetchone()
        if row is None:
            raise ConsentRefused("no patient has that id: nothing is stored under it, and nothing was changed")
        return int(row[0])

    def _note(
        self, which: dict[str, Any], what: str, purpose: Purpose, categories: Sequence[str], detail: dict[str, Any]
    ) -> None:
        told = {"what": what, "purpose": purpose.value, "categories": list(categories), "detail": Jsonb(detail)}
        self._connection.execute(_SQL["note"], which | told)


def ordered(categories: Iterable[str]) -> list[str]:
    """Return categories in the catalogue's order, each once. Raises `ConsentRefused` for one that is none."""
    asked = set(categories)
    known = [one.value for one in CATEGORIES]
    if unknown := asked - set(known):
        raise ConsentRefused(f"no class {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not asked:
        raise ConsentRefused(f"name at least one class: {', '.join(known)}")
    return _sorted(asked)


def _sorted(categories: Iterable[str]) -> list[str]:
    among = set(categories)
    return [one.value for one in CATEGORIES if one.value in among]


def _checked(document: str) -> str:
    if not is_opaque(document):
        raise InvalidId("the number of the document")
    return document
