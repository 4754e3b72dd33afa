"""Edge: runs the console in this process until it is told to stop (SIGINT or SIGTERM)."""

from __future__ import annotations

import socket
from typing import Final

import uvicorn
from fastapi import FastAPI

from console.live import Hub

_STOP_S: Final = 5
"""A request that takes longer than this after a stop is cut off."""


class ConsoleServer(uvicorn.Server):
    """uvicorn waits for open streams before it stops: this one ends them first."""

    def __init__(self, app: FastAPI, host: str, port: int, *, log_level: str = "info") -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,  # the program's own logging stands
            log_level=log_level,
            access_log=False,  # paths hold patient ids
            server_header=False,
            timeout_graceful_shutdown=_STOP_S,
        )
        super().__init__(config)
        self._hub: Hub = app.state.hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: the streams, then the rest."""
        self._hub.close()
        await super().shutdown(sockets)
