"""Edge: what a person does: sign in, say who they are, acknowledge. Only POST; mail scanners open links (CLINICAL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import RedirectResponse, Response

from console.access import COOKIE, Access, Session, staff_id
from console.board import Board
from console.ports import Acknowledger
from console.render import Renderer
from timeseries.console_model import Acknowledgement
from vitals.clock import US_PER_S, Clock, to_datetime
from vitals.ids import is_opaque

_MAX_BODY: Final = 4_096
_PRIORITIES: Final = frozenset({"low", "medium", "high"})


@dataclass(frozen=True, slots=True)
class Forms:
    """The routes and what they need. Without an acknowledger nobody can acknowledge, and the pages offer no button."""

    access: Access
    board: Board
    renderer: Renderer
    acknowledger: Acknowledger | None
    clock: Clock

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/login", self.login_page, methods=["GET"], response_class=Response)
        router.add_api_route("/login", self.login, methods=["POST"], response_class=Response)
        router.add_api_route("/logout", self.logout, methods=["POST"], response_class=Response)
        router.add_api_route("/operator", self.operator, methods=["POST"], response_class=Response)
        if self.acknowledger is not None:
            path = "/alerts/{alert_id}/acknowledge"
            router.add_api_route(path, self.acknowledge, methods=["POST"], response_class=Response)
        return router

    async def login_page(self, request: Request) -> Response:
        """Ask for the token; where none is needed, go on."""
        if self.access.token_hash is None:
            return _go("/")
        return self.renderer.page(request, "login.html", problem="")

    async def login(self, request: Request) -> Response:
        """Open a session for the right token."""
        if self.access.token_hash is None:
            return _go("/")
        form = await read_form(request)
        now_s = self.clock() / US_PER_S
        if not self.access.may_try(now_s):
            return self.renderer.page(request, "login.html", 429, problem="Too many attempts. Wait a minute.")
        actor = staff_id(form.get("actor", ""))
        if actor is None:
            says = "A staff id has letters and digits and no spaces. Please do not use your name."
            return self.renderer.page(request, "login.html", 422, problem=says)
        if not self.access.token_fits(form.get("token", "")):
            self.access.failed(now_s)
            return self.renderer.page(request, "login.html", 403, problem="That is not the console's token.")
        response = _go("/")
        self.renderer.remember(request, response, self.access.begin(now_s, actor))
        return response

    async def logout(self, request: Request) -> Response:
        """End the session on this device."""
        self._session(request, await read_form(request))
        response = _go("/login")
        response.delete_cookie(COOKIE)
        return response

    async def operator(self, request: Request) -> Response:
        """Change who acts in this session."""
        form = await read_form(request)
        session = self._session(request, form)
        actor = staff_id(form.get("actor", ""))
        if actor is None:
            return _back(form, "actor")
        response = _back(form, "signed")
        self.renderer.remember(request, response, self.access.acting(session, actor))
        return response

    async def acknowledge(self, request: Request, alert_id: str) -> Response:
        """Write down who saw the alert, as they saw it."""
        form = await read_form(request)
        session = self._session(request, form)
        actor = staff_id(form.get("actor", session.actor))
        if actor is None:
            return _back(form, "actor")
        response = _back(form, await self._acknowledge(alert_id, actor, form.get("priority", "")))
        if actor != session.actor:
            self.renderer.remember(request, response, self.access.acting(session, actor))
        return response

    async def _acknowledge(self, alert_id: str, actor: str, priority: str) -> str:
        if self.acknowledger is None or not is_opaque(alert_id) or priority not in _PRIORITIES:
            return Acknowledgement.UNKNOWN.value
        outcome = await self.acknowledger.acknowledge(alert_id, actor, to_datetime(self.clock()), priority)
        self.board.changed()
        return outcome.value

    def _session(self, request: Request, form: dict[str, str]) -> Session:
        session: Session | None = request.state.session
        if session is None or not self.access.form_fits(session, form.get("form_token", "")):
            raise HTTPException(403)
        return session


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a small form, the first value of each. Raises HTTPException 413 or 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise HTTPException(413)
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=10)
    except ValueError as error:
        raise HTTPException(415) from error
    return {name: values[0] for name, values in fields.items()}


def _go(path: str) -> RedirectResponse:
    return RedirectResponse(path, status_code=303)


def _back(form: dict[str, str], notice: str) -> RedirectResponse:
    """Return to the page that the form came from: one of ours, never an address out of the form."""
    patient = form.get("patient", "")
    path = f"/patients/{patient}" if is_opaque(patient) else "/"
    return _go(f"{path}?notice={notice}")
