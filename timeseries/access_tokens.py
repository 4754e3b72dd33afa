"""Edge: credentials on PostgreSQL as the command line sees them: made, listed, rotated, revoked; who did it and why.

A secret passes through here once, on its way to whoever asked for it; what is stored is its hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from timeseries.queries import load
from vitals.access import Kind, NewToken, new_token
from vitals.errors import VigilError
from vitals.gate import DeviceState
from vitals.ids import InvalidId, PatientId, device_id, is_opaque, patient_id
from vitals.synthetic import DEVICE as SYNTHETIC_DEVICE
from vitals.synthetic import PATIENT as SYNTHETIC

SQL: Final = load("access")
LONGEST: Final = timedelta(days=730)
"""No token lasts longer: what is forgotten ends by itself."""
OVERLAP: Final = timedelta(hours=24)
"""A token that was rotated ends when its successor is first used, or after this."""
MOST_OVERLAP: Final = timedelta(days=30)
MOST_DEVICES: Final = 1_000
MOST_ROTATIONS: Final = 20
"""Of one lineage within an hour: each is a row that stays."""


class TokenRefused(VigilError):
    """A token is not made, rotated or revoked as asked; the message says why. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token is to open. At least one of `patient` and `devices`; `subject` is (issuer, subject) of a platform.

    `kind` None: what follows from the rest. `certificate_sha256`: hex, of a client certificate. `note`: an opaque word.
    `synthetic`: the heartbeat asks; only it may speak for the synthetic patient.
    """

    patient: str | None = None
    devices: tuple[str, ...] = ()
    kind: Kind | None = None
    lasts: timedelta = timedelta(days=365)
    certificate_sha256: str | None = None
    subject: tuple[str, str] | None = None
    note: str | None = None
    synthetic: bool = False

    def checked_kind(self) -> Kind:
        """Return what kind it is. Raises `TokenRefused` where its parts do not go together, `InvalidId`."""
        if self.patient is None and not self.devices:
            raise TokenRefused("say whom it speaks for: a patient, devices, or one device of a patient")
        if self.synthetic is not (self.patient == SYNTHETIC) or SYNTHETIC_DEVICE in self.devices:
            raise TokenRefused(f"{SYNTHETIC} is the synthetic patient: vigil heartbeat --new-token makes its token")
        if not timedelta(0) < self.lasts <= LONGEST:
            raise TokenRefused(f"a token lasts for up to {LONGEST.days} days; rotate it before it ends")
        if len(set(self.devices)) != len(self.devices) or len(self.devices) > MOST_DEVICES:
            raise TokenRefused(f"name each device once, and {MOST_DEVICES:,} at most")
        if self.note is not None and not is_opaque(self.note):
            raise InvalidId("the note")
        one_device = self.patient is not None and len(self.devices) == 1
        fits = (Kind.PLATFORM,) if self.subject else (Kind.DEVICE, Kind.BRIDGE) if one_device else (Kind.BRIDGE,)
        if self.kind is not None and self.kind not in fits:
            raise TokenRefused(
                "that does not go together: kind device is one device of one patient, kind platform has an issuer and "
                "a subject, kind bridge has neither"
            )
        return self.kind or fits[0]


@dataclass(frozen=True, slots=True)
class Made:
    """A token just made. `text` is shown once, None of a platform; `patient_is_new`: nobody knew the patient before."""

    token_id: str
    text: str | None = field(repr=False)
    kind: Kind
    expires_at: datetime
    patient_is_new: bool = False


@dataclass(frozen=True, slots=True)
class Rotated:
    """A successor just made, `text` to be shown once, and when the old token ends at the latest."""

    token_id: str
    text: str = field(repr=False)
    expires_at: datetime
    old_ends_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is now; times are aware. `state`: unused, active, ending, rotated, expired or revoked."""

    token_id: str
    kind: str
    patient_id: str | None
    devices: list[str] | None
    state: str
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    expires_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None
    rotated_from: str | None
    replaced_by: str | None
    lineage: str
    issuer: str | None
    subject: str | None
    certificate_sha256: str | None
    note: str | None


