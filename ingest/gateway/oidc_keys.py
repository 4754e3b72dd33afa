"""Edge: the public keys of an OpenID Connect issuer, kept for a while and asked for again where one is unknown."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import structlog
from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode

from ingest.gateway.ports import Unavailable
from vitals.errors import VigilError
from vitals.hosts import is_loopback

log = structlog.get_logger(__name__)

ALGORITHMS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", ())),
    "ES256": ("EC", ("P-256",)),
    "ES384": ("EC", ("P-384",)),
    "ES512": ("EC", ("P-521",)),
    "EdDSA": ("OKP", ("Ed25519", "Ed448")),
}
"""Signature algorithms that count, with the key type and curves of each; asymmetric ones only."""
REFRESH_S: Final = 600.0
"""Keys older than this are asked for again; where the issuer is away they count for `KEEP_S`."""
KEEP_S: Final = 3_600.0
ASK_EVERY_S: Final = 30.0
"""However many unknown keys are named, the issuer is asked so seldom."""
_WITHIN_S: Final = 5.0
_MOST_BYTES: Final = 262_144
_MOST_KEYS: Final = 100
_RSA_BITS: Final = range(2_048, 8_193)

Key = jwk.RSAKey | jwk.ECKey | jwk.OKPKey


class InsecureIssuer(VigilError):
    """An issuer's address is not https (nor on this machine), so anybody on the way could put keys in."""

    def __init__(self) -> None:
        super().__init__("the issuer's addresses must begin with https:// (http:// only on this machine's loopback)")


class _BadAnswer(ValueError):
    """The issuer answers, and not with what it should."""


class IssuerKeys:
    """The keys of one issuer; found by discovery where `jwks_url` is None. Raises `InsecureIssuer`."""

    def __init__(
        self, issuer: str, jwks_url: str | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        for url in (issuer, jwks_url):
            if url is not None and not is_safe(url):
                raise InsecureIssuer
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._monotonic = monotonic
        self._keys: list[Key] = []
        self._had = self._asked = float("-inf")
        self._failed = False
        self._asking: asyncio.Task[None] | None = None
        self._tls = httpx.create_ssl_context(trust_env=False)

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Return the key that a token names, or the only one that fits; None where the issuer has no such key.

        Whoever names a known key never waits. Raises `Unavailable` where the issuer was not reached for `KEEP_S`, or
        not since an unknown key was named.
        """
        found = _fitting(self._keys, kid, algorithm)
        now = self._monotonic()
        if now - self._asked >= ASK_EVERY_S and (found is None or now - self._had >= REFRESH_S):
            self._asked = now
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        if self._asking is not None and (found is None or now - self._had > KEEP_S):
            await asyncio.shield(self._asking)  # a sender who hangs up must not stop it for all
            found = _fitting(self._keys, kid, algorithm)
        if self._monotonic() - self._had > KEEP_S or (found is None and self._failed):
            raise Unavailable("the keys of the OpenID Connect issuer cannot be had now")
        return found

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_WITHIN_S):
                self._keys = _usable(await self._documents())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, TimeoutError) as error:
            self._failed = True
            log.warning("oidc_keys_unavailable", error=type(error).__name__)
            return
        self._had, self._failed = self._monotonic(), False

    async def _documents(self) -> dict[str, Any]:
        """Return the key set, with discovery before it where that is needed. Raises httpx's errors, ValueError."""
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=4) as client:
            url = self._jwks_url
            if url is None:
                found = await _get(client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                url = str(found.get("jwks_uri"))
                # OpenID Connect Discovery 4.3: the document must be about this very issuer.
                if found.get("issuer") != self._issuer or not is_safe(url):
                    raise _BadAnswer("the discovery document names another issuer, or keys without TLS")
            return await _get(client, url)


async def _get(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """Return a JSON object of bounded size. Raises httpx's errors, and ValueError for anything else."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    async with client.stream("GET", url, headers=headers) as response:
        if response.status_code != httpx.codes.OK or response.headers.get("content-encoding", "identity") != "identity":
            raise _BadAnswer("no plain answer")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise _BadAnswer("too long an answer")
    found = json.loads(bytes(body))
    if not isinstance(found, dict):
        raise _BadAnswer("no object")
    return found


def is_safe(url: str) -> bool:
    """Tell whether an address is https, or http on this machine itself."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if not host or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def _usable(document: Mapping[str, Any]) -> list[Key]:
    """Return the public keys that signatures can be checked with; what else the set holds is left out."""
    told = document.get("keys")
    if not isinstance(told, list):
        raise _BadAnswer("no key set")
    return [key for one in told[:_MOST_KEYS] if isinstance(one, dict) and (key := _imported(one)) is not None]


def _imported(told: Mapping[str, Any]) -> Key | None:
    """Return a public key. One whose secret part was published too is nobody's any more."""
    if told.get("use", "sig") != "sig" or "d" in told:
        return None
    try:
        if told.get("kty") == "RSA":
            modulus = int.from_bytes(urlsafe_b64decode(str(told["n"]).encode()))
            return jwk.RSAKey.import_key(dict(told)) if modulus.bit_length() in _RSA_BITS else None
        if told.get("kty") == "EC":
            return jwk.ECKey.import_key(dict(told))
        return jwk.OKPKey.import_key(dict(told)) if told.get("kty") == "OKP" else None
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _fitting(keys: list[Key], kid: str | None, algorithm: str) -> Key | None:
    """Return the key with this id that is of the algorithm's kind; without an id the only one of that kind."""
    kind, curves = ALGORITHMS[algorithm]
    fitting = [
        key
        for key in keys
        if key.key_type == kind
        and key.get("alg", algorithm) == algorithm
        and (not curves or key.get("crv") in curves)
        and (kid is None or key.kid == kid)
    ]
    return fitting[0] if len(fitting) == 1 else None
