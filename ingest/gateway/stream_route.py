"""Edge: WebSocket /v1/stream: a live bridge sends message after message and hears of each when it is safe."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter
from starlette.websockets import WebSocket

from ingest.gateway.door import principal_of
from ingest.gateway.metrics import STREAMS
from ingest.gateway.policy import StreamPolicy
from ingest.gateway.problems import Code, Refused, response
from ingest.gateway.refusals import Refusals
from ingest.gateway.stream import PROTOCOL, Stream
from ingest.gateway.taking import Names

PATH: Final = "/v1/stream"
_RETRY_S: Final = 10


class Streams:
    """The open streams: their bound, and their end."""

    def __init__(self, policy: StreamPolicy, refusals: Refusals) -> None:
        self.policy = policy
        self.refusals = refusals
        self._open: set[Stream] = set()
        self._closing = False

    async def serve(self, socket: WebSocket) -> None:
        """Serve one stream to its end; refuse it before it opens with the problem as an ordinary answer."""
        try:
            principal = await principal_of(socket)
            self._check_room(principal.holder)
            _check_protocol(socket)
            stream = Stream(socket, principal, self.policy, self.refused)
        except Exception as error:  # noqa: BLE001  the sender gets an answer
            refused = self.refused(socket, error)
            await socket.send_denial_response(response(refused, socket.state.request_id))
            return
        self._open.add(stream)
        STREAMS.inc()
        try:
            await stream.run()
        finally:
            STREAMS.dec()
            self._open.discard(stream)

    def _check_room(self, holder: str) -> None:
        if self._closing or len(self._open) >= self.policy.streams:
            raise Refused(503, Code.BUSY, "too many streams are open", retry_after_s=_RETRY_S)
        if sum(stream.holder == holder for stream in self._open) >= self.policy.streams_of_one:
            raise Refused(
                429, Code.TOO_MANY_REQUESTS, "this credential has too many streams open", retry_after_s=_RETRY_S
            )

    def refused(self, socket: WebSocket, error: Exception, names: Names | None = None) -> Refused:
        """Return what an error means, counted and logged."""
        state = socket.scope["state"]
        name = state["request_id"] if names is None else names.request_id
        return self.refusals.of(error, request_id=name, token_id=state.get("token_id"), route=PATH)

    def abort(self) -> None:
        """Cut off the streams that are still open."""
        for stream in list(self._open):
            stream.abort()

    async def close(self) -> None:
        """End all streams when what they sent so far is answered; open no more."""
        self._closing = True
        await asyncio.gather(*(stream.stop() for stream in list(self._open)))


def _check_protocol(socket: WebSocket) -> None:
    offered = socket.scope["subprotocols"]
    if offered and PROTOCOL not in offered:
        raise Refused(400, Code.BAD_REQUEST, f"the subprotocol of a stream is {PROTOCOL}")


def stream_router(streams: Streams) -> APIRouter:
    """Return the route of streams."""
    router = APIRouter()

    async def stream(websocket: WebSocket) -> None:
        await streams.serve(websocket)

    router.add_api_websocket_route(PATH, stream)
    return router
