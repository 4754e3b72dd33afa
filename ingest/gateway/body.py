"""Edge: a request's body off the wire: bounded in bytes, in time, in its least rate and in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.types import Receive

from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.problems import Code, Refused
from ingest.gateway.unpack import encoding_of, unpack

_IN_THREAD: Final = 16 << 10
"""Compressed bodies beyond this are unpacked in a thread: they may grow to a hundred times."""


class Held:
    """How many bytes of bodies are in memory, all requests together."""

    def __init__(self, most_bytes: int, retry_s: int) -> None:
        self._most = most_bytes
        self._retry_s = retry_s
        self.bytes = 0

    def take(self, size: int) -> None:
        """Count bytes. Raises `Refused` (503) where there is no room for them."""
        if self.bytes + size > self._most:
            raise Refused(503, Code.BUSY, "too much is under way; send it again soon", retry_after_s=self._retry_s)
        self.bytes += size

    def give(self, size: int) -> None:
        """Count bytes that are gone."""
        self.bytes -= size


async def read(request: Request, *, most_bytes: int, policy: GatewayPolicy, held: Held) -> bytes:
    """Return the whole body, unpacked. Raises `Refused`: 400, 408, 413, 415, 503.

    What it holds is counted in `request.state.held_bytes`, for the guard to give back when the request is over.
    """
    encoding = encoding_of(request.headers.get("content-encoding"))
    parts: list[bytes] = []
    async for part in chunks(request, most_bytes=most_bytes, policy=policy):
        _hold(request, held, len(part))
        parts.append(part)
    raw = parts[0] if len(parts) == 1 else b"".join(parts)
    if encoding == "identity":
        return raw
    in_thread = len(raw) > _IN_THREAD
    bounds = {"most_bytes": most_bytes, "ratio": policy.ratio}
    body = await asyncio.to_thread(unpack, raw, encoding, **bounds) if in_thread else unpack(raw, encoding, **bounds)
    _hold(request, held, len(body))
    return body


def _hold(request: Request, held: Held, size: int) -> None:
    held.take(size)
    request.state.held_bytes = getattr(request.state, "held_bytes", 0) + size


async def chunks(
    request: Request, *, most_bytes: int, policy: GatewayPolicy, most_s: float | None = None
) -> AsyncIterator[bytes]:
    """Yield the body as it comes, as it was sent. Raises `Refused`: 413 as soon as it is known, 408, 400.

    `most_s` (`policy.body_s`) bounds the whole. After a grace, it has to come at the least rate.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > most_bytes:
        raise _too_large(most_bytes)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    last_s = began_s + (policy.body_s if most_s is None else most_s)
    size, more = 0, True
    while more:
        due_s = min(last_s, began_s + policy.body_grace_s + size / policy.body_bytes_per_s)
        part, more = await _next(request.receive, due_s)
        size += len(part)
        if size > most_bytes:
            raise _too_large(most_bytes)
        if part:
            yield part


async def _next(receive: Receive, due_s: float) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout_at(due_s):
            message = await receive()
    except TimeoutError as error:
        raise Refused(408, Code.TOO_SLOW, "the body came too slowly", headers={"connection": "close"}) from error
    if message["type"] == "http.disconnect":
        raise Refused(400, Code.BODY_INCOMPLETE, "the sender went away before the end of the body")
    return message.get("body", b""), message.get("more_body", False)


def _too_large(most_bytes: int) -> Refused:
    return Refused(413, Code.TOO_LARGE, f"the body of this request has at most {most_bytes} bytes")
