"""Edge: who is at the door. A token, or a platform's bearer token by OIDC; each may be bound to a client certificate.

None, unknown, wrong, expired and revoked get one and the same answer.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ingest.gateway.last_known import LastKnown
from ingest.gateway.lockout import Lockout
from ingest.gateway.parts import BearerCheck
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.ports import AccessSource, Unavailable
from ingest.gateway.problems import Code, Refused, of_status
from vitals.access import Access, Credential, token_id_of
from vitals.clock import US_PER_S, Clock

_MOST: Final = 8_192
"""A bearer token has no more characters; what is longer is not looked at."""


class SignIn:
    """Tells whom a credential speaks for, and stops guessing."""

    def __init__(self, access: AccessSource, oidc: BearerCheck | None, policy: GatewayPolicy, clock: Clock) -> None:
        self.access: LastKnown[Access] = LastKnown(access, policy.stale_s)
        self._oidc = oidc
        self._lockout = Lockout(policy.lockout)
        self._retry_s = policy.busy_retry_s
        self._clock = clock

    async def credential(self, authorization: str | None, address: str, certificate: str | None) -> Credential:
        """Return the credential of a request. Raises `Refused`: 401, 429 (locked out), 503 (credentials unknown).

        `certificate`: the SHA-256 of the client's certificate in hex, None without one.
        """
        token = bearer(authorization)
        if token is None:
            raise of_status(401)
        found = await self.find(token, certificate)
        if found is not None:
            return found
        tried, now_s = hashlib.sha256(token.encode()).digest()[:16], self._clock() / US_PER_S
        wait_s = self._lockout.failed(address, tried, now_s)
        if wait_s > 0:
            raise Refused(
                429, Code.LOCKED_OUT, "too many wrong credentials came from this address; wait", retry_after_s=wait_s
            )
        raise of_status(401)

    async def find(self, token: str, certificate: str | None) -> Credential | None:
        """Return the credential that a token stands for now, whoever shows it. Raises `Refused` (503)."""
        with self._told():
            access = await self.access.current()
            found = access.by_token(token, self._clock())
            if found is None and token_id_of(token) is not None:  # it may be younger than what was asked for last
                found = (await self.access.current(anew=True)).by_token(token, self._clock())
            elif found is None:
                found = await self._by_subject(access, token, certificate)
        return found if found is not None and _over_its_certificate(found, certificate) else None

    async def holds(self, holder: str) -> bool:
        """Tell whether any credential of this holder stands now. Raises `Refused` (503)."""
        with self._told():
            return (await self.access.current()).holds(holder, self._clock())

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Unavailable as error:
            raise Refused(
                503, Code.CREDENTIALS_UNKNOWN, "credentials cannot be checked now; send it again later",
                retry_after_s=self._retry_s,
            ) from error  # fmt: skip

    async def _by_subject(self, access: Access, token: str, certificate: str | None) -> Credential | None:
        if self._oidc is None or token.count(".") != 2:
            return None
        subject = await self._oidc.subject_of(token, self._clock(), certificate)
        return None if subject is None else access.by_subject(*subject, self._clock())


def bearer(authorization: str | None) -> str | None:
    """Return the token of an Authorization header (RFC 6750), None where there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= _MOST and token.isascii() else None


def _over_its_certificate(credential: Credential, certificate: str | None) -> bool:
    if credential.certificate_sha256 is None:
        return True
    return certificate is not None and hmac.compare_digest(credential.certificate_sha256.lower(), certificate)
