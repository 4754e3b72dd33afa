"""Edge: a connection, as uvicorn has it, with what uvicorn lacks.

A bound on the time and the bytes that a request's head takes; a bound on connections; problem details for what never
becomes a request; the client's certificate in the ASGI scope (`extensions`, `tls`, `client_cert_sha256`); time for a
sender to read why its body was refused, before the connection goes (closing with unread bytes would reset it).
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from asyncio import TimerHandle
from collections.abc import Callable
from typing import Any, ClassVar, Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ingest.gateway.policy import GatewayPolicy, StreamPolicy
from ingest.gateway.problems import Code, Refused, response
from ingest.gateway.refusals import Refusals
from ingest.gateway.trace import request_id

_AHEAD: Final = 8
"""So many requests may be sent before the answer to the first; clients of today send none."""


def tls_of(transport: asyncio.BaseTransport) -> dict[object, object] | None:
    """Return what goes into the scope of a connection that showed a client certificate, which TLS has checked."""
    connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    certificate = connection.getpeercert(binary_form=True) if connection is not None else None
    return {"client_cert_sha256": hashlib.sha256(certificate).hexdigest()} if certificate else None


class GatewayHttp(HttpToolsProtocol):
    """HTTP/1.1. `made_for` gives a class with the policy in it: uvicorn makes the objects itself."""

    policy: ClassVar[GatewayPolicy]
    refusals: ClassVar[Refusals]

    @classmethod
    def made_for(cls, policy: GatewayPolicy, refusals: Refusals) -> type[GatewayHttp]:
        """Return the class with its policy."""
        return type("GatewayHttp", (cls,), {"policy": policy, "refusals": refusals})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tls: dict[object, object] | None = None
        self._timer: TimerHandle | None = None
        self._stop: Refused | None = None
        self._in_head = True
        self._idle_bytes = 0  # read since the last byte of a body, or since the last head ended
        self._unread_bytes: int | None = None  # of a body that was answered before its end
        self._has_body = False  # whether any of it came

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and wait for its first request."""
        super().connection_made(transport)
        self._tls = tls_of(transport)
        if len(self.connections) > self.policy.connections:
            busy_s = self.policy.busy_retry_s
            self._refuse(Refused(503, Code.BUSY, "too many connections are open", retry_after_s=busy_s))
            return
        self._start_timer(self.policy.head_s, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._end_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is no body (heads, trailers, chunk extensions), then let it be parsed."""
        if self.transport.is_closing():
            return
        if self._in_head and self._timer is None:
            self._start_timer(self.policy.head_s, self._late)
        if self._unread_bytes is not None:
            self._unread_bytes += len(data)
            if self._unread_bytes > self.policy.linger_bytes:
                self.transport.close()
                return
        elif self._idle_bytes > self.policy.head_bytes:
            self._refuse(_head_too_large())
            return
        self._idle_bytes += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        if self._tls is not None:
            self.scope["extensions"] = {"tls": self._tls}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what stands behind the body (trailers) is nobody's, and must not pass for one."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: refuse one that is too large, or one of too many sent ahead; pass on the others."""
        self._in_head, self._idle_bytes, self._has_body = False, 0, False
        self._end_timer()
        if len(self.url) > self.policy.url_bytes:
            self._stop = Refused(414, Code.URL_TOO_LONG, "the address of this request is too long")
        elif sum(len(name) + len(value) + 4 for name, value in self.headers) > self.policy.head_bytes:
            self._stop = _head_too_large()
        elif len(self.pipeline) >= _AHEAD:
            self._stop = Refused(400, Code.BAD_REQUEST, "too many requests were sent ahead")
        if self._stop is not None:
            raise self._stop  # ends the parsing; `send_400_response` is next
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._idle_bytes, self._has_body = 0, True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole: the next bytes begin another head."""
        super().on_message_complete()
        self._in_head, self._idle_bytes, self._unread_bytes = True, 0, None
        self._end_timer()
        cycle = getattr(self, "cycle", None)  # none of a connection that becomes a WebSocket
        if cycle is not None and cycle.response_complete:  # so no answer is to come that would start uvicorn's timer
            self._start_timer(self.policy.head_s, self._late)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over: its time is no longer counted here."""
        self._end_timer()
        super().handle_websocket_upgrade()

    def on_response_complete(self) -> None:
        """Throw the rest of a body away that nobody wants, for a while, so that the sender comes to read the answer."""
        super().on_response_complete()
        if self._in_head or not self.cycle.response_complete or self.transport.is_closing():
            return
        if self.expect_100_continue and not self._has_body:
            self.transport.close()  # who asked first whether to send the body does not send it now
        else:
            self._unread_bytes = 0
            self._start_timer(self.policy.linger_s, self.transport.close)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's words
        """Answer what is no HTTP, or what this connection does not take."""
        self._refuse(self._stop or Refused(400, Code.BAD_REQUEST, "this is no HTTP/1.1 request that can be read"))

    def _unsupported_upgrade_warning(self) -> None:
        """Go on in HTTP/1.1, as RFC 9110 (7.8) has it; nobody needs to hear of it."""

    def _late(self) -> None:
        if self._idle_bytes:
            self._refuse(Refused(408, Code.TOO_SLOW, "the head of the request came too slowly"))
        else:
            self.transport.close()

    def _refuse(self, refused: Refused) -> None:
        """Answer and close. An answer that another request would take for its own is not given."""
        self._end_timer()
        name = request_id(())
        self.refusals.of(refused, request_id=name, token_id=None, route="none")
        cycle = getattr(self, "cycle", None)  # None before the first request
        busy = cycle is not None and not cycle.response_complete
        if not busy or not (self._in_head or self.pipeline or self.cycle.response_started):
            answer = response(refused, name)
            fields = [*answer.raw_headers, (b"x-request-id", name.encode()), (b"connection", b"close")]
            head = b"".join(field + b": " + value + b"\r\n" for field, value in fields)
            self.transport.write(STATUS_LINE[refused.status] + head + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _start_timer(self, seconds: float, then: Callable[[], None]) -> None:
        self._end_timer()
        self._timer = self.loop.call_later(seconds, then)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class GatewayWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose scope has the client's certificate, and that ends although the other side reads nothing.

    uvicorn waits for ever until what it has sent is taken, even to close. Here whoever takes nothing for `patience_s`
    is cut off. The scope's extension `vigil.abort` cuts it off at once.
    """

    patience_s: ClassVar[float]

    @classmethod
    def made_for(cls, policy: StreamPolicy) -> type[GatewayWebSocket]:
        """Return the class with its policy."""
        return type("GatewayWebSocket", (cls,), {"patience_s": policy.patience_s})

    async def run_asgi(self) -> None:
        """Run the application."""
        extensions: dict[str, Any] = {**(self.scope.get("extensions") or {}), "vigil.abort": {"now": self._abort}}
        tls = tls_of(self.transport)
        if tls is not None:
            extensions["tls"] = tls
        self.scope["extensions"] = extensions
        try:
            await super().run_asgi()
        finally:
            self._abort_soon()

    async def send(self, message: ASGISendEvent) -> None:
        """Send. A refusal ends the handshake too: uvicorn would log an error for each."""
        try:
            async with asyncio.timeout(self.patience_s):
                await super().send(message)
        except TimeoutError:
            self._abort()
            raise ClientDisconnected from None
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def keepalive_timeout(self) -> None:
        """Close a connection that does not answer pings."""
        super().keepalive_timeout()
        self._abort_soon()

    def _abort_soon(self) -> None:
        """Give what was written last, the close frame at least, its time; on a closed connection nothing happens."""
        self.loop.call_later(self.patience_s, self._abort)

    def _abort(self) -> None:
        self.transport.abort()


def _head_too_large() -> Refused:
    return Refused(431, Code.HEAD_TOO_LARGE, "the head of this request, or what stands behind its body, is too large")
