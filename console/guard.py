"""Edge: the one door. Every request passes here: host, token, origin of forms; every answer gets its headers.

Plain ASGI, so that streams of events pass through untouched.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.access import COOKIE, Access, Session
from vitals.clock import US_PER_S, Clock

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_PUBLIC: Final = ("/login", "/healthz", "/readyz", "/static/")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """ASGI middleware. `hosts` are the names under which the console may be called; empty: any."""

    def __init__(self, app: ASGIApp, access: Access, hosts: Sequence[str], clock: Clock) -> None:
        self._app = app
        self._access = access
        self._hosts = frozenset(hosts)
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass; answer the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session = self._session(headers)
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["session"] = session
        refusal = self._refusal(scope, headers, session)
        await (refusal or self._app)(scope, receive, _with_headers(scope["path"], send))

    def _session(self, headers: Headers) -> Session | None:
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        return None if cookie is None else self._access.read(cookie, self._clock() / US_PER_S)

    def _refusal(self, scope: Scope, headers: Headers, session: Session | None) -> Response | None:
        # A page elsewhere can make its own name point at this machine (DNS rebinding): then the name gives it away.
        if self._hosts and _name(headers.get("host", "")) not in self._hosts:
            return _problem(400, "this host name is not one of the console's")
        if scope["method"] not in _SAFE and not same_origin(headers):
            return _problem(403, "this form did not come from the console's own pages over https or from this machine")
        if not self._may_see(scope["path"], headers, session):
            return _sign_in(headers)
        return None

    def _may_see(self, path: str, headers: Headers, session: Session | None) -> bool:
        if self._access.token_hash is None or session is not None or path.startswith(_PUBLIC):
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._access.token_fits(token.strip())


def same_origin(headers: Mapping[str, str]) -> bool:
    """Tell whether a browser sent this from a page of ours.

    `no-referrer` makes browsers blank the Origin of forms, so what counts is Sec-Fetch-Site, which they send over
    https and to this machine; Origin decides where it is missing.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    host = headers.get("host", "")
    return bool(host) and urlsplit(headers.get("origin", "")).netloc == host


def _name(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""


def _sign_in(headers: Headers) -> Response:
    if "text/html" in headers.get("accept", ""):
        return RedirectResponse("/login", status_code=303)
    return JSONResponse({"error": "sign in, or send Authorization: Bearer"}, 401, {"www-authenticate": "Bearer"})


def _problem(status: int, says: str) -> Response:
    return JSONResponse({"error": says}, status)


def _with_headers(path: str, send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-cache" if path.startswith("/static/") else "no-store")
        await send(message)

    return wrapped
