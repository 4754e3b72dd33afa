"""Who may send: credentials and what each is good for. Pure; secrets are compared by hash, in constant time.

A token reads `vgl_<token id>_<secret>`: the id is opaque and may be logged, the secret has 256 random bits and is kept
nowhere but with its owner (SHA-256 of it is what Vigil stores; a secret of that size needs no slow hash).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from vitals.ids import DeviceId, PatientId

_TOKEN: Final = re.compile(r"vgl_([a-z2-7]{16})_([A-Za-z0-9_-]{43})")
_TOKEN_ID: Final = re.compile(r"[a-z2-7]{16}")
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_NOBODY: Final = bytes(32)


class Kind(StrEnum):
    """What sort of sender a credential was made for."""

    DEVICE = "device"  # one device on one patient
    BRIDGE = "bridge"  # a phone (all devices of one patient) or a ward's bridge (some devices, each on its wearer)
    PLATFORM = "platform"  # another system that signs in by OIDC; scoped like a bridge


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a credential speaks for. At least one of `patient_id` and `devices` is set.

    `patient_id`: all it sends is about this patient, whatever the body says; None: about whoever wore the device.
    `devices`: the only devices it may name; None: any device that is not bound to somebody else. `lineage`: the id of
    the token that this one came from by rotations; empty where it is the first.
    """

    token_id: str
    kind: Kind
    patient_id: PatientId | None
    devices: frozenset[DeviceId] | None = None
    lineage: str = ""

    @property
    def holder(self) -> str:
        """Who holds the credential, through every rotation: what anchors, jobs and rates are kept by."""
        return self.lineage or self.token_id

    def may_name(self, device: DeviceId) -> bool:
        """Tell whether it may send for this device."""
        return self.devices is None or device in self.devices

    @property
    def only_device(self) -> DeviceId | None:
        """The device meant where a request names none: the only one that it has."""
        return next(iter(self.devices)) if self.devices is not None and len(self.devices) == 1 else None


@dataclass(frozen=True, slots=True)
class Credential:
    """A token as it is stored. Times are microseconds UTC; `revoked_us` may lie ahead (a rotation's overlap).

    `certificate_sha256`: hex; with it the token counts only over a connection that shows this client certificate.
    `subject`: (issuer, subject) of OIDC; such a credential has no secret.
    """

    principal: Principal
    secret_sha256: bytes | None = field(repr=False)
    expires_us: int
    revoked_us: int | None = None
    certificate_sha256: str | None = None
    subject: tuple[str, str] | None = None

    def stands(self, now_us: int) -> bool:
        """Tell whether it is neither expired nor revoked."""
        return now_us < self.expires_us and (self.revoked_us is None or now_us < self.revoked_us)


@dataclass(frozen=True, eq=False, slots=True)
class Access:
    """Every credential as it stands, by token id, and those of OIDC by subject."""

    tokens: Mapping[str, Credential] = field(default_factory=dict)
    subjects: Mapping[tuple[str, str], Credential] = field(default_factory=dict)
    _holders: Mapping[str, list[Credential]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lay the credentials out by holder."""
        holders: dict[str, list[Credential]] = {}
        for one in (*self.tokens.values(), *self.subjects.values()):
            holders.setdefault(one.principal.holder, []).append(one)
        object.__setattr__(self, "_holders", holders)

    def by_token(self, text: str, now_us: int) -> Credential | None:
        """Return the credential of a token that stands, None for any other text.

        What is unknown, wrong, expired and revoked costs the same comparison.
        """
        found = _TOKEN.fullmatch(text)
        token_id, secret = found.groups() if found else ("", "")
        credential = self.tokens.get(token_id)
        stored = _NOBODY if credential is None or credential.secret_sha256 is None else credential.secret_sha256
        fits = hmac.compare_digest(hashed(secret), stored)
        return credential if credential is not None and fits and credential.stands(now_us) else None

    def by_subject(self, issuer: str, subject: str, now_us: int) -> Credential | None:
        """Return the credential of an OIDC subject that stands."""
        credential = self.subjects.get((issuer, subject))
        return credential if credential is not None and credential.stands(now_us) else None

    def holds(self, holder: str, now_us: int) -> bool:
        """Tell whether any credential of a holder stands: false once it was revoked, or all have expired."""
        return any(one.stands(now_us) for one in self._holders.get(holder, ()))


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made: `text` is shown once, `secret_sha256` is stored."""

    token_id: str
    text: str = field(repr=False)
    secret_sha256: bytes = field(repr=False)


def new_token() -> NewToken:
    """Return a new random token."""
    token_id = "".join(secrets.choice(_ALPHABET) for _ in range(16))
    secret = secrets.token_urlsafe(32)
    return NewToken(token_id, f"vgl_{token_id}_{secret}", hashed(secret))


def is_token_id(text: str) -> bool:
    """Tell whether `text` has the form of a token's id."""
    return _TOKEN_ID.fullmatch(text) is not None


def token_id_of(text: str) -> str | None:
    """Return the id of what has the form of a token: for logs, whether or not the token is any good."""
    found = _TOKEN.fullmatch(text)
    return found.group(1) if found else None


def hashed(secret: str) -> bytes:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()
