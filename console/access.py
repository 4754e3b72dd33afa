"""Who may look, and who is acting. Pure but for randomness; time is a parameter.

A session is a signed cookie, kept nowhere: id, the acting person's staff id (may be empty), end. The key lives as long
as the process, so a restart signs everybody out, and nobody can make a session from the token's hash alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import Final

from vitals.errors import VigilError
from vitals.hosts import is_loopback
from vitals.ids import is_opaque

COOKIE: Final = "vigil_session"
SESSION_S: Final = 12 * 3_600
"""A session ends after a shift."""
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_MAX_FAILURES: Final = 10
_FAILURE_WINDOW_S: Final = 60.0


class NotGuarded(VigilError):
    """The console would listen beyond this machine without a token."""


class NoTokenHash(VigilError):
    """VIGIL_CONSOLE_TOKEN_HASH is not the SHA-256 of a token in 64 lower-case hex digits."""


@dataclass(frozen=True, slots=True)
class Session:
    """A visitor. `actor`: the staff id under which acknowledgements are written; empty until given. `ends`: Unix s."""

    sid: str
    actor: str
    ends: int


def check_binding(host: str, token_hash: str | None) -> None:
    """Raise `NotGuarded` for an open console beyond loopback, `NoTokenHash` for what is no hash."""
    if token_hash is None:
        if not is_loopback(host):
            raise NotGuarded(
                "the console listens beyond this machine only with a token: set VIGIL_CONSOLE_TOKEN_HASH to its"
                " SHA-256 in hex (token=$(openssl rand -hex 24); printf %s $token | sha256sum), or VIGIL_CONSOLE_HOST"
                " to 127.0.0.1"
            )
    elif _HASH.fullmatch(token_hash) is None:
        raise NoTokenHash("VIGIL_CONSOLE_TOKEN_HASH must be the SHA-256 of a token in 64 lower-case hex digits")


@dataclass(slots=True)
class Access:
    """Checks tokens and signs sessions. `token_hash` None: everybody on this machine may look."""

    token_hash: str | None
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _failures: list[float] = field(default_factory=list)

    def token_fits(self, token: str) -> bool:
        """Tell, in a time that does not depend on where they differ, whether `token` opens the console."""
        given = hashlib.sha256(token.encode()).hexdigest()
        return self.token_hash is not None and hmac.compare_digest(given, self.token_hash)

    def may_try(self, now_s: float) -> bool:
        """Tell whether another token may be tried: ten wrong ones a minute, from wherever, are enough."""
        self._failures = [at for at in self._failures if now_s - at < _FAILURE_WINDOW_S]
        return len(self._failures) < _MAX_FAILURES

    def failed(self, now_s: float) -> None:
        """Count a wrong token."""
        self._failures.append(now_s)

    def begin(self, now_s: float, actor: str = "") -> Session:
        """Return a new session."""
        return Session(secrets.token_urlsafe(18), actor, int(now_s) + SESSION_S)

    def acting(self, session: Session, actor: str) -> Session:
        """Return the session with another acting person."""
        return replace(session, actor=actor)

    def sign(self, session: Session) -> str:
        """Return a session as a cookie's value."""
        text = f"{session.sid}~{session.actor}~{session.ends}"
        return f"{text}~{self._mac('session', text)}"

    def read(self, cookie: str, now_s: float) -> Session | None:
        """Return the session of a cookie; None unless we signed it and it has not ended."""
        text, _, mac = cookie.rpartition("~")
        if not text or not hmac.compare_digest(mac.encode(), self._mac("session", text).encode()):
            return None
        sid, actor, ends = text.split("~")
        return Session(sid, actor, int(ends)) if int(ends) > now_s else None

    def form_token(self, session: Session) -> str:
        """Return what every form of this session carries."""
        return self._mac("form", session.sid)

    def form_fits(self, session: Session, token: str) -> bool:
        """Tell whether a form came from a page of this session."""
        return hmac.compare_digest(token.encode(), self.form_token(session).encode())

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}~{text}".encode(), hashlib.sha256).hexdigest()


def staff_id(text: str) -> str | None:
    """Return a staff id as it is written down; None for what is no opaque id (a name with a space, say)."""
    cleaned = text.strip()
    return cleaned if is_opaque(cleaned) else None
