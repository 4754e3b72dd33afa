"""Edge: bearer tokens of an OpenID Connect issuer: signature, issuer, audience, times, certificate. Nothing of scope.

A valid token only says who speaks, as (issuer, subject); what that subject may do stands with Vigil
(`vigil token create --issuer --subject`), so that revoking there counts at once, however long the token lasts.
"""

from __future__ import annotations

import hmac
import json
from binascii import unhexlify
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from ingest.gateway.oidc_keys import ALGORITHMS, IssuerKeys
from vitals.clock import US_PER_S

MOST_TOKEN_CHARS: Final = 8_192
MOST_LIFE_S: Final = 86_400
"""A token that lasts longer than a day is none that an issuer can still take back."""
LEEWAY_S: Final = 60
_MOST_SUBJECT_CHARS: Final = 255
_TYPES: Final = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")
_JUNK: Final = (JoseError, ValueError, TypeError, KeyError, RecursionError, OverflowError)

_Object = dict[str, Any]


class _Asymmetric(JWSRegistry):
    """What joserfc may use: signatures with a public key, by name; never a shared secret, never `none`."""

    max_header_length = 4_096  # some issuers send their certificates along

    def get_alg(self, name: str) -> Any:
        # `EdDSA` is deprecated by RFC 9864 as a name, and is what issuers send.
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


_REGISTRY: Final = _Asymmetric(strict_check_header=False)  # RFC 7515, 4: what is not understood is ignored, but `crit`


class Oidc:
    """Checks the tokens of one issuer for one audience; a `parts.BearerCheck`.

    Raises `InsecureIssuer` for an address without TLS.
    """

    def __init__(self, issuer: str, audience: str, jwks_url: str | None = None) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = IssuerKeys(issuer, jwks_url)

    async def subject_of(self, token: str, now_us: int, certificate_sha256: str | None) -> tuple[str, str] | None:
        """Return (issuer, subject) of a valid token, None for anything else. Raises `Unavailable`."""
        now_s = now_us // US_PER_S
        try:
            header, claims = _unverified(token)
            # First what costs nothing: only what claims to be meant for us makes anybody ask the issuer for keys.
            if not self._meant(header, claims, now_s, certificate_sha256):
                return None
        except _JUNK:
            return None
        key = await self._keys.find(header.get("kid"), header["alg"])
        if key is None:
            return None
        try:
            verified = jwt.decode(token, key, registry=_REGISTRY)
            same = verified.header == header and verified.claims == claims
        except _JUNK:
            return None
        return (self._issuer, str(claims["sub"])) if same else None

    def _meant(
        self, header: dict[str, Any], claims: dict[str, Any], now_s: int, certificate_sha256: str | None
    ) -> bool:
        """Tell whether the claims are in order; `JoseError` says no as well. The signature is another question."""
        if header["alg"] not in ALGORITHMS or header.keys() & {"crit", "b64", "enc", "zip"}:
            return False
        if str(header.get("typ", "JWT")).lower() not in _TYPES or not isinstance(header.get("kid", ""), str):
            return False
        JWTClaimsRegistry(
            now=now_s,
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(claims)
        if claims["exp"] > now_s + MOST_LIFE_S + LEEWAY_S or len(claims["sub"]) > _MOST_SUBJECT_CHARS:
            return False
        return "cnf" not in claims or _bound_to(claims["cnf"], certificate_sha256)


def _unverified(token: str) -> tuple[_Object, _Object]:
    """Return header and claims of a compact JWS. Raises one of `_JUNK`."""
    if len(token) > MOST_TOKEN_CHARS:
        raise ValueError("too long")
    header, payload, _ = token.encode("ascii").split(b".")  # a JWE has five parts
    found = json.loads(urlsafe_b64decode(header)), json.loads(urlsafe_b64decode(payload))
    if not all(isinstance(one, dict) for one in found):
        raise ValueError("no objects")
    return found


def _bound_to(confirmation: Any, certificate_sha256: str | None) -> bool:
    """Tell whether a token bound to a key (RFC 7800) shows that key: a client certificate (RFC 8705), nothing else."""
    if certificate_sha256 is None or not isinstance(confirmation, dict) or confirmation.keys() != {"x5t#S256"}:
        return False
    shown = urlsafe_b64encode(unhexlify(certificate_sha256))
    return hmac.compare_digest(shown, str(confirmation["x5t#S256"]).encode())
