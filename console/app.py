"""Edge: puts the console together. `create_app` gives the ASGI application, console/server.py runs it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, tzinfo
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from console.access import Access, check_binding
from console.api import Api
from console.board import Board
from console.forms import Forms
from console.guard import HEADERS, LOOPBACK_NAMES, Guard
from console.live import Hub, TooManyListeners
from console.pages import Pages
from console.ports import Acknowledger, Reader
from console.render import STATIC, Renderer
from timeseries.console_model import ReaderUnavailable
from vitals.clock import Clock, system_clock
from vitals.hosts import is_loopback

_log = logging.getLogger(__name__)
_SAYS = {
    403: "This form is not valid any more. Go back, reload the page and try again.",
    404: "There is no such page here.",
    503: "The database does not answer. Nothing is lost: data wait in the stream until it is back.",
}


def create_app(
    reader: Reader,
    acknowledger: Acknowledger | None = None,
    *,
    host: str = "127.0.0.1",
    token_hash: str | None = None,
    allowed_hosts: Sequence[str] = (),
    clock: Clock = system_clock,
    zone: tzinfo = UTC,
    refresh_s: float = 2.0,
    max_listeners: int = 100,
) -> FastAPI:
    """Return the console. `host` is where it will listen; beyond this machine it needs `token_hash`.

    `allowed_hosts` are the host names it answers to (on loopback, unless given, this machine's own; otherwise any).
    Times are shown in `zone`. Raises `NotGuarded` and `NoTokenHash`.
    """
    check_binding(host, token_hash)
    access = Access(token_hash)
    hub = Hub(reader, clock, every_s=refresh_s, max_listeners=max_listeners)
    board = Board(reader, clock, zone)
    renderer = Renderer(access, clock, can_acknowledge=acknowledger is not None)
    app = FastAPI(
        title="Vigil console", lifespan=_lifespan(reader, hub), docs_url=None, redoc_url=None,
        openapi_url="/api/openapi.json",
    )  # fmt: skip
    names = tuple(allowed_hosts) or (LOOPBACK_NAMES if is_loopback(host) else ())
    app.add_middleware(Guard, access=access, hosts=names, clock=clock)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.include_router(Pages(board, hub, renderer).router())
    app.include_router(Forms(access, board, renderer, acknowledger, clock).router())
    app.include_router(Api(reader, clock).router())
    _answer_errors(app, renderer)
    app.state.hub = hub
    return app


def _lifespan(reader: Reader, hub: Hub) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await reader.open()
        watching = asyncio.create_task(hub.run(), name="console hub")
        try:
            yield
        finally:
            hub.close()
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await reader.close()

    return lifespan


def _answer_errors(app: FastAPI, renderer: Renderer) -> None:
    """No error page quotes what came in, nor says more than a visitor can use; the log has the rest."""

    def answer(request: Request, status: int, says: str) -> Response:
        if request.url.path.startswith(("/api/", "/events", "/readyz", "/healthz")):
            return JSONResponse({"error": says}, status)
        return renderer.page(request, "error.html", status, code=status, says=says)

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        own = isinstance(error, HTTPException) and request.url.path.startswith("/api/") and status == 422
        says = str(error.detail) if own and isinstance(error, HTTPException) else _says(status)
        return answer(request, status, says)

    async def invalid(request: Request, error: Exception) -> Response:
        fields = [str(one["loc"][-1]) for one in error.errors()] if isinstance(error, RequestValidationError) else []
        return answer(request, 422, f"not valid: {', '.join(fields)}")

    async def unavailable(request: Request, error: Exception) -> Response:
        _log.warning("console: %s", error)
        return answer(request, 503, _SAYS[503])

    async def crowded(request: Request, error: Exception) -> Response:
        return answer(request, 503, str(error))

    async def failed(request: Request, _: Exception) -> Response:
        # Starlette answers what nobody foresaw outside of every middleware, so the guard's headers are put on here.
        response = answer(request, 500, _says(500))
        response.headers.update({**HEADERS, "cache-control": "no-store"})
        return response

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ReaderUnavailable, unavailable)
    app.add_exception_handler(TooManyListeners, crowded)
    app.add_exception_handler(Exception, failed)


def _says(status: int) -> str:
    return _SAYS.get(status, f"{HTTPStatus(status).phrase}.")
