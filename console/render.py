"""Templates into answers. Everything is escaped; a word that a template does not know is an error, never a hole."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from console.access import COOKIE, SESSION_S, Access, Session
from vitals.clock import US_PER_S, Clock

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"


@cache
def templates() -> Environment:
    """Return the environment of our templates. `autoescape` is on for all of them, whatever they are called."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["assets"] = {name: f"/static/{name}?{_digest(name)}" for name in ("console.css", "console.js")}
    return environment


def _digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]


class Renderer:
    """Renders pages for a visitor, giving a session to whoever has none where no token is asked for."""

    def __init__(self, access: Access, clock: Clock, *, can_acknowledge: bool) -> None:
        self._access = access
        self._clock = clock
        self._can_acknowledge = can_acknowledge

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """Return the template `name` as a page."""
        known: Session | None = getattr(request.state, "session", None)
        session = known
        if session is None and self._access.token_hash is None:
            session = self._access.begin(self._clock() / US_PER_S)
        text = templates().get_template(name).render(
            **values,
            session=session,
            form_token="" if session is None else self._access.form_token(session),
            signed_in=session is not None and self._access.token_hash is not None,
            can_acknowledge=self._can_acknowledge,
            path=request.url.path if status < 400 else "/",
        )  # fmt: skip
        response = HTMLResponse(text, status)
        if session is not None and session != known:
            self.remember(request, response, session)
        return response

    def remember(self, request: Request, response: Response, session: Session) -> None:
        """Give the visitor a session: a cookie that no script reads and no other site sends."""
        response.set_cookie(
            COOKIE,
            self._access.sign(session),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
