"""Edge: puts the gateway together. `create_app` gives the ASGI application, ingest/gateway/server.py runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ingest.gateway.devices_route import devices_router
from ingest.gateway.door import Door, make_door
from ingest.gateway.guard import Guard, from_framework
from ingest.gateway.health import health_router
from ingest.gateway.openapi import describe
from ingest.gateway.parts import Parts
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.refusals import Refusals
from ingest.gateway.samples_route import samples_router
from ingest.gateway.stream_route import Streams, stream_router
from ingest.gateway.uploads import uploads_router
from ingest.gateway.waveform_route import waveforms_router


def create_app(parts: Parts, policy: GatewayPolicy | None = None) -> FastAPI:
    """Return the gateway. `app.state.door` has what its routes share, `app.state.streams` the open streams."""
    policy = policy or GatewayPolicy()
    door = make_door(parts, policy)
    refusals = Refusals(policy)
    app = FastAPI(
        title="Vigil gateway", version="1", lifespan=_lifespan(door), docs_url=None, redoc_url=None,
        openapi_url="/v1/openapi.json", redirect_slashes=False, max_body_size=None,
    )  # fmt: skip
    app.state.door = door
    app.state.streams = Streams(policy.stream, refusals)
    app.add_middleware(Guard, door=door, refusals=refusals)
    for kind in (HTTPException, RequestValidationError):
        app.add_exception_handler(kind, from_framework)
    app.include_router(samples_router(parts, policy))
    app.include_router(waveforms_router(parts, policy))
    app.include_router(uploads_router(parts, policy))
    app.include_router(devices_router(parts, policy))
    app.include_router(stream_router(app.state.streams))
    app.include_router(health_router(parts, policy))
    describe(app)
    return app


def _lifespan(door: Door) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await door.replies.open()
        try:
            yield
        finally:
            await door.replies.close()

    return lifespan