class Tokens:
    """Tokens over one connection in autocommit; each call is one transaction. Raises psycopg's errors."""

    def __init__(self, connection: psycopg.Connection[Any], who: str) -> None:
        """Work as `who`, an opaque id. Raises `InvalidId`."""
        if not is_opaque(who):
            raise InvalidId("who does this")
        self._connection = connection
        self._who = who

    def create(self, wanted: Wanted) -> Made:
        """Make a token. Raises `TokenRefused` for a device that is not registered or not worn, `InvalidId`."""
        kind = wanted.checked_kind()
        patient = None if wanted.patient is None else patient_id(wanted.patient)
        token = new_token()
        issuer, subject = wanted.subject or (None, None)
        with _refusing(), self._connection.transaction():
            keys = self._device_keys(wanted.devices, patient)
            key, is_new = (None, False) if patient is None else self._patient(patient)
            values = {
                "token": token.token_id, "kind": kind.value, "patient_key": key, "device_keys": keys, "issuer": issuer,
                "subject": subject, "certificate_sha256": wanted.certificate_sha256, "note": wanted.note,
                "who": self._who, "lasts": wanted.lasts,
                "secret_sha256": token.secret_sha256 if subject is None else None,
            }  # fmt: skip
            (expires,) = self._one("create", values)
            told = {"kind": kind.value, "patient": patient, "devices": sorted(wanted.devices) or None}
            self._note(token.token_id, "created", None, told)
        return Made(token.token_id, token.text if subject is None else None, kind, expires, is_new)

    def rotate(self, token_id: str, overlap: timedelta = OVERLAP) -> Rotated:
        """Make a token's successor, of the same scope and lifetime. Raises `TokenRefused`."""
        if not timedelta(0) <= overlap <= MOST_OVERLAP:
            raise TokenRefused(f"the overlap is at most {MOST_OVERLAP.days} days")
        made = new_token()
        with self._connection.transaction():
            row = self._connection.execute(SQL["lock"], {"token": token_id}).fetchone()
            rotatable(row)
            expires, ends = self._one("rotate", rotation(token_id, made, self._who, overlap))
        return Rotated(made.token_id, made.text, expires, ends)

    def revoke(self, token_id: str, why: str) -> list[str]:
        """Revoke a token and all that it was rotated to; return their ids. Raises `TokenRefused`."""
        if not why.strip():
            raise TokenRefused("say why: the number of the matter, never a name")
        with self._connection.transaction():
            row = self._connection.execute(SQL["lock"], {"token": token_id}).fetchone()
            if row is None:
                raise _unknown()
            values = {"token": token_id, "who": self._who, "why": why.strip()}
            gone = [found for (found,) in self._connection.execute(SQL["revoke"], values)]
            if not gone:
                raise TokenRefused("it stands no more: `vigil token list --all` says since when")
        return gone

    def tokens(self, patient: str | None = None, *, everything: bool = False) -> list[Token]:
        """Return the tokens that stand (all that there ever were), oldest first; of one patient."""
        values = {"patient": patient, "everything": everything}
        return [Token(*row) for row in self._connection.execute(SQL["tokens"], values)]

    def _patient(self, patient: PatientId) -> tuple[int, bool]:
        key, is_new = self._one("add_patient", {"patient": patient})
        return int(key), bool(is_new)

    def _device_keys(self, devices: Sequence[str], patient: str | None) -> list[int] | None:
        if not devices:
            return None
        named = {"devices": [device_id(one) for one in devices], "patient": patient}
        known = {row[0]: row[1:] for row in self._connection.execute(SQL["devices"], named)}
        for one in devices:
            _, state, worn = known.get(one, (0, "", False))
            if not state:
                raise TokenRefused(f"{one} is not registered: `vigil device register` does that")
            if state == DeviceState.RETIRED:
                raise TokenRefused(f"{one} is retired: it tells nothing any more")
            if patient is not None and not worn:
                raise TokenRefused(f"{one} is not bound to that patient: `vigil device bind` does that")
        return sorted(known[one][0] for one in devices)

    def _one(self, name: str, values: dict[str, Any]) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._connection.execute(SQL[name], values).fetchone()
        if row is None:
            raise _unknown()
        return row

    def _note(self, token_id: str, what: str, why: str | None, detail: dict[str, Any]) -> None:
        values = {"token": token_id, "what": what, "who": self._who, "why": why, "detail": Jsonb(detail)}
        self._connection.execute(SQL["note"], values)


def rotatable(row: tuple[Any, ...] | None) -> None:
    """Raise `TokenRefused` unless the query `lock` found a token that can be rotated."""
    if row is None:
        raise _unknown()
    stands, has_secret, lately = row
    if not has_secret:
        raise TokenRefused("a platform has no secret here: its issuer rotates")
    if not stands:
        raise TokenRefused("it has ended: make a new one with `vigil token create`")
    if lately >= MOST_ROTATIONS:
        raise TokenRefused(f"it was rotated {lately} times within an hour: that helps nobody; look who holds it")


def rotation(token_id: str, made: NewToken, who: str, overlap: timedelta) -> dict[str, Any]:
    """Return the parameters of the query `rotate`."""
    return {
        "token": token_id, "new": made.token_id, "secret_sha256": made.secret_sha256, "who": who, "overlap": overlap,
    }  # fmt: skip


def _unknown() -> TokenRefused:
    return TokenRefused("there is no such token: `vigil token list --all` shows them")


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.UniqueViolation:
        raise TokenRefused("that subject has a token already: revoke it first (`vigil token list --all`)") from None
