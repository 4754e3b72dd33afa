"""Edge: runs the gateway in this process until it is told to stop (SIGINT or SIGTERM).

Start it in an event loop of uvloop, as `vigil` starts every service; it serves in any, more slowly.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.protocol import GatewayHttp, GatewayWebSocket
from ingest.gateway.refusals import Refusals
from vitals.errors import VigilError
from vitals.hosts import is_loopback

_LAST_S: Final = 0.5
"""So long requests have in any case, once the streams have ended."""


class NotGuarded(VigilError):
    """The gateway would take tokens over a network in clear text."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The server's certificate (chain) and key; with `client_ca`, clients may show a certificate of these authorities.

    A credential that is bound to a certificate counts only over a connection that shows it; others need none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


def check_binding(host: str, tls: Tls | None, trusted_proxies: Sequence[str]) -> None:
    """Raise `NotGuarded` for a gateway that others reach without TLS, whether its own or a proxy's before it."""
    if tls is None and not trusted_proxies and not is_loopback(host):
        raise NotGuarded(
            "the gateway listens beyond this machine only with TLS: give it a certificate and a key, or name the"
            " proxy in front of it that has them, or let it listen on 127.0.0.1"
        )
    if "*" in trusted_proxies:
        raise NotGuarded("a trusted proxy is named by its address or network: with * everybody could claim any address")


class GatewayServer(uvicorn.Server):
    """Serves the app that `create_app` made. `await server.serve()` returns when SIGINT or SIGTERM (or
    `should_exit`) has stopped it, so that what is around it can be closed.

    `trusted_proxies`: addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed. Raises
    `NotGuarded`.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        host: str = "127.0.0.1",
        port: int = 8090,
        tls: Tls | None = None,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        check_binding(host, tls, trusted_proxies)
        policy: GatewayPolicy = app.state.door.policy
        refusals: Refusals = app.state.streams.refusals
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=GatewayHttp.made_for(policy, refusals),
                ws=GatewayWebSocket.made_for(policy.stream),
                # One frame more than a message may be: that one is answered 4413, what is larger 1009 by the library.
                ws_max_size=policy.stream.most_bytes + (1 << 20),
                ws_per_message_deflate=False,
                log_config=None,  # the program's own logging stands
                log_level="error",  # what else uvicorn says of a connection has its address and its path in it
                access_log=False,
                server_header=False,
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=list(trusted_proxies),
                timeout_keep_alive=round(policy.keep_alive_s),
                timeout_graceful_shutdown=policy.stop_s,
                **_tls_settings(tls),
            )
        )
        self._streams = app.state.streams
        self._stop_s = policy.stop_s

    @property
    def port(self) -> int:
        """The port it listens on, once it has `started`."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, and return: uvicorn raises them again, before what is around could be closed."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: take no connection, end the streams when what they sent is answered, let requests end.

        What has not ended after `stop_s` is cut off: nothing that a sender does, or does not do, holds up the end.
        """
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        last_s = loop.time() + self._stop_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(last_s):
                await self._streams.close()
        self._streams.abort()
        self.config.timeout_graceful_shutdown = max(_LAST_S, last_s - loop.time())  # type: ignore[assignment]
        await super().shutdown(sockets)


def _tls_settings(tls: Tls | None) -> dict[str, Any]:
    if tls is None:
        return {}
    settings: dict[str, Any] = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
    if tls.client_ca is not None:
        settings |= {"ssl_ca_certs": tls.client_ca, "ssl_cert_reqs": ssl.CERT_OPTIONAL}
    return settings
