"""A webhook of the demo's own, on loopback, so that a notification is really delivered somewhere."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

_MOST_BYTES: Final = 64 * 1024
_MOST_KEPT: Final = 1_000


class Receiver:
    """Takes POSTs and keeps the newest of their JSON bodies in `received`."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = min(int(self.headers.get("content-length") or 0), _MOST_BYTES)
                receiver.take(self.rfile.read(length))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the terminal for the table."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="webhook", daemon=True)

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def take(self, body: bytes) -> None:
        """Keep one body, unless it is no JSON object."""
        try:
            told = json.loads(body)
        except ValueError:
            return
        if isinstance(told, dict):
            self.received.append(told)
            del self.received[:-_MOST_KEPT]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
