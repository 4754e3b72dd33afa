"""Edge: every request passes here: it gets its names, a place among those under way, and an answer whatever happens.

Plain ASGI: a middleware of Starlette's kind costs two tasks and a queue for each request.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.gateway.door import Door
from ingest.gateway.metrics import REQUESTS, SECONDS
from ingest.gateway.problems import Code, Refused, of_status, response
from ingest.gateway.refusals import Refusals
from ingest.gateway.trace import request_id, traceparent

HEALTH: Final = ("/healthz", "/readyz")
_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_BEGINNINGS: Final = ("http.response.start", "websocket.http.response.start", "websocket.accept")


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, door: Door, refusals: Refusals) -> None:
        self._app = app
        self._door = door
        self._refusals = refusals
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and answer what is refused on the way."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        state = _named(scope)
        if scope["type"] == "http":
            await self._http(scope, receive, send, state)
        else:
            await self._app(scope, receive, _Answer(send, state))

    async def _http(self, scope: Scope, receive: Receive, send: Send, state: dict[str, Any]) -> None:
        began_s = perf_counter()
        answer = _Answer(send, state)
        counts = scope["path"] not in HEALTH
        self._under_way += counts
        try:
            if counts:
                self._check_room()
            await self._app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001  whatever it is, the sender gets an answer
            refused = self._refusals.of(
                error, request_id=state["request_id"], token_id=state.get("token_id"), route=route_of(scope)
            )
            if not answer.started:
                await response(refused, state["request_id"])(scope, receive, answer)
        finally:
            self._under_way -= counts
            self._give_back(state)
        SECONDS.labels(route_of(scope)).observe(perf_counter() - began_s)
        REQUESTS.labels(route_of(scope), answer.status).inc()

    def _give_back(self, state: dict[str, Any]) -> None:
        self._door.held.give(state.pop("held_bytes", 0))
        holder = state.pop("under_way_of", None)
        if holder is not None:
            self._door.under_way.end(holder)

    def _check_room(self) -> None:
        policy = self._door.policy
        if self._under_way > policy.requests:
            raise Refused(
                503, Code.BUSY, "too many requests are under way; send it again soon", retry_after_s=policy.busy_retry_s
            )


class _Answer:
    """Sends, and puts the headers on that every answer has."""

    def __init__(self, send: Send, state: dict[str, Any]) -> None:
        self._send = send
        self._state = state
        self.started = False
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] in _BEGINNINGS:
            self.started = True
            self.status = message.get("status", 101)
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._state["request_id"]
            headers["traceparent"] = self._state["traceparent"]
            headers["x-content-type-options"] = "nosniff"
            headers.setdefault("cache-control", "no-store")
        await self._send(message)


def _named(scope: Scope) -> dict[str, Any]:
    headers = Headers(scope=scope)
    state: dict[str, Any] = scope.setdefault("state", {})
    state["request_id"] = request_id(headers.getlist("x-request-id"))
    state["traceparent"] = traceparent(headers.getlist("traceparent"))
    return state


def route_of(scope: Scope) -> str:
    """Return the route's template, never the path that was asked for."""
    return str(getattr(scope.get("route"), "path", "") or "none")


async def from_framework(request: Request, error: Exception) -> Response:
    """Turn what the framework raises into refusals, for the guard around it to answer."""
    if isinstance(error, HTTPException):
        headers = {"allow": _allowed(request)} if error.status_code == 405 else error.headers
        raise of_status(error.status_code, headers)
    if isinstance(error, RequestValidationError):
        raise Refused(422, Code.INVALID, "a parameter of this request is not valid")
    raise error


def _allowed(request: Request) -> str:
    """Return all methods that an address has: of several routes with one address the framework names the first's."""
    routes = request.app.routes
    scopes = ({**request.scope, "method": method} for method in _METHODS)
    return ", ".join(one["method"] for one in scopes if any(route.matches(one)[0] is Match.FULL for route in routes))
